"""Blocks that move, cut, pad or add up elements: their backward passes put each derivative back where it came from."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.block import Block
from blockprop.errors import SettingError, ShapeError

Axes = int | tuple[int, ...] | list[int]


class Flatten(Block):
    """All axes from start_axis on as one:  y = x in the shape (..., product of the rest).

    d_x = d_y in the shape of x

    x: (n, ...)   y: (n, features) with start_axis = 1   Raises ShapeError if x lacks that axis.
    """

    def __init__(self, start_axis: int = 1):
        self.start_axis = start_axis

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        _axis(self.start_axis, x)
        return x.flatten(self.start_axis), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.reshape(saved),)


class Reshape(Block):
    """Another shape of each example, with its elements in the same order.

    d_x = d_y in the shape of x

    x: (n, ...)   y: (n, *shape)   shape: of one example; one of its sizes may be −1, which stands for what is left
    Raises ShapeError if the elements do not fit the shape, SettingError for a shape with other negative numbers.
    """

    def __init__(self, shape: tuple[int, ...] | list[int]):
        self.shape = tuple(shape)
        if self.shape.count(-1) > 1 or min(self.shape, default=0) < -1:
            raise SettingError(f"a shape is of sizes, and −1 at most once, came {self.shape}")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.reshape(x.shape[:1] + self._sizes(x)), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.reshape(saved),)

    def _sizes(self, x: Tensor) -> tuple[int, ...]:
        """The shape without −1. Worked out here, because torch cannot for an empty batch."""
        count, known = x.shape[1:].numel(), math.prod(size for size in self.shape if size >= 0)
        left = count // known if known else 0
        sizes = tuple(left if size < 0 else size for size in self.shape)
        if x.dim() < 1 or math.prod(sizes) != count:
            raise ShapeError(f"expected examples that fit {self.shape}, came {tuple(x.shape)}")
        return sizes


class Transpose(Block):
    """The axes in another order:  axis i of y is axis axes[i] of x.

    d_x = d_y with its axes put back

    axes: all axes of x, the batch's among them   Raises ShapeError if x has more or fewer, SettingError if any is
    missing or there twice.
    """

    def __init__(self, axes: tuple[int, ...] | list[int]):
        self.axes = tuple(axes)
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

    Raises ShapeError if x lacks the axis, SettingError for a step below 1.
    """

    def __init__(self, axis: int, start: int = 0, stop: int | None = None, step: int = 1):
        if step < 1:
            raise SettingError(f"step must be at least 1, came {step}")
        self.axis, self.start, self.stop, self.step = axis, start, stop, step

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x[self._part(x.shape, _axis(self.axis, x))], x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        d_x = d_y.new_zeros(saved)
        d_x[self._part(saved, self.axis % len(saved))] = d_y
        return (d_x,)

    def _part(self, shape: tuple[int, ...], axis: int) -> tuple[slice, ...]:
        return (*(slice(None),) * axis, slice(self.start, self.stop, self.step))


class Pad(Block):
    """More places around the last axes:  y = x with a border of zeros (or another value), or of x's own elements.

    d_x = d_y without the border, plus the border's d_y at the places that it was copied from

    pads: (before, after) of the last axis, then of the one before it, and so on, as in torch. Negative numbers cut.
    mode, for x = a b c d and pads (2, 2), gives
        constant  v v|a b c d|v v   with v = value      replicate  a a|a b c d|d d
        reflect   c b|a b c d|c b                       circular   c d|a b c d|a b
    Raises ShapeError if x has too few axes or elements to copy; SettingError for pads not in pairs, an unknown mode,
    and cutting with any mode but constant.
    """

    def __init__(self, pads: tuple[int, ...] | list[int], mode: str = "constant", value: float = 0.0):
        self.pads, self.mode, self.value = tuple(pads), mode, value
        if mode != "constant" and mode not in _BORDERS:
            raise SettingError(f"mode must be one of constant, {', '.join(_BORDERS)}, came {mode!r}")
        if len(self.pads) % 2 or (mode != "constant" and min(self.pads, default=0) < 0):
            raise SettingError(f"pads must be pairs (before, after), negative for constant alone, came {self.pads}")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self._check(x)
        if self.mode == "constant":
            return F.pad(x, self.pads, value=self.value), None
        for axis, before, after in self._borders():
            first, last = _BORDERS[self.mode](x.shape[axis], before, after)
            x = torch.cat([_take(x, axis, first), x, _take(x, axis, last)], axis)
        return x, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if self.mode == "constant":
            return (F.pad(d_y, [-pad for pad in self.pads]),)
        d = d_y
        for axis, before, after in reversed(self._borders()):
            size = d.shape[axis] - before - after
            d_border = d.narrow(axis, 0, before), d.narrow(axis, before + size, after)
            d = d.narrow(axis, before, size).clone()
            for places, back in zip(_BORDERS[self.mode](size, before, after), d_border, strict=True):
                _give_back(d, axis, places, back)
        return (d,)

    def _borders(self) -> list[tuple[int, int, int]]:
        """(axis, before, after), last axis first."""
        pairs = zip(self.pads[::2], self.pads[1::2], strict=True)
        return [(-1 - i, before, after) for i, (before, after) in enumerate(pairs) if before or after]

    def _check(self, x: Tensor) -> None:
        if 2 * x.dim() < len(self.pads):
            raise ShapeError(f"expected at least {len(self.pads) // 2} axes, came {tuple(x.shape)}")
        for axis, before, after in self._borders():
            size = x.shape[axis]
            least = {"constant": -before - after, "replicate": 1, "circular": max(before, after)}
            if size < least.get(self.mode, max(before, after) + 1):
                raise ShapeError(f"{tuple(x.shape)} has too few elements to pad by {self.pads} with mode {self.mode}")


