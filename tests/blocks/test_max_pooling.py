"""Max pooling beyond the common checks: ties, NaN, numbers by hand, the fast way against torch's, errors."""

import random
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import (
    AdaptiveMaxPool2d,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from blockprop.blocks.max_pooling import _pool_in_lanes
from blockprop.errors import SettingError, ShapeError


def test_at_a_tie_the_first_of_the_window_takes_all() -> None:
    for block, expected in (
        (MaxPool2d(2), [[1.0, 0, 2, 0], [0, 0, 0, 0]]),
        (MaxPool2d((1, 2)), [[1.0, 0, 2, 0], [3, 0, 4, 0]]),
        (MaxPool2d((2, 3), 1), [[1.0, 2, 0, 0], [0, 0, 0, 0]]),
        (AdaptiveMaxPool2d(1), [[1.0, 0, 0, 0], [0, 0, 0, 0]]),
    ):
        y, saved = block.forward(torch.zeros(1, 1, 2, 4))
        d_y = torch.arange(1.0, y.numel() + 1).view(y.shape)
        assert torch.equal(block.propagate(saved, d_y)[0], torch.tensor([[expected]])), block
    block = GlobalMaxPool()
    _, saved = block.forward(torch.zeros(1, 1, 2, 2))
    assert block.propagate(saved, torch.tensor([[5.0]]))[0].tolist() == [[[[5, 0], [0, 0]]]]


def test_first_means_row_by_row() -> None:
    """The right of the upper row comes before the left of the lower one."""
    block = MaxPool2d(2)
    _, saved = block.forward(torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]))
    assert block.propagate(saved, torch.ones(1, 1, 1, 1))[0].tolist() == [[[[0, 1], [0, 0]]]]


def test_windows_that_share_their_maximum_add_up() -> None:
    block = MaxPool1d(2, 1)
    y, saved = block.forward(torch.tensor([[[1.0, 5.0, 2.0]]]))
    assert y.tolist() == [[[5, 5]]]
    assert block.propagate(saved, torch.tensor([[[3.0, 4.0]]]))[0].tolist() == [[[0, 7, 0]]]


@pytest.mark.parametrize("seed", range(40))
def test_the_fast_way_is_torchs_with_ties_and_nan(seed: int) -> None:
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    size = (draw.choice([1, 2, 3, 4, 8, 16]), draw.choice([1, 2, 6, 17]), draw.randint(5, 9), draw.randint(5, 9))
    kernel = (draw.randint(1, 3), draw.randint(1, 3))
    stride = kernel if seed % 2 else (draw.randint(1, 3), draw.randint(1, 3))
    padding, dilation = (draw.randint(0, kernel[0] // 2), 0), draw.choice([1, 1, 2])
    windows = (kernel, stride, padding, dilation, draw.random() < 0.5)
    x = torch.randint(-2, 3, size, generator=generator).float()
    x[torch.rand(size, generator=generator) < 0.05] = float("nan")
    x[torch.rand(size, generator=generator) < 0.05] = -float("inf")
    theirs, their_winners = F.max_pool2d(x, *windows, return_indices=True)
    y, winners = _pool_in_lanes(x, *windows)
    torch.testing.assert_close(y, theirs, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(winners.long(), their_winners)
    assert y.is_contiguous()
    block = MaxPool2d(*windows)
    d_y = torch.randn(y.shape, generator=generator)
    x.requires_grad_()
    F.max_pool2d(x, *windows).backward(d_y)
    _, saved = block.forward(x.detach())
    torch.testing.assert_close(block.propagate(saved, d_y)[0], x.grad)


def test_winners_are_saved_in_few_bytes() -> None:
    for size, bytes_each in ((100, 2), (200, 4)):
        _, (winners, _) = MaxPool2d(2).forward(torch.randn(1, 2, size, size))
        assert winners.element_size() == bytes_each
    x = torch.zeros(1, 1, 182, 182)  # the last place of all is beyond 16 bits
    x[..., -1, -1] = 1
    _, saved = MaxPool2d(2).forward(x)
    assert MaxPool2d(2).propagate(saved, torch.ones(1, 1, 91, 91))[0][0, 0, -1, -1] == 1


@pytest.mark.parametrize("block", [MaxPool2d(2), MaxPool2d(3, 2, 1)])
def test_the_order_of_memory_is_kept(block: MaxPool2d) -> None:
    x = torch.randn(2, 8, 8, 8)
    y, saved = block.forward(x)
    d_x = block.propagate(saved, y)[0]
    assert y.is_contiguous()
    assert d_x.is_contiguous()
    y, saved = block.forward(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    d_x_last = block.propagate(saved, y)[0]
    assert d_x_last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(d_x_last, d_x)


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"expected \(n, c, h, w\), came \(2, 3, 4\)"):
        MaxPool2d(2)(torch.zeros(2, 3, 4))
    with pytest.raises(SettingError, match="padding must be at most half of the window, came 2 for a kernel of 3"):
        MaxPool2d(3, padding=2)
    with pytest.raises(SettingError, match="output_size must be a whole number of at least 1"):
        AdaptiveMaxPool2d(0)
    with pytest.raises(ShapeError, match=r"expected \(n, c, d, h, w\), came \(2, 3, 4, 4\)"):
        MaxPool3d(2)(torch.zeros(2, 3, 4, 4))


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
def test_the_order_of_memory_of_volumes_is_kept(order: torch.memory_format) -> None:
    for block in (MaxPool3d(2), MaxPool3d(3, 2, 1)):
        y, saved = block.forward(torch.randn(2, 8, 6, 6, 6).contiguous(memory_format=order))
        assert y.is_contiguous(memory_format=order)
        assert block.propagate(saved, y)[0].is_contiguous(memory_format=order)


@pytest.mark.parametrize("block", [MaxPool1d, MaxPool2d, MaxPool3d])
def test_a_window_in_the_padding_alone_is_refused(block: type[MaxPool1d | MaxPool2d | MaxPool3d]) -> None:
    """torch names a place outside of the picture for its maximum, and its backward pass then writes there."""
    pool, sides = block(2, 1, 1, 2), (1,) * block.axes  # places −1 and 1
    with pytest.raises(ShapeError, match="has no place in"):
        pool(torch.zeros(1, 1, *sides))
    assert pool(torch.zeros(1, 1, *(2,) * block.axes)).shape == (1, 1, *(2,) * block.axes)


@pytest.mark.parametrize("block", [MaxPool1d, MaxPool2d, MaxPool3d])
def test_maxima_stand_in_the_picture(block: type[MaxPool1d | MaxPool2d | MaxPool3d]) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        kernel, stride, dilation, side = (int(torch.randint(1, high, (), generator=generator)) for high in (5, 4, 5, 8))
        padding = int(torch.randint(0, kernel // 2 + 1, (), generator=generator))
        x = torch.rand(1, 1, *(side,) * block.axes, generator=generator)
        with suppress(ShapeError):
            _, (winners, _) = block(kernel, stride, padding, dilation, side % 2 == 0).forward(x)
            assert int(winners.min()) >= 0
            assert int(winners.max()) < x.numel()
