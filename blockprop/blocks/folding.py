"""Pixels as channels and windows as columns, and back: each pair of blocks undoes, or transposes, the other."""

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.convolution import Sizes, per_axis, untouched
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


class _Shuffle(Block):
    kind = "reshaping"

    def __init__(self, factor: int, mode: str = "CRD"):
        if factor < 1:
            raise SettingError(f"factor must be at least 1, came {factor}")
        if mode not in ("CRD", "DCR"):
            raise SettingError(f"mode must be one of CRD, DCR, came {mode!r}")
        self.factor, self.mode = factor, mode

    def _to_places(self, x: Tensor) -> Tensor:
        n, channels, h, w = x.shape
        r, c = self.factor, channels // self.factor**2
        if self.mode == "CRD":
            parts = x.reshape(n, c, r, r, h, w).permute(0, 1, 4, 2, 5, 3)
        else:
            parts = x.reshape(n, r, r, c, h, w).permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(n, c, h * r, w * r)

    def _to_channels(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        r, h, w = self.factor, height // self.factor, width // self.factor
        parts = x.reshape(n, c, h, r, w, r)
        order = (0, 1, 3, 5, 2, 4) if self.mode == "CRD" else (0, 3, 5, 1, 2, 4)
        return parts.permute(order).reshape(n, c * r * r, h, w)


class PixelShuffle(_Shuffle):
    """Channels spread out as finer pixels:  y[:, c, r h + i, r w + j] = x[:, channel(c, i, j), h, w], r the factor.

    d_x = PixelUnshuffle of d_y

    x: (n, c r², h, w)   y: (n, c, h r, w r)
    mode: how the channels are numbered
        "CRD"  channel(c, i, j) = (c r + i) r + j               torch.pixel_shuffle
        "DCR"  channel(c, i, j) = (i r + j) · channels + c      ONNX's DepthToSpace, unless told otherwise
    Raises ShapeError for other axes or channels; SettingError for a factor below 1 and an unknown mode.
    Source: Shi et al. 2016, eq. 4.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 4 or x.shape[1] % self.factor**2:
            raise ShapeError(f"expected (n, multiple of {self.factor**2}, h, w), came {tuple(x.shape)}")
        return self._to_places(x), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (self._to_channels(d_y),)


class PixelUnshuffle(_Shuffle):
    """The inverse of PixelShuffle: pixels as channels of a coarser picture.

    d_x = PixelShuffle of d_y

    x: (n, c, h r, w r)   y: (n, c r², h, w)   mode: "CRD" as torch.pixel_unshuffle, "DCR" as ONNX's SpaceToDepth
    Raises ShapeError for other axes or sizes; SettingError for a factor below 1 and an unknown mode.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 4 or x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise ShapeError(f"expected (n, c, h, w), h and w multiples of {self.factor}, came {tuple(x.shape)}")
        return self._to_channels(x), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (self._to_places(d_y),)


class _Windows(Block):
    kind = "reshaping"

    def __init__(self, kernel: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1):
        self.kernel, self.dilation, self.padding, self.stride = map(untouched, (kernel, dilation, padding, stride))
        self._windows = {
            "kernel_size": per_axis("kernel", kernel, 2, 1),
            "dilation": per_axis("dilation", dilation, 2, 1),
            "padding": per_axis("padding", padding, 2, 0),
            "stride": per_axis("stride", stride, 2, 1),
        }

    def _counts(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """How many windows fit along each axis."""
        return tuple(
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, dilation, padding, stride in zip(sizes, *self._windows.values(), strict=True)
        )


class Unfold(_Windows):
    """Every window of a picture as a column:  y[n, (c, i, j), (p, q)] = x[n, c, p stride + i dilation − padding, …].

    d_x = Fold of d_y: each pixel gets the sum over the windows that saw it

    x: (n, c, h, w)   y: (n, c · kernel elements, windows)   Outside of x there are zeros. Settings as in Conv2d.
    Raises ShapeError for other axes or if no window fits; SettingError for settings that are not sizes. F.unfold.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 4 or min(self._counts(x.shape[2:])) < 1:
            raise ShapeError(f"expected (n, c, h, w) in which the kernel {self.kernel} fits, came {tuple(x.shape)}")
        return F.unfold(x, **self._windows), x.shape[2:]

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (F.fold(d_y, saved, **self._windows),)


class Fold(_Windows):
    """The sum of overlapping windows, the adjoint of Unfold:  y = Σ over windows of their columns, each at its place.

    d_x = Unfold of d_y

    x: (n, c · kernel elements, windows)   y: (n, c, *size)   Settings as in Unfold.
    Raises ShapeError unless x has the columns of such a picture; SettingError for settings that are not sizes. F.fold.
    """

    def __init__(self, size: Sizes, kernel: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1):
        super().__init__(kernel, dilation, padding, stride)
        self.size = untouched(size)
        self._size = per_axis("size", size, 2, 1)
        if min(self._counts(self._size)) < 1:
            raise SettingError(f"the kernel {self.kernel} does not fit into the size {self.size}")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        elements, windows = math.prod(self._windows["kernel_size"]), math.prod(self._counts(self._size))
        if x.dim() != 3 or x.shape[1] % elements or x.shape[2] != windows:
            raise ShapeError(f"expected (n, multiple of {elements}, {windows}), came {tuple(x.shape)}")
        return F.fold(x, self._size, **self._windows), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (F.unfold(d_y, **self._windows),)
