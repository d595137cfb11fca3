"""Handlers of blocks that put elements elsewhere, or leave them out."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import END, Writing


@exports(blocks.Roll)
def roll(writing: Writing, block: blocks.Roll, x: Operand) -> Any:
    y: OperatorInput = x
    for shift, axis in zip(block._shifts, block._axes, strict=True):
        place = axis % x.axes
        cut = f"a{place}-({shift})%a{place}"
        if x.sizes[place] != 0:
            y = writing.add("Concat", writing.part(y, place, cut), writing.part(y, place, 0, cut), axis=place)
    return y


@exports(blocks.Flip)
def flip(writing: Writing, block: blocks.Flip, x: Operand) -> Any:
    axes = (block.axes,) if isinstance(block.axes, int) else tuple(block.axes)
    if not axes:
        return writing.add("Identity", x)
    ends = [writing.whole(*[number] * len(axes)) for number in (-1, -END, -1)]
    return writing.add("Slice", x, ends[0], ends[1], writing.whole(*axes), ends[2])


@exports(blocks.Triangle)
def triangle(writing: Writing, block: blocks.Triangle, x: Operand) -> Any:
    return writing.add("Trilu", x, writing.number(block.diagonal, torch.int64), upper=int(not block.lower))


@exports(blocks.ChannelOrder)
def channel_order(writing: Writing, block: blocks.ChannelOrder, x: Operand) -> Any:
    return writing.add("Gather", x, writing.whole(*block.order), axis=1)


@exports(blocks.Diagonal)
def diagonal(writing: Writing, block: blocks.Diagonal, x: Operand) -> Any:
    first, second = block.axis1 % x.axes, block.axis2 % x.axes
    rows, columns = (x.known_size(axis, "the diagonal") for axis in (first, second))
    places = torch.arange(rows * columns).view(rows, columns).diagonal(block.offset)
    others = [axis for axis in range(x.axes) if axis not in (first, second)]
    y = writing.add("Transpose", x, perm=[*others, first, second])
    y = writing.reshape(y, [*(f"a{axis}" for axis in others), rows * columns])
    return writing.add("Gather", y, writing.whole(*places.tolist()), axis=len(others))
