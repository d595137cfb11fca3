"""Pooling along one and three axes, by norms, and in adaptive windows: ties, order of memory, zeros, errors."""

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import AdaptiveAvgPool3d, AvgPool2d, AvgPool3d, ConvTranspose3d, LpPool1d, LpPool2d, MaxPool3d
from blockprop.errors import SettingError, ShapeError


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_volumes_with_ties_and_nan_are_torchs(seed: int, order: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(seed)
    windows = ((2, 1 + seed % 3, 2), None if seed % 2 else (1, 2, 2), (0, 0, seed % 2), 1 + seed % 2, seed % 4 < 2)
    x = torch.randint(-2, 3, (4, 3, 5, 6, 7), generator=generator).float()
    x[torch.rand(x.shape, generator=generator) < 0.02] = float("nan")
    x = x.contiguous(memory_format=order).requires_grad_()
    theirs = F.max_pool3d(x, *windows)
    d_y = torch.randn(theirs.shape, generator=generator)
    theirs.backward(d_y)
    block = MaxPool3d(*windows)
    y, saved = block.forward(x.detach())
    torch.testing.assert_close(y, theirs.detach(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(block.propagate(saved, d_y)[0], x.grad)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_the_order_of_memory_is_kept(order: torch.memory_format) -> None:
    for block in (MaxPool3d(2), MaxPool3d(3, 2, 1)):
        y, saved = block.forward(torch.randn(2, 8, 6, 6, 6).contiguous(memory_format=order))
        assert y.is_contiguous(memory_format=order)
        assert block.propagate(saved, y)[0].is_contiguous(memory_format=order)


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


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"expected \(n, c, d, h, w\), came \(2, 3, 4, 4\)"):
        MaxPool3d(2)(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ShapeError, match=r"the window of 3 does not fit into \(1, 1, 4, 2, 5\)"):
        AvgPool3d(3)(torch.zeros(1, 1, 4, 2, 5))
    with pytest.raises(ShapeError, match=r"expected \(n, c, d, h, w\) with some places"):
        AdaptiveAvgPool3d(2)(torch.zeros(1, 1, 4, 0, 5))
    with pytest.raises(ShapeError, match=r"expected \(n, 2, d, h, w\)"):
        ConvTranspose3d(2, 2, 2)(torch.zeros(1, 2, 4, 4))
    with pytest.raises(SettingError, match="divisor must not be 0"):
        AvgPool2d(2, divisor=0)
    for order in (0.5, float("inf")):
        with pytest.raises(SettingError, match="order must be a number from 1 on, came"):
            LpPool2d(order, 2)
