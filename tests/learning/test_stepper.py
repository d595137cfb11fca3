"""The page on which one walks through both passes: what it says, and in a real browser that it is right."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Flatten, Linear, ReLU, Tanh
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy, mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from blockprop.learning import stepper
from blockprop.networks import build_network, lecture, lecture_example
from tests.learning.browsing import Visit, browser
from tests.random_networks import random_network


def data_of(text: str) -> dict[str, Any]:
    begin = '<script type="application/json" id="data">'
    return dict(json.loads(text[text.index(begin) + len(begin) :].partition("</script>")[0]))


def page_of(kind: str = "sigmoid") -> str:
    x, target = lecture_example()
    return stepper(lecture(kind), x, target=target).html


def test_one_file_that_loads_nothing() -> None:
    text = page_of()
    assert len(text.encode()) < 300_000
    for word in ("http:", "https:", "//cdn", 'src="/', "@import", "fetch("):
        assert word not in text
    assert "default-src 'none'" in text
    assert "/*CSS*/" not in text
    assert "/*JS*/" not in text


def test_what_was_recorded_is_what_the_passes_give() -> None:
    network = random_network(3)
    x, target = torch.randn(1, 4, 8, 8), torch.tensor([2])
    data = data_of(stepper(network, x, target=target).html)
    double = network.copy().to(dtype=torch.float64)
    trace = double.forward(x.double())
    loss, seeds = cross_entropy().evaluate(trace.outputs, target)
    d = double.backward(trace, seeds, [*network.keys, *network.parameters])
    assert data["loss"] == pytest.approx(float(loss))
    for key in network.keys:
        first = trace[key].flatten()[:64].tolist()
        assert data["tensors"][key]["value"]["numbers"] == pytest.approx(first, rel=1e-5, abs=1e-12)
        if "d" in data["tensors"][key]:
            assert data["tensors"][key]["d"]["numbers"] == pytest.approx(
                d[key].flatten()[:64].tolist(), rel=1e-5, abs=1e-12
            )
        for branch in data["tensors"][key].get("branches", ()):
            assert branch["d"]["shape"] == list(trace[key].shape)
    for name in network.parameters:
        for at, found, swept in data["checks"][name]:
            assert swept == pytest.approx(float(d[name].flatten()[at]), rel=1e-9, abs=1e-15)
            assert found == pytest.approx(swept, rel=1e-4, abs=1e-8)
    after = double.copy()
    for name, weight in after.parameters.items():
        weight -= 0.1 * d[name]
    expected = float(cross_entropy().evaluate({"fc": after(x.double())}, target)[0])
    assert data["lossAfter"] == pytest.approx(expected)


def test_names_cannot_leave_their_place() -> None:
    network = Sequential({"</script><b>&": Linear(2, 2)})
    text = stepper(network, torch.ones(1, 2), target=torch.tensor([0]), title="<img src=x>").html
    assert "</script><b>" not in text
    assert "<img src=x>" not in text
    assert data_of(text)["nodes"][0]["name"] == "</script><b>&"


def test_large_networks_are_shown_in_part() -> None:
    network = Sequential(*[Tanh() for _ in range(201)])
    x, objective = torch.ones(1, 2), mean_squared_error()
    with pytest.raises(SettingError, match="up to 200 nodes, this network has 201; choose some with nodes="):
        stepper(network, x, target=x, objective=objective)
    some = data_of(stepper(network, x, target=x, objective=objective, nodes=["tanh200", "tanh201"]).html)
    assert [node["name"] for node in some["nodes"]] == ["tanh200", "tanh201"]
    with pytest.raises(SettingError, match="has no node 'tanh0'"):
        stepper(network, x, target=x, objective=objective, nodes=["tanh0"])


def test_a_hundred_nodes_take_less_than_three_megabytes() -> None:
    network = build_network("stages:8,8,8,8,8,8,8", (3, 64, 64), 10)
    assert len(network.nodes) > 40
    text = stepper(network, torch.rand(1, 3, 64, 64), target=torch.tensor([1])).html
    assert len(text.encode()) / len(network.nodes) < 3e6 / 100


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as found:
        yield found


def walk(opened: Any, folder: Path, network: Network, x: Tensor, target: Tensor, **settings: Any) -> Visit:
    path = folder / "step.html"
    stepper(network, x, target=target).save(path)
    return Visit(opened, path, **settings)


def expected_numbers(network: Network, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    trace = network.forward(x)
    loss, seeds = cross_entropy().evaluate(trace.outputs, target)
    d = network.backward(trace, seeds, [*network.keys, *network.parameters])
    return {"L": loss} | {f"d_{name}": tensor for name, tensor in d.items()} | trace.values


def assert_page_is_right(visit: Visit, network: Network, x: Tensor, target: Tensor) -> None:
    """Every number that the page computed, beside Python's."""
    found, expected = visit.page.evaluate("window.stepper.numbers()"), expected_numbers(network, x, target)
    assert found["loss"] == pytest.approx(float(expected["L"]), abs=1e-6)
    assert found["d_x"] == pytest.approx(expected[f"d_{network.inputs[0]}"].flatten().tolist(), abs=1e-6)
    linear = [node.name for node in network.nodes if isinstance(node.block, Linear)]
    for name, layer in zip(linear, found["layers"], strict=True):
        for key, tensor in (("a", name), ("d_a", f"d_{name}"), ("d_bias", f"d_{name}.bias")):
            assert layer[key] == pytest.approx(expected[tensor].flatten().tolist(), abs=1e-6)
        for row, wanted in zip(layer["d_weight"], expected[f"d_{name}.weight"].tolist(), strict=True):
            assert row == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "relu"])