class Split(Block):
    """Consecutive parts of one axis, each an output.

    d_x = the parts' d_y one after the other, 0 for a part from which nothing came back

    sizes: of the parts; together the axis   Raises ShapeError if they are not, SettingError for negative or no sizes.
    """

    def __init__(self, sizes: tuple[int, ...] | list[int], axis: int = 1):
        self.sizes, self.axis = tuple(sizes), axis
        if min(self.sizes, default=-1) < 0:
            raise SettingError(f"sizes must be numbers of elements, came {self.sizes}")
        self.output_count = len(self.sizes)

    def forward(self, x: Tensor) -> tuple[Any, Any]:
        axis = _axis(self.axis, x)
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


class _Reduction(Block):
    def __init__(self, axes: Axes, keep: bool = False):
        self.axes, self.keep = tuple(axes) if isinstance(axes, list) else axes, keep
        self._axes = (axes,) if isinstance(axes, int) else tuple(axes)
        if not self._axes:
            raise SettingError("axes must name at least one axis")

    def _checked(self, x: Tensor) -> tuple[int, ...]:
        axes = tuple(_axis(axis, x) for axis in self._axes)
        if len(set(axes)) < len(axes):
            raise ShapeError(f"axes {self.axes} of {tuple(x.shape)} name one axis twice")
        return axes

    def _spread(self, shape: torch.Size, d_y: Tensor) -> Tensor:
        """d_y at every place that it was reduced from, without a copy."""
        if not self.keep:
            for axis in sorted(axis % len(shape) for axis in self._axes):
                d_y = d_y.unsqueeze(axis)
        return d_y.expand(shape)


class Sum(_Reduction):
    """The sum over some axes:  y = Σ x.

    d_x = d_y at every place that was summed

    axes: one or more; they are left out of y, or stay with size 1 if keep   Raises ShapeError if x lacks one.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.sum(self._checked(x), keepdim=self.keep), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (self._spread(saved, d_y),)


class Mean(_Reduction):
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


# Borders: the places of x that the elements before and after it are copied from ---------------------------------------


def _reflect(size: int, before: int, after: int) -> tuple[range, range]:
    return range(before, 0, -1), range(size - 2, size - 2 - after, -1)


def _replicate(size: int, before: int, after: int) -> tuple[list[int], list[int]]:
    return [0] * before, [size - 1] * after


def _circular(size: int, before: int, after: int) -> tuple[range, range]:
    return range(size - before, size), range(after)


_BORDERS: dict[str, Any] = {"reflect": _reflect, "replicate": _replicate, "circular": _circular}


def _take(x: Tensor, axis: int, places: range | list[int]) -> Tensor:
    return x.index_select(axis, torch.tensor(places, dtype=torch.long, device=x.device))


def _give_back(d_x: Tensor, axis: int, places: range | list[int], d_border: Tensor) -> None:
    """Add to d_x, in place, what was copied from these places: all different, or all one and the same."""
    if isinstance(places, list):  # summed first, because CUDA adds to one place in no fixed order
        places, d_border = places[:1], d_border.sum(axis, keepdim=True)
    if len(places):
        d_x.index_add_(axis, torch.tensor(places, device=d_x.device), d_border)


def _axis(axis: int, x: Tensor) -> int:
    """The axis counted from the start; ShapeError if x lacks it."""
    if not -x.dim() <= axis < x.dim():
        raise ShapeError(f"expected an axis {axis}, came {tuple(x.shape)}")
    return axis % x.dim()
