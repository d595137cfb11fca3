"""Reductions and running sums: ties, zeros, infinities, half precision, errors."""

import math

import pytest
import torch
from torch import Tensor

from blockprop.blocks import CumSum, LogSumExp, MaxOver, MinOver, Norm, Product, Sum, Variance
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


def d_x_of(block: Block, x: Tensor) -> list:
    y, saved = block.forward(x)
    return block.propagate(saved, torch.ones_like(y))[0].tolist()


def test_at_a_tie_the_first_in_the_order_of_rows_gets_the_derivative() -> None:
    x = torch.tensor([[[1.0, 4], [4, 4]], [[4, 1], [1, 4]]])
    assert d_x_of(MaxOver((1, 2)), x) == [[[0, 1], [0, 0]], [[1, 0], [0, 0]]]
    assert d_x_of(MaxOver((2, 1)), x) == [[[0, 1], [0, 0]], [[1, 0], [0, 0]]]
    assert d_x_of(MaxOver((0, 2)), x) == [[[0, 1], [1, 0]], [[0, 0], [0, 0]]]
    assert d_x_of(MinOver((1, 2), keep=True), x) == [[[1, 0], [0, 0]], [[0, 1], [0, 0]]]


def test_nan_is_the_extreme() -> None:
    x = torch.tensor([1.0, math.nan, 3.0])
    for block in (MaxOver(0), MinOver(0)):
        assert block(x).isnan()
        assert d_x_of(block, x) == [0, 1, 0]


def test_the_product_of_the_others_where_there_are_zeros() -> None:
    x = torch.tensor([[2.0, 3, 5], [2, 0, 5], [0, 3, 0]])
    y, saved = Product(1).forward(x)
    assert y.tolist() == [30, 0, 0]
    assert Product(1).propagate(saved, torch.tensor([1.0, 10, 100]))[0].tolist() == [
        [15, 10, 6],
        [0, 100, 0],
        [0, 0, 0],
    ]


def test_sums_and_products_over_no_elements() -> None:
    for block, value in ((Product(1), 1), (Sum(1), 0), (LogSumExp(1), -math.inf), (Norm(1), 0)):
        y, saved = block.forward(torch.ones(2, 0))
        assert y.tolist() == [value] * 2
        assert block.propagate(saved, torch.ones(2))[0].shape == (2, 0)


def test_the_logarithm_of_extreme_sums() -> None:
    x = torch.tensor([[-math.inf, -math.inf], [-math.inf, 3.0], [1000.0, 1000.0]])
    y, saved = LogSumExp(1).forward(x)
    assert y.tolist() == pytest.approx([-math.inf, 3, 1000 + math.log(2)])
    assert LogSumExp(1).propagate(saved, torch.ones(3))[0].flatten().tolist() == pytest.approx(
        [0, 0, 0, 1, 0.5, 0.5], rel=1e-4
    )


def test_a_vector_without_length_gets_no_derivative() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, -4.0], [0.0, -2.0]])
    assert d_x_of(Norm(1), x) == [[0, 0], pytest.approx([0.6, -0.8]), [0, -1]]
    assert d_x_of(Norm(1, order=1), x) == [[0, 0], [1, -1], [0, -1]]


def test_squares_beyond_half_precision() -> None:
    x = torch.tensor([600.0, -600.0] + [0.0] * 98, dtype=torch.float16)
    assert Variance(0, 0)(x).item() == 7200
    assert Norm(0)(x[:1]).item() == 600
    assert Norm(0)(x).dtype == torch.float16


def test_running_sums_by_hand() -> None:
    x = torch.tensor([1.0, 2, 4])
    for exclusive, reverse, y in (
        (False, False, [1, 3, 7]),
        (True, False, [0, 1, 3]),
        (False, True, [7, 6, 4]),
        (True, True, [6, 4, 0]),
    ):
        assert CumSum(0, exclusive, reverse)(x).tolist() == y
        assert d_x_of(CumSum(0, exclusive, reverse), x) == (
            [2, 1, 0]
            if exclusive and not reverse
            else [3, 2, 1]
            if not reverse
            else [0, 1, 2]
            if exclusive
            else [1, 2, 3]
        )
    assert CumSum(1, exclusive=True)(torch.ones(2, 0)).shape == (2, 0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Norm(1, order=3), "order must be 1 or 2, came 3"),
        (lambda: Variance(1, -1), "correction must be at least 0"),
        (lambda: MaxOver(()), "at least one axis"),
    ],
)
def test_settings_that_make_no_sense(make: object, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        make()


@pytest.mark.parametrize(
    ("block", "shape", "says"),
    [
        (MaxOver((0, 1)), (2, 0), r"at least one element along axes \(0, 1\)"),
        (MinOver((1, -1)), (2, 3), "name one axis twice"),
        (Variance((0, 1)), (1, 1), r"more than 1 elements along \(0, 1\), came \(1, 1\)"),
        (CumSum(1), (2,), "expected an axis 1"),
    ],
)
def test_shapes_that_do_not_fit(block: Block, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        block(torch.zeros(shape))
