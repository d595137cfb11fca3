"""Handlers of operators that choose elements by index, and write to places given by index."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.arranging import reshape_to
from blockprop.importers.aten.elementwise import constant, rectified
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, axis_from_start, number
from blockprop.importers.graph import Known, Value
from blockprop.importers.symbols import AxisSize, Symbol


@aten("index_select")
def index_select(call: Call, self: Value, dim: int, index: Value) -> Value:
    return call.add(blocks.Gather(axis_from_start(dim, self.axes)), self, index)


@aten("index")
def index(call: Call, self: Value, indices: Sequence[Value | None]) -> Value:
    used = [axis for axis, places in enumerate(indices) if places is not None]
    indices = [_places(places) for places in indices]
    if any(indices[axis].dtype in (torch.bool, torch.uint8) for axis in used):  # type: ignore[union-attr]
        raise UnsupportedError("choosing elements by a mask gives as many as there happen to be")
    if len(used) == 1:
        return call.add(blocks.Gather(used[0]), self, indices[used[0]])  # type: ignore[arg-type]
    if used != list(range(used[0], used[-1] + 1)):
        raise UnsupportedError("indices for axes that are not neighbors")
    # x[i, j] is the flattened pair of axes at i · size_j + j.
    sizes = self.shape
    x = reshape_to(
        call, self, (*sizes[: used[0]], math.prod(sizes[axis] for axis in used), *sizes[used[-1] + 1 :]), part="flat"
    )
    place = _from_start(call, indices[used[0]], sizes[used[0]])
    for axis in used[1:]:
        size = sizes[axis]
        if isinstance(size, Symbol):
            raise UnsupportedError("several indices into free axes")
        wide = call.add(blocks.Affine(size), place, part="row")
        place = call.add(blocks.Add(), wide, _from_start(call, indices[axis], size), part="place")
    return call.add(blocks.Gather(used[0]), x, place)


def _places(index: Value | None) -> Value | None:
    """A constant mask as the places where it holds."""
    if isinstance(index, Known) and index.dtype == torch.bool and index.axes == 1:
        return Known(index.tensor.nonzero().flatten())
    return index


def _from_start(call: Call, index: Any, size: AxisSize) -> Value:
    """The index with −1 and the like counted from the start."""
    if isinstance(index, Known) and isinstance(size, int):
        return Known(index.tensor % size)
    if isinstance(size, Symbol):
        raise UnsupportedError("several indices into free axes")
    return call.add(blocks.Remainder(), index, constant(size, index), part="from_start")


@aten("gather")
def gather(call: Call, self: Value, dim: int, index: Value, sparse_grad: bool = False) -> Value:
    return call.add(blocks.GatherElements(axis_from_start(dim, self.axes)), self, index)


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
    if len(indices) != 1 or indices[0] is None or indices[0].dtype != torch.bool or accumulate:
        raise UnsupportedError("writing at places given by numbers")
    filled = number(values)
    if filled is None:
        raise UnsupportedError("writing several values at the places of a mask")
    mask: Value = indices[0]
    if filled == 0 and (y := rectified(call, mask, 0, self)) is not None:
        return y
    if mask.axes < self.axes:
        mask = call.add(blocks.Unsqueeze(tuple(range(mask.axes, self.axes))), mask, part="mask")
    return call.add(blocks.Where(), mask, constant(filled, self), self)
