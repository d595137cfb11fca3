"""Handlers of blocks that make one number of many along some axes, and of running sums."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand
from blockprop.exporters.writing import Writing

_OPERATORS: dict[type, str] = {
    blocks.Sum: "ReduceSum",
    blocks.Mean: "ReduceMean",
    blocks.MaxOver: "ReduceMax",
    blocks.MinOver: "ReduceMin",
    blocks.Product: "ReduceProd",
    blocks.LogSumExp: "ReduceLogSumExp",
}


@exports(*_OPERATORS)
def reduce(writing: Writing, block: Any, x: Operand) -> Any:
    return writing.reduce(_OPERATORS[type(block)], writing.cast(x, writing.dtype), block._axes, block.keep)


@exports(blocks.Norm)
def norm(writing: Writing, block: blocks.Norm, x: Operand) -> Any:
    return writing.reduce(f"ReduceL{block.order:g}", x, block._axes, block.keep)


@exports(blocks.Variance)
def variance(writing: Writing, block: blocks.Variance, x: Operand) -> Any:
    centered = writing.add("Sub", x, writing.reduce("ReduceMean", x, block._axes, True))
    squares = writing.add("Mul", centered, centered)
    if not block.correction:
        return writing.reduce("ReduceMean", squares, block._axes, block.keep)
    total = writing.reduce("ReduceSum", squares, block._axes, block.keep)
    count = writing.single("*".join(f"a{axis % x.axes}" for axis in block._axes))
    left = writing.add("Sub", writing.cast(count, x.dtype, torch.int64), writing.number(block.correction))
    return writing.add("Div", total, left)


@exports(blocks.StandardDeviation)
def standard_deviation(writing: Writing, block: Any, x: Operand) -> Any:
    return writing.add("Sqrt", variance(writing, block, x))


@exports(blocks.CumSum)
def cumulative_sum(writing: Writing, block: blocks.CumSum, x: Operand) -> Any:
    options = {"exclusive": int(block.exclusive), "reverse": int(block.reverse)}
    return writing.add("CumSum", writing.cast(x, writing.dtype), writing.number(block.axis, torch.int64), **options)
