"""Pictures of dense networks with many units: labels cover nothing, and what has no room is shown when it is wanted."""

from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from blockprop.blocks import Linear, Tanh
from blockprop.engine.sequential import Sequential
from blockprop.learning import stepper
from blockprop.networks import lecture, lecture_example
from tests.learning.browsing import Visit, browser

SIZES = [{"width": 390, "height": 844}, {"width": 1280, "height": 800}, {"width": 1920, "height": 1080}]
BOXES = """(wanted) => [...document.querySelectorAll(wanted)].filter((one) => getComputedStyle(one).opacity > 0.5)
  .map((one) => { const {x, y, width, height} = one.getBoundingClientRect(); return [x, y, x + width, y + height]; })"""
CROWDED = """[...document.querySelectorAll(".weight.crowded")].map((one) => one.dataset.tip)"""
ON_EDGE = """(id) => { const edge = document.querySelector(`.reach[data-edge="${id}"]`), at = edge.getScreenCTM();
  edge.scrollIntoView({block: "center"});
  const point = edge.getPointAtLength(edge.getTotalLength() / 2), now = edge.getScreenCTM();
  return [point.x * now.a + now.e, point.y * now.d + now.f]; }"""


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as found:
        yield found


def visited(opened: Any, folder: Path, widths: tuple[int, ...], **settings: Any) -> Visit:
    torch.manual_seed(0)
    blocks = [Linear(a, b) for a, b in pairwise(widths)]
    network = Sequential(*[one for block in blocks for one in (block, Tanh())][:-1])
    stepper(network, torch.randn(1, widths[0]), target=torch.tensor([1])).save(folder / "step.html")
    visit = Visit(opened, folder / "step.html", **settings)
    assert visit.page.locator("svg.live").count() == 1
    return visit


def apart(boxes: list[list[float]]) -> bool:
    return not any(
        a[0] + 1 < b[2] and b[0] + 1 < a[2] and a[1] + 1 < b[3] and b[1] + 1 < a[3] for a, b in combinations(boxes, 2)
    )


@pytest.mark.parametrize("widths", [(2, 3, 2), (4, 8, 3), (4, 10, 3), (12, 12, 8), (3, 4, 4, 3, 2), (12, 2)])
def test_labels_cover_no_other(opened: Any, tmp_path: Path, widths: tuple[int, ...]) -> None:
    for size in SIZES if widths == (4, 10, 3) else SIZES[1:2]:
        visit = visited(opened, tmp_path, widths, viewport=size)
        for key in ("Home", "End"):
            visit.press(key)
            labels = visit.page.evaluate(BOXES, ".weight[data-edge]")
            units = visit.page.evaluate(BOXES, ".unit circle")
            assert apart(labels)
            assert all(apart([label, unit]) for label in labels for unit in units)
            hidden = len(visit.page.evaluate(CROWDED))
            count = sum(a * b for a, b in pairwise(widths))
            assert len(labels) == count - hidden > 0
            told = visit.page.locator("#crowded")
            assert told.count() == (hidden > 0)
            if hidden:
                assert told.inner_text().startswith(f"{hidden} of the {count} weights have no room")
        visit.closed()


def test_the_lecture_has_room_for_all(opened: Any, tmp_path: Path) -> None:
    x, target = lecture_example()
    stepper(lecture(), x, target=target).save(tmp_path / "step.html")
    visit = Visit(opened, tmp_path / "step.html")
    assert visit.page.evaluate(CROWDED) == []
    visit.page.locator("svg .unit[aria-label=a₁]").hover()
    assert visit.page.locator("svg.picking").count() == 0
    visit.closed()


def test_a_unit_shows_its_weights(opened: Any, tmp_path: Path) -> None:
    """Those that a sum is of, and those that anything else goes into; the tip stands beside them."""
    visit = visited(opened, tmp_path, (12, 12, 8))
    page = visit.page
    for name, count in (("a₂", 12), ("y₃", 8), ("x₅", 12), ("z₄", 12)):
        page.locator(f"svg .unit[aria-label={name}]").hover()
        shown = page.evaluate(BOXES, ".weight[data-edge]")
        assert len(shown) == count
        assert apart(shown)
        assert page.locator(".edge.picked").count() == count
        (tip,) = page.evaluate(BOXES, "#tip")
        assert all(apart([tip, label]) for label in shown)
    page.mouse.move(2, 2)
    assert page.locator("svg.picking").count() == 0
    visit.closed()


def test_a_weight_without_room_is_changed_at_its_edge_or_by_the_keyboard(opened: Any, tmp_path: Path) -> None:
    visit = visited(opened, tmp_path, (12, 12, 8))
    page = visit.page
    label = page.evaluate(CROWDED)[4]
    spot = page.evaluate(ON_EDGE, label)
    page.mouse.move(*spot)
    wanted = page.evaluate("document.querySelector('.weight.picked').getAttribute('aria-label')")
    assert page.locator(".weight.picked").count() == 1
    assert page.inner_text("#tip").startswith(wanted.split(" ")[0] + " = ")
    page.mouse.click(*spot)
    page.fill("#editor", "0.125")
    visit.press("Enter")
    assert f"{wanted.split(' ')[0]} 0.125" == page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.evaluate(f"document.querySelector('.weight[data-tip={label}]').focus()")
    assert page.evaluate(f"getComputedStyle(document.querySelector('.weight[data-tip={label}]')).opacity") == "1"
    visit.closed()


def test_indices_of_two_digits_are_kept_apart(opened: Any, tmp_path: Path) -> None:
    visit = visited(opened, tmp_path, (12, 2))
    names = visit.page.locator(".weight[data-edge]").evaluate_all(
        "all => all.map((one) => one.getAttribute('aria-label'))"
    )
    assert [name.split(" ")[0] for name in names[:2]] == ["w₁₁", "w₁₂"]
    assert names[11].startswith("w₁‚₁₂ ")
    visit.closed()
