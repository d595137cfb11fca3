"""The page in people's hands: checks of any derivative, keyboards, fingers, notebooks, odd networks and odd numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Conv2d, Flatten, Linear, Tanh
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from blockprop.learning import stepper
from blockprop.learning.tensor_views import shown, side_for
from blockprop.networks import build_network, lecture, lecture_example
from tests.learning.browsing import Visit, browser
from tests.learning.test_stepper import data_of
from tests.random_networks import random_network


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as found:
        yield found


def opened_page(opened: Any, folder: Path, page: Any, fragment: str = "", **settings: Any) -> Visit:
    path = folder / "step.html"
    page.save(path)
    return Visit(opened, path, fragment, **settings)


def of_lecture(kind: str = "relu", **settings: Any) -> Any:
    x, target = lecture_example()
    return stepper(lecture(kind), x, target=target, **settings)


class Tiny(Block):
    """y = 1e-6 x."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return 1e-6 * x, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (-1e-6 * d_y,)  # of the wrong sign


class Silent(Block):
    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.sin(), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y * saved.cos(),)


def told(visit: Visit) -> list[str]:
    """What all buttons that say "check me" at this step say when they are pressed."""
    buttons = visit.page.locator(".check")
    while buttons.count():
        buttons.first.click()
    return list(visit.page.locator(".checked").all_inner_texts())


@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "relu"])
def test_any_derivative_of_the_lecture_can_be_checked(opened: Any, tmp_path: Path, kind: str) -> None:
    visit = opened_page(opened, tmp_path, of_lecture(kind))
    for step, count in ((4, 2), (5, 3 + 6 + 2), (6, 3), (7, 2 + 6 + 3)):  # ∂z; ∂y, ∂u, ∂c; ∂a; ∂x, ∂w, ∂b
        visit.page.evaluate(f"window.stepper.go({step})")
        said = told(visit)
        assert len(said) == count
        assert all(text.endswith("✓") for text in said)
    visit.closed()


