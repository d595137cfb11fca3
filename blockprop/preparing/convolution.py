"""A convolution with fixed weights, together with what stands around it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import BatchNorm2d, Clamp, Conv2d, ReLU
from blockprop.engine.block import Block, Shape
from blockprop.preparing.gates import gate_of, through
from blockprop.preparing.layout import Convolution, empty, laid_out, reflected

FEW = 4
"""Channels: of so few, errors are found by a product and a sum, if the stride is above 1."""


class FixedConv2d(Block):
    """A convolution with fixed weights, between a reflection by one pixel and a rectifier, if there are such.

    y = min(max(conv(x, weight) + bias, 0), high)
    d_x = conv(d_y where 0 < y < high, weight turned by 180°, channels exchanged)
    with a batch normalization between: weight := weight · γ/σ, bias := (bias − mean) · γ/σ + β, for each output channel

    x: (n, channels_in, h, w)   y: (n, channels_out, h', w')
    A transposed convolution of stride 1 is that convolution, and torch's kernels for it are faster (by 4 for 16
    channels of 384 x 288 pixels). Nothing is saved but where the rectifier was open (gates.py).
    rows: the output channels that are computed; None for all.
    """

    kind = "weights"
    makes_new_errors = True
    may_take_over = True

    def __init__(
        self,
        convolution: Conv2d,
        reflects: bool = False,
        norm: BatchNorm2d | None = None,
        rectifier: ReLU | Clamp | None = None,
        rows: tuple[int, ...] | None = None,
    ):
        self.convolution, self.reflects, self.norm = convolution, reflects, norm
        self.rectifier, self.rows = rectifier, rows
        self._high = rectifier.high if isinstance(rectifier, Clamp) else None
        weight, bias = _weights(convolution, norm)
        if rows is not None:
            weight, bias = weight[list(rows)], None if bias is None else bias[list(rows)]
        places = convolution._stride, convolution._padding, convolution._dilation, convolution.groups
        self._forth = Convolution(weight, bias, *places)
        pads = tuple(reach - 1 - pad for reach, pad in zip(convolution._reach, convolution._padding, strict=True))
        self._skips = convolution._kernel == (1, 1) and convolution._padding == (0, 0) and not reflects
        self._is_few = convolution.groups == 1 and weight.shape[1] <= FEW and max(convolution._stride) > 1
        self._back: Convolution | None = None
        if min(pads) >= 0 and (convolution._stride == (1, 1) or self._skips):
            turned = _turned(weight, convolution.groups)
            self._back = Convolution(turned, None, (1, 1), pads, convolution._dilation, convolution.groups)

    def at_most(self, *shapes: Shape) -> Shape | None:
        border = 2 if self.reflects else 0
        return self.convolution.at_most((*shapes[0][:2], *(size + border for size in shapes[0][2:])))

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        block = self.convolution
        if self.reflects:
            x = reflected(x)
        block._require_fit(x)
        y = self._forth(x, self.rectifier is not None and self._high is None)
        if self.rectifier is None:
            return y, (x.shape, None)
        y = y if self._high is None else y.clamp_(0, self._high)
        return y, (x.shape, gate_of(y, self._high))

    def propagate(self, saved: Any, d_y: Tensor, over: bool = False) -> tuple[Tensor]:
        shape, gate = saved
        d = self._errors(shape, d_y if gate is None else through(gate, d_y, over))
        if not self.reflects:
            return (d,)
        for axis in (2, 3):  # the border is a copy of the second places from either side
            d.select(axis, 2).add_(d.select(axis, 0))
            d.select(axis, -3).add_(d.select(axis, -1))
        return (d[:, :, 1:-1, 1:-1],)

    def _errors(self, shape: tuple[int, ...], d_y: Tensor) -> Tensor:
        block = self.convolution
        if self._is_few:  # what each place gives to its window, and the sum over the windows
            weight = self._forth.weight.to(d_y.device) if d_y.is_meta else self._forth.weight
            columns = weight.flatten(1).t() @ d_y.flatten(2)
            return F.fold(columns, shape[2:], block._kernel, block._dilation, block._padding, block._stride)
        if self._back is not None and block._stride == (1, 1):
            return self._back(d_y)
        if self._back is not None:  # 1 x 1, which takes a place and leaves out others
            d_x = empty(shape, d_y).zero_()
            down, right = block._stride
            d_x[:, :, ::down, ::right] = self._back(d_y)
            return d_x
        if d_y.is_meta:  # to see what it would take
            return empty(shape, d_y)
        left_over = [
            (size + 2 * pad - reach) % stride
            for size, pad, reach, stride in zip(shape[2:], block._padding, block._reach, block._stride, strict=True)
        ]
        places = block._stride, block._padding, left_over, block.groups, block._dilation
        return F.conv_transpose2d(laid_out(d_y), self._forth.weight, None, *places)


def _turned(weight: Tensor, groups: int) -> Tensor:
    """The weights turned by 180°, their channels exchanged, in each group for itself."""
    out, into = len(weight) // groups, weight.shape[1]
    grouped = weight.flip(2, 3).view(groups, out, into, *weight.shape[2:]).transpose(1, 2)
    return grouped.reshape(groups * into, out, *weight.shape[2:])


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
