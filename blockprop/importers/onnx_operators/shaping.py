"""Handlers of operators that give tensors other shapes, cut them, or put them together."""

import math
from collections.abc import Sequence
from typing import Any

from blockprop import blocks
from blockprop.errors import GraphError
from blockprop.importers.exact_sizes import FreeSizeError, shape_of
from blockprop.importers.graph import Flow, Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.table import operator
from blockprop.importers.symbols import AxisSize, Symbol

FAR = 2**31 - 1
"""Exporters write this, or more, for "to the end"."""


@operator("Reshape", 5, 13, 14, 19, 21, 23, 24, 25)
def reshape(call: OnnxCall, x: Input, shape: Input, *, allowzero: int = 0) -> Any:
    wanted = call.sizes_in(shape)
    for i, size in enumerate(wanted):
        if isinstance(size, int) and size == 0 and not allowzero:
            if i >= x.axes:
                raise GraphError(f"a size of 0 at axis {i} stands for one of an input of {x.axes} axes")
            wanted[i] = x.shape[i]
    return reshaped(call, x, wanted)


def reshaped(call: OnnxCall, x: Input, wanted: Sequence[AxisSize], part: str = "") -> Any:
    """x in this shape, of which one size may be −1."""
    sizes, others = call.sizes(wanted, x)
    if isinstance(x, Flow) and tuple(wanted) == x.shape:
        return x
    if len(sizes) == 2 and sizes[0] == "a0" and x.axes > 1 and (sizes[1] == -1 or x.axes > 2):
        rest = [size for size in x.shape[1:] if isinstance(size, int)]
        if sizes[1] == -1 or (len(rest) == x.axes - 1 and sizes[1] == math.prod(rest)):
            return call.add(blocks.Flatten(1), x, part=part)
    if len(sizes) > 1 and sizes[0] == "a0" and not others and all(isinstance(size, int) for size in sizes[1:]):
        return call.add(blocks.Reshape(sizes[1:], 1), x, part=part)
    return call.add(blocks.Reshape(sizes, 0), x, *others, part=part)


@operator("Flatten", 1, 9, 11, 13, 21, 23, 24, 25)
def flatten(call: OnnxCall, x: Input, *, axis: int) -> Any:
    if not -x.axes <= axis <= x.axes:
        raise GraphError(f"axis {axis} of an input of {x.axes} axes")
    axis = axis % x.axes if axis < 0 else axis
    if axis == 1 and x.axes > 1:
        return call.add(blocks.Flatten(1), x)
    if axis == 0:
        return reshaped(call, x, (1, -1))
    rest: Any = 1
    for size in x.shape[axis:]:
        rest = rest * size
    return reshaped(call, x, (-1, rest))


@operator("Squeeze", 1, 11, 13, 21, 23, 24, 25)
def squeeze(call: OnnxCall, x: Input, axes_input: Input | None = None, *, axes: list[int] | None = None) -> Any:
    chosen = call.axes_in(axes, axes_input)
    if chosen is None:
        chosen = [axis for axis, size in enumerate(x.shape) if isinstance(size, int) and size == 1]
    return call.add(blocks.Squeeze(tuple(chosen)), x) if chosen else x


@operator("Unsqueeze", 1, 11, 13, 21, 23, 24, 25)
def unsqueeze(call: OnnxCall, x: Input, axes_input: Input | None = None, *, axes: list[int] | None = None) -> Any:
    chosen = call.axes_in(axes, axes_input)
    return call.add(blocks.Unsqueeze(tuple(chosen)), x) if chosen else x


@operator("Transpose", 1, 13, 21, 23, 24, 25)
def transpose(call: OnnxCall, x: Input, *, perm: list[int] | None = None) -> Any:
    order = tuple(perm) if perm is not None else tuple(range(x.axes))[::-1]
    return x if order == tuple(range(x.axes)) else call.add(blocks.Transpose(order), x)


@operator("Concat", 4, 11, 13)
def concat(call: OnnxCall, *x: Input, axis: int) -> Any:
    return x[0] if len(x) == 1 else call.add(blocks.Concat(axis), *x)


@operator("Split", 2, 11)
def split(call: OnnxCall, x: Input, *, axis: int, split: list[int] | None = None) -> Any:
    return _parts(call, x, axis, split, None)


@operator("Split", 13, 18)
def split_by_input(call: OnnxCall, x: Input, sizes: Input | None = None, *, axis: int, num_outputs: int = 0) -> Any:
    return _parts(call, x, axis, None if sizes is None else call.whole_in(sizes), num_outputs or None)


