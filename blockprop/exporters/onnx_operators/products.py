"""Handlers of matrix products, sums of products, and attention."""

import math
from typing import Any

import torch
from torch import Tensor

from blockprop import blocks
from blockprop.exporters.onnx_operators.shaping import interleaved
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing


@exports(blocks.MatMul)
def matmul(writing: Writing, block: blocks.MatMul, a: Operand, b: Operand) -> Any:
    return writing.add("MatMul", a, b)


@exports(blocks.Einsum)
def einsum(writing: Writing, block: blocks.Einsum, *x: Operand) -> Any:
    terms, result = block._spelled_out([operand.trials[0].shape for operand in x])
    equation = f"{','.join(terms)}->{result}"  # without "...", which ONNX allows in fewer places than torch
    return writing.add("Einsum", *(writing.cast(operand, writing.dtype) for operand in x), equation=equation)


def along(writing: Writing, matrix: Tensor, x: OperatorInput, axis: int, axes: int) -> str:
    """A constant matrix times x along one of its axes."""
    if axis == axes - 2:
        return writing.add("MatMul", writing.constant(matrix), x)
    if axis == axes - 1:
        return writing.add("MatMul", x, writing.constant(matrix.t()))
    order = [i for i in range(axes) if i != axis] + [axis]
    y = writing.add("MatMul", writing.add("Transpose", x, perm=order), writing.constant(matrix.t()))
    return writing.add("Transpose", y, perm=[order.index(i) for i in range(axes)])


@exports(blocks.Attention)
def attention(
    writing: Writing, block: blocks.Attention, q: Operand, k: Operand, v: Operand, mask: Operand | None = None
) -> Any:
    keys: OperatorInput = k
    values: OperatorInput = v
    if block.grouped:
        heads = q.known_size(-3, "grouped heads") // k.known_size(-3, "grouped heads")
        if heads > 1:
            keys = interleaved(writing, k, "b", heads, k.axes - 3)
            values = interleaved(writing, v, "c", heads, v.axes - 3)
    order = [*range(k.axes - 2), k.axes - 1, k.axes - 2]
    scaled = writing.add("Mul", q, writing.number(block._scale(q.trials[0])))
    s = writing.add("MatMul", scaled, writing.add("Transpose", keys, perm=order))
    if block.causal:
        s = writing.add("Add", s, _future(writing, q, k))
    if mask is None:
        return writing.add("MatMul", writing.add("Softmax", s, axis=-1), values)
    nothing, zero = writing.number(-math.inf), writing.number(0.0)
    added = writing.add("Where", mask, zero, nothing) if mask.dtype == torch.bool else writing.cast(mask, q.dtype)
    s = writing.add("Add", s, added)
    blind = writing.add("Equal", writing.reduce("ReduceMax", s, [-1], True), nothing)  # rows that may look at nothing
    a = writing.add("Softmax", writing.add("Where", blind, zero, s), axis=-1)
    a = writing.add("Where", blind, zero, a)
    return writing.add("MatMul", a, values)


def _future(writing: Writing, q: Operand, k: Operand) -> str:
    """−∞ where a row would look at one behind it, else 0."""
    rows, columns = q.sizes[-2], k.sizes[-2]
    if rows is not None and columns is not None:
        return writing.constant(torch.full((rows, columns), -math.inf, dtype=q.dtype).triu(1))
    shape = writing.sizes([f"a{q.axes - 2}", f"b{k.axes - 2}"])
    everywhere = writing.add("Expand", writing.number(-math.inf), shape)
    return writing.add("Trilu", everywhere, writing.number(1, torch.int64), upper=1)
