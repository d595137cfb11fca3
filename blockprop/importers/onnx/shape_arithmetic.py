"""Operators on tensors of sizes (importers/exact_sizes.py), worked out with numpy while importing.

Each takes what the operator takes, as numpy arrays of objects, and the attributes of all its versions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from onnx import TensorProto

from blockprop.errors import GraphError
from blockprop.importers import exact_sizes
from blockprop.importers.exact_sizes import Numbers, Quotient, each, settled
from blockprop.importers.onnx_tensors import dtype_of
from blockprop.importers.symbols import Symbol

Array = Any
_FUNCTIONS: dict[str, Callable[..., Any]] = {}
ARRANGEMENTS = {
    "Gather",
    "Slice",
    "Split",
    "Squeeze",
    "Unsqueeze",
    "Reshape",
    "Flatten",
    "Transpose",
    "Expand",
    "Tile",
}


def computed(name: str, inputs: Sequence[Any], attributes: dict[str, Any], version: int) -> Any:
    """What the operator makes of these inputs; None if that is no tensor of sizes, or there is no entry for it."""
    function = _FUNCTIONS.get(name)
    if function is None or not any(isinstance(value, Numbers) for value in inputs):
        return None
    if name in ARRANGEMENTS and not isinstance(inputs[0], Numbers):
        return None  # something else is arranged by sizes
    operands = [None if value is None else exact_sizes.numbers_of(value) for value in inputs]
    if any(operand is None and value is not None for operand, value in zip(operands, inputs, strict=True)):
        return None
    context = _Context(version, [operand.dtype if operand else torch.int64 for operand in operands], attributes)
    result = function(context, *(operand.array if operand else None for operand in operands))
    if isinstance(result, list):
        return tuple(settled(Numbers(array, context.dtype)) for array in result)
    return settled(Numbers(result, context.dtype))


class _Context:
    """The attributes, and the type of number of the inputs and of the result."""

    def __init__(self, version: int, dtypes: list[torch.dtype], attributes: dict[str, Any]):
        self.version, self.attributes = version, attributes
        self.dtypes, self.dtype = dtypes, dtypes[0]

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def axes(self, array: Array | None) -> tuple[int, ...] | None:
        """The axes, from an input or, in older versions, from an attribute."""
        numbers = self.get("axes") if array is None else exact_sizes.whole(array.reshape(-1).tolist())
        return None if numbers is None else tuple(numbers)


def _on_numbers(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        _FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return put


def _elementwise(name: str, function: Callable[..., Any], decides: bool = False) -> None:
    def apply(context: _Context, *arrays: Array) -> Array:
        if decides:
            context.dtype = torch.bool
        result = arrays[0]
        for other in arrays[1:]:
            result = each(function, result, other)
        return each(function, result) if len(arrays) == 1 and function.__code__.co_argcount == 1 else result

    _FUNCTIONS[name] = apply


_elementwise("Add", lambda a, b: exact_sizes.total(a, b))
_elementwise("Sum", lambda a, b: exact_sizes.total(a, b))
_elementwise("Sub", lambda a, b: exact_sizes.total(a, -b))
_elementwise("Mul", lambda a, b: exact_sizes.product(a, b))
_elementwise("Min", lambda a, b: exact_sizes.smaller(a, b))
_elementwise("Max", lambda a, b: exact_sizes.larger(a, b))
_elementwise("Neg", lambda a: -a)
_elementwise("Abs", lambda a: exact_sizes.larger(a, -a))
_elementwise("Floor", lambda a: a.floor() if isinstance(a, Quotient) else float(np.floor(a)) if _plain(a) else a)
_elementwise("Ceil", lambda a: a.ceil() if isinstance(a, Quotient) else float(np.ceil(a)) if _plain(a) else a)
_elementwise("Equal", lambda a, b: exact_sizes.is_equal(a, b), decides=True)
_elementwise("Less", lambda a, b: exact_sizes.is_less(a, b), decides=True)
_elementwise("Greater", lambda a, b: exact_sizes.is_less(b, a), decides=True)
_elementwise("LessOrEqual", lambda a, b: not exact_sizes.is_less(b, a), decides=True)
_elementwise("GreaterOrEqual", lambda a, b: not exact_sizes.is_less(a, b), decides=True)


def _plain(value: Any) -> bool:
    return isinstance(value, float | int)


@_on_numbers("Div")
def _div(context: _Context, a: Array, b: Array) -> Array:
    return each(lambda x, y: exact_sizes.quotient(x, y, not context.dtype.is_floating_point), a, b)


@_on_numbers("Mod")
def _mod(context: _Context, a: Array, b: Array) -> Array:
    return each(lambda x, y: exact_sizes.remainder(x, y, bool(context.get("fmod", 0))), a, b)


@_on_numbers("Cast")
def _cast(context: _Context, x: Array) -> Array:
    context.dtype = dtype_of(context.get("to", TensorProto.UNDEFINED))
    if context.dtype.is_floating_point:
        return each(lambda value: value if isinstance(value, Symbol | Quotient) else float(value), x)
    if context.dtype is torch.bool:
        return each(lambda value: not exact_sizes.is_equal(value, 0), x)
    return each(exact_sizes.truncated, x)


@_on_numbers("CastLike")
def _cast_like(context: _Context, x: Array, like: Array) -> Array:
    context.dtype = context.dtypes[1]
    if context.dtype.is_floating_point:
        return each(lambda value: value if isinstance(value, Symbol | Quotient) else float(value), x)
    return each(exact_sizes.truncated, x)


@_on_numbers("Where")
def _where(context: _Context, condition: Array, a: Array, b: Array) -> Array:
    context.dtype = context.dtypes[1]
    return each(lambda chosen, x, y: x if chosen else y, condition, a, b)


@_on_numbers("Identity", "Dropout")
def _identity(context: _Context, x: Array, *_: Array) -> Array:
    return x


@_on_numbers("Gather")
def _gather(context: _Context, x: Array, indices: Array) -> Array:
    places = np.array(exact_sizes.whole(indices.reshape(-1).tolist()), dtype=np.int64).reshape(indices.shape)
    axis = context.get("axis", 0)
    exact_sizes.bounded((*x.shape[: axis % x.ndim], places.size, *x.shape[axis % x.ndim + 1 :]))
    return x.take(places, axis=axis)


@_on_numbers("Slice")
def _slice(
    context: _Context,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    def given(name: str, array: Array | None) -> list[int] | None:
        return context.get(name) if array is None else exact_sizes.whole(array.reshape(-1).tolist())

    first, last = given("starts", starts) or [], given("ends", ends) or []
    along, step = given("axes", axes) or range(len(first)), given("steps", steps) or [1] * len(first)
    parts = [slice(None)] * x.ndim
    for axis, start, stop, by in zip(along, first, last, step, strict=True):
        parts[axis] = _part(start, stop, by, x.shape[axis])
    return x[tuple(parts)]


def _part(start: int, stop: int, step: int, size: int) -> slice:
    """ONNX' slice as numpy's: an end before the first element means that the first is in."""
    if step > 0:
        return slice(start, stop, step)
    low = stop + size if stop < 0 else stop
    return slice(start, None if low < 0 else stop, step)


@_on_numbers("Concat")
def _concat(context: _Context, *arrays: Array) -> Array:
    return np.concatenate(arrays, axis=context.get("axis", 1))


@_on_numbers("Split")
def _split(context: _Context, x: Array, sizes: Array | None = None) -> list[Array]:
    axis, parts = context.get("axis", 0), context.get("split") if sizes is None else exact_sizes.whole(sizes.tolist())
    if parts is None:
        count = context.get("num_outputs") or context.get("outputs")
        part = -(-x.shape[axis] // count)
        parts = [min(part, x.shape[axis] - i * part) for i in range(count)]
    return np.split(x, np.cumsum(parts)[:-1], axis=axis)


@_on_numbers("Squeeze")
def _squeeze(context: _Context, x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, axis=context.axes(axes))


@_on_numbers("Unsqueeze")
def _unsqueeze(context: _Context, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, context.axes(axes) or ())


@_on_numbers("Reshape")
def _reshape(context: _Context, x: Array, shape: Array) -> Array:
    wanted = [
        x.shape[i] if size == 0 and not context.get("allowzero", 0) else size
        for i, size in enumerate(exact_sizes.whole(shape.reshape(-1).tolist()))
    ]
    return x.reshape(wanted)


@_on_numbers("Flatten")
def _flatten(context: _Context, x: Array) -> Array:
    axis = context.get("axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


@_on_numbers("Transpose")
def _transpose(context: _Context, x: Array) -> Array:
    return x.transpose(context.get("perm"))


@_on_numbers("Expand")
def _expand(context: _Context, x: Array, shape: Array) -> Array:
    wanted = np.broadcast_shapes(x.shape, tuple(exact_sizes.whole(shape.reshape(-1).tolist())))
    return np.broadcast_to(x, exact_sizes.bounded(wanted)).copy()


@_on_numbers("Tile")
def _tile(context: _Context, x: Array, repeats: Array) -> Array:
    times = exact_sizes.whole(repeats.reshape(-1).tolist())
    exact_sizes.bounded([size * time for size, time in zip(x.shape, times, strict=True)])
    return np.tile(x, times)


def _reduction(name: str, function: Callable[[Any, Any], Any]) -> None:
    def reduce(context: _Context, x: Array, axes: Array | None = None) -> Array:
        chosen = context.axes(axes)
        if not chosen and context.get("noop_with_empty_axes", 0):
            return x
        keep = bool(context.get("keepdims", 1))
        along = sorted((axis % x.ndim for axis in chosen or range(x.ndim)), reverse=True)
        for axis in along:
            if not x.shape[axis]:
                raise GraphError("a reduction of no elements")
            parts = np.moveaxis(x, axis, 0)
            y = parts[0]
            for part in parts[1:]:
                y = each(function, y, part)
            x = np.expand_dims(np.asarray(y, dtype=object), axis) if keep else np.asarray(y, dtype=object)
        return x

    _FUNCTIONS[name] = reduce


_reduction("ReduceProd", exact_sizes.product)
_reduction("ReduceSum", exact_sizes.total)
_reduction("ReduceMax", exact_sizes.larger)
_reduction("ReduceMin", exact_sizes.smaller)