def test_any_derivative_that_a_small_recorded_page_shows_is_checked(opened: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = Sequential(Conv2d(1, 2, 3), Tanh(), Flatten(), Linear(8, 3))
    page = stepper(network, torch.randn(1, 1, 4, 4), target=torch.tensor([1]))
    data = data_of(page.html)
    names = {"x", "conv2d1", "tanh1", "flatten1", "linear1", *network.parameters}
    assert data["checks"].keys() == names
    for name, checks in data["checks"].items():
        d = (data["tensors"] | data["parameters"])[name]["d"]
        assert [at for at, _, _ in checks] == [at for first, end in d["rows"] for at in range(first, end)]
    visit = opened_page(opened, tmp_path, page)
    visit.page.evaluate("window.stepper.go(window.stepper.steps.findIndex(s => s.phase === 'backward'))")
    said = told(visit)
    assert [text.split(" ✓")[0] for text in said[:2]] == ["3 central differences", "8 central differences"]
    visit.page.locator("#panel .n.error").first.hover()
    assert "central difference" in visit.page.inner_text("#tip")
    visit.closed()


def test_of_a_large_network_what_is_asked_for_is_checked(opened: Any, tmp_path: Path) -> None:
    network = build_network("stages:32,64", (3, 64, 64), 10)
    weight = next(name for name in network.parameters if name.endswith("weight"))
    x, target = torch.rand(1, 3, 64, 64), torch.tensor([1])
    page = stepper(network, x, target=target, check=[f"{weight}[1,2,0,1]", "input[0,1,3,5]"])
    data = data_of(page.html)
    places = [at for at, _, _ in data["checks"][weight]]
    assert ((1 * 3 + 2) * 3 + 0) * 3 + 1 in places
    assert len(places) == 2  # and the largest one
    visit = opened_page(opened, tmp_path, page)
    visit.page.evaluate("window.stepper.go(window.stepper.steps.length - 3)")
    assert "[1,2,0,1]" in visit.panel
    assert "if asked for when the page is written" in visit.panel
    assert all(text.endswith("✓") for text in told(visit))
    visit.closed()
    with pytest.raises(SettingError, match=r"input\[0,9,0,0\] does not exist"):
        stepper(network, x, target=target, check=["input[0,9,0,0]"])
    with pytest.raises(SettingError, match="the page shows no derivative by input"):
        stepper(network, x, target=target, nodes=[network.nodes[-1].name], check=["input[0,0,0,0]"])


def test_a_small_derivative_of_the_wrong_sign_is_found(opened: Any, tmp_path: Path) -> None:
    network = Sequential(Linear(2, 2), Tiny(), Linear(2, 2)).to(dtype=torch.float64)
    visit = opened_page(opened, tmp_path, stepper(network, torch.ones(1, 2), target=torch.tensor([0])))
    visit.page.evaluate("window.stepper.go(window.stepper.steps.length - 2)")  # back through the first one
    assert "≠" in told(visit)[1]
    visit.closed()


def test_what_is_too_near_0_is_not_called_right(opened: Any, tmp_path: Path) -> None:
    network = Sequential(Linear(2, 2), Tiny(), Tiny(), Linear(2, 2)).to(dtype=torch.float64)
    visit = opened_page(opened, tmp_path, stepper(network, torch.ones(1, 2), target=torch.tensor([0])))
    visit.page.evaluate("window.stepper.go(window.stepper.steps.length - 2)")
    said = told(visit)
    assert "2 of them too near 0 to tell" in said[0]
    assert not any("✓" in text for text in said)
    visit.closed()


def test_on_a_phone_the_units_in_hand_are_seen(opened: Any, tmp_path: Path) -> None:
    visit = opened_page(opened, tmp_path, of_lecture(), viewport={"width": 360, "height": 780})
    for _ in range(7):
        visit.press("ArrowRight")
        box = visit.page.locator("svg .unit.now").first.bounding_box()
        assert 0 < box["x"] < box["x"] + box["width"] < 360
    visit.closed()


@pytest.mark.parametrize(("nodes", "width"), [(100, 360), (200, 1280)])
def test_many_steps_stick_out_nowhere(opened: Any, tmp_path: Path, nodes: int, width: int) -> None:
    x = torch.ones(1, 2)
    page = stepper(Sequential(*[Tanh() for _ in range(nodes)]), x, target=x, objective=mean_squared_error())
    visit = opened_page(opened, tmp_path, page, viewport={"width": width, "height": 780})
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.closed()


def test_the_keyboard_stays_where_it_was(opened: Any, tmp_path: Path) -> None:
    """After a change, a check and a step of descent the next Tab goes on from there."""
    visit = opened_page(opened, tmp_path, of_lecture())
    page, focused = visit.page, lambda: page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.locator("svg .weight[aria-label^=w₂₁]").focus()
    visit.press("Enter")
    page.fill("#editor", "0.5")
    visit.press("Enter")
    assert focused() == "w₂₁ 0.5"
    visit.press("ArrowRight")
    assert focused() == "w₂₁ 0.5"
    visit.press("Enter", "Escape")
    assert focused() == "w₂₁ 0.5"
    page.evaluate("window.stepper.go(7)")
    page.locator("[data-check='fc1.weight[0,0]']").focus()
    visit.press("Enter")
    assert page.evaluate("document.activeElement.className") == "checked"
    page.evaluate("window.stepper.go(8)")
    page.locator("#descend").focus()
    visit.press("Enter", "Enter")
    assert page.evaluate("document.activeElement.id") == "descend"
    assert page.evaluate("window.stepper.numbers().loss") < 0.69
    visit.closed()


def test_a_finger_is_told_first(opened: Any, tmp_path: Path) -> None:
    settings = {"has_touch": True, "viewport": {"width": 390, "height": 800}}
    visit = opened_page(opened, tmp_path, of_lecture(), "#step=6&node=relu1", **settings)
    number = visit.page.locator("#panel .n", has_text="0.75").first
    number.tap()
    assert visit.panel.startswith("Backward through relu1")
    assert "∂L/∂y₂ = ∂L/∂z₁ u₁₂ + ∂L/∂z₂ u₂₂" in visit.page.inner_text("#tip")
    number.tap()
    assert visit.panel.startswith("Backward through fc2")
    visit.closed()


def test_in_a_notebook(opened: Any, tmp_path: Path) -> None:
    """There it stands in a frame without an address."""
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><title>Notebook</title><body>{of_lecture()._repr_html_()}</body>", "utf-8")
    visit = Visit(opened, path)
    frame = visit.page.frames[1]
    frame.click("#next")
    assert frame.inner_text("#panel").startswith("Forward through fc1")
    assert "2 of 10" in frame.inner_text("#lesson")
    visit.closed()


def test_a_derivative_in_the_picture_leads_to_where_it_was_found(opened: Any, tmp_path: Path) -> None:
    visit = opened_page(opened, tmp_path, of_lecture(), "#step=7&node=fc1")
    for name, step in (("∂L/∂x₁", "fc1"), ("∂L/∂a₂", "relu1"), ("∂L/∂y₂", "fc2")):
        visit.page.evaluate("window.stepper.go(7)")
        derivative = visit.page.locator(f"svg .d[aria-label^='{name} ']")
        derivative.hover()
        assert visit.page.inner_text("#tip").startswith(f"{name} = ")
        derivative.click()
        assert visit.panel.startswith(f"Backward through {step}")
    visit.page.locator("svg .d[aria-label^='∂L/∂z₁ ']").click()
    assert visit.panel.startswith("The loss")
    visit.closed()


@pytest.mark.parametrize("network", [lecture("relu"), Sequential(Linear(2, 3), Silent(), Linear(3, 2))])
def test_numbers_without_bound(opened: Any, tmp_path: Path, network: Network) -> None:
    page = stepper(network, torch.ones(1, 2), target=torch.tensor([0]), rate=1e308)
    visit = opened_page(opened, tmp_path, page)
    for _ in range(9):
        visit.press("ArrowRight")
    assert visit.panel.startswith("The update")
    visit.closed()


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_rate_that_is_none(rate: float) -> None:
    with pytest.raises(SettingError, match="a rate of at least 0, came"):
        of_lecture(rate=rate)


def test_a_part_of_a_network_says_so(opened: Any, tmp_path: Path) -> None:
    network = random_network(5)
    x, target = torch.randn(1, 4, 8, 8), torch.tensor([1])
    visit = opened_page(opened, tmp_path, stepper(network, x, target=target, nodes=["fc1", "tanh", "fc2"]))
    assert f"3 of the {len(network.nodes)} nodes" in visit.panel
    visit.press("ArrowRight")
    visit.page.locator("#panel .n").first.hover()
    assert "what flatten gave, which is not on this page" in visit.page.inner_text("#tip")
    visit.closed()
    with pytest.raises(SettingError, match="a page of no nodes"):
        stepper(network, x, target=target, nodes=[])


def test_a_block_that_says_nothing(opened: Any, tmp_path: Path) -> None:
    network = Sequential(Linear(2, 2), Silent())
    page = stepper(network, torch.ones(1, 2), target=torch.ones(1, 2), objective=mean_squared_error())
    visit = opened_page(opened, tmp_path, page, "#step=2&node=silent1")
    assert "Its docstring gives no formula." in visit.panel
    visit.press("ArrowUp")
    assert "Its docstring gives no formula." in visit.panel
    assert all(text.endswith("✓") for text in told(visit))
    visit.closed()


def test_whose_weights_are_whose() -> None:
    """Of a shared block at each of its places, and of names that begin alike."""
    block = Linear(2, 2)
    nodes = [Node("a", block, ("x",)), Node("a.b", Linear(2, 2), ("a",)), Node("c", block, ("a.b",))]
    page = stepper(Network(nodes), torch.ones(1, 2), target=torch.tensor([0]))
    of = {node["name"]: (node["parameters"], node["sharing"]) for node in data_of(page.html)["nodes"]}
    assert of["a"] == of["c"] == (["a.weight", "a.bias"], ["a", "c"])
    assert of["a.b"] == (["a.b.weight", "a.b.bias"], ["a.b"])


def test_what_a_title_says_is_not_filled_in() -> None:
    text = of_lecture(title="/*DATA*/ <!--DRAWING--> /*JS*/").html
    assert "<h1>/*DATA*/ &lt;!--DRAWING--&gt; /*JS*/</h1>" in text
    assert data_of(text)["title"].startswith("/*DATA*/")


def test_pictures_have_room_for_all() -> None:
    one = torch.rand(1, 16, 128, 128)
    assert side_for([torch.rand(3, 4)]) == side_for([one] * 10) == 64
    for count in (50, 100, 400):
        side = side_for([one] * count)
        assert 0 < 2 * count * 16 * side**2 <= 1_600_000


def test_pictures_of_noise_through_a_hundred_nodes_take_less_than_two_megabytes() -> None:
    """Which leaves one for all else on their page."""
    noise = torch.rand(1, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    side = side_for([noise] * 101)
    found = [len(shown(noise, is_error, side)["picture"]) for is_error in (False, True)]
    assert 101 * sum(found) < 2_000_000


def test_long_numbers_stand_in_their_circles(opened: Any, tmp_path: Path) -> None:
    x, target = lecture_example()
    visit = opened_page(
        opened, tmp_path, stepper(lecture("relu"), x * torch.tensor([-1.2345e-7, -0.012345]), target=target)
    )
    visit.press("End")
    widths = """[...document.querySelectorAll("svg .unit")].map(unit => unit.querySelector(".v").getBBox().width)"""
    assert max(visit.page.evaluate(widths)) < 54
    visit.closed()
