"""Formulas with the numbers filled in, on pages of recorded networks: true to the last digit, in Python and as read."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop import blocks
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, cross_entropy, mean_squared_error
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.learning import stepper
from blockprop.learning.both_passes import BothPasses
from blockprop.learning.elements import element_named
from blockprop.learning.filled_in import filled_in
from blockprop.learning.prices import prices
from blockprop.learning.shares import forward_alone
from tests.learning.browsing import Visit, browser
from tests.learning.test_stepper import data_of
from tests.random_networks import random_network


def convolutional() -> tuple[Network, Tensor]:
    """Convolution, normalization, both kinds of pooling, a residual and a concatenation."""
    nodes = [
        Node("conv", blocks.Conv2d(3, 4, 3, padding=1), ("x",)),
        Node("norm", blocks.BatchNorm2d(4), ("conv",)),
        Node("relu", blocks.ReLU(), ("norm",)),
        Node("deep", blocks.Conv2d(4, 4, 3, padding=1, groups=2), ("relu",)),
        Node("sum", blocks.Add(), ("relu", "deep", "relu")),
        Node("max", blocks.MaxPool2d(2), ("sum",)),
        Node("mean", blocks.AvgPool2d(2), ("sum",)),
        Node("both", blocks.Concat(1), ("max", "mean")),
        Node("flat", blocks.Flatten(), ("both",)),
        Node("fc", blocks.Linear(128, 3), ("flat",)),
    ]
    return Network(nodes), torch.randn(2, 3, 8, 8)


def attentive() -> tuple[Network, Tensor]:
    """A transformer's block on tokens: the weight of q and k at two places."""
    shared = blocks.Linear(8, 8)
    nodes = [
        Node("embedded", blocks.Embedding(11, 8), ("tokens",)),
        Node("norm", blocks.LayerNorm(8), ("embedded",)),
        Node("q", shared, ("norm",)),
        Node("k", shared, ("norm",)),
        Node("v", blocks.Linear(8, 8), ("norm",)),
        Node("attention", blocks.Attention(causal=True), ("q", "k", "v")),
        Node("product", blocks.Mul(), ("attention", "v")),
        Node("residual", blocks.Add(), ("embedded", "product")),
        Node("gelu", blocks.GELU(), ("residual",)),
        Node("halves", blocks.Split((3, 5), axis=-1), ("gelu",)),
        Node("joined", blocks.Concat(-1), ("halves[1]", "halves[0]", "halves[1]")),
        Node("fc", blocks.Linear(13, 5), ("joined",)),
        Node("soft", blocks.Softmax(-1), ("fc",)),
    ]
    return Network(nodes, ("tokens",)), torch.randint(0, 11, (1, 6))


def recurrent() -> tuple[Network, Tensor]:
    nodes = [
        Node("gru", blocks.GRU(3, 4), ("x",)),
        Node("tanh", blocks.Tanh(), ("gru[0]",)),
        Node("fc", blocks.Linear(4, 2), ("tanh",)),
    ]
    return Network(nodes, outputs=("fc",)), torch.randn(2, 5, 3)


NETWORKS: dict[str, Callable[[], tuple[Network, Tensor]]] = {
    "convolutional": convolutional,
    "attentive": attentive,
    "recurrent": recurrent,
    **{f"random {seed}": lambda seed=seed: (random_network(seed), torch.randn(1, 4, 8, 8)) for seed in range(3)},
}


def recorded(name: str) -> tuple[BothPasses, dict[str, Any]]:
    torch.manual_seed(7)
    network, x = NETWORKS[name]()
    y = network(x) if len(network.outputs) == 1 else x
    recording = BothPasses(network, (x,), mean_squared_error(), torch.randn_like(y))
    names = [*(key for key in recording.network.keys if key in recording.d), *recording.network.parameters]
    return recording, filled_in(recording, names, recording.network.keys, prices(recording))


