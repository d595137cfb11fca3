"""A convolution with fixed weights, together with what stands around it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import BatchNorm2d, Clamp, Conv2d, ReLU
from blockprop.blocks.kernels import hardtanh_backward, threshold_backward
from blockprop.engine.block import Block, Shape
from blockprop.preparing.layout import laid_out, product, zeros

FEW = 4
"""Channels: of so few, errors are found by a product and a sum, if the stride is above 1."""


class FixedConv2d(Block):
    """A convolution with fixed weights, between a reflection by one pixel and a rectifier, if there are such.

    y = min(max(conv(x, weight) + bias, 0), high)     d_x = conv(d_y where 0 < y < high, weight turned by 180°, channels
                                                            exchanged)
    with a batch normalization between: weight := weight · γ/σ, bias := (bias − mean) · γ/σ + β, for each output channel

    A transposed convolution of stride 1 is that convolution, and torch's kernels for it are faster (by 4 for 16
    channels of 384 x 288 pixels); those of 1 x 1 are matrix products. Nothing is saved but y, for the
    rectifier.
    rows: the output channels that are computed; None for all.
    """

    kind = "weights"
    buffer_names = ("weight", "bias", "turned")

    def __init__(
        self,
        convolution: Conv2d,
        reflects: bool = False,
        norm: BatchNorm2d | None = None,
        rectifier: ReLU | Clamp | None = None,
        rows: tuple[int, ...] | None = None,
    ):
        self.convolution, self.reflects, self.norm, self.rectifier, self.rows = (
            convolution,
            reflects,
            norm,
            rectifier,
            rows,
        )
        self._high = rectifier.high if isinstance(rectifier, Clamp) else None
        weight, bias = _weights(convolution, norm)
        if rows is not None:
            weight, bias = weight[list(rows)], None if bias is None else bias[list(rows)]
        self.weight, self.bias = laid_out(weight), bias
        self._groups = convolution.groups
        self._is_product = convolution._kernel == (1, 1) and convolution._padding == (0, 0) and self._groups == 1
        self._is_product = self._is_product and not reflects
        self._is_few = self._groups == 1 and weight.shape[1] <= FEW and max(convolution._stride) > 1
        pads = tuple(reach - 1 - pad for reach, pad in zip(convolution._reach, convolution._padding, strict=True))
        self._turned_padding = pads if convolution._stride == (1, 1) and min(pads) >= 0 else None
        self.turned = self._turned(weight)

    def at_most(self, *shapes: Shape) -> Shape | None:
        border = 2 if self.reflects else 0
        return self.convolution.at_most((*shapes[0][:2], *(size + border for size in shapes[0][2:])))

    def _turned(self, weight: Tensor) -> Tensor:
        """The weights that the way back needs."""
        if self._is_product:
            return weight[:, :, 0, 0].t().contiguous()
        if self._is_few:
            return weight.flatten(1).t().contiguous()
        if self._turned_padding is None:
            return self.weight
        out, into = len(weight) // self._groups, weight.shape[1]
        grouped = weight.flip(2, 3).view(self._groups, out, into, *weight.shape[2:]).transpose(1, 2)
        return laid_out(grouped.reshape(self._groups * into, out, *weight.shape[2:]))

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        block = self.convolution
        if self.reflects:
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        block._require_fit(x)
        x = laid_out(x)
        if self._is_product:
            down, right = block._stride
            y = product(x[:, :, ::down, ::right], self.weight[:, :, 0, 0], self.bias)
        else:
            y = F.conv2d(x, self.weight, self.bias, block._stride, block._padding, block._dilation, self._groups)
        if self.rectifier is None:
            return y, (x.shape, None)
        y = y.relu_() if self._high is None else y.clamp_(0, self._high)
        return y, (x.shape, y)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        shape, y = saved
        if y is not None:  # d_y where 0 < y < high, else 0
            high = self._high
            d_y = threshold_backward(d_y, y, 0) if high is None else hardtanh_backward(d_y, y, 0, high)
        d = self._back(shape, d_y)
        if not self.reflects:
            return (d,)
        for axis in (2, 3):  # the border is a copy of the second places from either side
            d.select(axis, 2).add_(d.select(axis, 0))
            d.select(axis, -3).add_(d.select(axis, -1))
        return (d[:, :, 1:-1, 1:-1],)

    def _back(self, shape: tuple[int, ...], d_y: Tensor) -> Tensor:
        block = self.convolution
        if self._is_product:
            d = product(d_y, self.turned, None)
            if block._stride == (1, 1):
                return d
            down, right = block._stride
            d_x = zeros(shape, d_y)
            d_x[:, :, ::down, ::right] = d
            return d_x
        if self._is_few:  # what each place gives to its window, and the sum over the windows
            columns = self.turned @ d_y.flatten(2)
            return F.fold(columns, shape[2:], block._kernel, block._dilation, block._padding, block._stride)
        if self._turned_padding is not None:
            return F.conv2d(laid_out(d_y), self.turned, None, 1, self._turned_padding, block._dilation, self._groups)
        left_over = [
            (size + 2 * pad - reach) % stride
            for size, pad, reach, stride in zip(shape[2:], block._padding, block._reach, block._stride, strict=True)
        ]
        places = block._stride, block._padding, left_over, self._groups, block._dilation
        return F.conv_transpose2d(laid_out(d_y), self.turned, None, *places)


def folds(convolution: Block, norm: Block) -> bool:
    """Whether the product of their weights holds as many digits: not so in half precision, nor where it overflows."""
    assert isinstance(convolution, Conv2d)
    assert isinstance(norm, BatchNorm2d)
    if convolution.weight.dtype not in (torch.float32, torch.float64):
        return False
    weight, bias = _weights(convolution, norm)
    return bool(weight.isfinite().all()) and (bias is None or bool(bias.isfinite().all()))


def _weights(convolution: Conv2d, norm: BatchNorm2d | None) -> tuple[Tensor, Tensor | None]:
    """The weights and the bias, with those of the normalization multiplied in."""
    if norm is None:
        return convolution.weight, convolution.bias
    mean, variance = norm.running_mean, norm.running_variance
    assert mean is not None
    assert variance is not None
    scale = (variance.double() + norm.epsilon).rsqrt_()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -mean.double() if convolution.bias is None else convolution.bias.double() - mean
    bias = shift * scale if norm.bias is None else torch.addcmul(norm.bias.double(), shift, scale)
    weight = convolution.weight.double() * scale.view(-1, 1, 1, 1)
    return weight.to(convolution.weight.dtype), bias.to(convolution.weight.dtype)
