"""Handlers of operators that move, pad and cut out elements."""

from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.arranging import permute, reshape_to
from blockprop.importers.aten.sizes import batched
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, axis_from_start, number
from blockprop.importers.graph import Known, Value
from blockprop.importers.symbols import AxisSize, Symbol


@aten("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d",
      "replication_pad3d", "reflection_pad3d")  # fmt: skip
def pad(
    call: Call, self: Value, pad: Any = None, padding: Any = None, mode: str = "constant", value: Any = 0.0
) -> Value:
    name = call.operator.split(".")[1]
    if name.startswith("refl"):
        mode = "reflect"
    if name.startswith("repl"):
        mode = "replicate"
    pads = list(pad if pad is not None else padding)
    if all(isinstance(p, int) and p == 0 for p in pads):
        return self
    if value is not None and number(value) is None:
        raise UnsupportedError("a border of numbers that are computed")
    formulas, others = call.graph.formulas(pads, self)
    return call.add(blocks.Pad(formulas, mode, float(number(value) or 0.0)), self, *others)


@aten("roll")
def roll(call: Call, self: Value, shifts: Any, dims: Any = ()) -> Value:
    if not dims:
        flat = call.add(blocks.Flatten(0), self, part="flat")
        return reshape_to(call, roll(call, flat, shifts, (0,)), self.shape)
    if any(isinstance(shift, Symbol) for shift in shifts):
        for shift, axis in zip(shifts, dims, strict=True):
            self = _rolled(call, self, shift, axis_from_start(axis, self.axes))
        return self
    return call.add(blocks.Roll(tuple(shifts), tuple(dims)), self)


def _rolled(call: Call, x: Value, shift: AxisSize, axis: int) -> Value:
    """The elements from the end, as many as the shift says, in front of the others."""
    size = x.shape[axis]
    (start,), others = call.graph.formulas([size - shift % size], x)
    last = call.add(blocks.Slice(axis, start), x, *others, part="last")
    first = call.add(blocks.Slice(axis, 0, start), x, *others, part="first")
    return call.add(blocks.Concat(axis), last, first)


@aten("meshgrid")
def meshgrid(call: Call, tensors: Sequence[Value], indexing: str = "ij") -> tuple[Value, ...]:
    places = list(range(len(tensors)))
    if indexing == "xy" and len(places) > 1:
        places[:2] = [1, 0]
    shape = [tensors[place].shape[0] if tensors[place].axes else 1 for place in places]
    grids = []
    for i, tensor in enumerate(tensors):
        row = [1] * len(places)
        row[places.index(i)] = -1
        wide = call.add(blocks.Reshape(tuple(row), start_axis=0), tensor, part=f"row{i}")
        sizes, others = call.graph.formulas(shape, wide)
        grids.append(call.add(blocks.Expand(sizes), wide, *others, part=f"grid{i}"))
    return tuple(grids)


@aten("flip")
def flip(call: Call, self: Value, dims: Sequence[int]) -> Value:
    return call.add(blocks.Flip(tuple(dims)), self)


@aten("tril", "triu")
def triangle(call: Call, self: Value, diagonal: int = 0) -> Value:
    return call.add(blocks.Triangle("tril" in call.operator, diagonal), self)


@aten("diagonal")
def diagonal(call: Call, self: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    return call.add(blocks.Diagonal(offset, dim1, dim2), self)


@aten("pixel_shuffle")
def pixel_shuffle(call: Call, self: Value, upscale_factor: int) -> Value:
    return batched(call, blocks.PixelShuffle(upscale_factor), self, 4)


@aten("pixel_unshuffle")
def pixel_unshuffle(call: Call, self: Value, downscale_factor: int) -> Value:
    return batched(call, blocks.PixelUnshuffle(downscale_factor), self, 4)


@aten("channel_shuffle")
def channel_shuffle(call: Call, self: Value, groups: int) -> Value:
    n, c, *rest = self.shape
    parted = reshape_to(call, self, (n, groups, c // groups, *rest), part="groups")
    order = (0, 2, 1, *range(3, 3 + len(rest)))
    return reshape_to(call, call.add(blocks.Transpose(order), parted, part="transpose"), (n, c, *rest))


@aten("unfold")
def windows(call: Call, self: Value, dimension: int, size: int, step: int) -> Value:
    axis = axis_from_start(dimension, self.axes)
    whole = self.shape[axis]
    inside = Known(torch.arange(size))
    if isinstance(whole, int):
        places: Value = Known(torch.arange(0, whole - size + 1, step)[:, None] + inside.tensor)
    else:
        (stop,), others = call.graph.formulas([whole - (size - 1)], self)
        starts = call.add(blocks.Range(0, stop, step), self, *others, part="starts")
        places = call.add(blocks.Add(), call.add(blocks.Unsqueeze((1,)), starts, part="column"), inside, part="places")
    y = call.add(blocks.Gather(axis), self, places, part="windows")
    order = [other for other in range(self.axes + 1) if other != axis + 1]
    return permute(call, y, [*order, axis + 1])


@aten("im2col")
def unfold(call: Call, self: Value, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Value:
    return call.add(blocks.Unfold(tuple(kernel_size), tuple(dilation), tuple(padding), tuple(stride)), self)


@aten("col2im")
def fold(
    call: Call, self: Value, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Value:
    if any(isinstance(size, Symbol) for size in output_size):
        raise UnsupportedError("folding to a free size")
    settings = (tuple(sizes) for sizes in (output_size, kernel_size, dilation, padding, stride))
    return call.add(blocks.Fold(*settings), self)
