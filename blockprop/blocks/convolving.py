"""Convolution with a kernel that the network computes, instead of one that a block holds."""

from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.convolution import Sizes, per_axis, untouched
from blockprop.blocks.kernels import convolution_backward
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


class Convolve(Block):
    """Convolution of one input with another, or the transposed one:  y = bias + x ⋆ kernel, as in Conv2d.

    d_x, d_kernel and d_bias are Conv2d's d_x, d_weight and d_bias, or with transposed ConvTranspose2d's

    x: (n, channels_in, ...) with one, two or three axes of places   bias: (channels_out,), may be left out
    kernel: (channels_out, channels_in / groups, ...), transposed (channels_in, channels_out / groups, ...)
    y: (n, channels_out, ...) with sizes as in Conv2d, or ConvTranspose2d
    stride, padding, dilation, output_padding (if transposed): one number for all axes of places, or one for each
    Raises ShapeError for shapes that do not fit each other; SettingError for sizes below 1 and a negative padding.
    """

    kind = "joining"

    def __init__(
        self,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        transposed: bool = False,
        output_padding: Sizes = 0,
    ):
        if groups < 1:
            raise SettingError(f"groups must be at least 1, came {groups}")
        self.stride, self.padding, self.dilation = map(untouched, (stride, padding, dilation))
        self.groups, self.transposed, self.output_padding = groups, transposed, untouched(output_padding)
        tuples = [len(sizes) for sizes in (stride, padding, dilation, output_padding) if not isinstance(sizes, int)]
        self._windows(max(tuples, default=1))

    def forward(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Any]:
        self._check(x, kernel, bias)
        windows = self._windows(x.dim() - 2)
        return torch.ops.aten.convolution(x, kernel, bias, *windows, self.groups), (
            x,
            kernel,
            windows,
            bias is not None,
        )

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, ...]:
        x, kernel, windows, has_bias = saved
        # Both sums of Conv2d's docstring, by the kernels that Conv2d's own methods use.
        d_x, d_kernel, _ = convolution_backward(d_y, x, kernel, None, *windows, self.groups, [True, True, False])
        return (d_x, d_kernel, d_y.sum((0, *range(2, d_y.dim())))) if has_bias else (d_x, d_kernel)

    def _windows(self, axes: int) -> tuple[Any, ...]:
        """What torch's convolution takes, for so many axes of places."""
        stride, dilation = per_axis("stride", self.stride, axes, 1), per_axis("dilation", self.dilation, axes, 1)
        padding = per_axis("padding", self.padding, axes, 0)
        return stride, padding, dilation, self.transposed, per_axis("output_padding", self.output_padding, axes, 0)

    def _check(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> None:
        fits = 3 <= x.dim() == kernel.dim() <= 5 and not kernel.shape[0] % self.groups
        fits = fits and x.shape[1] == (kernel.shape[0] if self.transposed else kernel.shape[1] * self.groups)
        if not fits or (bias is not None and bias.dim() != 1):
            shapes = " and ".join(str(tuple(tensor.shape)) for tensor in (x, kernel, bias) if tensor is not None)
            raise ShapeError(f"expected (n, channels, ...), a kernel for these channels and a bias, came {shapes}")
