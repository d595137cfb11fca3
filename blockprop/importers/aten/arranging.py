"""Handlers of operators that give a tensor another shape, another order of axes, or another type."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.elementwise import cast
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, axes_of, axis_from_start
from blockprop.importers.graph import Flow, Known, Value
from blockprop.importers.symbols import AxisSize, Symbol


def reshape_to(call: Call, x: Value, wanted: Sequence[AxisSize], part: str = "") -> Value:
    """A Reshape node: on what follows the batch axis, where that stays as it is."""
    present = x.shape
    sizes, others = call.sizes(wanted, x)
    if len(present) > 1 and len(sizes) > 1 and (sizes[0] == "a0" or sizes[0] == present[0]) and _one_unknown(sizes[1:]):
        rest = sizes[1:] if others else _with_rest(sizes[1:])
        if not any(isinstance(size, str) for size in rest):
            others = ()
        return call.add(blocks.Reshape(rest), x, *others, part=part)
    return call.add(blocks.Reshape(sizes, start_axis=0), x, *others, part=part)


def _one_unknown(sizes: Sequence[int | str]) -> bool:
    return sum(size == -1 for size in sizes) <= 1


def _with_rest(sizes: Sequence[int | str]) -> tuple[int | str, ...]:
    """−1 instead of the only formula: the same, and easier to read."""
    formulas = [i for i, size in enumerate(sizes) if isinstance(size, str)]
    if len(formulas) == 1 and -1 not in sizes and 0 not in sizes:
        return (*sizes[: formulas[0]], -1, *sizes[formulas[0] + 1 :])
    return tuple(sizes)


@aten("view", "reshape", "_unsafe_view", "_reshape_alias")
def reshape(
    call: Call, self: Value, size: Any = None, shape: Any = None, dtype: Any = None, stride: Any = None
) -> Value:
    if dtype is not None:
        raise UnsupportedError("a view of the bits as another type of number")
    return reshape_to(call, self, size if shape is None else shape)


@aten("view_as", "reshape_as")
def reshape_as(call: Call, self: Value, other: Value) -> Value:
    return reshape_to(call, self, other.shape)


@aten("flatten")
def flatten(call: Call, self: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    axes = self.axes
    if axes == 0:
        return call.add(blocks.Reshape((1,), start_axis=0), self)
    start, end = axis_from_start(start_dim, axes), axis_from_start(end_dim, axes)
    if end == axes - 1:
        return call.add(blocks.Flatten(start), self)
    sizes = self.shape
    return reshape_to(call, self, (*sizes[:start], math.prod(sizes[start : end + 1]), *sizes[end + 1 :]))


@aten("unflatten")
def unflatten(call: Call, self: Value, dim: int, sizes: Sequence[AxisSize]) -> Value:
    present, axis = self.shape, axis_from_start(dim, self.axes)
    if -1 in sizes and any(isinstance(size, Symbol) for size in (*present[:axis], *present[axis + 1 :])):
        rest = math.prod(size for size in sizes if size != -1)
        sizes = [present[axis] // rest if size == -1 else size for size in sizes]
    return reshape_to(call, self, (*present[:axis], *sizes, *present[axis + 1 :]))


@aten("squeeze")
def squeeze(call: Call, self: Value, dim: Any = None) -> Value:
    sizes = self.shape
    axes = tuple(axis for axis in axes_of(dim, self.axes) if sizes[axis] == 1)
    return call.add(blocks.Squeeze(axes), self) if axes else self


@aten("unsqueeze")
def unsqueeze(call: Call, self: Value, dim: int) -> Value:
    return call.add(blocks.Unsqueeze((axis_from_start(dim, self.axes + 1),)), self)


@aten("transpose", "swapaxes", "swapdims")
def transpose(call: Call, self: Value, **axes: int) -> Value:
    a, b = (axis_from_start(axis, self.axes) for axis in axes.values())
    order = list(range(self.axes))
    order[a], order[b] = b, a
    return permute(call, self, order)


@aten("t", "numpy_T", "mT", "adjoint")
def turn(call: Call, self: Value) -> Value:
    last_two = [*range(self.axes - 2), self.axes - 1, self.axes - 2] if self.axes > 1 else [0]
    return permute(call, self, last_two if "numpy" not in call.operator else list(range(self.axes))[::-1])


@aten("permute")
def permute(call: Call, self: Value, dims: Sequence[int]) -> Value:
    order = tuple(axis_from_start(axis, self.axes) for axis in dims)
    return self if order == tuple(range(self.axes)) else call.add(blocks.Transpose(order), self)


@aten("movedim", "moveaxis")
def movedim(call: Call, self: Value, source: Any, destination: Any) -> Value:
    sources, places = axes_of(source, self.axes), axes_of(destination, self.axes)
    order = [axis for axis in range(self.axes) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute(call, self, order)


@aten("expand", "expand_as", "broadcast_to")
def expand(call: Call, self: Value, size: Any = None, implicit: bool = False, other: Value | None = None) -> Value:
    wanted = other.shape if other is not None else size
    front = len(wanted) - self.axes
    present = self.shape
    if all(size == -1 or (i >= front and (size == present[i - front])) for i, size in enumerate(wanted)):
        return self
    # The operand's own axes are no help here: what is repeated takes its size from elsewhere.
    sizes, others = call.graph.sizes(wanted, self) if front == 0 else call.graph.formulas(wanted, self)
    return call.add(blocks.Expand(sizes), self, *others)


@aten("repeat", "tile")
def repeat(call: Call, self: Value, repeats: Any = None, dims: Any = None) -> Value:
    counts = list(repeats if repeats is not None else dims)
    counts = [1] * (self.axes - len(counts)) + counts
    if any(isinstance(count, Symbol) for count in counts):
        if self.axes == len(counts) and all(s == 1 for s, c in zip(self.shape, counts, strict=True) if c != 1):
            return expand(call, self, [-1 if count == 1 else count for count in counts])
        if all(isinstance(count, int) and count == 1 for count in counts[len(counts) - self.axes :]):
            return expand(call, self, [*counts[: len(counts) - self.axes], *self.shape])
        for axis in range(len(counts) - self.axes):
            self = call.add(blocks.Unsqueeze((axis,)), self, part=f"wide{axis}")
        wide = call.add(blocks.Unsqueeze(tuple(range(0, 2 * self.axes, 2))), self, part="wide")
        pairs = [size for pair in zip(counts, self.shape, strict=True) for size in pair]
        sizes, others = call.graph.formulas(pairs, wide)
        copies = call.add(blocks.Expand(sizes), wide, *others, part="copies")
        return reshape_to(call, copies, [count * size for count, size in zip(counts, self.shape, strict=True)])
    return call.add(blocks.Repeat(tuple(counts)), self)


@aten("repeat_interleave")
def repeat_interleave(call: Call, self: Value, repeats: Any, dim: int | None = None, output_size: Any = None) -> Value:
    if not isinstance(repeats, int | Symbol):
        raise UnsupportedError("repetitions that differ from element to element")
    if dim is None:
        self, dim = call.add(blocks.Flatten(0), self, part="flat"), 0
    if isinstance(repeats, Symbol):
        axis = axis_from_start(dim, self.axes)
        shape: list[AxisSize] = list(self.shape)
        wide = call.add(blocks.Unsqueeze((axis + 1,)), self, part="wide")
        sizes, others = call.graph.formulas([*shape[: axis + 1], repeats, *shape[axis + 1 :]], wide)
        copies = call.add(blocks.Expand(sizes), wide, *others, part="copies")
        return reshape_to(call, copies, [*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]])
    return call.add(blocks.RepeatInterleave(repeats, dim), self)


@aten("contiguous", "clone", "alias", "lift_fresh_copy", "lift_fresh", "lift", "alias_copy", "positive",
      "resolve_conj", "resolve_neg")  # fmt: skip
def same(call: Call, self: Value, **_: Any) -> Value:
    return self


@aten("detach", "detach_copy")
def detach(call: Call, self: Value) -> Value:
    return call.add(blocks.Detach(), self) if isinstance(self, Flow) else Known(self.tensor, self.name)


@aten("to", "_to_copy", "type_as")
def to(call: Call, self: Value, dtype: Any = None, other: Value | None = None, **_: Any) -> Value:
    wanted = other.dtype if other is not None else dtype
    if wanted is None or wanted == self.dtype:
        return self
    y = call.add(blocks.Cast(name_of(wanted)), self)
    return replace(y, sign_of=self.sign_of) if isinstance(self, Flow) else y


@aten("copy")
def copy(call: Call, self: Value, src: Value, non_blocking: bool = False) -> Value:
    return expand(call, cast(call, src, self.dtype), other=self)