def test_the_page_computes_what_python_does(opened: Any, tmp_path: Path, kind: str) -> None:
    network = lecture(kind)
    x, target = lecture_example()
    visit = walk(opened, tmp_path, network, x, target)
    assert_page_is_right(visit, network, x, target)
    visit.page.evaluate("window.stepper.set('fc1.weight[1,0]', 0.3)")
    visit.page.evaluate("window.stepper.set('x[0,1]', -0.7)")
    network.parameters["fc1.weight"][1, 0] = 0.3
    x[0, 1] = -0.7
    assert_page_is_right(visit, network, x, target)
    visit.closed()


def test_a_deeper_network_too(opened: Any, tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = Sequential(Flatten(), Linear(3, 4), ReLU(), Linear(4, 2), Tanh(), Linear(2, 3)).to(dtype=torch.float64)
    x, target = torch.randn(1, 3, dtype=torch.float64), torch.tensor([2])
    visit = walk(opened, tmp_path, network, x, target)
    assert_page_is_right(visit, network, x, target)
    visit.closed()


def test_walking_with_the_keys_alone(opened: Any, tmp_path: Path) -> None:
    x, target = lecture_example()
    visit = walk(opened, tmp_path, lecture("relu"), x, target)
    assert visit.panel.startswith("The input")
    visit.press("ArrowRight")
    assert visit.panel.startswith("Forward through fc1")
    visit.press("ArrowUp")
    assert visit.panel.startswith("Backward through fc1")
    assert "∂L/∂x₂ = ∂L/∂a₁ w₁₂ + ∂L/∂a₂ w₂₂ + ∂L/∂a₃ w₃₂" in visit.panel
    assert "= −0.25" in visit.panel
    visit.press("ArrowDown", "ArrowLeft")
    assert visit.panel.startswith("The input")
    visit.press("End")
    assert visit.panel.startswith("The update")
    visit.press("ArrowLeft", "ArrowRight", "Home")
    assert visit.panel.startswith("The input")
    visit.closed()


def test_the_address_holds_where_one_is(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "step.html"
    path.write_text(page_of("relu"))
    visit = Visit(opened, path, "#step=4&node=loss&set=x[0,0]:3&target=1&rate=2")
    assert visit.panel.startswith("The loss")
    assert visit.page.evaluate("window.stepper.numbers().x") == [3, 2]
    assert visit.page.input_value("#rate") == "2"
    visit.press("ArrowRight")
    fragment = visit.page.evaluate("location.hash")
    assert fragment.startswith("#step=5&node=fc2&set=x")
    again = Visit(opened, path, fragment)
    assert again.panel == visit.panel
    lost = Visit(opened, path, "#step=999&node=nothing&set=fc9.weight[0,0]:1;nonsense:2;x[0,77]:4&rate=-1&target=9")
    assert lost.panel.startswith("The input")
    for each in (visit, again, lost):
        each.closed()


def test_a_number_says_where_it_comes_from_and_leads_there(opened: Any, tmp_path: Path) -> None:
    """ "Where does this 0.75 come from?": one look, one press."""
    x, target = lecture_example()
    visit = walk(opened, tmp_path, lecture("relu"), x, target)
    visit.page.evaluate("window.stepper.go(6)")
    assert visit.panel.startswith("Backward through relu1")
    number = visit.page.locator("#panel .n", has_text="0.75").first
    number.hover()
    assert "∂L/∂y₂ = ∂L/∂z₁ u₁₂ + ∂L/∂z₂ u₂₂\n= −0.5·(−1) + 0.5·0.5 = 0.75" in visit.page.inner_text("#tip")
    number.click()
    assert visit.panel.startswith("Backward through fc2")
    visit.closed()


def test_a_weight_can_be_changed_in_the_picture(opened: Any, tmp_path: Path) -> None:
    x, target = lecture_example()
    network = lecture("tanh")
    visit = walk(opened, tmp_path, network, x, target)
    visit.page.locator("svg .weight", has_text="−1").first.click()
    visit.page.fill("#editor", "0.25")
    visit.press("Enter")
    network.parameters["fc1.weight"][1, 0] = 0.25
    assert_page_is_right(visit, network, x, target)
    visit.page.click("#reset")
    assert_page_is_right(visit, lecture("tanh"), x, target)
    visit.closed()


def test_check_me_beside_each_derivative(opened: Any, tmp_path: Path) -> None:
    x, target = lecture_example()
    visit = walk(opened, tmp_path, lecture(), x, target)
    visit.page.evaluate("window.stepper.go(7)")
    buttons = visit.page.locator(".check")
    assert buttons.count() == 2 + 6 + 3
    while buttons.count():
        buttons.first.click()
    told = visit.page.locator(".checked").all_inner_texts()
    assert len(told) == 11
    assert all(text.endswith("✓") for text in told)
    visit.closed()


def test_one_step_of_gradient_descent(opened: Any, tmp_path: Path) -> None:
    x, target = lecture_example()
    network = lecture("relu")
    before = expected_numbers(network, x, target)
    visit = walk(opened, tmp_path, network, x, target)
    visit.page.fill("#rate", "0.5")
    visit.press("Tab")
    visit.page.evaluate("window.stepper.go(8)")
    visit.page.click("#descend")
    for name, weight in network.parameters.items():
        weight -= 0.5 * before[f"d_{name}"]
    assert_page_is_right(visit, network, x, target)
    assert "The loss was 0.6931, and is" in visit.panel
    visit.closed()


def test_the_lesson_waits_for_each_thing_to_be_done(opened: Any, tmp_path: Path) -> None:
    x, target = lecture_example()
    visit = walk(opened, tmp_path, lecture(), x, target)
    page, done = visit.page, lambda: visit.page.evaluate("window.stepper.lesson")
    assert done() == 0
    visit.press("ArrowRight")
    assert done() == 1
    visit.press("ArrowRight", "ArrowRight")
    assert done() == 1  # it waits
    page.locator("svg .unit[aria-label=a₁]").hover()
    assert done() == 2
    visit.press("ArrowRight")
    assert done() == 3
    page.click("[data-target='1']")
    assert done() == 4
    visit.press("ArrowRight")
    assert done() == 5
    page.locator("#panel .n[data-named='∂L/∂y₁']").first.hover()
    assert done() == 6
    visit.press("ArrowRight", "ArrowRight")
    assert done() == 7
    page.click("[data-check='fc1.weight[0,0]']")
    assert done() == 8
    visit.press("ArrowRight")
    page.click("#descend")
    assert done() == 9
    page.fill("#rate", "2")
    for _ in range(10):
        if done() == 9:
            page.click("#descend")
    assert done() == 10
    assert "All ten steps are done" in page.inner_text("#lesson")
    visit.closed()


@pytest.mark.parametrize("settings", [{"viewport": {"width": 390, "height": 800}}, {"color_scheme": "dark"}])
def test_on_a_phone_and_in_the_dark(opened: Any, tmp_path: Path, settings: dict[str, Any]) -> None:
    x, target = lecture_example()
    visit = walk(opened, tmp_path, lecture(), x, target, **settings)
    for _ in range(9):
        visit.press("ArrowRight")
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing sticks out
    visit.closed()


def test_a_recorded_network_is_walked_through(opened: Any, tmp_path: Path) -> None:
    network = random_network(5)
    x, target = torch.randn(1, 4, 8, 8), torch.tensor([1])
    visit = walk(opened, tmp_path, network, x, target)
    steps = visit.page.evaluate("window.stepper.steps")
    assert [step["node"] for step in steps if step["phase"] == "forward"] == [node.name for node in network.nodes]
    for step in steps[1:]:
        visit.press("ArrowRight")
        assert step["node"] in visit.panel or step["phase"] in ("loss", "update")
    assert "the loss goes from" in visit.panel
    visit.page.evaluate("window.stepper.go(window.stepper.steps.findIndex(s => s.phase === 'backward'))")
    visit.page.locator(".check").first.click()
    assert visit.page.locator(".checked").first.inner_text().endswith("✓")
    visit.closed()
