"""Pooling in windows that follow the size of the picture: all of it, or so many windows whatever its size."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.bands import along
from blockprop.blocks.convolution import Sizes, per_axis, untouched
from blockprop.blocks.max_pooling import narrow, to_winners
from blockprop.engine.block import Block, Shape
from blockprop.engine.precision import wide
from blockprop.errors import ShapeError

_AVERAGES: dict[int, Any] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
_MAXIMA: dict[int, Any] = {
    1: F.adaptive_max_pool1d_with_indices,
    2: F.adaptive_max_pool2d_with_indices,
    3: F.adaptive_max_pool3d_with_indices,
}


class GlobalAvgPool(Block):
    """The average over all places of each channel:  y = mean of x over the axes from 2 on.

    d_x = d_y / number of places, everywhere the same

    x: (n, c, ...)   y: (n, c)   Raises ShapeError for fewer than 3 axes or no places.
    """

    kind = "pooling"
    pools = True

    def at_most(self, *shapes: Shape) -> Shape | None:
        return shapes[0][:2]

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return _places(x).mean(2), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        places = saved[2:].numel()
        return ((d_y / places).view(*d_y.shape, *(1,) * (len(saved) - 2)).expand(saved),)


class GlobalMaxPool(Block):
    """The maximum over all places of each channel:  y = max of x over the axes from 2 on.

    d_x = d_y at the place of the maximum, 0 elsewhere; the first maximum at a tie

    x: (n, c, ...)   y: (n, c)   Raises ShapeError for fewer than 3 axes or no places.
    """

    kind = "pooling"
    pools = True

    def at_most(self, *shapes: Shape) -> Shape | None:
        return shapes[0][:2]

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y, winners = _places(x).max(2)
        return y, (winners, x.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        winners, shape = saved
        d_x = d_y.new_zeros(*shape[:2], shape[2:].numel())
        return (d_x.scatter_(2, winners.unsqueeze(2), d_y.unsqueeze(2)).view(shape),)


class _AdaptivePool(Block):
    kind = "pooling"
    pools = True
    axes: ClassVar[int]

    def __init__(self, output_size: Sizes):
        self.output_size = untouched(output_size)
        self._output_size = per_axis("output_size", output_size, self.axes, 1)

    def _check(self, x: Tensor) -> None:
        if x.dim() != self.axes + 2 or min(x.shape[2:]) < 1:
            expected = ", ".join(("n", "c", *"dhw"[-self.axes :]))
            raise ShapeError(f"expected ({expected}) with some places, came {tuple(x.shape)}")


class _AdaptiveAvgPool(_AdaptivePool):
    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self._check(x)
        # torch's kernel for volumes adds up in half precision
        return _AVERAGES[self.axes](wide(x) if self.axes == 3 else x, self._output_size).to(x.dtype), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if set(self._output_size) == {1}:
            return ((d_y / saved[2:].numel()).expand(saved),)
        d_x = d_y
        for axis, outputs in reversed([*enumerate(self._output_size, 2)]):
            d_x = along(_averages(saved[axis], outputs, d_y).t(), d_x, axis)
        return (d_x,)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Averages of w' windows that divide the last axis as evenly as can be:  y = x A_wᵀ.

    d_x = d_y A_w

    x: (n, c, w)   y: (n, c, output_size)   A_w and errors as in AdaptiveAvgPool2d.
    """

    axes = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Averages of h' × w' windows that divide the picture as evenly as can be:  y = A_h x A_wᵀ.

    d_x = A_hᵀ d_y A_w

    A_h: (h', h); row p has 1 / its length in its window, from ⌊p h / h'⌋ to before ⌈(p + 1) h / h'⌉

    x: (n, c, h, w)   y: (n, c, *output_size)   output_size: (h', w'), or one number for both
    Raises ShapeError for other axes or no places, SettingError for an output_size below 1.
    """

    axes = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Averages of d' × h' × w' windows: AdaptiveAvgPool2d with a matrix for the depth, too.

    d_x = d_y times the transposed matrix along each axis

    x: (n, c, d, h, w)   y: (n, c, *output_size)   output_size: (d', h', w'), or one number for all
    Errors as in AdaptiveAvgPool2d.
    """

    axes = 3


class _AdaptiveMaxPool(_AdaptivePool):
    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self._check(x)
        y, winners = _MAXIMA[self.axes](x, self._output_size)
        return y, (narrow(winners, x), x.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        winners, shape = saved
        return (to_winners(d_y, winners, shape, overlapping=True),)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maxima of w' windows that divide the last axis as evenly as can be.

    d_x = d_y at the place of each window's first maximum, 0 elsewhere, and the sum where windows share their maximum.

    x: (n, c, w)   y: (n, c, output_size)   Windows and errors as in AdaptiveMaxPool2d.
    """

    axes = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maxima of h' × w' windows that divide the picture as evenly as can be.

    d_x = d_y at the place of each window's maximum, 0 elsewhere, and the sum where windows share their maximum.
    At a tie the whole derivative goes to the first maximum, row by row.

    x: (n, c, h, w)   y: (n, c, *output_size)   output_size: (h', w'), or one number for both
    Window p goes from ⌊p h / h'⌋ to before ⌈(p + 1) h / h'⌉.
    Raises ShapeError for other axes or no places, SettingError for an output_size below 1.
    """

    axes = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maxima of d' × h' × w' windows that divide the volume as evenly as can be.

    d_x = d_y at the place of each window's first maximum, 0 elsewhere, and the sum where windows share their maximum.

    x: (n, c, d, h, w)   y: (n, c, *output_size)   output_size: (d', h', w'), or one number for all
    Windows and errors as in AdaptiveMaxPool2d.
    """

    axes = 3


def _averages(size: int, outputs: int, like: Tensor) -> Tensor:
    """A: (outputs, size), so that A x are the averages of x: (size,) in adaptive windows."""
    window, place = torch.arange(outputs)[:, None], torch.arange(size)
    inside = (place >= window * size // outputs) & (place < -(-(window + 1) * size // outputs))
    return inside.to(like) / inside.sum(1, keepdim=True).to(like)


def _places(x: Tensor) -> Tensor:
    if x.dim() < 3 or x.shape[2:].numel() == 0:
        raise ShapeError(f"expected (n, c, ...) with some places, came {tuple(x.shape)}")
    return x.flatten(2)
