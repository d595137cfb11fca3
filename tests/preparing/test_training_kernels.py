"""Kernels in C for weights that change: each against its formula in float64, in every instruction set here."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import Conv2d
from blockprop.native.program import Address
from blockprop.preparing.native.convolutions import NativeConvolution
from blockprop.preparing.native.kernels import Kernels, kernels
from blockprop.preparing.native.writing import OTHERS, OpWriter
from tests.preparing.test_kernels import laid_out, native, outside, random, run

__all__ = ["native"]
pytestmark = pytest.mark.skipif(kernels() is None, reason="no kernels in C here")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("shape", "padding"),
    [
        ((2, 16, 14, 13, 64), 1),
        ((1, 40, 12, 9, 70), 0),
        ((3, 24, 5, 6, 17), 2),
        ((1, 17, 3, 3, 16), 1),
        ((9, 48, 32, 33, 50), 1),  # several blocks of tiles
    ],
    ids=str,
)
def test_the_gradient_of_a_convolution(native: Kernels, shape: tuple[int, ...], padding: int, threads: int) -> None:
    """d_weight[o, i, k] = the sum over examples and places p of  d_y[o, p] x[i, p + k - padding]."""
    n, c, h, w, out = shape
    convolution = Conv2d(c, out, 3, padding=padding)
    made = NativeConvolution(convolution, convolution.weight, convolution.bias, native.width)
    x, d_y = random(n, c, h, w), random(n, out, h + 2 * padding - 2, w + 2 * padding - 2)
    weight = convolution.weight.double().requires_grad_()
    (expected,) = torch.autograd.grad(F.conv2d(x.double(), weight, None, 1, padding), weight, d_y.double())
    writer = OpWriter(native.width, 3)
    made.write_gradient(writer, outside(0, x), outside(1, d_y), Address(OTHERS + 2, 0))
    d_weight = torch.full_like(convolution.weight, torch.nan)
    run(native, native.program(writer, threads), torch.zeros(1), laid_out(x), laid_out(d_y), d_weight, threads=threads)
    assert (d_weight - expected).norm() < 4e-6 * expected.norm()
    torch.testing.assert_close(d_weight.double(), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_panels_are_laid_out_again_when_weights_change(native: Kernels) -> None:
    for inner, outer, kernel in ((16, 16, 3), (37, 70, 3), (5, 33, (3, 2)), (64, 32, 1)):
        convolution = Conv2d(inner, outer, kernel)
        convolution.bias = random(outer)
        weight = convolution.weight
        changed, fresh = (NativeConvolution(convolution, weight, convolution.bias, native.width) for _ in range(2))
        _write_both(changed, native, inner, outer)
        weight.copy_(random(*weight.shape))
        convolution.bias.add_(1)
        stale = {name: panels.clone() for name, panels in changed._panels.items()}
        changed.renew(native)
        _write_both(fresh, native, inner, outer)
        assert changed._panels.keys() == fresh._panels.keys() == {"bias", "forth", "back"} or inner <= 16
        for name, panels in fresh._panels.items():
            assert torch.equal(changed._panels[name], panels), name
            assert not torch.equal(stale[name], panels)


def _write_both(made: NativeConvolution, native: Kernels, inner: int, outer: int) -> None:
    writer, x = OpWriter(native.width, 2), torch.empty(1, inner, 8, 8)
    shape: Any = made.shape((1, 8, 8, inner))
    y = torch.empty(1, outer, *shape[1:3])
    made.write_forward(writer, outside(0, x), outside(1, y), None, None, None)
    made.write_backward(writer, outside(1, y), outside(0, x), None, None)


@pytest.mark.parametrize("rectifies", [False, True])
@pytest.mark.parametrize(
    ("rows", "channels", "center"), [(5000, 48, 3.0), (7, 5, 0.0), (2049, 37, 1000.0), (300, 144, -1)]
)
def test_a_normalization_and_its_errors(
    native: Kernels, rows: int, channels: int, center: float, rectifies: bool
) -> None:
    """The formulas of normalization.c, in float64."""
    x, d_y = random(rows, channels) + center, random(rows, channels)
    scale, shift = random(channels) + 2, random(channels)
    mean, variance, y, d_x = torch.empty(channels), torch.empty(channels), torch.empty_like(x), torch.empty_like(x)
    sums = torch.empty(-(-rows // 2048), 2, channels, dtype=torch.float64)
    native.call("statistics", x, rows, channels, mean, variance, sums)
    exact = x.double()
    torch.testing.assert_close(mean.double(), exact.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance.double(), exact.var(0, correction=0), rtol=2e-5, atol=0)

    native.call("normalize", x, rows, channels, mean, scale, shift, int(rectifies), y)
    plain = (exact - mean) * scale + shift
    torch.testing.assert_close(y.double(), plain.clamp(min=0) if rectifies else plain, rtol=1e-5, atol=1e-5)

    d = torch.where(y > 0, d_y, 0) if rectifies else d_y
    native.call("normalize_sums", x, d_y, rows, channels, mean, scale, shift, int(rectifies), sums)
    torch.testing.assert_close(sums[0, 0], d.double().sum(0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(sums[0, 1], (d * (exact - mean)).sum(0), rtol=1e-5, atol=2e-4)

    first, second = random(channels), random(channels)
    native.call("normalize_back", x, d_y, rows, channels, mean, scale, shift, first, second, int(rectifies), d_x)
    expected = scale * (d - first - (exact - mean) * second)
    torch.testing.assert_close(d_x.double(), expected, rtol=1e-5, atol=3e-5)
