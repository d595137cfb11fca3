"""Handlers of conditions, comparisons, orders and types of number."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand
from blockprop.exporters.writer import TYPES
from blockprop.exporters.writing import Writing

_COMPARISONS = {
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "equal": "Equal",
    "not_equal": "Equal",
}
_SMALL = (torch.bool, torch.int8, torch.int16, torch.uint8)
"""Types of whole numbers that not all of ONNX' operators take."""


@exports(blocks.Where)
def where(writing: Writing, block: blocks.Where, condition: Operand, a: Operand, b: Operand) -> Any:
    return writing.add("Where", condition, writing.cast(a, writing.dtype), writing.cast(b, writing.dtype))


@exports(blocks.Compare)
def compare(writing: Writing, block: blocks.Compare, a: Operand, b: Operand | None = None) -> Any:
    other: Any = block.value if b is None else b.trials[0]
    dtype = torch.result_type(a.trials[0], other)
    dtype = torch.int64 if dtype in _SMALL else dtype
    second = writing.number(other, dtype) if b is None else writing.cast(b, dtype)
    y = writing.add(_COMPARISONS[block.operator], writing.cast(a, dtype), second)
    return writing.add("Not", y) if block.operator == "not_equal" else y


@exports(blocks.Logic)
def logic(writing: Writing, block: blocks.Logic, *x: Operand) -> Any:
    bits = writing.dtype != torch.bool
    if bits and writing.opset < 18:
        raise UnsupportedError("bits need opset 18")
    operator = block.operator.capitalize()
    return writing.add(
        f"Bitwise{operator}" if bits else operator, *(writing.cast(operand, writing.dtype) for operand in x)
    )


@exports(blocks.Cast)
def cast(writing: Writing, block: blocks.Cast, x: Operand) -> Any:
    return writing.add("Cast", x, to=TYPES[writing.dtype])


@exports(blocks.TopK)
def top_k(writing: Writing, block: blocks.TopK, x: Operand) -> Any:
    options = {"axis": block.axis, "largest": int(block.largest), "sorted": int(block.sorted)}
    return writing.add("TopK", x, writing.whole(block.count), count=2, **options)


@exports(blocks.Sort)
def sort(writing: Writing, block: blocks.Sort, x: Operand) -> Any:
    size = writing.sizes([f"a{block.axis % x.axes}"])
    return writing.add("TopK", x, size, count=2, axis=block.axis, largest=int(block.descending), sorted=1)


@exports(blocks.ArgMax, blocks.ArgMin)
def arg_extreme(writing: Writing, block: blocks.ArgMax | blocks.ArgMin, x: Operand) -> Any:
    options = {"axis": block.axis, "keepdims": int(block.keep), "select_last_index": int(block.last)}
    return writing.add(type(block).__name__, x, **options)


@exports(blocks.OneHot)
def one_hot(writing: Writing, block: blocks.OneHot, x: Operand) -> Any:
    levels = writing.constant(torch.tensor([block.off, block.on]))
    return writing.add("OneHot", writing.cast(x, torch.int64), writing.whole(block.depth), levels, axis=block.axis)
