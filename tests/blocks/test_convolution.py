"""Convolutions beyond the common checks: numbers by hand, the plain weight gradient, errors."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Conv1d, Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from blockprop.errors import SettingError, ShapeError

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
BLOCKS = {1: Conv1d, 2: Conv2d, 3: Conv3d}


def plain_weight_gradient(block: Conv2d, x: Tensor, d_y: Tensor) -> Tensor:
    """The convolution of x with d_y: batch and channels exchanged, stride and dilation, too, cropped to the kernel."""
    x_groups, d_groups = x.chunk(block.groups, 1), d_y.chunk(block.groups, 1)
    convolve = CONVOLVE[x.dim() - 2]
    parts = [
        convolve(a.transpose(0, 1), d.transpose(0, 1), None, block.dilation, block.padding, block.stride).transpose(
            0, 1
        )
        for a, d in zip(x_groups, d_groups, strict=True)
    ]
    # The left-over places, which the stride did not reach, would make a larger kernel.
    crop = tuple(slice(0, size) for size in block.weight.shape[2:])
    return torch.cat(parts)[(..., *crop)]


@pytest.mark.parametrize("seed", range(40))
def test_the_weight_gradient_is_the_convolution_of_x_with_d_y(seed: int) -> None:
    draw = random.Random(seed)
    torch.manual_seed(seed)
    axes, groups = draw.choice([1, 2, 2, 3]), draw.choice([1, 1, 2, 3])
    kernel, stride, padding, dilation = (
        tuple(draw.randint(low, high) for _ in range(axes)) for low, high in ((1, 3), (1, 3), (0, 2), (1, 2))
    )
    channels_in, channels_out = groups * draw.randint(1, 2), groups * draw.randint(1, 2)
    block = BLOCKS[axes](channels_in, channels_out, kernel, stride, padding, dilation, groups)
    block.weight, block.bias = block.weight.double(), block.bias.double()
    x = torch.randn(draw.randint(1, 3), channels_in, *(draw.randint(5, 8) for _ in range(axes)), dtype=torch.float64)
    y, saved = block.forward(x)
    d_y = torch.randn_like(y)
    gradients = block.gradients(saved, d_y)
    # Sums of at most a few thousand products in another order: float64 leaves 1e-12.
    torch.testing.assert_close(gradients["weight"], plain_weight_gradient(block, x, d_y), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients["bias"], d_y.transpose(0, 1).flatten(1).sum(1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_propagation_is_the_adjoint_of_the_convolution(seed: int) -> None:
    """⟨d_y, W x⟩ = ⟨Wᵀ d_y, x⟩, for the transposed convolution, too, whatever the output padding."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    stride, dilation = draw.randint(1, 3), draw.randint(1, 3)
    extra = draw.randrange(max(stride, dilation))
    block = draw.choice(
        [
            Conv2d(2, 4, draw.randint(1, 3), stride, draw.randint(0, 2), dilation, 2, False),
            ConvTranspose2d(2, 4, draw.randint(2, 3), stride, draw.randint(0, 1), extra, 2, False, dilation),
        ]
    )
    block.weight = block.weight.double()
    x = torch.randn(2, 2, draw.randint(7, 9), 8, dtype=torch.float64)
    y, saved = block.forward(x)
    d_y = torch.randn_like(y)
    torch.testing.assert_close((d_y * y).sum(), (block.propagate(saved, d_y)[0] * x).sum(), rtol=1e-11, atol=1e-11)


def test_by_hand() -> None:
    block = Conv1d(1, 1, 2, stride=2)
    block.weight, block.bias = torch.tensor([[[2.0, -1.0]]]), torch.tensor([0.5])
    y, saved = block.forward(torch.tensor([[[1.0, 2.0, 3.0, 4.0, 9.0]]]))  # the 9 is left over
    d_y = torch.tensor([[[1.0, 10.0]]])
    assert torch.equal(y, torch.tensor([[[0.5, 2.5]]]))
    assert torch.equal(block.propagate(saved, d_y)[0], torch.tensor([[[2.0, -1.0, 20.0, -10.0, 0.0]]]))
    gradients = block.gradients(saved, d_y)
    assert torch.equal(gradients["weight"], torch.tensor([[[31.0, 42.0]]]))
    assert torch.equal(gradients["bias"], torch.tensor([11.0]))


def test_channels_last_stays_channels_last() -> None:
    block = Conv2d(8, 8, 3, padding=1)
    y, saved = block.forward(torch.randn(2, 8, 6, 6).contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert block.propagate(saved, y)[0].is_contiguous(memory_format=torch.channels_last)


def test_settings_are_kept_as_given() -> None:
    assert repr(Conv2d(2, 4, [3, 2], padding=[1, 0])) == "Conv2d(2, 4, (3, 2), padding=(1, 0))"
    assert repr(ConvTranspose2d(2, 4, 3, 2)) == "ConvTranspose2d(2, 4, 3, stride=2)"


def test_weights_start_with_the_variance_of_he() -> None:
    torch.manual_seed(0)
    block = Conv2d(32, 64, 3, groups=2)
    assert float(block.weight.var()) == pytest.approx(2 / (16 * 9), rel=0.05)
    assert float(block.bias.abs().sum()) == 0


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((2, 4, 5, 5), r"expected \(n, 3, h, w\), came \(2, 4, 5, 5\)"),
        ((3, 5, 5), r"expected \(n, 3, h, w\), came \(3, 5, 5\)"),
        ((2, 3, 5, 1), r"expected at least 2 places for the kernel, came \(2, 3, 5, 1\)"),
    ],
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        Conv2d(3, 4, (3, 2))(torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Conv2d(3, 4, 0), "kernel must be a whole number of at least 1, or 2 of them, came 0"),
        (lambda: Conv2d(3, 4, (3, 3, 3)), "kernel must be"),
        (lambda: Conv2d(3, 4, 3, stride=0), "stride must be"),
        (lambda: Conv2d(3, 4, 3, padding=-1), "padding must be a whole number of at least 0"),
        (lambda: Conv2d(3, 4, 3, padding="same"), "padding must be"),
        (lambda: Conv2d(3, 4, 3, groups=2), "groups must divide both numbers of channels, came 2 for 3 → 4"),
        (lambda: Conv2d(0, 4, 3), "at least 1"),
        (lambda: ConvTranspose2d(3, 4, 3, stride=2, output_padding=2), "output_padding must be below stride"),
    ],
)
def test_settings_that_make_no_sense(make: object, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        make()


def test_a_padding_that_leaves_nothing() -> None:
    with pytest.raises(ShapeError, match="leaves nothing"):
        ConvTranspose2d(1, 1, 2, padding=2)(torch.zeros(1, 1, 2, 2))


def test_a_volume_needs_three_axes() -> None:
    with pytest.raises(ShapeError, match=r"expected \(n, 2, d, h, w\)"):
        ConvTranspose3d(2, 2, 2)(torch.zeros(1, 2, 4, 4))