def is_sum(value: float, terms: list[float]) -> bool:
    return abs(value - sum(terms)) <= 1e-12 * max(sum(abs(term) for term in terms), 1e-300)


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_what_adds_up_is_what_the_sweep_finds(name: str) -> None:
    recording, found = recorded(name)
    assert found["derivatives"].keys() == {*recording.d}
    for by, line in found["derivatives"].items():
        d = recording.d[by]
        assert line["d"] == float(d.flatten()[line["at"]])
        assert abs(line["d"]) == float(d.abs().max())
        for part in line["parts"]:
            if part["terms"] or part["others"][0]:
                assert is_sum(part["sum"], [*(e * slope for _, e, slope in part["terms"]), part["others"][1]]), by
            for element, error, _ in part["terms"]:
                there = element_named(element, recording.network, recording.trace)
                assert error == float(recording.d[there.name][there.index])
        assert is_sum(line["d"], [part["sum"] for part in line["parts"]]), by


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_slopes_are_slopes(name: str) -> None:
    """Of each term, beside the change of the element above when the node runs with a little more or less below."""
    recording, found = recorded(name)
    checked = 0
    for by, line in found["derivatives"].items():
        for part in line["parts"]:
            if by in recording.network.parameters or part["from"] == "the loss":
                continue
            node = next(node for node in recording.network.nodes if node.name == part["from"])
            if node.inputs.count(by) > 1:
                continue
            ways = []
            for h in (1e-6, -1e-6):
                x = [recording.trace[key].clone() for key in node.inputs]
                x[node.inputs.index(by)].view(-1)[line["at"]] += h
                ways.append(forward_alone(node, x))
            for element, _, slope in part["terms"]:
                there = element_named(element, recording.network, recording.trace)
                up, down = (float(way[there.name][there.index]) for way in ways)
                assert slope == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-7), (by, element)
                checked += 1
    assert checked > 5


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_values_are_the_sums_they_are_said_to_be(name: str) -> None:
    recording, found = recorded(name)
    sums = set()
    for key, line in found["values"].items():
        y = recording.trace[key]
        assert abs(line["y"]) == float(y.abs().max())
        if "terms" in line:
            products = [x * slope for _, x, slope in line["terms"]]
            assert is_sum(line["y"], [*products, line["others"][1], line["rest"]]), key
            sums.add(key)
        for element, x, _ in line.get("terms", [line.get("steepest")]):
            there = element_named(element, recording.network, recording.trace)
            assert x == float(recording.tensor(there.name)[there.index])
    if name == "convolutional":
        assert sums == {node.name for node in recording.network.nodes}
    if name == "attentive":  # all but those that are no sums
        assert {*found["values"]} - sums == {"norm", "gelu", "soft"}
        assert found["values"]["gelu"]["count"] == 1
        assert found["values"]["soft"]["count"] == 5


def test_what_one_attention_is_made_of() -> None:
    """By hand: with q = 0 all weights are equal, and the output is the mean of the values."""
    v = torch.tensor([[[1.0], [2.0], [6.0]]], dtype=torch.float64)
    network = Network([Node("mean", blocks.Attention(), ("q", "k", "v"))], ("q", "k", "v"))
    zero = torch.zeros(1, 3, 1)
    recording = BothPasses(network, (zero, zero, v), mean_squared_error(), torch.zeros(1, 3, 1))
    found = filled_in(recording, ["v"], ["mean"], prices(recording))
    line = found["values"]["mean"]
    assert [(element, x) for element, x, _ in line["terms"]] == [("v[0,2,0]", 6), ("v[0,1,0]", 2), ("v[0,0,0]", 1)]
    assert [slope for _, _, slope in line["terms"]] == pytest.approx([1 / 3] * 3)
    (part,) = found["derivatives"]["v"]["parts"]  # three outputs of 3: each error is 2 · 3 / 3
    assert [(error, slope) for _, error, slope in part["terms"]] == [pytest.approx((2, 1 / 3))] * 3


