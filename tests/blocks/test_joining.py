"""Joining beyond the common checks: ties, NaN, numbers by hand, broadcasting backward, errors."""

import pytest
import torch

from blockprop.blocks import Add, Concat, Div, MatMul, Max, Min
from blockprop.blocks.joining import unbroadcast
from blockprop.errors import ShapeError


@pytest.mark.parametrize("block", [Max(), Min()])
def test_at_a_tie_the_first_takes_all(block: Max) -> None:
    _, saved = block.forward(torch.ones(3), torch.ones(3))
    d_y = torch.tensor([1.0, 2.0, 3.0])
    d_a, d_b = block.propagate(saved, d_y)
    assert torch.equal(d_a, d_y)
    assert torch.equal(d_b, torch.zeros(3))


@pytest.mark.parametrize("block", [Max(), Min()])
def test_nan_wins(block: Max) -> None:
    nan = float("nan")
    y, saved = block.forward(torch.tensor([nan, 1.0, nan]), torch.tensor([1.0, nan, nan]))
    assert y.isnan().all()
    d_a, d_b = block.propagate(saved, torch.tensor([1.0, 2.0, 3.0]))
    assert d_a.tolist() == [1, 0, 3]
    assert d_b.tolist() == [0, 2, 0]


def test_an_infinite_derivative_stays_on_its_side() -> None:
    _, saved = Max().forward(torch.tensor([1.0]), torch.tensor([0.0]))
    d_a, d_b = Max().propagate(saved, torch.tensor([float("inf")]))
    assert (d_a.tolist(), d_b.tolist()) == ([float("inf")], [0])


def test_quotient_by_hand() -> None:
    y, saved = Div().forward(torch.tensor([6.0, 8.0]), torch.tensor(2.0))
    d_a, d_b = Div().propagate(saved, torch.tensor([1.0, 10.0]))
    assert y.tolist() == [3, 4]
    assert d_a.tolist() == [0.5, 5]
    assert d_b.item() == -(3 + 40) / 2


def test_matrix_product_by_hand() -> None:
    a, b, d_y = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]), torch.tensor([[10.0]])
    y, saved = MatMul().forward(a, b)
    d_a, d_b = MatMul().propagate(saved, d_y)
    assert y.tolist() == [[11]]
    assert d_a.tolist() == [[30, 40]]
    assert d_b.tolist() == [[10], [20]]


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 4), (3, 4), (3, 1), (1, 1), (4,), (1,), (), (2, 1, 4), (1, 3, 1)])
def test_unbroadcast_sums_what_expand_repeats(shape: tuple[int, ...]) -> None:
    d = torch.arange(24.0).view(2, 3, 4)
    x = torch.zeros(shape, requires_grad=True)
    x.expand(2, 3, 4).backward(d)
    assert torch.equal(unbroadcast(d, torch.Size(shape)), x.grad)
    assert unbroadcast(d.transpose(0, 2).contiguous().transpose(0, 2), torch.Size(shape)).shape == shape


@pytest.mark.parametrize(
    ("block", "shapes", "says"),
    [
        (Add(), ((2, 3), (2, 4)), r"can be broadcast to one, came \(2, 3\) and \(2, 4\)"),
        (Concat(1), ((2, 3), (3, 3)), r"equal shapes but for axis 1, came \(2, 3\) and \(3, 3\)"),
        (Concat(2), ((2, 3), (2, 3)), "expected an axis 2"),
        (MatMul(), ((2, 3), (2, 3)), r"expected \(..., n, k\) and \(..., k, m\), came \(2, 3\) and \(2, 3\)"),
        (MatMul(), ((3,), (3, 2)), "expected"),
    ],
)
def test_shapes_that_do_not_fit(block: Add, shapes: tuple, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        block(*(torch.zeros(shape) for shape in shapes))
