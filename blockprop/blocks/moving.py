"""Blocks that put elements elsewhere, repeat or leave them out: backward, each derivative goes where it came from."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.convolution import untouched
from blockprop.blocks.reshaping import Axes, axis_of
from blockprop.blocks.sizes import each_axis
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

FEW = 16
"""Up to so many copies of an element are added up one after the other."""


class Roll(Block):
    """The elements moved along some axes, those that leave at one end coming back at the other:  y_{i + shift} = x_i.

    d_x_i = d_y_{i + shift}

    shifts, axes: one number each, or as many shifts as axes
    Raises ShapeError if x lacks an axis, SettingError if there are not as many shifts as axes.
    """

    kind = "reshaping"

    def __init__(self, shifts: Axes, axes: Axes):
        self.shifts, self.axes = untouched(shifts), untouched(axes)
        self._shifts, self._axes = _tuple(shifts), _tuple(axes)
        if len(self._shifts) != len(self._axes) or not self._axes:
            raise SettingError(f"expected one shift for each axis, came {self.shifts} for {self.axes}")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        for axis in self._axes:
            axis_of(axis, x)
        return x.roll(self._shifts, self._axes), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.roll([-shift for shift in self._shifts], self._axes),)


class Flip(Block):
    """The elements along some axes in the opposite order:  y_i = x_{size − 1 − i}.

    d_x = d_y, flipped along the same axes

    axes: one or more   Raises ShapeError if x lacks one of them or one is named twice.
    """

    kind = "reshaping"

    def __init__(self, axes: Axes):
        self.axes = untouched(axes)
        _tuple(axes)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.flip(_different(self.axes, x)), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.flip(_tuple(self.axes)),)


class Repeat(Block):
    """The whole tensor again and again along each axis:  y_{i + k size} = x_i for k = 0…count − 1.

    d_x = sum of d_y over the copies

    counts: one for each axis of y; if they are more than x has axes, the first make new axes, as in torch.repeat
    Raises ShapeError if x has more axes than there are counts, SettingError for negative counts.
    """

    kind = "reshaping"

    def __init__(self, counts: tuple[int, ...] | list[int]):
        self.counts = each_axis(counts)
        if min(self.counts, default=0) < 0:
            raise SettingError(f"counts must be at least 0, came {self.counts}")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() > len(self.counts):
            raise ShapeError(f"expected at most {len(self.counts)} axes, came {tuple(x.shape)}")
        return x.repeat(self.counts), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        sizes = (1,) * (len(self.counts) - len(saved)) + tuple(saved)
        d_x = d_y
        for axis, (count, size) in enumerate(zip(self.counts, sizes, strict=True)):
            if count != 1:
                d_x = _sum_of_copies(d_x.unflatten(axis, (count, size)), axis)
        return (d_x.reshape(saved),)


class RepeatInterleave(Block):
    """Each element several times in a row along one axis:  y_j = x_{⌊j / count⌋}.

    d_x_i = sum of d_y over the copies of x_i

    x: any shape that has the axis   y: the same with count times the size
    Raises ShapeError if x lacks the axis, SettingError for a count below 1.
    """

    kind = "reshaping"

    def __init__(self, count: int, axis: int):
        if count < 1:
            raise SettingError(f"count must be at least 1, came {count}")
        self.count, self.axis = count, axis

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.repeat_interleave(self.count, axis_of(self.axis, x)), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        axis = self.axis % len(saved)
        return (_sum_of_copies(d_y.unflatten(axis, (saved[axis], self.count)), axis + 1),)


class Triangle(Block):
    """The lower triangle of matrices (or the upper), 0 elsewhere:  y_ij = x_ij where j ≤ i + diagonal, else 0.

    d_x = the same triangle of d_y

    lower: or else what lies above, j ≥ i + diagonal     x, y: (..., h, w)   Raises ShapeError for fewer axes.
    """

    kind = "reshaping"

    def __init__(self, lower: bool = True, diagonal: int = 0):
        self.lower, self.diagonal = lower, diagonal

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() < 2:
            raise ShapeError(f"expected (..., h, w), came {tuple(x.shape)}")
        return self._part(x), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (self._part(d_y),)

    def _part(self, x: Tensor) -> Tensor:
        return x.tril(self.diagonal) if self.lower else x.triu(self.diagonal)


class Squeeze(Block):
    """Axes of size 1 left out:  y = x in the shape without them.

    d_x = d_y in the shape of x

    axes: one or more   Raises ShapeError if x lacks one of them, one has another size, or one is named twice.
    """

    kind = "reshaping"
    arranges = True

    def __init__(self, axes: Axes):
        self.axes = untouched(axes)
        _tuple(axes)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axes = _different(self.axes, x)
        if any(x.shape[axis] != 1 for axis in axes):
            raise ShapeError(f"expected size 1 along axes {self.axes}, came {tuple(x.shape)}")
        return x.squeeze(axes), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.reshape(saved),)


class Unsqueeze(Block):
    """New axes of size 1:  y = x in the shape with them.

    d_x = d_y in the shape of x

    axes: one or more, numbered as they are in y   Raises ShapeError if y cannot have one, or one is named twice.
    """

    kind = "reshaping"
    arranges = True

    def __init__(self, axes: Axes):
        self.axes = untouched(axes)
        _tuple(axes)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        places = _tuple(self.axes)
        rank = x.dim() + len(places)
        axes = {axis % rank for axis in places if -rank <= axis < rank}
        if len(axes) < len(places):
            raise ShapeError(f"expected an input that can have new axes {self.axes}, came {tuple(x.shape)}")
        y = x
        for axis in sorted(axes):
            y = y.unsqueeze(axis)
        return y, x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.reshape(saved),)


class ChannelOrder(Block):
    """The channels in another order, as from RGB to BGR:  y = x[:, order].

    d_x[:, order] = d_y

    x, y: (n, channels, ...)   order: each channel's number once
    Raises ShapeError if x has another number of channels, SettingError if any is missing or there twice.
    """

    kind = "reshaping"

    def __init__(self, order: tuple[int, ...] | list[int]):
        self.order = tuple(order)
        if not self.order or sorted(self.order) != list(range(len(self.order))):
            raise SettingError(f"order must name each channel from 0 on once, came {self.order}")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() < 2 or x.shape[1] != len(self.order):
            raise ShapeError(f"expected (n, {len(self.order)}, ...), came {tuple(x.shape)}")
        return self._taken(x, self.order), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (self._taken(d_y, sorted(range(len(self.order)), key=self.order.__getitem__)),)

    @staticmethod
    def _taken(x: Tensor, order: Sequence[int]) -> Tensor:
        return x.index_select(1, torch.tensor(order, device=x.device))


class Diagonal(Block):
    """The diagonal of two axes, as a new last axis:  y_{… i} = x_{… i … i + offset …}.

    d_x = d_y on the diagonal, 0 elsewhere

    x: any shape that has both axes   y: without them, but with the diagonal's elements as last axis
    Raises ShapeError if x lacks one of the axes or they are one and the same.
    """

    kind = "reshaping"

    def __init__(self, offset: int = 0, axis1: int = -2, axis2: int = -1):
        self.offset, self.axis1, self.axis2 = offset, axis1, axis2

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axes = _different((self.axis1, self.axis2), x)
        return x.diagonal(self.offset, *axes), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        d_x = d_y.new_zeros(saved)
        d_x.diagonal(self.offset, self.axis1, self.axis2).copy_(d_y)
        return (d_x,)


def _sum_of_copies(d: Tensor, axis: int) -> Tensor:
    # torch's sum takes up to twenty times as long where there are few copies.
    return functools.reduce(torch.add, d.unbind(axis)) if 0 < d.shape[axis] <= FEW else d.sum(axis)


def _tuple(given: Axes) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else each_axis(given)


def _different(axes: Axes, x: Tensor) -> tuple[int, ...]:
    """The axes counted from the start; ShapeError if x lacks one, or one is named twice."""
    from_start = tuple(axis_of(axis, x) for axis in _tuple(axes))
    if len(set(from_start)) < len(from_start):
        raise ShapeError(f"axes {axes} of {tuple(x.shape)} name one axis twice")
    return from_start
