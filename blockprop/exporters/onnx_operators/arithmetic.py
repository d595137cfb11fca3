"""Handlers of sums and products, and of elementary functions of each element."""

import math
from collections.abc import Callable
from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing


@exports(blocks.Sub, blocks.Mul, blocks.Div)
def of_two(writing: Writing, block: Any, a: Operand, b: Operand) -> Any:
    return writing.add(type(block).__name__, writing.cast(a, writing.dtype), writing.cast(b, writing.dtype))


@exports(blocks.Add)
def add(writing: Writing, block: blocks.Add, *x: Operand) -> Any:
    total = writing.cast(x[0], writing.dtype)
    for operand in x[1:]:
        total = writing.add("Add", total, writing.cast(operand, writing.dtype))
    return total


@exports(blocks.Max, blocks.Min)
def extreme(writing: Writing, block: blocks.Max | blocks.Min, a: Operand, b: Operand) -> Any:
    return writing.add(type(block).__name__, writing.cast(a, writing.dtype), writing.cast(b, writing.dtype))


@exports(blocks.Power)
def power(writing: Writing, block: blocks.Power, a: Operand, b: Operand) -> Any:
    return writing.add("Pow", writing.cast(a, writing.dtype), writing.cast(b, writing.dtype))


@exports(blocks.Remainder)
def remainder(writing: Writing, block: blocks.Remainder, a: Operand, b: Operand) -> Any:
    first, second = writing.cast(a, writing.dtype), writing.cast(b, writing.dtype)
    if not writing.dtype.is_floating_point:
        return writing.add("Mod", first, second, fmod=int(block.truncated))
    rest = writing.add("Mod", first, second, fmod=1)
    if block.truncated:
        return rest
    zero = writing.number(0.0)
    apart = writing.add("Xor", writing.add("Less", rest, zero), writing.add("Less", second, zero))
    wrong = writing.add("And", apart, writing.add("Not", writing.add("Equal", rest, zero)))
    return writing.add("Where", wrong, writing.add("Add", rest, second), rest)


@exports(blocks.Exp, blocks.Log, blocks.Sqrt, blocks.Abs)
def elementary(writing: Writing, block: Any, x: Operand) -> Any:
    return writing.add(type(block).__name__, writing.cast(x, writing.dtype))


@exports(blocks.Pow)
def fixed_power(writing: Writing, block: blocks.Pow, x: Operand) -> Any:
    return writing.add("Pow", writing.cast(x, writing.dtype), writing.number(block.exponent))


@exports(blocks.Clamp)
def clamp(writing: Writing, block: blocks.Clamp, x: Operand) -> Any:
    low, high = ("" if bound is None else writing.number(bound) for bound in (block.low, block.high))
    return writing.add("Clip", writing.cast(x, writing.dtype), low, high)


@exports(blocks.Affine)
def affine(writing: Writing, block: blocks.Affine, x: Operand) -> Any:
    y = writing.cast(x, writing.dtype)
    if block.factor != 1:
        y = writing.add("Mul", y, _channels(writing, block.factor, x.axes))
    if block.shift != 0 or y is x:
        y = writing.add("Add", y, _channels(writing, block.shift, x.axes))
    return y


def _channels(writing: Writing, value: float | tuple[float, ...], axes: int) -> str:
    if not isinstance(value, tuple):
        return writing.number(value)
    return writing.constant(torch.tensor(value, dtype=writing.dtype).view(-1, *[1] * (axes - 2)))


@exports(blocks.Function)
def function(writing: Writing, block: blocks.Function, x: Operand) -> Any:
    if not x.dtype.is_floating_point and block.name in ("floor", "ceil", "trunc", "round"):
        return writing.add("Identity", x)
    operand = writing.cast(x, writing.dtype)
    if block.name in _FUNCTIONS:
        return _FUNCTIONS[block.name](writing, operand)
    return writing.add(block.name.capitalize(), operand)


def _expm1(writing: Writing, x: OperatorInput) -> str:
    # tanh(x / 2) (exp x + 1), which loses nothing near 0
    near = writing.add("Tanh", writing.add("Mul", x, writing.number(0.5)))
    return writing.add("Mul", near, writing.add("Add", writing.add("Exp", x), writing.number(1.0)))


def _log1p(writing: Writing, x: OperatorInput) -> str:
    # 2 artanh(x / (2 + x)), which loses nothing near 0, or else log(1 + x)
    near = writing.add("Atanh", writing.add("Div", x, writing.add("Add", x, writing.number(2.0))))
    far = writing.add("Log", writing.add("Add", x, writing.number(1.0)))
    is_near = writing.add("Less", writing.add("Abs", x), writing.number(0.5))
    return writing.add("Where", is_near, writing.add("Mul", near, writing.number(2.0)), far)


def _mish(writing: Writing, x: OperatorInput) -> str:
    if writing.opset >= 18:
        return writing.add("Mish", x)
    return writing.add("Mul", x, writing.add("Tanh", writing.add("Softplus", x)))


_FUNCTIONS: dict[str, Callable[[Writing, str], str]] = {
    # those that ONNX has no operator for
    "exp2": lambda writing, x: writing.add("Pow", writing.number(2.0), x),
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": lambda writing, x: writing.add("Div", writing.add("Log", x), writing.number(math.log(2))),
    "log10": lambda writing, x: writing.add("Div", writing.add("Log", x), writing.number(math.log(10))),
    "rsqrt": lambda writing, x: writing.add("Reciprocal", writing.add("Sqrt", x)),
    "log_sigmoid": lambda writing, x: writing.add("Neg", writing.add("Softplus", writing.add("Neg", x))),
    "mish": _mish,
    "trunc": lambda writing, x: writing.add("Mul", writing.add("Sign", x), writing.add("Floor", writing.add("Abs", x))),
}
