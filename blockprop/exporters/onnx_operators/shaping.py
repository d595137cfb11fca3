"""Handlers of blocks that put the same elements into another shape, or repeat them."""

from typing import Any

from blockprop import blocks
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand
from blockprop.exporters.writing import Writing


@exports(blocks.Flatten)
def flatten(writing: Writing, block: blocks.Flatten, x: Operand) -> Any:
    start = block.start_axis % x.axes if x.axes else 0
    if start == 1:
        return writing.add("Flatten", x, axis=1)
    rest = writing.outputs[0].sizes[start]
    return writing.reshape(x, [*(f"a{i}" for i in range(start)), -1 if rest is None else rest], copies=start)


@exports(blocks.Reshape)
def reshape(writing: Writing, block: blocks.Reshape, x: Operand, *others: Operand) -> Any:
    wanted = [*(f"a{i}" for i in range(block.start_axis)), *block.shape]
    output_sizes = writing.outputs[0].sizes  # by which −1 is worked out, as ONNX cannot for an empty batch
    shape = [size if w == -1 and size is not None else w for w, size in zip(wanted, output_sizes, strict=True)]
    return writing.reshape(x, shape, copies=x.axes)


@exports(blocks.Expand)
def expand(writing: Writing, block: blocks.Expand, x: Operand, *others: Operand) -> Any:
    return writing.add("Expand", x, writing.sizes([1 if size in (1, -1) else size for size in block.shape]))


@exports(blocks.Transpose)
def transpose(writing: Writing, block: blocks.Transpose, x: Operand) -> Any:
    return writing.add("Transpose", x, perm=[axis % len(block.axes) for axis in block.axes])


@exports(blocks.Slice)
def slice_(writing: Writing, block: blocks.Slice, x: Operand, *others: Operand) -> Any:
    return writing.part(x, block.axis, block.start, block.stop, block.step)


@exports(blocks.Split)
def split(writing: Writing, block: blocks.Split, x: Operand) -> Any:
    return writing.add("Split", x, writing.whole(*block.sizes), count=block.output_count, axis=block.axis)


@exports(blocks.Concat)
def concat(writing: Writing, block: blocks.Concat, *x: Operand) -> Any:
    return writing.add("Concat", *(writing.cast(operand, writing.dtype) for operand in x), axis=block.axis)


@exports(blocks.Squeeze, blocks.Unsqueeze)
def with_other_axes(writing: Writing, block: blocks.Squeeze | blocks.Unsqueeze, x: Operand) -> Any:
    axes = (block.axes,) if isinstance(block.axes, int) else block.axes
    return writing.add(type(block).__name__, x, writing.whole(*axes))


@exports(blocks.Repeat)
def repeat(writing: Writing, block: blocks.Repeat, x: Operand) -> Any:
    added = len(block.counts) - x.axes
    y = writing.add("Unsqueeze", x, writing.whole(*range(added))) if added else x
    return writing.add("Tile", y, writing.whole(*block.counts)) if block.counts else writing.add("Identity", y)


@exports(blocks.RepeatInterleave)
def repeat_interleave(writing: Writing, block: blocks.RepeatInterleave, x: Operand) -> Any:
    return interleaved(writing, x, "a", block.count, block.axis % x.axes)


def interleaved(writing: Writing, x: Operand, letter: str, count: int, axis: int) -> str:
    """Each element several times in a row along an axis; letter: which of the node's inputs x is."""
    copies = [1] * (x.axes + 1)
    copies[axis + 1] = count
    y = writing.add("Expand", writing.add("Unsqueeze", x, writing.whole(axis + 1)), writing.whole(*copies))
    shape = [f"{letter}{i}*{count}" if i == axis else f"{letter}{i}" for i in range(x.axes)]
    return writing.reshape(y, shape, copies=axis if letter == "a" else 0)
