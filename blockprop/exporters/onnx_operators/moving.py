"""Handlers of blocks that put elements elsewhere, or leave them out."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import END, Call, Value
from blockprop.exporters.onnx_operators.table import exports


@exports(blocks.Roll)
def roll(call: Call, block: blocks.Roll, x: Value) -> Any:
    y: str = x
    for shift, axis in zip(block._shifts, block._axes, strict=True):
        place = axis % x.axes
        cut = f"a{place}-({shift})%a{place}"
        if x.sizes[place] != 0:
            y = call.add("Concat", call.part(y, place, cut), call.part(y, place, 0, cut), axis=place)
    return y


@exports(blocks.Flip)
def flip(call: Call, block: blocks.Flip, x: Value) -> Any:
    axes = (block.axes,) if isinstance(block.axes, int) else tuple(block.axes)
    if not axes:
        return call.add("Identity", x)
    ends = [call.whole(*[number] * len(axes)) for number in (-1, -END, -1)]
    return call.add("Slice", x, ends[0], ends[1], call.whole(*axes), ends[2])


@exports(blocks.Triangle)
def triangle(call: Call, block: blocks.Triangle, x: Value) -> Any:
    return call.add("Trilu", x, call.number(block.diagonal, torch.int64), upper=int(not block.lower))


@exports(blocks.ChannelOrder)
def channel_order(call: Call, block: blocks.ChannelOrder, x: Value) -> Any:
    return call.add("Gather", x, call.whole(*block.order), axis=1)


@exports(blocks.Diagonal)
def diagonal(call: Call, block: blocks.Diagonal, x: Value) -> Any:
    first, second = block.axis1 % x.axes, block.axis2 % x.axes
    rows, columns = (x.known_size(axis, "the diagonal") for axis in (first, second))
    places = torch.arange(rows * columns).view(rows, columns).diagonal(block.offset)
    others = [axis for axis in range(x.axes) if axis not in (first, second)]
    y = call.add("Transpose", x, perm=[*others, first, second])
    y = call.reshape(y, [*(f"a{axis}" for axis in others), rows * columns])
    return call.add("Gather", y, call.whole(*places.tolist()), axis=len(others))
