"""Derivatives written out where not all is as usual: shared weights, rows, own blocks, odd losses, odd numbers."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import LeakyReLU, Linear, ReLU, Reshape, Sigmoid, Softplus, Tanh
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import (
    Objective,
    binary_cross_entropy,
    cross_entropy,
    huber,
    mean_squared_error,
    negative_log_likelihood,
)
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError, SettingError
from blockprop.learning import explain, stepper
from blockprop.learning.both_passes import BothPasses
from blockprop.learning.expressions import Letter, Number
from blockprop.networks import lecture, lecture_example
from tests.learning.test_stepper import data_of
from tests.random_networks import random_network


class Doubled(Linear):
    """y = 2 x weightᵀ + bias."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y, saved = super().forward(2 * x)
        return y, saved

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (2 * super().propagate(saved, d_y)[0],)


def shared() -> Network:
    """A chain in which one Linear stands at two places."""
    linear = Linear(2, 2)
    return Network([Node("first", linear, ("x",)), Node("phi", Tanh(), ("first",)), Node("second", linear, ("phi",))])


ODD = {
    "a weight at two places": (shared, (1, 2), "first.weight[0,1]", (1, 2)),
    "the bias at two places": (shared, (1, 2), "first.bias[1]", (1, 2)),
    "rows of one example": (lambda: Sequential({"fc": Linear(3, 2)}), (1, 2, 3), "fc.weight[1,2]", (1, 2, 2)),
    "a unit of one row": (lambda: Sequential({"fc": Linear(3, 2), "phi": Tanh()}), (1, 2, 3), "fc[0,1,0]", (1, 2, 2)),
    "an own kind of Linear": (lambda: Sequential({"fc": Doubled(2, 2)}), (1, 2), "fc.weight[0,1]", (1, 2)),
    "through an own kind of Linear": (lambda: Sequential(Linear(2, 2), Doubled(2, 2)), (1, 2), "x[0,1]", (1, 2)),
    "an example without an axis for examples": (lambda: Sequential({"fc": Linear(3, 2)}), (3,), "fc.bias[1]", (2,)),
}


@pytest.mark.parametrize("what", ODD)
def test_where_no_weight_stands_on_one_edge(what: str) -> None:
    make, size, of, out = ODD[what]
    torch.manual_seed(5)
    network, x, target = make(), torch.randn(size), torch.randn(out)
    found = explain(network, x, of=of, objective=mean_squared_error(), target=target)
    assert abs(found.swept) > 1e-3
    assert found.difference <= 1e-12 * abs(found.swept)
    assert stepper(network, x, objective=mean_squared_error(), target=target).html


@pytest.mark.parametrize("make", [shared, lambda: Sequential(Doubled(2, 2))])
def test_a_page_does_not_compute_what_it_does_not_know(make: Any) -> None:
    assert data_of(stepper(make(), torch.ones(1, 2), target=torch.tensor([0])).html)["live"] is None


def test_an_own_block_of_a_known_name_is_not_taken_for_it() -> None:
    own = type("ReLU", (LeakyReLU,), {"__doc__": LeakyReLU.__doc__})
    network = Sequential(Linear(2, 2), own(0.3))
    assert data_of(stepper(network, torch.ones(1, 2), target=torch.tensor([0])).html)["live"] is None
    with_ours = Sequential(Linear(2, 2), ReLU())
    assert data_of(stepper(with_ours, torch.ones(1, 2), target=torch.tensor([0])).html)["live"]


class Swish(Block):
    """y = x σ(x)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x * x.sigmoid(), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        s = saved.sigmoid()
        return (d_y * (s + saved * s * (1 - s)),)


class Summed(Block):
    """y[i] = x[0] + … + x[i]."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.cumsum(-1), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.flip(-1).cumsum(-1).flip(-1),)


def test_an_activation_of_ones_own_is_written_in_numbers() -> None:
    """It need not say what kind it is; one that mixes units is none."""
    torch.manual_seed(0)
    x, target = lecture_example()
    network = Sequential(Linear(2, 3), Swish(), Linear(3, 2))
    found = explain(network, x, of="linear1.weight[2,1]", target=target)
    assert "φ is Swish()" in found.text
    assert "Every path" in found.text
    assert found.difference < 1e-15
    mixed = explain(Sequential(Linear(2, 3), Summed(), Linear(3, 2)), x, of="linear1.weight[2,1]", target=target)
    assert "Every path" not in mixed.text
    assert mixed.difference < 1e-15


LOSSES: list[tuple[Objective, Tensor]] = [
    (cross_entropy(), torch.tensor([1])),
    (cross_entropy(), torch.tensor([[0.25, 0.75]])),
    (cross_entropy(), torch.tensor([[0.5, 2.0]])),  # no distribution
    (cross_entropy(), torch.tensor([[0.0, 0.0]])),
    (cross_entropy(label_smoothing=0.1), torch.tensor([0])),
    (cross_entropy(class_weights=torch.tensor([1.0, 3.0])), torch.tensor([1])),
    (negative_log_likelihood(), torch.tensor([0])),
    (mean_squared_error(), torch.tensor([[0.5, 1.0]])),
    (0.5 * mean_squared_error(), torch.tensor([[0.5, 1.0]])),
    (huber(), torch.tensor([[0.5, -3.0]])),
    (binary_cross_entropy(), torch.tensor([[0.0, 1.0]])),
]