def test_long_sums_say_how_many_others_there_are() -> None:
    network = Sequential({"fc": blocks.Linear(40, 30)})
    recording = BothPasses(network, (torch.randn(1, 40),), mean_squared_error(), torch.randn(1, 30))
    found = filled_in(recording, ["x"], ["fc"], prices(recording))
    assert found["derivatives"]["x"]["parts"][0]["others"][0] == 30 - 6
    assert found["values"]["fc"]["others"][0] == 40 - 6


def test_what_is_too_dear_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, x = convolutional()
    recording = BothPasses(network, (x,), cross_entropy(), torch.tensor([1, 0]))
    costs = prices(recording) | {"deep": 1e12}
    names = [*(key for key in recording.network.keys if key in recording.d)]
    monkeypatch.setattr(recording, "behind", lambda _: [])
    found = filled_in(recording, names, names, costs)
    assert {key for key, line in found["derivatives"].items() if not line} == {"relu"}
    assert {key for key, line in found["values"].items() if not line} == {"deep"}


def test_numbers_beyond_numbers() -> None:
    """A page of them is JSON still."""
    network, x = convolutional()
    x[0, 0, 0, 0], x[1, 2, 3, 3] = float("nan"), float("inf")
    page = stepper(network, x, target=torch.tensor([1, 0]))
    assert data_of(page.html)["derivatives"].keys() >= {"x", "conv.weight"}


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as found:
        yield found


def equations(text: str) -> Iterator[tuple[float, float, float]]:
    """(a sum that is written out, computed; the sizes of its terms; what it is said to be) of each line with one."""
    for line in text.splitlines():
        sides = re.sub(r"\(\d[\d,]* others?\)|^from [^:]*:|^[^=←]*[=←]", "", line).split(" = ")
        for left, right in pairwise(sides):
            code = re.sub(r"([\d.])e−", r"\1e-", left).replace("−", "-").replace("·", "*")
            if re.search(r"\*| \+ ", code) and re.fullmatch(r"[-+*. \d()e]+", code):
                sizes = re.sub(r"(?<!e)-", "+", code)
                yield eval(code), eval(sizes), float(right.replace("e−", "e-").replace("−", "-"))


@pytest.mark.parametrize("name", ["convolutional", "attentive", "recurrent"])
def test_what_is_read_is_true(opened: Any, tmp_path: Path, name: str) -> None:
    """Every line of every step, as far as its digits go."""
    torch.manual_seed(7)
    network, x = NETWORKS[name]()
    objective: Objective = mean_squared_error()
    page = stepper(network, x, target=torch.randn_like(network(x)), objective=objective)
    page.save(tmp_path / "step.html")
    visit = Visit(opened, tmp_path / "step.html")
    checked = {"forward": 0, "backward": 0, "update": 0}
    for step in visit.page.evaluate("window.stepper.steps")[1:]:
        visit.press("ArrowRight")
        for computed, sizes, said in equations(visit.panel):
            assert computed == pytest.approx(said, rel=0, abs=1e-3 * (sizes + abs(said)))
            checked[step["phase"]] += 1
    assert checked["forward"] >= 1
    assert checked["backward"] >= 6
    assert checked["update"] == len(network.parameters)
    visit.closed()


def test_a_term_leads_to_where_it_was_found(opened: Any, tmp_path: Path) -> None:
    torch.manual_seed(7)
    network, x = convolutional()
    stepper(network, x, target=torch.tensor([1, 0])).save(tmp_path / "step.html")
    visit = Visit(opened, tmp_path / "step.html", "#node=relu&step=19")
    assert visit.panel.startswith("Backward through relu")
    assert "from sum: " in visit.panel
    term = visit.page.locator("#panel .line .n").first
    term.hover()
    assert visit.page.inner_text("#tip").startswith("∂L/∂sum[")
    term.click()
    assert visit.panel.startswith(("Backward through max", "Backward through mean"))
    visit.closed()
