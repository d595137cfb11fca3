"""A wrong derivative is found whatever its size and however few of its elements are wrong; a right one passes."""

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Conv2d, Div, Flatten, Linear, Log, MaxPool2d, ReLU, Softmax
from blockprop.engine.block import Block
from blockprop.engine.check import CheckReport, check_block, check_network, check_objective
from blockprop.engine.objectives import cross_entropy, mean_squared_error
from blockprop.engine.sequential import Sequential
from tests.engine.mutations import MUTATIONS, Gain, MutatedError
from tests.engine.test_check import Rectifier

SIZES = [10, 2_001, 30_000]
MILLION = pytest.param(10**6, "halved", marks=pytest.mark.slow)
BY_ONE = ["zeroed", "halved", "off by 1 %", "sign"]
each_mutation = pytest.mark.parametrize("mutation", MUTATIONS)
each_method = pytest.mark.parametrize("method", ["propagate", "gradients"])


def away(size: int, seed: int = 0) -> Tensor:
    """Numbers that are not near 0."""
    generator = torch.Generator().manual_seed(seed)
    signs = 2 * torch.randint(0, 2, (size,), generator=generator) - 1
    return signs * (0.2 + torch.rand(size, generator=generator))


def names_it(report: CheckReport, name: str, at: int) -> bool:
    return any(c.name == name and c.index == (at,) for c in report.comparisons)


