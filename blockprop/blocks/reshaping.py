"""Blocks that move, cut, repeat or add up elements: backward, each derivative goes where its element came from."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.joining import unbroadcast
from blockprop.blocks.sizes import Size, checked, checked_sizes, each_axis, size_of, sizes_of
from blockprop.engine.block import Block, Shape
from blockprop.errors import SettingError, ShapeError

Axes = int | tuple[int, ...] | list[int]


class Flatten(Block):
    """All axes from start_axis on as one:  y = x in the shape (..., product of the rest).

    d_x = d_y in the shape of x

    x: (n, ...)   y: (n, features) with start_axis = 1   Raises ShapeError if x lacks that axis.
    """

    kind = "reshaping"
    arranges = True

    def __init__(self, start_axis: int = 1):
        self.start_axis = start_axis

    def at_most(self, *shapes: Shape) -> Shape | None:
        start = self.start_axis
        return (*shapes[0][:start], math.prod(shapes[0][start:])) if 0 <= start < len(shapes[0]) else None

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axis_of(self.start_axis, x)
        return x.flatten(self.start_axis), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.reshape(saved),)


class Reshape(Block):
    """Another shape for the axes from start_axis on, with the elements in the same order.

    d_x = d_y in the shape of x

    x: (n, ...)   y: (n, *shape) with start_axis = 1, (*shape) with start_axis = 0
    shape: of sizes and formulas (see sizes.py) of x and of what further inputs there are for their sizes alone; one may
    be −1, which stands for what is left
    Raises ShapeError if the elements do not fit the shape, SettingError for a shape with other negative numbers.
    """

    kind = "reshaping"
    arranges = True

    def __init__(self, shape: Sequence[Size], start_axis: int = 1):
        self.shape, self.start_axis = checked_sizes(shape), start_axis
        if (
            self.shape.count(-1) > 1
            or any(isinstance(size, int) and size < -1 for size in self.shape)
            or start_axis < 0
        ):
            raise SettingError(f"a shape is of sizes, and −1 at most once, came {self.shape}")

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, Any]:
        return x.reshape(x.shape[: self.start_axis] + self._sizes(x, others)), (x.shape, len(others))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        shape, others = saved
        return (d_y.reshape(shape), *(None,) * others)

    def _sizes(self, x: Tensor, others: tuple[Tensor, ...]) -> tuple[int, ...]:
        """The shape without −1. Worked out here, because torch cannot for an empty batch."""
        wanted = sizes_of(self.shape, (x, *others))
        count, product = x.shape[self.start_axis :].numel(), math.prod(size for size in wanted if size >= 0)
        left = count // product if product else 0
        sizes = tuple(left if size == -1 else size for size in wanted)
        if x.dim() < self.start_axis or math.prod(sizes) != count:
            raise ShapeError(f"expected elements that fit {self.shape}, came {tuple(x.shape)}")
        return sizes


class Expand(Block):
    """The input repeated along axes of size 1, and along new axes in front, without a copy:  y = x, broadcast.

    d_x = d_y summed over the axes along which x was repeated

    shape: of y, in sizes and formulas (see sizes.py) of x and of what further inputs there are for their sizes alone;
    1 and −1 stand for x's own size
    Raises ShapeError if x cannot be broadcast to the shape.
    """

    kind = "reshaping"

    def __init__(self, shape: Sequence[Size]):
        self.shape = checked_sizes(shape)

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, Any]:
        wanted = sizes_of(self.shape, (x, *others))
        padded = (1,) * (len(wanted) - x.dim()) + tuple(x.shape)
        sizes = [old if size in (1, -1) else size for size, old in zip(wanted, padded, strict=False)]
        if len(padded) > len(wanted) or any(old not in (1, size) for size, old in zip(sizes, padded, strict=True)):
            raise ShapeError(f"expected what can be broadcast to {wanted}, came {tuple(x.shape)}")
        return x.expand(sizes), (x.shape, len(others))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        shape, others = saved
        return (unbroadcast(d_y, shape), *(None,) * others)


class Transpose(Block):
    """The axes in another order:  axis i of y is axis axes[i] of x.

    d_x = d_y with its axes put back

    axes: all axes of x, the batch's among them   Raises ShapeError if x has more or fewer, SettingError if any is
    missing or there twice.
    """

    kind = "reshaping"

    def __init__(self, axes: tuple[int, ...] | list[int]):
        self.axes = each_axis(axes)
        from_start = [axis % len(self.axes) for axis in self.axes if -len(self.axes) <= axis < len(self.axes)]
        if sorted(from_start) != list(range(len(self.axes))):
            raise SettingError(f"axes must name each axis once, came {self.axes}")
        self._back = tuple(from_start.index(axis) for axis in range(len(self.axes)))

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != len(self.axes):
            raise ShapeError(f"expected {len(self.axes)} axes, came {tuple(x.shape)}")
        return x.permute(self.axes), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.permute(self._back),)


class Slice(Block):
    """A part of one axis:  y = x[start:stop:step] along axis, by Python's rules for negative numbers.

    d_x = d_y at the places of that part, 0 elsewhere

    start, stop: numbers, or formulas (see sizes.py) of x and of what further inputs there are for their sizes alone
    Raises ShapeError if x lacks the axis, SettingError for a step below 1.
    """

    kind = "reshaping"

    def __init__(self, axis: int, start: Size = 0, stop: Size | None = None, step: int = 1):
        if step < 1:
            raise SettingError(f"step must be at least 1, came {step}")
        self.axis, self.start, self.stop, self.step = (
            axis,
            checked(start),
            stop if stop is None else checked(stop),
            step,
        )

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, Any]:
        axis, inputs = axis_of(self.axis, x), (x, *others)
        stop = None if self.stop is None else size_of(self.stop, inputs)
        part = (*(slice(None),) * axis, slice(size_of(self.start, inputs), stop, self.step))
        return x[part], (x.shape, part, len(others))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        shape, part, others = saved
        d_x = d_y.new_zeros(shape)
        d_x[part] = d_y
        return (d_x, *(None,) * others)


class Split(Block):
    """Consecutive parts of one axis, each an output.

    d_x = the parts' d_y one after the other, 0 for a part from which nothing came back

    sizes: of the parts; together the axis   Raises ShapeError if they are not, SettingError for negative or no sizes.
    """

    kind = "reshaping"

    def __init__(self, sizes: tuple[int, ...] | list[int], axis: int = 1):
        self.sizes, self.axis = tuple(sizes), axis
        if min(self.sizes, default=-1) < 0:
            raise SettingError(f"sizes must be numbers of elements, came {self.sizes}")
        self.output_count = len(self.sizes)

    def forward(self, x: Tensor) -> tuple[Any, Any]:
        axis = axis_of(self.axis, x)
        if x.shape[axis] != sum(self.sizes):
            raise ShapeError(f"expected {sum(self.sizes)} elements along axis {self.axis}, came {tuple(x.shape)}")
        parts = x.split(self.sizes, axis)
        return parts if self.output_count > 1 else parts[0], x.shape

    def propagate(self, saved: Any, d_output: Any) -> tuple[Tensor]:
        if self.output_count == 1:
            return (d_output,)
        axis = self.axis % len(saved)
        some = next(d for d in d_output if d is not None)
        parts = [
            some.new_zeros(*saved[:axis], size, *saved[axis + 1 :]) if d is None else d
            for d, size in zip(d_output, self.sizes, strict=True)
        ]
        return (torch.cat(parts, axis),)


class Reduction(Block):
    """What blocks that sum up or choose over some axes share."""

    kind = "reshaping"

    def __init__(self, axes: Axes, keep: bool = False):
        self.axes, self.keep = tuple(axes) if isinstance(axes, list) else axes, keep
        self._axes = (axes,) if isinstance(axes, int) else each_axis(axes)
        if not self._axes:
            raise SettingError("axes must name at least one axis")

    def _checked(self, x: Tensor) -> tuple[int, ...]:
        axes = tuple(axis_of(axis, x) for axis in self._axes)
        if len(set(axes)) < len(axes):
            raise ShapeError(f"axes {self.axes} of {tuple(x.shape)} name one axis twice")
        return axes

    def _spread(self, shape: torch.Size, d_y: Tensor) -> Tensor:
        """d_y at every place that it was reduced from, without a copy."""
        if not self.keep:
            for axis in sorted(axis % len(shape) for axis in self._axes):
                d_y = d_y.unsqueeze(axis)
        return d_y.expand(shape)


class Sum(Reduction):
    """The sum over some axes:  y = Σ x.

    d_x = d_y at every place that was summed

    axes: one or more; they are left out of y, or stay with size 1 if keep   Raises ShapeError if x lacks one.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.sum(self._checked(x), keepdim=self.keep), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (self._spread(saved, d_y),)


class Mean(Reduction):
    """The mean over some axes:  y = Σ x / count.

    d_x = d_y / count at every place that was averaged

    axes: one or more; they are left out of y, or stay with size 1 if keep
    Raises ShapeError if x lacks one of them. The mean over no elements is NaN.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.mean(self._checked(x), keepdim=self.keep), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        count = math.prod(saved[axis] for axis in self._axes)
        return (self._spread(saved, d_y / max(count, 1)),)


def axis_of(axis: int, x: Tensor) -> int:
    """The axis counted from the start; ShapeError if x lacks it."""
    if not -x.dim() <= axis < x.dim():
        raise ShapeError(f"expected an axis {axis}, came {tuple(x.shape)}")
    return axis % x.dim()
