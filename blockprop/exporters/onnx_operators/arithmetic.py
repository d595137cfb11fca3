"""Handlers of sums and products, and of elementary functions of each element."""

import math
from collections.abc import Callable
from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.table import exports

# Two and more inputs --------------------------------------------------------------------------------------------------


@exports(blocks.Sub, blocks.Mul, blocks.Div)
def of_two(call: Call, block: Any, a: Value, b: Value) -> Any:
    return call.add(type(block).__name__, call.cast(a, call.dtype), call.cast(b, call.dtype))


@exports(blocks.Add)
def add(call: Call, block: blocks.Add, *x: Value) -> Any:
    total = call.cast(x[0], call.dtype)
    for each in x[1:]:
        total = call.add("Add", total, call.cast(each, call.dtype))
    return total


@exports(blocks.Max, blocks.Min)
def extreme(call: Call, block: blocks.Max | blocks.Min, a: Value, b: Value) -> Any:
    return call.add(type(block).__name__, call.cast(a, call.dtype), call.cast(b, call.dtype))


@exports(blocks.Power)
def power(call: Call, block: blocks.Power, a: Value, b: Value) -> Any:
    return call.add("Pow", call.cast(a, call.dtype), call.cast(b, call.dtype))


@exports(blocks.Remainder)
def remainder(call: Call, block: blocks.Remainder, a: Value, b: Value) -> Any:
    first, second = call.cast(a, call.dtype), call.cast(b, call.dtype)
    if not call.dtype.is_floating_point:
        return call.add("Mod", first, second, fmod=int(block.truncated))
    rest = call.add("Mod", first, second, fmod=1)
    if block.truncated:
        return rest
    zero = call.number(0.0)
    apart = call.add("Xor", call.add("Less", rest, zero), call.add("Less", second, zero))
    wrong = call.add("And", apart, call.add("Not", call.add("Equal", rest, zero)))
    return call.add("Where", wrong, call.add("Add", rest, second), rest)


# One input ------------------------------------------------------------------------------------------------------------


@exports(blocks.Exp, blocks.Log, blocks.Sqrt, blocks.Abs)
def elementary(call: Call, block: Any, x: Value) -> Any:
    return call.add(type(block).__name__, call.cast(x, call.dtype))


@exports(blocks.Pow)
def fixed_power(call: Call, block: blocks.Pow, x: Value) -> Any:
    return call.add("Pow", call.cast(x, call.dtype), call.number(block.exponent))


@exports(blocks.Clamp)
def clamp(call: Call, block: blocks.Clamp, x: Value) -> Any:
    low, high = ("" if bound is None else call.number(bound) for bound in (block.low, block.high))
    return call.add("Clip", call.cast(x, call.dtype), low, high)


@exports(blocks.Affine)
def affine(call: Call, block: blocks.Affine, x: Value) -> Any:
    y = call.cast(x, call.dtype)
    if block.factor != 1:
        y = call.add("Mul", y, _channels(call, block.factor, x.axes))
    if block.shift != 0 or y is x:
        y = call.add("Add", y, _channels(call, block.shift, x.axes))
    return y


def _channels(call: Call, value: float | tuple[float, ...], axes: int) -> str:
    if not isinstance(value, tuple):
        return call.number(value)
    return call.constant(torch.tensor(value, dtype=call.dtype).view(-1, *[1] * (axes - 2)))


@exports(blocks.Function)
def function(call: Call, block: blocks.Function, x: Value) -> Any:
    if not x.dtype.is_floating_point and block.name in ("floor", "ceil", "trunc", "round"):
        return call.add("Identity", x)
    given = call.cast(x, call.dtype)
    if block.name in _FUNCTIONS:
        return _FUNCTIONS[block.name](call, given)
    return call.add(block.name.capitalize(), given)


def _expm1(call: Call, x: str) -> str:
    # tanh(x / 2) (exp x + 1), which loses nothing near 0
    near = call.add("Tanh", call.add("Mul", x, call.number(0.5)))
    return call.add("Mul", near, call.add("Add", call.add("Exp", x), call.number(1.0)))


def _log1p(call: Call, x: str) -> str:
    # 2 artanh(x / (2 + x)), which loses nothing near 0, or else log(1 + x)
    near = call.add("Atanh", call.add("Div", x, call.add("Add", x, call.number(2.0))))
    far = call.add("Log", call.add("Add", x, call.number(1.0)))
    is_near = call.add("Less", call.add("Abs", x), call.number(0.5))
    return call.add("Where", is_near, call.add("Mul", near, call.number(2.0)), far)


def _mish(call: Call, x: str) -> str:
    if call.opset >= 18:
        return call.add("Mish", x)
    return call.add("Mul", x, call.add("Tanh", call.add("Softplus", x)))


_FUNCTIONS: dict[str, Callable[[Call, str], str]] = {
    # those that ONNX has no operator for
    "exp2": lambda call, x: call.add("Pow", call.number(2.0), x),
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": lambda call, x: call.add("Div", call.add("Log", x), call.number(math.log(2))),
    "log10": lambda call, x: call.add("Div", call.add("Log", x), call.number(math.log(10))),
    "rsqrt": lambda call, x: call.add("Reciprocal", call.add("Sqrt", x)),
    "log_sigmoid": lambda call, x: call.add("Neg", call.add("Softplus", call.add("Neg", x))),
    "mish": _mish,
    "trunc": lambda call, x: call.add("Mul", call.add("Sign", x), call.add("Floor", call.add("Abs", x))),
}
