"""Handlers of conditions, comparisons, orders and types of number."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import TYPES, Call, Value
from blockprop.exporters.onnx_operators.table import exports

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
def where(call: Call, block: blocks.Where, condition: Value, a: Value, b: Value) -> Any:
    return call.add("Where", condition, call.cast(a, call.dtype), call.cast(b, call.dtype))


@exports(blocks.Compare)
def compare(call: Call, block: blocks.Compare, a: Value, b: Value | None = None) -> Any:
    other: Any = block.value if b is None else b.trials[0]
    dtype = torch.result_type(a.trials[0], other)
    dtype = torch.int64 if dtype in _SMALL else dtype
    second = call.number(other, dtype) if b is None else call.cast(b, dtype)
    y = call.add(_COMPARISONS[block.operator], call.cast(a, dtype), second)
    return call.add("Not", y) if block.operator == "not_equal" else y


@exports(blocks.Logic)
def logic(call: Call, block: blocks.Logic, *x: Value) -> Any:
    bits = call.dtype != torch.bool
    if bits and call.opset < 18:
        call.refuse("bits need opset 18")
    operator = block.operator.capitalize()
    return call.add(f"Bitwise{operator}" if bits else operator, *(call.cast(each, call.dtype) for each in x))


@exports(blocks.Cast)
def cast(call: Call, block: blocks.Cast, x: Value) -> Any:
    return call.add("Cast", x, to=TYPES[call.dtype])


@exports(blocks.TopK)
def top_k(call: Call, block: blocks.TopK, x: Value) -> Any:
    options = {"axis": block.axis, "largest": int(block.largest), "sorted": int(block.sorted)}
    return call.add("TopK", x, call.whole(block.count), count=2, **options)


@exports(blocks.Sort)
def sort(call: Call, block: blocks.Sort, x: Value) -> Any:
    size = call.sizes([f"a{block.axis % x.axes}"])
    return call.add("TopK", x, size, count=2, axis=block.axis, largest=int(block.descending), sorted=1)


@exports(blocks.ArgMax, blocks.ArgMin)
def arg_extreme(call: Call, block: blocks.ArgMax | blocks.ArgMin, x: Value) -> Any:
    options = {"axis": block.axis, "keepdims": int(block.keep), "select_last_index": int(block.last)}
    return call.add(type(block).__name__, x, **options)


@exports(blocks.OneHot)
def one_hot(call: Call, block: blocks.OneHot, x: Value) -> Any:
    levels = call.constant(torch.tensor([block.off, block.on]))
    return call.add("OneHot", call.cast(x, torch.int64), call.whole(block.depth), levels, axis=block.axis)
