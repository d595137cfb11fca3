"""Which elements a rectifier let through: told by its output itself, or, where these are very many, by a bit for each.

The output costs nothing but its memory, and one kernel on the way back. Bits take a thirty-second of that, and one more
operation of numpy's on either way, which uses one thread: with two, gradients of SqueezeNet for eight pictures took
15 % longer with bits, and 7 % longer with bytes. So bits are for layers as large as those of VGG-19 at 512 x 512.
By a clamp's output torch's kernel does not treat NaN alike in all places: it keeps bytes.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from blockprop.blocks.kernels import threshold_backward, threshold_backward_into
from blockprop.engine.briefly import brief_repr

MANY = 2**24
"""Elements from which on they take bits."""
CHUNK = 2**17
"""Of these at a time, so that what is made on the way stays in the cache."""


class Bits(NamedTuple):
    """Where a rectifier is open.

    packed: of each eight elements a byte, the first one lowest.
    in_lanes: whether elements are counted with the channels of a place beside each other.
    """

    packed: Tensor
    in_lanes: bool

    def __repr__(self) -> str:
        return brief_repr(self)


Gate = Tensor | Bits


def gate_of(y: Tensor, high: float | None = None) -> Gate:
    """Where 0 < y < high, or y is no number.   y: what a rectifier gives, so at least 0; nobody may write over it"""
    if not (y.is_cpu or y.is_meta) or y.numel() < MANY:
        return y if high is None else _is_open(y, high)
    in_lanes = y.dim() == 4 and y.is_contiguous(memory_format=torch.channels_last)
    elements = _rows(y, in_lanes).view(-1)
    packed = torch.empty(-(-len(elements) // 8), dtype=torch.uint8, device=y.device)
    for start in range(0, 0 if y.is_meta else len(elements), CHUNK):
        part = np.packbits(_is_open(elements[start : start + CHUNK], high).numpy())
        packed[start // 8 : start // 8 + len(part)] = torch.from_numpy(part)
    return Bits(packed, in_lanes)


def _is_open(y: Tensor, high: float | None) -> Tensor:
    is_open = y.bool()  # which takes a sixth of the time of a comparison
    return is_open if high is None else is_open.logical_and_(y.ge(high).logical_not_())


def through(gate: Gate, d_y: Tensor, over: bool = False) -> Tensor:
    """d_y where the gate is open, else 0.   over: whether d_y's memory may be written over"""
    if isinstance(gate, Tensor):
        return _masked(gate, d_y, d_y if over else None)  # by y or by bytes
    rows = _rows(d_y, gate.in_lanes)
    is_copy = rows.untyped_storage()._cdata != d_y.untyped_storage()._cdata
    d_x = rows if over or is_copy else d_y.new_empty(rows.shape)
    places, width = rows.shape
    step = max(CHUNK // width // 8, 1) * 8
    for start in range(0, 0 if d_y.is_meta else places, step):
        stop = min(start + step, places)
        count = (stop - start) * width
        part = np.unpackbits(gate.packed[start * width // 8 : -(-stop * width // 8)].numpy(), count=count)
        _masked(torch.from_numpy(part).view(-1, width), rows[start:stop], d_x[start:stop])
    if not gate.in_lanes:
        return d_x.view(d_y.shape)
    n, c, h, w = d_y.shape
    return d_x.view(n, h, w, c).permute(0, 3, 1, 2)


def _masked(is_open: Tensor, d: Tensor, into: Tensor | None) -> Tensor:
    """d where what tells it is not 0, else 0."""
    ones: Any = is_open
    if is_open.dtype != d.dtype:  # bytes, because of booleans torch makes numbers at leisure
        ones = is_open.view(torch.uint8).to(d.dtype)
    return threshold_backward(d, ones, 0) if into is None else threshold_backward_into(d, ones, 0, grad_input=into)


def _rows(x: Tensor, in_lanes: bool) -> Tensor:
    """(places, channels), or all elements in a column, in the order in which they are counted."""
    return x.permute(0, 2, 3, 1).flatten(0, 2) if in_lanes else x.reshape(-1, 1)
