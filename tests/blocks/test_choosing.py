"""Conditions, comparisons, orders and types: ties, numbers that are no real numbers, whole networks of them, errors."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import ArgMax, ArgMin, Cast, Compare, Logic, Mul, OneHot, Sort, TopK, Where
from blockprop.engine.block import Block
from blockprop.engine.check import check_block, check_network
from blockprop.engine.network import Network
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.plan import Node
from blockprop.errors import SettingError, ShapeError


class WrongTopK(TopK):
    """Forgets that the derivative goes back to the places that the values came from."""

    def propagate(self, saved: Any, d_output: Any) -> tuple:
        (d_x,) = super().propagate(saved, d_output)
        return (d_x.flip(-1),)


class WrongSort(Sort):
    """Writes over the derivative that it is given."""

    def propagate(self, saved: Any, d_output: Any) -> tuple:
        d_x = super().propagate(saved, d_output)
        d_output[0].zero_()
        return d_x


class ValuesAndSigns(Block):
    """|x| and 2 x, with the booleans between them; treats None as ones."""

    output_count = 3

    def forward(self, x: Tensor) -> tuple:
        return (x.abs(), x > 0, 2 * x), x

    def propagate(self, saved: Any, d_output: Any) -> tuple:
        first, _, last = (torch.ones_like(saved) if d is None else d for d in d_output)
        return (first * saved.sign() + 2 * last,)


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        (WrongTopK(2), "input 0: error"),
        (WrongSort(), "changes the d_output"),
        (ValuesAndSigns(), "treats None for output 0 in another way than zeros"),
    ],
)
def test_the_checker_sees_errors_beside_outputs_that_nothing_comes_back_from(block: Block, fault: str) -> None:
    report = check_block(block, torch.tensor([[0.3, -1.0, 2.0, 0.7]]))
    assert not report.passed
    assert fault in str(report)


def test_a_leaky_relu_out_of_conditions() -> None:
    network = Network(
        [
            Node("positive", Compare("greater", 0.0), ("x",)),
            Node("small", Mul(), ("x", "slope")),
            Node("y", Where(), ("positive", "x", "small")),
        ],
        inputs=("x", "slope"),
    )
    x, slope = torch.tensor([-2.0, 3.0]), torch.tensor(0.1)
    trace = network.forward(x, slope)
    found = network.backward(trace, torch.tensor([1.0, 10.0]), wrt="inputs")
    assert trace.output.tolist() == pytest.approx([-0.2, 3])
    assert found["x"].tolist() == pytest.approx([0.1, 10])
    assert found["slope"].tolist() == pytest.approx(-2)
    check_network(network, x, slope, objective=mean_squared_error(), target=torch.ones(2), wrt="inputs").verify()


def test_nothing_leaks_out_of_the_branch_not_taken() -> None:
    _, saved = Where().forward(torch.tensor([True, False]), torch.ones(2), torch.ones(2))
    _, d_a, d_b = Where().propagate(saved, torch.tensor([math.inf, math.nan]))
    assert d_a.tolist() == [math.inf, 0]
    assert d_b[0] == 0
    assert d_b[1].isnan()


def test_derivatives_have_the_type_of_what_they_belong_to() -> None:
    a, b = torch.ones(2, dtype=torch.float32), torch.ones((), dtype=torch.float64)
    y, saved = Where().forward(torch.tensor([True, False]), a, b[None])
    _, d_a, d_b = Where().propagate(saved, torch.ones_like(y))
    assert (d_a.dtype, d_b.dtype) == (torch.float32, torch.float64)
    for block, expected in ((Cast("float32"), torch.float64), (Cast("bfloat16"), torch.float64)):
        y, saved = block.forward(b)
        assert y.dtype == getattr(torch, block.dtype)
        assert block.propagate(saved, y)[0].dtype == expected
    for block, x in ((Cast("int8"), b), (Cast("float32"), torch.ones(2, dtype=torch.int64))):
        y, saved = block.forward(x)
        assert block.propagate(saved, y) == (None,)


def test_ties() -> None:
    x = torch.tensor([[2, 5, 5, 1, 1]])
    assert ArgMax(1)(x).tolist() == [1]
    assert ArgMax(1, last=True)(x).tolist() == [2]
    assert ArgMin(-1, keep=True)(x).tolist() == [[3]]
    assert ArgMin(-1, keep=True, last=True)(x).tolist() == [[4]]
    assert Sort()(x)[1].tolist() == [[3, 4, 0, 1, 2]]
    assert Sort(descending=True)(x)[1].tolist() == [[1, 2, 0, 3, 4]]


def test_the_largest_in_any_order() -> None:
    (values, places), saved = TopK(2, sorted=False).forward(torch.tensor([3.0, 1.0, 4.0, 2.0]))
    assert sorted(values.tolist()) == [3, 4]
    assert TopK(2, sorted=False).propagate(saved, (values, None))[0].tolist() == [3, 0, 4, 0]
    assert sorted(places.tolist()) == [0, 2]


def test_one_hot_rows_of_numbers_outside_are_off() -> None:
    y = OneHot(3, on=5, off=-1)(torch.tensor([0, -1, 3, -4]))
    assert y.dtype == torch.float32
    assert y.tolist() == [[5, -1, -1], [-1, -1, 5], [-1, -1, -1], [-1, -1, -1]]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Compare("lt"), "operator must be one of less, less_equal, .* came 'lt'"),
        (lambda: Logic("nand"), "operator must be one of and, or, xor, not, came 'nand'"),
        (lambda: Cast("complex64"), "dtype must be one of float16, .*bool, came 'complex64'"),
        (lambda: TopK(-1), "count must be at least 0"),
        (lambda: OneHot(0), "depth must be at least 1"),
    ],
)
def test_settings_that_make_no_sense(make: object, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        make()


@pytest.mark.parametrize(
    ("block", "inputs", "says"),
    [
        (Where(), (torch.ones(2), torch.ones(2), torch.ones(2)), "condition of booleans, came torch.float32"),
        (Where(), (torch.ones(2) > 0, torch.ones(2), torch.ones(3)), "broadcast"),
        (Compare("less"), (torch.ones(2),), r"Compare\('less'\) expected 2 inputs, came 1"),
        (Compare("less", 0.0), (torch.ones(2), torch.ones(2)), "expected 1 inputs, came 2"),
        (Logic("not"), (torch.ones(2) > 0, torch.ones(2) > 0), "expected 1 inputs, came 2"),
        (Logic("and"), (torch.ones(2) > 0, torch.ones(3) > 0), "broadcast"),
        (Logic("and"), (torch.ones(2) > 0, torch.ones(2)), "booleans or integers, came torch.float32"),
        (TopK(3), (torch.ones(2),), "at least 3 elements along axis -1"),
        (ArgMax(0), (torch.ones(0, 2),), "at least one element along axis 0"),
        (OneHot(3, axis=2), (torch.tensor([1]),), "at axis 2"),
    ],
)
def test_inputs_that_do_not_fit(block: Block, inputs: tuple[Tensor, ...], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        block(*inputs)