def _parts(call: OnnxCall, x: Input, axis: int, sizes: Sequence[int] | None, count: int | None) -> Any:
    if sizes is None:
        whole, count = x.shape[axis], count or len(call.outputs)
        if not isinstance(whole, int):
            raise FreeSizeError("the size of each part")
        part = -(-whole // count)
        sizes = [max(min(part, whole - i * part), 0) for i in range(count)]
    if len(sizes) != len(call.outputs):
        raise GraphError(f"{len(sizes)} parts for {len(call.outputs)} outputs")
    return x if len(sizes) == 1 else call.add(blocks.Split(tuple(sizes), axis), x)


@operator("Slice", 1)
def slice_by_attributes(
    call: OnnxCall, x: Input, *, starts: list[int], ends: list[int], axes: list[int] | None = None
) -> Any:
    return _sliced(call, x, starts, ends, axes, None)


@operator("Slice", 10, 11, 13)
def slice_by_inputs(
    call: OnnxCall,
    x: Input,
    starts: Input,
    ends: Input,
    axes: Input | None = None,
    steps: Input | None = None,
) -> Any:
    along = None if axes is None else call.whole_in(axes)
    return _sliced(
        call, x, call.sizes_in(starts), call.sizes_in(ends), along, None if steps is None else call.whole_in(steps)
    )


def _sliced(
    call: OnnxCall,
    x: Input,
    starts: Sequence[AxisSize],
    ends: Sequence[AxisSize],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> Any:
    along = list(range(len(starts))) if axes is None else [axis % x.axes for axis in axes]
    by = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(along) == len(by) or 0 in by:
        raise GraphError(f"starts {list(starts)}, ends {list(ends)}, axes {along} and steps {list(by)} do not fit")
    parts = [
        (axis, start, end, step)
        for axis, start, end, step in zip(along, starts, ends, by, strict=True)
        if not (step == 1 and is_start(start) and is_end(x.shape[axis], end))
    ]
    for i, (axis, start, end, step) in enumerate(parts, 1):
        part = "" if i == len(parts) else f"axis_{axis}"
        if step < 0:
            size = x.shape[axis]
            x = call.add(blocks.Flip((axis,)), x, part=f"flip_{axis}")
            start, end = _flipped(call, start, size), _flipped(call, end, size, is_end=True)
        (first, last), others = call.formulas((start, 0 if end is None else end), x)
        stop = None if end is None or is_end(x.shape[axis], end) else last
        x = call.add(blocks.Slice(axis, first, stop, abs(step)), x, *others, part=part)
    return x


def is_start(start: AxisSize | None) -> bool:
    """Whether a part begins with the first element."""
    return isinstance(start, int) and start == 0


def is_end(size: AxisSize, end: AxisSize) -> bool:
    """Whether a part of an axis of this size goes to its end."""
    if isinstance(end, int):
        return end >= FAR or (isinstance(size, int) and end >= size)
    return isinstance(size, Symbol) and end.trials == size.trials


def _flipped(call: OnnxCall, place: AxisSize, size: AxisSize, is_end: bool = False) -> Any:
    """Where a place of an axis stands after it is flipped; None for the end of all."""
    if not isinstance(place, int):
        raise FreeSizeError("a part that is taken backward")
    if isinstance(size, int):
        from_start = max(place + size if place < 0 else place, -1)
        return max(size - 1 - from_start, 0) if not (is_end and from_start == -1) else None
    if place < 0:
        return None if is_end and place <= -FAR else -place - 1
    if place >= FAR:
        return 0
    return size - (1 + place)


@operator("Expand", 8, 13)
def expand(call: OnnxCall, x: Input, shape: Input) -> Any:
    asked = call.sizes_in(shape)
    wanted: list[AxisSize] = [*(1,) * (x.axes - len(asked)), *asked]
    padded = [1] * (len(wanted) - x.axes) + list(x.shape)
    if len(padded) == x.axes and all(size == 1 or size == old for size, old in zip(wanted, padded, strict=True)):
        return x
    sizes, others = call.sizes(wanted, x)
    return call.add(blocks.Expand(sizes), x, *others)


@operator("Tile", 6, 13)
def tile(call: OnnxCall, x: Input, repeats: Input) -> Any:
    counts = call.sizes_in(repeats)
    if len(counts) != x.axes:
        raise GraphError(f"{len(counts)} repeats for an input of {x.axes} axes")
    if all(count == 1 for count in counts):
        return x
    if all(isinstance(count, int) for count in counts):
        return call.add(blocks.Repeat([count for count in counts if isinstance(count, int)]), x)
    if any(count != 1 and size != 1 for count, size in zip(counts, x.shape, strict=True)):
        raise FreeSizeError("how often an axis is repeated")
    sizes, others = call.sizes(counts, x)
    return call.add(blocks.Expand(sizes), x, *others)


@operator("Trilu", 14)
def trilu(call: OnnxCall, x: Input, k: Input | None = None, *, upper: int) -> Any:
    return call.add(blocks.Triangle(not upper, call.number_in(k, 0)), x)


@operator("DepthToSpace", 1, 11, 13, 28)
def depth_to_space(call: OnnxCall, x: Input, *, blocksize: int, mode: str = "DCR") -> Any:
    return call.add(blocks.PixelShuffle(blocksize, mode), x)


@operator("SpaceToDepth", 1, 13, 28)
def space_to_depth(call: OnnxCall, x: Input, *, blocksize: int, mode: str = "DCR") -> Any:
    return call.add(blocks.PixelUnshuffle(blocksize, mode), x)


@operator("Shape", 1, 13, 15, 19, 21, 23, 24, 25)
def shape(call: OnnxCall, x: Input, *, start: int = 0, end: int | None = None) -> Any:
    whole = shape_of(x)
    if (start, end) == (0, None):
        return whole
    if isinstance(whole, Known):
        return Known(whole.tensor[start:end])
    return call.settled(whole.array[start:end])


@operator("Size", 1, 13, 19, 21, 23, 24, 25)
def size(call: OnnxCall, x: Input) -> Any:
    count: Any = 1
    for length in x.shape:
        count = count * length
    return call.settled(count)