@pytest.mark.parametrize("case", range(len(LOSSES)))
@pytest.mark.parametrize("by", ["numbers", "blocks"])
def test_each_loss(case: int, by: str) -> None:
    objective, target = LOSSES[case]
    torch.manual_seed(case)
    network = Sequential(Linear(3, 3), Softplus(), Linear(3, 2, with_bias=False), Sigmoid())
    x = torch.randn(1, 3)
    for of in (
        "linear1.weight[2,1]",
        "linear2.weight[0,2]",
        "linear1.bias[0]",
        "softplus1[0,1]",
        "x[2]",
        "sigmoid1[1]",
    ):
        found = explain(network, x, of=of, objective=objective, target=target, by=by, digits=9)
        assert found.difference <= 1e-12 * abs(found.swept), of
        assert found.latex.isascii(), of
        for line in found.text.splitlines():  # r̂ − r only where that is so
            if match := re.search(r"= r̂.* − r.* = ([\d.]+) − ([\d.]+) = (−?[\d.·⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)$", line):
                assert float(match[1]) - float(match[2]) == pytest.approx(float(match[3].replace("−", "-")), abs=1e-7)


def test_classes_of_several_positions_are_no_single_softmax() -> None:
    network = Sequential(Linear(3, 4), Reshape((2, 2)))
    x, target = torch.randn(1, 3), torch.tensor([[0, 1]])
    found = explain(network, x, of="linear1.weight[1,2]", target=target)
    assert "softmax" not in found.text
    assert "r̂" not in found.text
    assert found.difference <= 1e-15
    assert data_of(stepper(network, x, target=target).html)["live"] is None


def test_a_loss_of_an_inner_node_and_one_that_is_not_there() -> None:
    x, _ = lecture_example()
    loss = mean_squared_error(node="fc1")
    found = explain(lecture(), x, of="fc1.weight[1,0]", objective=loss, target=torch.zeros(1, 3))
    assert found.value == pytest.approx(2 / 3 * -1.0)  # 2 a₂ x₁ / 3, and a₂ = −1
    assert stepper(lecture(), x, objective=loss, target=torch.zeros(1, 3)).html
    with pytest.raises(BlockpropError, match=r"'fc7'.*it holds x, fc1, sigmoid1, fc2"):
        explain(lecture(), x, of="x[0]", objective=mean_squared_error(node="fc7"), target=torch.zeros(1, 3))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("by", ["numbers", "blocks"])
def test_numbers_beyond_numbers_are_not_called_the_same(bad: float, by: str) -> None:
    x, target = lecture_example()
    x[0, 1] = bad
    for of in ("fc1.weight[1,1]", "fc2.bias[0]", "x[0]"):
        found = explain(lecture("relu"), x, of=of, target=target, by=by)
        if not math.isfinite(found.swept):
            assert "the same" not in found.text
        assert found.latex.isascii()
    json_of = data_of(stepper(lecture("relu"), x, target=target).html)
    assert json_of["loss"] in ("not a number", "∞", "−∞")


def test_letters_and_numbers() -> None:
    assert Letter("ŷ", (1,)).latex() == r"\hat{y}_{1}"
    assert Number(math.inf).latex() == r"\infty"
    assert Number(-123456.0).text() == "−1.235·10⁵"
    assert Number(123456.0).latex() == r"1.235 \cdot 10^{5}"
    assert Number(99999.0, 2).text() == "1·10⁵"
    assert [Number(x).text() for x in (1234.0, 999999.0, 0.5, 1e-4)] == ["1234", "1·10⁶", "0.5", "0.0001"]


@pytest.mark.parametrize("of", ["fc1.weight[1,a]", "fc1.weight[:,0]", "fc1.weight[0.5,1]", "fc1.weight[1 0,1]"])
def test_what_is_no_place(of: str) -> None:
    x, target = lecture_example()
    with pytest.raises(SettingError, match=r"expected whole numbers between the brackets, as fc1.weight is 3 x 2"):
        explain(lecture(), x, of=of, target=target)


def test_the_title_says_how_the_element_is_called_in_the_text() -> None:
    x, target = lecture_example()
    found = explain(lecture("relu"), x, of="fc1.weight[2,1]", target=target)
    assert found.text.splitlines()[0] == "∂L/∂(fc1.weight[2,1]) = ∂L/∂w₃₂ = 0.5, by the chain rule"
    found = explain(lecture("relu"), x, of="fc1.weight[2,1]", target=target, by="blocks")
    assert found.text.splitlines()[0] == "∂L/∂(fc1.weight[2,1]) = 0.5, by the chain rule"


def test_the_loss_with_another_number_is_that_of_a_whole_pass() -> None:
    """Only what stands behind runs again: parameters, inputs, and nodes in the middle."""
    torch.manual_seed(3)
    network, x, target = random_network(11), torch.randn(2, 4, 8, 8), torch.tensor([1, 4])
    both = BothPasses(network, (x,), cross_entropy(), target)
    for name, value in both.network.parameters.items():
        moved = value + 0.1 * torch.randn_like(value)
        other = both.network.copy()
        other.parameters[name].copy_(moved)
        expected = cross_entropy().evaluate(other.forward(both.trace["x"]).outputs, target)[0]
        assert both.loss_with({name: moved}) == pytest.approx(float(expected), rel=1e-12)
        assert torch.equal(both.network.parameters[name], value)
    for name in both.network.keys:
        if name in both.d:
            index = tuple(int(i) for i in torch.unravel_index(both.d[name].abs().argmax(), both.d[name].shape))
            assert both.difference(name, index) == pytest.approx(float(both.d[name][index]), rel=1e-4), name
