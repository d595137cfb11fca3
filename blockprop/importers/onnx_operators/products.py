"""Handlers of matrix products."""

from typing import Any

from blockprop import blocks
from blockprop.importers.graph import Flow, Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.table import operator


@operator("Gemm", 7, 9, 11, 13)
def gemm(
    call: OnnxCall,
    a: Input,
    b: Input,
    c: Input | None = None,
    *,
    alpha: float,
    beta: float,
    transA: int,
    transB: int,
) -> Any:
    weight = call.own_weight(b) if alpha == beta == 1 and isinstance(a, Flow) and b.axes == 2 else None
    if transA:
        a = call.add(blocks.Transpose((1, 0)), a, part="transpose_a")
    if weight is not None:
        weight = weight if transB else call.transposed(weight)
        bias = call.own_weight(c) if c is not None and c.shape[-1:] == weight.shape[:1] else None
        if bias is not None and bias.tensor.numel() == weight.shape[0]:
            return _linear(call, a, weight, bias)
        y = _linear(call, a, weight, None, part="" if c is None else "product")
        return y if c is None else call.add(blocks.Add(), y, c)
    if transB:
        b = call.add(blocks.Transpose((1, 0)), b, part="transpose_b")
    simple = c is None and alpha == 1
    y = call.add(blocks.MatMul(), a, b, part="" if simple else "product")
    if alpha != 1:
        y = call.add(blocks.Affine(alpha), y, part="" if c is None else "scaled")
    if c is None:
        return y
    return call.add(blocks.Add(), y, c if beta == 1 else call.add(blocks.Affine(beta), c, part="scaled_c"))


def _linear(call: OnnxCall, x: Input, weight: Known, bias: Known | None, part: str = "") -> Any:
    features_out, features_in = weight.shape
    if bias is not None and bias.axes != 1:
        bias = Known(bias.tensor.reshape(-1), bias.name, trained=True)
    settings = {"features_in": features_in, "features_out": features_out, "with_bias": bias is not None}
    return call.add(call.block(blocks.Linear, settings, weight=weight, bias=bias), x, part=part)


@operator("MatMul", 1, 9, 13)
def matmul(call: OnnxCall, a: Input, b: Input) -> Any:
    weight = call.own_weight(b) if isinstance(a, Flow) and a.axes > 1 and b.axes == 2 else None
    if weight is not None and weight.trained:
        return _linear(call, a, call.transposed(weight), None)
    equation = {(1, 1): "k,k->", (1, 2): "k,km->m", (2, 1): "nk,k->n"}.get((a.axes, b.axes))
    if equation is None and 1 in (a.axes, b.axes):
        equation = "k,...km->...m" if a.axes == 1 else "...nk,k->...n"
    return call.add(blocks.Einsum(equation) if equation else blocks.MatMul(), a, b)


@operator("Einsum", 12, 28)
def einsum(call: OnnxCall, *x: Input, equation: str) -> Any:
    return call.add(blocks.Einsum(equation), *x)