@each_method
@each_mutation
@pytest.mark.parametrize("size", SIZES)
def test_a_block_with_a_few_wrong_elements_is_wrong(size: int, mutation: str, method: str) -> None:
    for at in (0, size // 3, size - 1):
        report = check_block(Gain(size, method, mutation, at), away(size), seed=at)
        assert not report.passed
        name = {"propagate": "input 0", "gradients": "weight"}[method]
        assert {c.name for c in report.comparisons if c.error > report.tolerance} == {name}
        assert mutation not in BY_ONE or names_it(report, name, at)


@pytest.mark.parametrize("size", SIZES)
def test_the_right_block_of_these_sizes_is_right(size: int) -> None:
    check_block(Gain(size), away(size)).verify()


def test_a_smaller_step_does_not_overrule_a_larger_one_that_sees_more() -> None:
    y = away(1_000)
    y[864] = 2e-4
    report = check_objective(MutatedError("off by 1 %", 864), y, torch.zeros(1_000))
    assert names_it(report, "output", 864)
    assert not report.passed


def test_one_element_among_a_million() -> None:
    report = check_block(Gain(10**6, "propagate", "off by 1 %", 654_321), away(10**6))
    assert names_it(report, "input 0", 654_321)
    assert not report.passed


@pytest.mark.parametrize(("size", "mutation"), [(n, name) for n in (10, 30_000) for name in MUTATIONS] + [MILLION])
def test_an_objective_with_a_few_wrong_elements_is_wrong(size: int, mutation: str) -> None:
    y, target = away(size), torch.zeros(size)
    check_objective(mean_squared_error(), y, target).verify()
    assert not check_objective(MutatedError(mutation, size // 3), y, target).passed


@each_method
@each_mutation
def test_a_network_names_the_wrong_node(mutation: str, method: str) -> None:
    size = 3_000
    wrong = Gain(size, method, mutation, size // 2)
    network = Sequential({"below": Gain(size), "wrong": wrong, "above": Gain(size)})
    report = check_network(network, away(size), objective=mean_squared_error(), target=torch.zeros(size))
    assert not report.passed
    assert "node 'wrong', Gain(" in report.faults[0]
    assert "wrong by itself" in report.faults[0]


class Forgetful(Linear):
    """Forgets one weight's gradient."""

    def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
        d = super().gradients(saved, d_y)
        d["weight"][7, 9] = 0.0
        return d


def test_a_layer_that_forgets_one_weight_is_found_alone_and_in_a_network() -> None:
    torch.manual_seed(0)
    report = check_block(Forgetful(100, 60), torch.randn(5, 100))
    assert "at [7, 9]" in str(report)
    network = Sequential(Forgetful(100, 60), ReLU(), Linear(60, 10))
    report = check_network(network, torch.randn(5, 100), objective=cross_entropy(), target=torch.arange(5))
    assert "node 'forgetful1'" in report.faults[0]
    assert "at [7, 9]" in report.faults[0]


def test_two_wrong_nodes_the_last_is_named() -> None:
    nodes = {"first": Gain(50, "propagate"), "second": Gain(50, "gradients"), "third": Gain(50)}
    report = check_network(Sequential(nodes), away(50), objective=mean_squared_error(), target=torch.zeros(50))
    assert "node 'second'" in report.faults[0]


class OneImageOnly(ReLU):
    """Right for the first picture of a batch alone."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        (d,) = super().propagate(saved, d_y)
        d = d.clone()
        d[1:] *= 1.0 + 1e-4
        return (d,)


class Guided(ReLU):
    """Lets positive errors through alone."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        return super().propagate(saved, d_y.clamp_min(0))


class Stray(ReLU):
    """A thousandth where nothing goes back."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        (d,) = super().propagate(saved, d_y)
        return (torch.where(d == 0, 1e-3, d),)


class NotFinite(ReLU):
    """Infinite in one place."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        (d,) = super().propagate(saved, d_y)
        d = d.clone()
        d.view(-1)[5] = float("inf")
        return (d,)


class Steep(Log):
    """1 % off for the smallest number."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        (d,) = super().propagate(saved, d_y)
        d = d.clone()
        d.view(-1)[int(d.abs().argmax())] *= 1.01
        return (d,)


class Unscaled(Block):
    """y = 3 x with 4 d_y."""

    def forward(self, x: Tensor) -> tuple:
        return 3 * x, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return (4 * d_y,)


@pytest.mark.parametrize(
    ("block", "x"),
    [
        (OneImageOnly(), torch.randn(2, 40, 40)),
        (Guided(), torch.randn(50, 50)),
        (Stray(), torch.randn(50, 50)),
        (NotFinite(), torch.randn(50, 50)),
        (Steep(), torch.logspace(-12, 0, 40)),
        (Rectifier(1.5), torch.zeros(5_000)),
        (Unscaled(), 1e12 * torch.ones(20)),
        (Unscaled(), 1e-12 * torch.ones(20)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_wrong_in_other_ways(block: Block, x: Tensor) -> None:
    assert not check_block(block, x).passed


BLACK = torch.zeros(1, 2, 60, 60)


@pytest.mark.parametrize(
    ("block", "inputs"),
    [
        (ReLU(), (torch.zeros(20_000),)),
        (ReLU(), (torch.randn(100_000),)),
        (MaxPool2d(2), (BLACK,)),
        (MaxPool2d(3, 2), (BLACK,)),
        (MaxPool2d(3, 2), (torch.randn(1, 2, 60, 60).relu(),)),
        (Log(), (torch.logspace(-12, 0, 40),)),
        (Log(), (torch.rand(20_000) + 1e-7,)),
        (Div(), (torch.rand(3_000), torch.logspace(-9, 0, 3_000))),
        (Softmax(), (torch.tensor([[0.0, 1.0, -torch.inf], [2.0, 0.5, 0.1]]),)),
        (Conv2d(3, 8, 3, padding=1), (torch.zeros(2, 3, 12, 12),)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kinks_poles_and_infinities_raise_no_false_alarm(block: Block, inputs: tuple[Tensor, ...]) -> None:
    check_block(block, *inputs).verify()


def test_black_pictures_in_a_network_hide_no_wrong_node() -> None:
    def report(last: Block) -> CheckReport:
        torch.manual_seed(0)
        nodes = {"conv": Conv2d(2, 4, 3), "relu": ReLU(), "pool": MaxPool2d(3, 2), "flat": Flatten(), "y": last}
        network = Sequential(nodes)
        network.parameters["conv.bias"].copy_(torch.tensor([0.1, 0.0, 0.1, 0.0]))
        return check_network(network, BLACK, objective=cross_entropy(), target=torch.tensor([3]))

    report(Linear(3136, 60)).verify()
    assert "node 'y'" in report(Forgetful(3136, 60)).faults[0]
