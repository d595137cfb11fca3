"""The checker itself, on right derivatives, on wrong ones, and at kinks."""

import pytest
import torch
from torch import Tensor

from blockprop.blocks import (
    Add,
    BatchNorm1d,
    Dropout,
    LayerNorm,
    Linear,
    Log,
    LogSoftmax,
    Pow,
    Softmax,
    Sqrt,
    Sub,
)
from blockprop.engine.block import Block
from blockprop.engine.check import check_block, check_network, check_objective
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy, mean_squared_error
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import GradientError, SettingError
from blockprop.networks.build import build_network


class Scaled(Linear):
    """A thousandth too large."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        return (super().propagate(saved, d_y)[0] * 1.001,)


class Transposed(Linear):
    """d_y weightᵀ in place of d_y weight (square weights hide it from a check of shapes)."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        return (d_y @ self.weight.t(),)


class NoBiasSum(Linear):
    """The bias gradient of the first row in place of the sum over rows."""

    def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
        return super().gradients(saved, d_y) | {"bias": d_y[0]}


class OneElement(Linear):
    """A single element wrong by a hundredth."""

    def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
        d = super().gradients(saved, d_y)
        d["weight"][2, 1] *= 1.01
        return d


class Rectifier(Block):
    """max(x, 0) with derivative `at_zero` at the kink."""

    def __init__(self, at_zero: float = 0.0) -> None:
        self.at_zero = at_zero

    def forward(self, x: Tensor) -> tuple:
        return x.clamp_min(0), x

    def propagate(self, x: Tensor, d_y: Tensor) -> tuple:
        return (torch.where(x > 0, d_y, torch.where(x == 0, self.at_zero * d_y, 0.0)),)


class Plus(Block):
    """y = a + b."""

    def forward(self, a: Tensor, b: Tensor) -> tuple:
        return a + b, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return d_y, d_y


class Fork(Block):
    """x as two outputs; `forgets` leaves the second path's error out of the sum."""

    output_count = 2

    def __init__(self, forgets: bool = False) -> None:
        self.forgets = forgets

    def forward(self, x: Tensor) -> tuple:
        return (x, 3 * x), None

    def propagate(self, saved: None, d_y: tuple) -> tuple:
        first, second = (torch.zeros(()) if d is None else d for d in d_y)
        return (first + 0 * second if self.forgets else first + 3 * second,)


def x(*shape: int) -> Tensor:
    return torch.randn(*shape)


def test_a_right_block_passes() -> None:
    report = check_block(Linear(4, 4), x(5, 4)).verify()
    assert report.passed
    assert report.error < 1e-8
    assert {c.name for c in report.comparisons} == {"input 0", "weight", "bias"}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", [Scaled, Transposed, NoBiasSum, OneElement])
def test_wrong_derivatives_are_found(kind: type[Block], seed: int) -> None:
    torch.manual_seed(seed)
    with pytest.raises(GradientError, match="WRONG"):
        check_block(kind(4, 4), x(5, 4), seed=seed).verify()


def test_the_worst_element_is_named_with_both_numbers() -> None:
    report = check_block(OneElement(4, 4), x(5, 4))
    worst = report.worst
    assert worst is not None
    assert (worst.name, worst.index) == ("weight", (2, 1))
    assert worst.explicit == pytest.approx(1.01 * worst.numeric, rel=1e-6)
    assert "weight: error" in str(report)
    assert "at [2, 1]" in str(report)


def test_a_block_with_two_outputs_is_checked_along_both() -> None:
    check_block(Fork(), x(3, 2)).verify()
    assert not check_block(Fork(forgets=True), x(3, 2)).passed


def test_near_a_kink_a_smaller_step_decides() -> None:
    near = torch.tensor([3e-7, -2e-7, 1.0, -1.0], dtype=torch.float64)
    check_block(Rectifier(), near).verify()


@pytest.mark.parametrize("at_zero", [0.0, 0.3, 1.0])
def test_at_a_kink_any_value_between_the_slopes_is_right_and_is_counted(at_zero: float) -> None:
    report = check_block(Rectifier(at_zero), torch.tensor([0.0, 1.0, -1.0, 0.0])).verify()
    assert report.comparisons[0].kinks == 2


def test_at_a_kink_a_value_outside_the_slopes_is_wrong() -> None:
    assert not check_block(Rectifier(1.5), torch.tensor([0.0, 1.0])).passed


def test_a_large_rectifier_does_not_fail_by_chance() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        check_block(Rectifier(), x(10_000), seed=seed).verify()


def test_a_not_finite_derivative_is_an_infinite_error() -> None:
    class Broken(Rectifier):
        def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
            return (d_y / 0,)

    assert check_block(Broken(), x(3)).error == float("inf")


def test_the_block_itself_is_not_touched() -> None:
    block = Linear(4, 4)
    before = block.weight.clone()
    check_block(block, x(5, 4))
    assert block.weight.dtype == torch.float32
    assert torch.equal(block.weight, before)


class Half(mean_squared_error):
    """Half the derivative that it should have."""

    def of(self, y: Tensor, target: Tensor) -> tuple:
        value, seed = super().of(y, target)
        return value, seed / 2


def test_objectives_right_and_wrong() -> None:
    target = torch.tensor([0, 2, 1])
    assert check_objective(cross_entropy(), x(3, 4), target).verify().error < 1e-7
    assert not check_objective(Half(), x(3, 4), x(3, 4)).passed


