"""Handlers of operators that choose elements by index, and write to places given by index."""

from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.arranging import expand, permute
from blockprop.importers.aten.elementwise import cast, constant, rectified
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, axis_from_start, number
from blockprop.importers.graph import Known, Value
from blockprop.importers.problems import CHOSEN_BY_VALUES
from blockprop.importers.symbols import AxisSize


@aten("index_select")
def index_select(call: Call, self: Value, dim: int, index: Value) -> Value:
    return call.add(blocks.Gather(axis_from_start(dim, self.axes)), self, index)


@aten("index")
def index(call: Call, self: Value, indices: Sequence[Value | None]) -> Value:
    used = [axis for axis, places in enumerate(indices) if places is not None]
    indices = [_places(places) for places in indices]
    if any(indices[axis].dtype in (torch.bool, torch.uint8) for axis in used):  # type: ignore[union-attr]
        raise UnsupportedError(CHOSEN_BY_VALUES)
    if len(used) == 1:
        return call.add(blocks.Gather(used[0]), self, indices[used[0]])  # type: ignore[arg-type]
    front = [*used, *(axis for axis in range(self.axes) if axis not in used)]
    y = call.add(blocks.GatherND(), permute(_part(call, "front"), self, front), _joined(call, indices, used))
    count = y.axes - (self.axes - len(used))
    if used != list(range(used[0], used[-1] + 1)):  # torch, too, puts the axes of the indices in front then
        return y
    rest = list(range(count, y.axes))
    return permute(_part(call, "back"), y, [*rest[: used[0]], *range(count), *rest[used[0] :]])


def _joined(call: Call, indices: Sequence[Value | None], used: Sequence[int]) -> Value:
    """The indices, broadcast to one shape, along a last axis."""
    chosen = [index for axis in used if (index := indices[axis]) is not None]
    shape = _broadcast([index.shape for index in chosen])
    columns = []
    for axis, index in zip(used, chosen, strict=True):
        long = cast(_part(call, f"index{axis}"), index, torch.int64)
        wide = expand(_part(call, f"index{axis}.wide"), long, list(shape))
        columns.append(call.add(blocks.Unsqueeze((len(shape),)), wide, part=f"index{axis}.column"))
    return call.add(blocks.Concat(-1), *columns, part="places")


def _part(call: Call, part: str) -> Call:
    """The same call, for a node of its own on the way to its output."""
    return Call(call.graph, f"{call.name}.{part}", call.operator, call.where, training=call.training)


def _broadcast(shapes: Sequence[Sequence[AxisSize]]) -> list[AxisSize]:
    """The shape that all are broadcast to."""
    axes = max(len(shape) for shape in shapes)
    padded: list[list[AxisSize]] = [[*(1,) * (axes - len(shape)), *shape] for shape in shapes]
    return [next((size for size in sizes if size != 1), 1) for sizes in zip(*padded, strict=True)]


def _places(index: Value | None) -> Value | None:
    """A constant mask as the places where it holds."""
    if isinstance(index, Known) and index.dtype == torch.bool and index.axes == 1:
        return Known(index.tensor.nonzero().flatten())
    return index


@aten("gather")
def gather(call: Call, self: Value, dim: int, index: Value, sparse_grad: bool = False) -> Value:
    return call.add(blocks.GatherElements(axis_from_start(dim, self.axes)), self, index)


@aten("take_along_dim")
def take_along_dim(call: Call, self: Value, indices: Value, dim: int | None = None) -> Value:
    if dim is None:
        flat = [call.add(blocks.Flatten(0), x, part="flat") for x in (self, indices)]
        return call.add(blocks.GatherElements(0), *flat)
    axis = axis_from_start(dim, self.axes)
    shape = _broadcast([self.shape, indices.shape])
    wide = [
        expand(_part(call, part), x, [*shape[:axis], x.shape[axis], *shape[axis + 1 :]])
        for part, x in (("values", self), ("places", indices))
    ]
    return call.add(blocks.GatherElements(axis), *wide)


@aten("scatter", "scatter_add")
def scatter(
    call: Call, self: Value, dim: int, index: Value, src: Any = None, value: Any = None, reduce: Any = None
) -> Value:
    source = src if src is not None else value
    if number(source) is not None or reduce is not None:
        raise UnsupportedError("scattering a number, or with a reduction")
    kind = "add" if "add" in call.operator else "none"
    return call.add(blocks.ScatterElements(axis_from_start(dim, self.axes), kind), self, index, source)


@aten("index_put")
def index_put(
    call: Call, self: Value, indices: Sequence[Value | None], values: Value, accumulate: bool = False
) -> Value:
    if not any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices):
        return _put(call, self, indices, values, accumulate)
    if len(indices) != 1 or indices[0] is None or accumulate:
        raise UnsupportedError("writing at places given by numbers and by a mask")
    filled, mask = number(values), indices[0]
    if filled is None and not _each_the_same(values, mask, self):
        raise UnsupportedError("writing several values at the places of a mask")
    if filled == 0 and (y := rectified(call, mask, 0, self)) is not None:
        return y
    if mask.axes < self.axes:
        mask = call.add(blocks.Unsqueeze(tuple(range(mask.axes, self.axes))), mask, part="mask")
    written = constant(filled, self) if filled is not None else cast(_part(call, "cast"), values, self.dtype)
    return call.add(blocks.Where(), mask, written, self)


def _each_the_same(values: Value, mask: Value, x: Value) -> bool:
    """Whether the values say nothing of which place of the mask they are for."""
    inside = x.axes - mask.axes
    return values.axes <= inside or (values.axes == inside + 1 and values.shape[0] == 1)


def _put(call: Call, x: Value, indices: Sequence[Value | None], values: Value, accumulate: bool) -> Value:
    """Values written, or added, at places given by numbers for the first axes."""
    used = [axis for axis, places in enumerate(indices) if places is not None]
    if used != list(range(len(used))):
        raise UnsupportedError("writing at places of axes that are not the first ones")
    places = _joined(call, indices, used)
    shape = [*places.shape[:-1], *x.shape[len(used) :]]
    wide = expand(_part(call, "values"), cast(_part(call, "cast"), values, x.dtype), shape)
    return call.add(blocks.ScatterND("add" if accumulate else "none"), x, places, wide)


@aten("index_add")
def index_add(call: Call, self: Value, dim: int, index: Value, source: Value, alpha: Any = 1) -> Value:
    if number(alpha) != 1 or index.axes != 1:
        raise UnsupportedError("adding a multiple, or at a single place")
    axis = axis_from_start(dim, self.axes)
    order = [axis, *(other for other in range(self.axes) if other != axis)]
    x, added = (permute(_part(call, part), y, order) for part, y in (("front", self), ("source", source)))
    y = _put(_part(call, "sum") if axis else call, x, [index], added, accumulate=True)
    return permute(call, y, [order.index(other) for other in range(self.axes)])


@aten("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "argwhere")
def chosen_by_values(call: Call, **_: Any) -> Value:
    raise UnsupportedError(CHOSEN_BY_VALUES)
