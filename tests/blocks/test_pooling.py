"""Pooling by averages beyond the common checks: numbers by hand, errors."""

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import AvgPool2d, AvgPool3d, LpPool1d, LpPool2d
from blockprop.errors import SettingError, ShapeError


def test_averages_by_hand() -> None:
    """kernel 3, stride 2, padding 1: the first window lies by one column and one row in the padding."""
    x, d_y = torch.ones(1, 1, 3, 3), torch.tensor([[[[9.0, 0.0], [0.0, 18.0]]]])
    block = AvgPool2d(3, 2, 1)
    y, saved = block.forward(x)
    torch.testing.assert_close(y, torch.full((1, 1, 2, 2), 4 / 9))
    assert block.propagate(saved, d_y)[0].tolist() == [[[[1, 1, 0], [1, 3, 2], [0, 2, 2]]]]
    block = AvgPool2d(3, 2, 1, count_include_pad=False)
    y, saved = block.forward(x)
    torch.testing.assert_close(y, torch.ones(1, 1, 2, 2))
    assert block.propagate(saved, d_y)[0].tolist() == [[[[2.25, 2.25, 0], [2.25, 6.75, 4.5], [0, 4.5, 4.5]]]]


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"the window of 3 does not fit into \(1, 1, 2, 5\)"):
        AvgPool2d(3)(torch.zeros(1, 1, 2, 5))
    with pytest.raises(ShapeError, match=r"the window of 3 does not fit into \(1, 1, 4, 2, 5\)"):
        AvgPool3d(3)(torch.zeros(1, 1, 4, 2, 5))
    with pytest.raises(SettingError, match="divisor must not be 0"):
        AvgPool2d(2, divisor=0)
    for order in (0.5, float("inf")):
        with pytest.raises(SettingError, match="order must be a number from 1 on, came"):
            LpPool2d(order, 2)


def test_a_divisor_stands_for_every_count() -> None:
    x, d_y = torch.ones(1, 1, 3, 3), torch.tensor([[[[2.0, 0.0], [0.0, 4.0]]]])
    y, saved = AvgPool2d(3, 2, 1, divisor=2).forward(x)
    assert y.tolist() == [[[[2, 2], [2, 2]]]]
    assert AvgPool2d(3, 2, 1, divisor=2).propagate(saved, d_y)[0].tolist() == [[[[1, 1, 0], [1, 3, 2], [0, 2, 2]]]]


def test_norms_of_windows_by_hand() -> None:
    block = LpPool1d(2, 2)
    y, saved = block.forward(torch.tensor([[[3.0, -4.0, 0.0, 0.0, 5.0, 0.0]]]))
    assert y.tolist() == [[[5, 0, 5]]]
    d_x = block.propagate(saved, torch.tensor([[[10.0, 7.0, 2.0]]]))[0]
    torch.testing.assert_close(d_x, torch.tensor([[[6.0, -8, 0, 0, 2, 0]]]))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_window_of_zeros_has_no_derivative(order: int) -> None:
    y, saved = LpPool2d(order, 2).forward(torch.zeros(1, 1, 2, 4))
    d_x = LpPool2d(order, 2).propagate(saved, torch.ones_like(y))[0]
    assert torch.equal(d_x, torch.zeros(1, 1, 2, 4))


def test_even_norms_are_torchs() -> None:
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(LpPool2d(4, 3, 2)(x), F.lp_pool2d(x, 4, 3, 2), rtol=1e-12, atol=1e-12)
