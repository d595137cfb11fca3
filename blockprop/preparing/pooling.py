"""Pooling with channels beside each other."""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import MaxPool2d
from blockprop.blocks.kernels import max_pool_backward_into
from blockprop.blocks.max_pooling import narrow
from blockprop.engine.block import Block, Shape
from blockprop.engine.briefly import brief_repr
from blockprop.preparing.layout import empty, laid_out

BYTE = 256
"""Numbers that a byte has."""


class FixedMaxPool2d(Block):
    """MaxPool2d that keeps where its maxima stood, and nothing else.

    A byte for each, its place in the window; in pictures of up to 2¹⁵ places two bytes, its place in the picture.

    d_x = d_y at the place of each window's first maximum, added up where windows overlap
    """

    kind = "pooling"
    pools = True
    makes_new_errors = True

    def __init__(self, pool: MaxPool2d):
        self.pool = pool

    def at_most(self, *shapes: Shape) -> Shape | None:
        return self.pool.at_most(*shapes)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self.pool._require_fit(x)
        y, winners = F.max_pool2d_with_indices(laid_out(x), *self.pool._windows)
        kept, places = narrow(winners, x), None
        if kept.dtype != torch.int16:  # where finding the one byte would take a twelfth of SqueezeNet's time
            places = places_of(self.pool, kept, x.shape[3])
        return y, (kept if places is None else places.in_windows(kept), places, x.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        kept, places, shape = saved
        winners = kept.long() if places is None else places.in_picture(kept)
        d_x = empty(shape, d_y)  # twice: of what was pooled the kernel reads the shape alone
        max_pool_backward_into(laid_out(d_y), d_x, *self.pool._windows, winners, grad_input=d_x)
        return (d_x,)


class WindowPlaces(NamedTuple):
    """How places in windows and places in a picture follow from each other.

    In a picture:  first + row · line + column.   In a window:  row · width + column.   Both with dilation in them.
    first: (h', w'), where each window begins; outside of the picture if there is padding.
    """

    first: Tensor
    line: int
    width: int

    def __repr__(self) -> str:
        return brief_repr(self)

    def in_windows(self, winners: Tensor) -> Tensor:
        """(n, c, h', w') -> (n, h', w', c), a byte for each."""
        places = (winners - self.first).permute(0, 2, 3, 1)
        # By numpy, because torch's division takes eight times as long.
        rows = torch.from_numpy(places.numpy() // self.line) if places.is_cpu else places // self.line
        places -= rows.mul_(self.line - self.width)
        return places.to(torch.uint8)

    def in_picture(self, places: Tensor) -> Tensor:
        """The other way."""
        rows, columns = np.divmod(np.arange(BYTE), self.width)
        picture = torch.empty(places.shape, dtype=torch.int64, device=places.device)
        if not places.is_meta:
            (rows * self.line + columns).take(places.numpy(), out=picture.numpy(), mode="clip")
        return picture.permute(0, 3, 1, 2).add_(self.first)


def places_of(pool: MaxPool2d, winners: Tensor, width: int) -> WindowPlaces | None:
    """Those of pictures of that width; None where a byte does not tell the places of a window, and off the CPU."""
    (down, right), (apart, beside) = pool._kernel, pool._dilation
    if not (winners.is_cpu or winners.is_meta) or down * right * beside > BYTE or width < right * beside:
        return None
    rows, columns = [
        torch.arange(count, dtype=torch.int32, device=winners.device) * stride - padding
        for count, stride, padding in zip(winners.shape[2:], pool._stride, pool._padding, strict=True)
    ]
    return WindowPlaces(rows.view(-1, 1) * width + columns, apart * width, right * beside)
