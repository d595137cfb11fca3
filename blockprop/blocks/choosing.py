"""Conditions, comparisons, orders and types of number: what flows through them is chosen, not computed."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from blockprop.blocks.joining import require_broadcast, unbroadcast
from blockprop.blocks.pointwise import where_above
from blockprop.blocks.reshaping import axis_of
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


class Where(Block):
    """One of two by a condition:  y = a where the condition is true, else b, with broadcasting.

    d_a = d_y where it is true, else 0     d_b = d_y where it is false, else 0     each summed over axes of repetition

    condition: booleans, to which nothing propagates, nor to an a or b of integers
    Raises ShapeError for another type of condition, and if the shapes cannot be broadcast.
    """

    kind = "other"

    def forward(self, condition: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        if condition.dtype != torch.bool:
            raise ShapeError(f"expected a condition of booleans, came {condition.dtype}")
        require_broadcast(condition, a, b)
        return torch.where(condition, a, b), (condition, a, b)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        condition, a, b = saved
        return None, _where(condition, d_y, a), _where(~condition, d_y, b)


class Compare(Block):
    """Booleans from two tensors, or from a tensor and a number:  y = a < b and the like, with broadcasting.

    d_a = d_b = None: y changes in steps

    operator: less, less_equal, greater, greater_equal, equal or not_equal     value: the number in place of b
    Raises ShapeError if the shapes cannot be broadcast or the inputs are too few or many; SettingError for an operator
    that does not exist.
    """

    kind = "other"

    def __init__(self, operator: str, value: float | None = None):
        if operator not in _COMPARISONS:
            raise SettingError(f"operator must be one of {', '.join(_COMPARISONS)}, came {operator!r}")
        self.operator, self.value = operator, value

    def forward(self, *x: Tensor) -> tuple[Tensor, Any]:
        _require_count(x, 2 if self.value is None else 1, self)
        other = x[1] if self.value is None else self.value
        return _COMPARISONS[self.operator](x[0], other), len(x)

    def propagate(self, saved: Any, d_y: Tensor | None) -> tuple[None, ...]:
        return (None,) * saved


class Logic(Block):
    """Booleans from booleans, or bits from the bits of integers:  y = a and b and the like, with broadcasting.

    d_a = d_b = None: y changes in steps

    operator: and, or, xor (of two inputs) or not (of one)
    Raises ShapeError for real numbers, shapes that cannot be broadcast, and too few or many inputs; SettingError for an
    operator that does not exist.
    """

    kind = "other"

    def __init__(self, operator: str):
        if operator not in _LOGIC:
            raise SettingError(f"operator must be one of {', '.join(_LOGIC)}, came {operator!r}")
        self.operator = operator

    def forward(self, *x: Tensor) -> tuple[Tensor, Any]:
        _require_count(x, 1 if self.operator == "not" else 2, self)
        for operand in x:
            if operand.is_floating_point():
                raise ShapeError(f"expected booleans or integers, came {operand.dtype}")
        return _LOGIC[self.operator](*x), len(x)

    def propagate(self, saved: Any, d_y: Tensor | None) -> tuple[None, ...]:
        return (None,) * saved


class Cast(Block):
    """Another type of number:  y = x, rounded to what the type can hold.

    d_x = d_y in x's own type if both are real numbers, else None

    dtype: float16, bfloat16, float32, float64, int8, int16, int32, int64, uint8 or bool (false where x = 0)
    Real numbers lose what stands after the point on the way to integers. Raises SettingError for any other type.
    """

    kind = "other"

    def __init__(self, dtype: str):
        if dtype not in _TYPES:
            raise SettingError(f"dtype must be one of {', '.join(_TYPES)}, came {dtype!r}")
        self.dtype = dtype

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x.to(_TYPES[self.dtype])
        return y, x.dtype if x.is_floating_point() and y.is_floating_point() else None

    def propagate(self, saved: Any, d_y: Tensor | None) -> tuple[Tensor | None]:
        return (None if saved is None or d_y is None else d_y.to(saved),)


class TopK(Block):
    """The largest elements along one axis, and their places:  y = (x at places, places).

    d_x = d_values at those places, 0 elsewhere; nothing comes back from the places

    x: any shape that has the axis   values, places: the same with `count` elements along it, places in int64
    largest: or else the smallest     sorted: in that order, or else in any
    Of equal elements any may be chosen. Raises ShapeError if x has too few elements, SettingError for a negative count.
    """

    kind = "other"
    output_count = 2

    def __init__(self, count: int, axis: int = -1, largest: bool = True, sorted: bool = True):
        if count < 0:
            raise SettingError(f"count must be at least 0, came {count}")
        self.count, self.axis, self.largest, self.sorted = count, axis, largest, sorted

    def forward(self, x: Tensor) -> tuple[Any, Any]:
        axis = axis_of(self.axis, x)
        if x.shape[axis] < self.count:
            raise ShapeError(f"expected at least {self.count} elements along axis {self.axis}, came {tuple(x.shape)}")
        values, places = x.topk(self.count, axis, self.largest, self.sorted)
        return (values, places), (places, x.shape)

    def propagate(self, saved: Any, d_output: Any) -> tuple[Tensor | None]:
        places, shape = saved
        d_values = d_output[0]
        return (None if d_values is None else d_values.new_zeros(shape).scatter_(self.axis, places, d_values),)


class Sort(Block):
    """The elements along one axis in order, and where they came from:  y = (x at places, places).

    d_x = d_values put back at those places; nothing comes back from the places

    x, values, places: any shape that has the axis, places in int64     descending: the largest first
    Equal elements stay in their order. Raises ShapeError if x lacks the axis.
    """

    kind = "other"
    output_count = 2

    def __init__(self, axis: int = -1, descending: bool = False):
        self.axis, self.descending = axis, descending

    def forward(self, x: Tensor) -> tuple[Any, Any]:
        values, places = x.sort(dim=axis_of(self.axis, x), descending=self.descending, stable=True)
        return (values, places), places

    def propagate(self, saved: Any, d_output: Any) -> tuple[Tensor | None]:
        d_values = d_output[0]
        return (None if d_values is None else torch.empty_like(d_values).scatter_(self.axis, saved, d_values),)


class _ArgExtreme(Block):
    kind = "other"
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, axis: int, keep: bool = False, last: bool = False):
        self.axis, self.keep, self.last = axis, keep, last

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axis = axis_of(self.axis, x)
        size = x.shape[axis]
        if not size:
            raise ShapeError(f"expected at least one element along axis {self.axis}, came {tuple(x.shape)}")
        if self.last:
            return size - 1 - type(self).function(x.flip(axis), axis, self.keep), None
        return type(self).function(x, axis, self.keep), None

    def propagate(self, saved: Any, d_y: Tensor | None) -> tuple[None]:
        return (None,)


class ArgMax(_ArgExtreme):
    """The place of the largest element along one axis:  y = argmax x.

    d_x = None: y changes in steps

    x: any shape that has the axis   y: int64, without the axis, or with size 1 there if keep
    Of equal elements the first, or else the `last`, counts; NaN as larger than any number.
    Raises ShapeError if x lacks the axis or has no elements along it.
    """

    function = torch.argmax


class ArgMin(_ArgExtreme):
    """The place of the smallest element along one axis:  y = argmin x.

    d_x = None: y changes in steps

    Everything else as in ArgMax; NaN counts as smaller than any number.
    """

    function = torch.argmin


class OneHot(Block):
    """A row of zeros with a single one, for each number:  y_k = on where k = x, else off.

    d_x = None: x is of integers

    x: integers, any shape   y: float32, with a new axis of size depth at `axis` of y
    Negative numbers count from the end; others outside 0…depth − 1 give a row that is off everywhere, as in ONNX.
    Raises ShapeError for real numbers or if y cannot have the axis, SettingError for a depth below 1.
    """

    kind = "other"

    def __init__(self, depth: int, axis: int = -1, on: float = 1.0, off: float = 0.0):
        if depth < 1:
            raise SettingError(f"depth must be at least 1, came {depth}")
        self.depth, self.axis, self.on, self.off = depth, axis, on, off

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.is_floating_point():
            raise ShapeError(f"expected integers, came {x.dtype}")
        if not -x.dim() - 1 <= self.axis <= x.dim():
            raise ShapeError(
                f"expected an input whose one-hot rows can stand at axis {self.axis}, came {tuple(x.shape)}"
            )
        x = x.long().unsqueeze(self.axis)
        rows = torch.arange(self.depth, device=x.device).view(-1, *[1] * (x.dim() - 1 - self.axis % x.dim()))
        hit = (x == rows).logical_or_(x + self.depth == rows)
        return torch.where(hit, self.on, self.off).to(torch.float32), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[None]:
        return (None,)


_COMPARISONS: dict[str, Callable[..., Tensor]] = {
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "equal": torch.eq,
    "not_equal": torch.ne,
}

_LOGIC: dict[str, Callable[..., Tensor]] = {
    "and": torch.bitwise_and,
    "or": torch.bitwise_or,
    "xor": torch.bitwise_xor,
    "not": torch.bitwise_not,
}

_TYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float16", "bfloat16", "float32", "float64"),
        *("int8", "int16", "int32", "int64", "uint8", "bool"),
    )
}


def _require_count(x: tuple[Tensor, ...], count: int, block: Block) -> None:
    if len(x) != count:
        raise ShapeError(f"{block!r} expected {count} inputs, came {len(x)}")
    require_broadcast(*x)


def _where(chosen: Tensor, d_y: Tensor, x: Tensor) -> Tensor | None:
    """The part of d_y that belongs to an input which was taken where `chosen`, and perhaps broadcast and converted."""
    if not x.is_floating_point():
        return None
    d = where_above(chosen.to(d_y.dtype).expand_as(d_y), 0, d_y)  # as numbers: see pointwise.py
    return unbroadcast(d, x.shape).to(x.dtype)
