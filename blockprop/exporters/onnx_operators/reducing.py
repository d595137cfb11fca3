"""Handlers of blocks that make one number of many along some axes, and of running sums."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.table import exports

_OPERATORS: dict[type, str] = {
    blocks.Sum: "ReduceSum",
    blocks.Mean: "ReduceMean",
    blocks.MaxOver: "ReduceMax",
    blocks.MinOver: "ReduceMin",
    blocks.Product: "ReduceProd",
    blocks.LogSumExp: "ReduceLogSumExp",
}


@exports(*_OPERATORS)
def reduce(call: Call, block: Any, x: Value) -> Any:
    return call.reduce(_OPERATORS[type(block)], call.cast(x, call.dtype), block._axes, block.keep)


@exports(blocks.Norm)
def norm(call: Call, block: blocks.Norm, x: Value) -> Any:
    return call.reduce(f"ReduceL{block.order:g}", x, block._axes, block.keep)


@exports(blocks.Variance)
def variance(call: Call, block: blocks.Variance, x: Value) -> Any:
    centered = call.add("Sub", x, call.reduce("ReduceMean", x, block._axes, True))
    squares = call.add("Mul", centered, centered)
    if not block.correction:
        return call.reduce("ReduceMean", squares, block._axes, block.keep)
    total = call.reduce("ReduceSum", squares, block._axes, block.keep)
    count = call.single("*".join(f"a{axis % x.axes}" for axis in block._axes))
    left = call.add("Sub", call.cast(count, x.dtype, torch.int64), call.number(block.correction))
    return call.add("Div", total, left)


@exports(blocks.CumSum)
def cumulative_sum(call: Call, block: blocks.CumSum, x: Value) -> Any:
    options = {"exclusive": int(block.exclusive), "reverse": int(block.reverse)}
    return call.add("CumSum", call.cast(x, call.dtype), call.number(block.axis, torch.int64), **options)