def test_a_network_parameter_by_parameter_and_its_input() -> None:
    network = Sequential(Linear(4, 6), Rectifier(), Linear(6, 3))
    report = check_network(network, x(5, 4), objective=cross_entropy(), target=torch.tensor([0, 1, 2, 0, 1])).verify()
    names = {c.name for c in report.comparisons}
    assert names == {"linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias", "x"}
    whole = check_network(
        network, x(5, 4), objective=mean_squared_error(), target=x(5, 3), wrt="parameters", every_element=True
    ).verify()
    assert sum(c.elements for c in whole.comparisons) == sum(p.numel() for p in network.parameters.values())


def test_a_network_with_one_wrong_block_names_what_lies_below_it() -> None:
    network = Sequential(Linear(4, 4), Scaled(4, 4), Linear(4, 2))
    report = check_network(network, x(5, 4), objective=mean_squared_error(), target=x(5, 2))
    wrong = {c.name for c in report.comparisons if c.error > report.tolerance}
    assert wrong == {"x", "linear1.weight", "linear1.bias"}
    with pytest.raises(GradientError):
        report.verify()


def test_a_fork_whose_sum_is_missing_is_found() -> None:
    class Forgetting(Network):
        def sweep(self, *args: object, **kwargs: object) -> object:
            return ((name, d / 2 if name == "fc.weight" else d) for name, d in super().sweep(*args, **kwargs))

    shared = Linear(4, 4)
    nodes = [Node("fc", shared, ("x",)), Node("again", shared, ("fc",)), Node("sum", Plus(), ("fc", "again"))]
    target = x(5, 4)
    assert check_network(Network(nodes), x(5, 4), objective=mean_squared_error(), target=target).passed
    assert not check_network(Forgetting(nodes), x(5, 4), objective=mean_squared_error(), target=target).passed


def test_many_kinks_at_one_point_of_a_network_are_no_error() -> None:
    """The black border of pictures: y = relu(x) − relu(−x) is smooth at 0, though both its parts have a kink there."""
    nodes = [Node("plus", Rectifier(), ("x",)), Node("minus", Linear(3, 3, with_bias=False), ("x",))]
    nodes += [Node("bent", Rectifier(), ("minus",)), Node("y", Sub(), ("plus", "bent"))]
    network = Network(nodes)
    network.parameters["minus.weight"].copy_(-torch.eye(3))
    told: list[str] = []
    report = check_network(
        network, torch.zeros(2, 3), objective=mean_squared_error(), target=torch.ones(2, 3), progress=told.append
    )
    assert report.passed, str(report)
    assert any(c.moved for c in report.comparisons)
    assert told == ["minus.weight", "x"]  # each once, though what seemed wrong was looked at again
    check_network(
        build_network("cnn", (1, 8, 8), 3),
        torch.zeros(2, 1, 8, 8),
        objective=cross_entropy(),
        target=torch.tensor([0, 1]),
    ).verify()


@pytest.mark.parametrize(
    "block", [BatchNorm1d(4), Softmax(), LogSoftmax(), LayerNorm(4), Log(), Sqrt(), Pow(-0.7)], ids=repr
)
@pytest.mark.parametrize("size", [1e-7, 1.0, 1e5])
def test_large_and_small_inputs_raise_no_false_alarm(block: Block, size: float) -> None:
    check_block(block, size * (1 + torch.rand(5, 4)), training=True).verify()


@pytest.mark.parametrize("factor", [1.001, 2.0])
def test_small_errors_behind_large_outputs_are_found(factor: float) -> None:
    class Off(Linear):
        def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
            return {name: factor * d for name, d in super().gradients(saved, d_y).items()}

    block = Off(4, 4)
    block.bias.fill_(1e3)
    assert not check_block(block, x(5, 4)).passed


def test_what_is_too_small_to_check_says_so() -> None:
    assert "too small to see errors" in str(check_objective(1e-9 * mean_squared_error(), x(3, 4), x(3, 4)))


@pytest.mark.parametrize(
    ("block", "count", "said"),
    [
        (Linear(3, 2), 0, "Linear takes the inputs x, and 0 came: give each, as in"),
        (Linear(3, 2), 2, "Linear takes the inputs x, and 2 came"),
        (Sub(), 1, "Sub takes the inputs a, b, and 1 came"),
        (Dropout(), 2, "Dropout takes the inputs x, and 2 came"),
    ],
    ids=str,
)
def test_another_number_of_inputs_is_no_fault_of_the_block(block: Block, count: int, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        check_block(block, *[torch.ones(4, 3)] * count)


def test_a_sum_with_minus_infinity_does_not_move_and_is_right() -> None:
    """As masks have it: what is added to −∞ has no part in what follows."""
    mask = torch.zeros(3, 3, dtype=torch.float64).masked_fill_(torch.ones(3, 3).triu(1).bool(), -torch.inf)
    nodes = [Node("masked", Add(), ("x", "mask")), Node("shares", Softmax(), ("masked",))]
    network = Network(nodes, ("x", "mask"))
    x = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = mean_squared_error("shares")
    check_network(network, x, mask, objective=objective, target=torch.zeros(3, 3), wrt=["x"]).verify()
