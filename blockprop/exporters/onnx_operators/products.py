"""Handlers of matrix products, sums of products, and attention."""

import math
from typing import Any

import torch
from torch import Tensor

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.shaping import interleaved
from blockprop.exporters.onnx_operators.table import exports


@exports(blocks.MatMul)
def matmul(call: Call, block: blocks.MatMul, a: Value, b: Value) -> Any:
    return call.add("MatMul", a, b)


@exports(blocks.Einsum)
def einsum(call: Call, block: blocks.Einsum, *x: Value) -> Any:
    terms, result = block._spelled_out([each.trials[0].shape for each in x])
    equation = f"{','.join(terms)}->{result}"  # without "...", which ONNX allows in fewer places than torch
    return call.add("Einsum", *(call.cast(each, call.dtype) for each in x), equation=equation)


def along(call: Call, matrix: Tensor, x: str, axis: int, axes: int) -> str:
    """A constant matrix times x along one of its axes."""
    if axis == axes - 2:
        return call.add("MatMul", call.constant(matrix), x)
    if axis == axes - 1:
        return call.add("MatMul", x, call.constant(matrix.t()))
    order = [i for i in range(axes) if i != axis] + [axis]
    y = call.add("MatMul", call.add("Transpose", x, perm=order), call.constant(matrix.t()))
    return call.add("Transpose", y, perm=[order.index(i) for i in range(axes)])


@exports(blocks.Attention)
def attention(call: Call, block: blocks.Attention, q: Value, k: Value, v: Value, mask: Value | None = None) -> Any:
    keys: str = k
    values: str = v
    if block.grouped:
        heads = q.known_size(-3, "grouped heads") // k.known_size(-3, "grouped heads")
        if heads > 1:
            keys = interleaved(call, k, "b", heads, k.axes - 3)
            values = interleaved(call, v, "c", heads, v.axes - 3)
    order = [*range(k.axes - 2), k.axes - 1, k.axes - 2]
    scaled = call.add("Mul", q, call.number(block._scale(q.trials[0])))
    s = call.add("MatMul", scaled, call.add("Transpose", keys, perm=order))
    if block.causal:
        s = call.add("Add", s, _future(call, q, k))
    if mask is None:
        return call.add("MatMul", call.add("Softmax", s, axis=-1), values)
    nothing, zero = call.number(-math.inf), call.number(0.0)
    added = call.add("Where", mask, zero, nothing) if mask.dtype == torch.bool else call.cast(mask, q.dtype)
    s = call.add("Add", s, added)
    blind = call.add("Equal", call.reduce("ReduceMax", s, [-1], True), nothing)  # rows that may look at nothing
    a = call.add("Softmax", call.add("Where", blind, zero, s), axis=-1)
    a = call.add("Where", blind, zero, a)
    return call.add("MatMul", a, values)


def _future(call: Call, q: Value, k: Value) -> str:
    """−∞ where a row would look at one behind it, else 0."""
    rows, columns = q.sizes[-2], k.sizes[-2]
    if rows is not None and columns is not None:
        return call.constant(torch.full((rows, columns), -math.inf, dtype=q.dtype).triu(1))
    shape = call.sizes([f"a{q.axes - 2}", f"b{k.axes - 2}"])
    return call.add("Trilu", call.add("Expand", call.number(-math.inf), shape), call.number(1, torch.int64), upper=1)
