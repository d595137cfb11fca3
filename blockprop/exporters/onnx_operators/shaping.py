"""Handlers of blocks that put the same elements into another shape, or repeat them."""

from typing import Any

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.table import exports


@exports(blocks.Flatten)
def flatten(call: Call, block: blocks.Flatten, x: Value) -> Any:
    start = block.start_axis % x.axes if x.axes else 0
    if start == 1:
        return call.add("Flatten", x, axis=1)
    rest = call.outputs[0].sizes[start]
    return call.reshape(x, [*(f"a{i}" for i in range(start)), -1 if rest is None else rest], copies=start)


@exports(blocks.Reshape)
def reshape(call: Call, block: blocks.Reshape, x: Value, *others: Value) -> Any:
    wanted = [*(f"a{i}" for i in range(block.start_axis)), *block.shape]
    known = call.outputs[0].sizes  # by which −1 is worked out, as ONNX cannot for an empty batch
    shape = [size if w == -1 and size is not None else w for w, size in zip(wanted, known, strict=True)]
    return call.reshape(x, shape, copies=x.axes)


@exports(blocks.Expand)
def expand(call: Call, block: blocks.Expand, x: Value, *others: Value) -> Any:
    return call.add("Expand", x, call.sizes([1 if size in (1, -1) else size for size in block.shape]))


@exports(blocks.Transpose)
def transpose(call: Call, block: blocks.Transpose, x: Value) -> Any:
    return call.add("Transpose", x, perm=[axis % len(block.axes) for axis in block.axes])


@exports(blocks.Slice)
def slice_(call: Call, block: blocks.Slice, x: Value, *others: Value) -> Any:
    return call.part(x, block.axis, block.start, block.stop, block.step)


@exports(blocks.Split)
def split(call: Call, block: blocks.Split, x: Value) -> Any:
    return call.add("Split", x, call.whole(*block.sizes), count=block.output_count, axis=block.axis)


@exports(blocks.Concat)
def concat(call: Call, block: blocks.Concat, *x: Value) -> Any:
    return call.add("Concat", *(call.cast(each, call.dtype) for each in x), axis=block.axis)


@exports(blocks.Squeeze, blocks.Unsqueeze)
def with_other_axes(call: Call, block: blocks.Squeeze | blocks.Unsqueeze, x: Value) -> Any:
    axes = (block.axes,) if isinstance(block.axes, int) else block.axes
    return call.add(type(block).__name__, x, call.whole(*axes))


@exports(blocks.Repeat)
def repeat(call: Call, block: blocks.Repeat, x: Value) -> Any:
    added = len(block.counts) - x.axes
    given = call.add("Unsqueeze", x, call.whole(*range(added))) if added else x
    return call.add("Tile", given, call.whole(*block.counts)) if block.counts else call.add("Identity", given)


@exports(blocks.RepeatInterleave)
def repeat_interleave(call: Call, block: blocks.RepeatInterleave, x: Value) -> Any:
    return interleaved(call, x, "a", block.count, block.axis % x.axes)


def interleaved(call: Call, x: Value, letter: str, count: int, axis: int) -> str:
    """Each element several times in a row along an axis; letter: which of the node's inputs x is."""
    copies = [1] * (x.axes + 1)
    copies[axis + 1] = count
    y = call.add("Expand", call.add("Unsqueeze", x, call.whole(axis + 1)), call.whole(*copies))
    shape = [f"{letter}{i}*{count}" if i == axis else f"{letter}{i}" for i in range(x.axes)]
    return call.reshape(y, shape, copies=axis if letter == "a" else 0)
