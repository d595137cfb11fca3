"""Convolutions and transposed convolutions along one, two or three axes: one implementation for all."""

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.kernels import convolution_backward
from blockprop.blocks.linear import he_uniform
from blockprop.engine.block import Block, Shape
from blockprop.engine.briefly import brief
from blockprop.errors import SettingError, ShapeError

Sizes = int | tuple[int, ...] | list[int]

_CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class _Convolution(Block):
    """What all convolutions share; a subclass says along how many axes, and documents its shapes."""

    kind = "weights"
    parameter_names = ("weight", "bias")
    axes: ClassVar[int]

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        with_bias: bool = True,
    ):
        self._set(channels_in, channels_out, kernel, stride, padding, dilation, groups, with_bias)
        self._start((channels_out, channels_in // groups))

    def _set(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sizes,
        stride: Sizes,
        padding: Sizes,
        dilation: Sizes,
        groups: int,
        with_bias: bool,
    ) -> None:
        if groups < 1 or channels_in % groups or channels_out % groups:
            raise SettingError(
                f"groups must divide both numbers of channels, came {groups} for {channels_in} → {channels_out}"
            )
        self.channels_in, self.channels_out, self.groups, self.with_bias = channels_in, channels_out, groups, with_bias
        self.kernel, self.stride, self.padding, self.dilation = map(untouched, (kernel, stride, padding, dilation))
        self._kernel = per_axis("kernel", kernel, self.axes, 1)
        self._stride = per_axis("stride", stride, self.axes, 1)
        self._padding = per_axis("padding", padding, self.axes, 0)
        self._dilation = per_axis("dilation", dilation, self.axes, 1)
        self._reach = tuple(d * (k - 1) + 1 for k, d in zip(self._kernel, self._dilation, strict=True))

    def at_most(self, *shapes: Shape) -> Shape | None:
        if any(2 * padding > reach for padding, reach in zip(self._padding, self._reach, strict=True)):
            return None
        return (shapes[0][0], self.channels_out, *(size + 1 for size in shapes[0][2:]))

    def _start(self, channels: tuple[int, int]) -> None:
        self.weight = he_uniform((*channels, *self._kernel), self.channels_in // self.groups * math.prod(self._kernel))
        self.bias = torch.zeros(self.channels_out) if self.with_bias else None

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self._require_fit(x)
        convolve = _CONVOLVE[self.axes]
        return convolve(x, self.weight, self.bias, self._stride, self._padding, self._dilation, self.groups), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        # What the stride left over at the end of x met no kernel; the output padding gives it its zeros.
        left_over = [
            (size + 2 * padding - reach) % stride
            for size, padding, reach, stride in zip(
                saved.shape[2:], self._padding, self._reach, self._stride, strict=True
            )
        ]
        convolve = _TRANSPOSED[self.axes]
        return (convolve(d_y, self.weight, None, self._stride, self._padding, left_over, self.groups, self._dilation),)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        return self._gradients(saved, d_y, False, (0,) * self.axes)

    def _gradients(
        self, x: Tensor, d_y: Tensor, transposed: bool, output_padding: tuple[int, ...]
    ) -> dict[str, Tensor]:
        # d_weight[o, i, k] = Σ_n Σ_p d_y[n, o, p] x[n, i, p·stride + k·dilation − padding]: the convolution of x with
        # d_y, with batch and channels exchanged, and stride and dilation, too: tests/blocks/test_convolution.py.
        # Written so, it takes 2.3 times as long on a CPU as oneDNN's kernel for weights, which only this call reaches.
        d_weight = convolution_backward(
            d_y,
            x,
            self.weight,
            None,
            self._stride,
            self._padding,
            self._dilation,
            transposed,
            output_padding,
            self.groups,
            [False, True, False],
        )[1]
        if self.bias is None:
            return {"weight": d_weight}
        return {"weight": d_weight, "bias": d_y.sum((0, *range(2, d_y.dim())))}

    def _require_fit(self, x: Tensor) -> None:
        self._check(x)
        for size, padding, reach in zip(x.shape[2:], self._padding, self._reach, strict=True):
            if size + 2 * padding < reach:
                raise ShapeError(
                    f"expected at least {reach - 2 * padding} places for the kernel, came {tuple(x.shape)}"
                )

    def _check(self, x: Tensor) -> None:
        if x.dim() != self.axes + 2 or x.shape[1] != self.channels_in:
            expected = ", ".join(("n", str(self.channels_in), *"dhw"[-self.axes :]))
            raise ShapeError(f"expected ({expected}), came {tuple(x.shape)}")


class Conv1d(_Convolution):
    """Convolution along one axis: what Conv2d is, with w alone.

    d_x = transposed convolution of d_y with weight     d_weight = convolution of x with d_y
    d_bias = sum of d_y over batch and places

    x: (n, channels_in, w)   y: (n, channels_out, w')   weight: (channels_out, channels_in / groups, kernel)
    Start, errors and the size w' as in Conv2d.
    """

    axes = 1


class Conv2d(_Convolution):
    """Convolution (cross-correlation, as everywhere in this field):  y[n, o] = bias[o] + Σ_i weight[o, i] ⋆ x[n, i].

    y[n, o, p] = bias[o] + Σ_i Σ_k weight[o, i, k] x[n, i, p·stride + k·dilation − padding]     (p, k: two axes each)

    d_x[n, i, p·stride + k·dilation − padding] += Σ_o weight[o, i, k] d_y[n, o, p]    the transposed convolution
    d_weight[o, i, k] = Σ_n Σ_p d_y[n, o, p] x[n, i, p·stride + k·dilation − padding]
    d_bias[o] = Σ_n Σ_p d_y[n, o, p]

    x: (n, channels_in, h, w)
    y: (n, channels_out, h', w') with h' = ⌊(h + 2 padding − dilation (kernel − 1) − 1) / stride⌋ + 1
    weight: (channels_out, channels_in / groups, kernel, kernel)   bias: (channels_out,), or None without bias
    kernel, stride, padding (by zeros), dilation: one number for both axes, or two. groups: so many convolutions side by
    side, each from its part of x's channels to its part of y's.
    The weights start uniform with the variance 2 / (channels_in / groups · kernel²) of He et al. 2015, eq. 10, the
    bias at 0.
    Raises ShapeError if x has other axes or channels, or is smaller than the kernel; SettingError for sizes below 1,
    a negative padding, and groups that do not divide the channels.
    """

    axes = 2


class Conv3d(_Convolution):
    """Convolution along three axes: what Conv2d is, with depth in front of h and w.

    d_x = transposed convolution of d_y with weight     d_weight = convolution of x with d_y
    d_bias = sum of d_y over batch and places

    x: (n, channels_in, d, h, w)   y: (n, channels_out, d', h', w')
    weight: (channels_out, channels_in / groups, kernel, kernel, kernel)
    Start, errors and the sizes d', h', w' as in Conv2d.
    """

    axes = 3


class _ConvTranspose(_Convolution):
    """What all transposed convolutions share."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        with_bias: bool = True,
        dilation: Sizes = 1,
    ):
        self._set(channels_in, channels_out, kernel, stride, padding, dilation, groups, with_bias)
        self.output_padding = untouched(output_padding)
        self._output_padding = per_axis("output_padding", output_padding, self.axes, 0)
        for extra, s, d in zip(self._output_padding, self._stride, self._dilation, strict=True):
            if extra >= max(s, d):
                raise SettingError(f"output_padding must be below stride or dilation, came {output_padding}")
        self._start((channels_in, channels_out // groups))

    def at_most(self, *shapes: Shape) -> Shape | None:
        return None  # its strides make it larger

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self._check(x)
        for size, stride, padding, reach, extra in zip(
            x.shape[2:], self._stride, self._padding, self._reach, self._output_padding, strict=True
        ):
            if size < 1 or (size - 1) * stride - 2 * padding + reach + extra < 1:
                raise ShapeError(f"the padding leaves nothing of the output for an input of {tuple(x.shape)}")
        places = self._stride, self._padding, self._output_padding, self.groups, self._dilation
        return _TRANSPOSED[self.axes](x, self.weight, self.bias, *places), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        convolve = _CONVOLVE[self.axes]
        d_x = convolve(d_y, self.weight, None, self._stride, self._padding, self._dilation, self.groups)
        for axis, size in enumerate(saved.shape[2:], 2):
            if d_x.shape[axis] != size:  # an output padding of a whole stride has places that no x reaches
                d_x = d_x.narrow(axis, 0, size)
        return (d_x,)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        return self._gradients(saved, d_y, True, self._output_padding)


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution along one axis: what ConvTranspose2d is, with w alone.

    d_x = convolution of d_y with weight     d_weight = convolution of d_y with x
    d_bias = sum of d_y over batch and places

    x: (n, channels_in, w)   y: (n, channels_out, w')   weight: (channels_in, channels_out / groups, kernel)
    Start, errors and the size w' as in ConvTranspose2d.
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution: forward what Conv2d does backward, so that a stride enlarges the picture.

    y[n, o, p·stride + k·dilation − padding] = bias[o] + Σ_i weight[i, o, k] x[n, i, p], summed over all p and k

    d_x[n, i, p] = Σ_o Σ_k weight[i, o, k] d_y[n, o, p·stride + k·dilation − padding]     a convolution
    d_weight[i, o, k] = Σ_n Σ_p x[n, i, p] d_y[n, o, p·stride + k·dilation − padding]
    d_bias[o] = Σ_n Σ_p d_y[n, o, p]

    x: (n, channels_in, h, w)
    y: (n, channels_out, h', w') with h' = (h − 1) stride − 2 padding + dilation (kernel − 1) + 1 + output_padding
    weight: (channels_in, channels_out / groups, kernel, kernel)   bias: (channels_out,), or None without bias
    Start as in Conv2d. Raises ShapeError if x has other axes or channels, or nothing would be left of y; SettingError
    as Conv2d, and for an output_padding that is not below stride or dilation.
    """

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution along three axes: what ConvTranspose2d is, with depth in front of h and w.

    d_x = convolution of d_y with weight     d_weight = convolution of d_y with x
    d_bias = sum of d_y over batch and places

    x: (n, channels_in, d, h, w)   y: (n, channels_out, d', h', w')
    weight: (channels_in, channels_out / groups, kernel, kernel, kernel)
    Start, errors and the sizes d', h', w' as in ConvTranspose2d.
    """

    axes = 3


def untouched(given: Sizes) -> int | tuple[int, ...]:
    """A setting as it was given, with tuples for the lists that JSON makes of them."""
    return tuple(given) if isinstance(given, list) else given


def per_axis(name: str, given: Sizes, axes: int, least: int) -> tuple[int, ...]:
    """One number for each axis; SettingError if they are not as many, or any is below the least."""
    numbers = (given,) * axes if isinstance(given, int) else tuple(given)
    if len(numbers) != axes or any(not isinstance(n, int) or n < least for n in numbers):
        raise SettingError(f"{name} must be a whole number of at least {least}, or {axes} of them, came {brief(given)}")
    return numbers
