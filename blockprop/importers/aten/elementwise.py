"""Handlers of operators that work element by element: activations, arithmetic, comparisons, choices."""

from dataclasses import replace
from typing import Any

import torch

from blockprop import blocks
from blockprop.block import Block
from blockprop.blocks.sources import name_of
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, is_zero, number
from blockprop.importers.graph import Flow, Known, Value

# Activations ----------------------------------------------------------------------------------------------------------


@aten("relu")
def relu(call: Call, self: Value) -> Value:
    return call.add(blocks.ReLU(), self)


@aten("clamp", "clip", "hardtanh", "relu6", "clamp_min", "clamp_max")
def clamp(call: Call, self: Value, min: Any = None, max: Any = None, min_val: Any = None, max_val: Any = None) -> Value:
    low, high = min if min_val is None else min_val, max if max_val is None else max_val
    if call.operator.split(".")[1].startswith("relu6"):
        low, high = 0, 6
    lowest, highest = number(low), number(high)
    if (low is not None and lowest is None) or (high is not None and highest is None):  # bounds that are tensors
        y = self if low is None else call.add(blocks.Max(), self, low, part="low" if high is not None else "")
        return y if high is None else call.add(blocks.Min(), y, high)
    if highest is None and lowest == 0:
        return call.add(blocks.ReLU(), self)
    return call.add(blocks.Clamp(lowest, highest), self)


@aten("threshold")
def threshold(call: Call, self: Value, threshold: float, value: float) -> Value:
    if threshold == value == 0:
        return call.add(blocks.ReLU(), self)
    above = call.add(blocks.Compare("greater", threshold), self, part="above")
    return call.add(blocks.Where(), above, self, constant(value, self))


@aten("leaky_relu")
def leaky_relu(call: Call, self: Value, negative_slope: float) -> Value:
    return call.add(blocks.LeakyReLU(negative_slope) if negative_slope else blocks.ReLU(), self)


@aten("rrelu")
def rrelu(call: Call, self: Value, lower: float, upper: float, training: bool, **_: Any) -> Value:
    if training:
        raise call.refuse("rrelu in training draws random slopes")
    return call.add(blocks.LeakyReLU((lower + upper) / 2), self)


@aten("prelu", "_prelu_kernel")
def prelu(call: Call, self: Value, weight: Value) -> Value:
    slopes = call.weight(weight)
    assert slopes is not None
    return call.add(call.block(blocks.PReLU, {"channels": slopes.tensor.numel()}, weight=slopes), self)


@aten("elu")
def elu(call: Call, self: Value, alpha: float, scale: float, input_scale: float) -> Value:
    if scale != 1 or input_scale != 1:
        raise call.refuse("elu with a scale")
    return call.add(blocks.ELU(alpha), self)


@aten("selu")
def selu(call: Call, self: Value) -> Value:
    return call.add(blocks.SELU(), self)


@aten("celu")
def celu(call: Call, self: Value, alpha: float) -> Value:
    return call.add(blocks.CELU(alpha), self)


@aten("gelu")
def gelu(call: Call, self: Value, approximate: str) -> Value:
    return call.add(blocks.GELU(approximate), self)


@aten("silu")
def silu(call: Call, self: Value) -> Value:
    return call.add(blocks.SiLU(), self)


@aten("sigmoid", "special_expit")
def sigmoid(call: Call, self: Value) -> Value:
    return call.add(blocks.Sigmoid(), self)


@aten("tanh")
def tanh(call: Call, self: Value) -> Value:
    return call.add(blocks.Tanh(), self)


@aten("softplus")
def softplus(call: Call, self: Value, beta: float, threshold: float) -> Value:
    return call.add(blocks.Softplus(beta, threshold), self)


@aten("hardsigmoid")
def hardsigmoid(call: Call, self: Value) -> Value:
    return call.add(blocks.HardSigmoid(), self)


@aten("hardswish")
def hardswish(call: Call, self: Value) -> Value:
    return call.add(blocks.HardSwish(), self)


@aten("softmax", "_softmax", "special_softmax")
def softmax(call: Call, self: Value, dim: int, dtype: Any = None, half_to_float: bool = False) -> Value:
    return call.add(blocks.Softmax(dim), cast(call, self, dtype))


@aten("log_softmax", "_log_softmax", "special_log_softmax")
def log_softmax(call: Call, self: Value, dim: int, dtype: Any = None, half_to_float: bool = False) -> Value:
    return call.add(blocks.LogSoftmax(dim), cast(call, self, dtype))


@aten("glu")
def glu(call: Call, self: Value, dim: int) -> Value:
    half = self.shape[dim] // 2
    if not isinstance(half, int):
        raise call.refuse("glu along a free axis")
    a, b = call.add(blocks.Split((half, half), dim), self, part="split")
    return call.add(blocks.Mul(), a, call.add(blocks.Sigmoid(), b, part="sigmoid"))


@aten("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def dropout(call: Call, input: Value, p: float, train: bool) -> Value:
    if not call.operator.startswith("aten.dropout"):
        if train and p:
            raise call.refuse("this kind of dropout in training mode has no block; import the model in evaluation mode")
        return input
    if call.training and not train:  # F.dropout(x, training=False): it never drops
        return input
    return call.add(blocks.Dropout(p), input)


# Functions ------------------------------------------------------------------------------------------------------------

_SINGLE: dict[str, Block] = {"exp": blocks.Exp(), "log": blocks.Log(), "sqrt": blocks.Sqrt(), "abs": blocks.Abs()}
_FUNCTIONS = [
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "exp2", "expm1",
    "log1p", "log2", "log10", "reciprocal", "rsqrt", "neg", "sign", "floor", "ceil", "round", "trunc", "mish",
]  # fmt: skip
_ALIASES = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "negative": "neg", "absolute": "abs", "special_erf": "erf", "special_exp2": "exp2", "special_expm1": "expm1",
    "special_log1p": "log1p", "log_sigmoid": "log_sigmoid", "sgn": "sign", "fix": "trunc",
}  # fmt: skip


@aten(*_SINGLE, *_FUNCTIONS, *_ALIASES)
def function(call: Call, self: Value, decimals: int = 0) -> Value:
    if decimals:
        raise call.refuse("rounding to decimals")
    name = call.operator.split(".")[1].rstrip("_")
    name = _ALIASES.get(name, name)
    return call.add(type(_SINGLE[name])() if name in _SINGLE else blocks.Function(name), self)


@aten("erfc", "special_erfc")
def erfc(call: Call, self: Value) -> Value:
    return call.add(blocks.Affine(-1, 1), call.add(blocks.Function("erf"), self, part="erf"))


@aten("hardshrink", "softshrink")
def shrink(call: Call, self: Value, lambd: float = 0.5) -> Value:
    return call.add(blocks.Shrink(lambd if "soft" in call.operator else 0.0, lambd), self)


@aten("square")
def square(call: Call, self: Value) -> Value:
    return call.add(blocks.Pow(2), self)


@aten("pow")
def power(call: Call, self: Any, exponent: Any) -> Value:
    fixed, base = number(exponent), number(self)
    if fixed is not None:
        return call.add(blocks.Pow(fixed), self)
    return call.add(blocks.Power(), constant(base, exponent) if base is not None else self, exponent)


# Arithmetic -----------------------------------------------------------------------------------------------------------


@aten("add")
def add(call: Call, self: Value, other: Any, alpha: float = 1) -> Value:
    added, own = number(other), number(self)
    if added is not None:
        return call.add(blocks.Affine(shift=added * alpha), self)
    if own is not None and alpha == 1:
        return call.add(blocks.Affine(shift=own), other)
    return call.add(blocks.Add(), self, scaled(call, other, alpha))


@aten("sub", "subtract")
def sub(call: Call, self: Value, other: Any, alpha: float = 1) -> Value:
    taken, own = number(other), number(self)
    if taken is not None:
        return call.add(blocks.Affine(shift=-taken * alpha), self)
    if own is not None:
        return call.add(blocks.Affine(-alpha, own), other)
    return call.add(blocks.Sub(), self, scaled(call, other, alpha))


@aten("rsub")
def rsub(call: Call, self: Value, other: Any, alpha: float = 1) -> Value:
    whole = number(other)
    if whole is not None:
        return call.add(blocks.Affine(-alpha, whole), self)
    return call.add(blocks.Sub(), other, scaled(call, self, alpha))


@aten("mul", "multiply")
def mul(call: Call, self: Value, other: Any) -> Value:
    factor, own = number(other), number(self)
    for x, mask in ((self, other), (other, self)):
        if isinstance(mask, Flow) and (found := rectified(call, mask, x, 0)) is not None:
            return found
    if factor is not None:
        return call.add(blocks.Affine(factor), self)
    if own is not None:
        return call.add(blocks.Affine(own), other)
    return call.add(blocks.Mul(), self, other)


@aten("div", "divide", "true_divide", "floor_divide")
def div(call: Call, self: Value, other: Any, rounding_mode: str | None = None) -> Value:
    if call.operator.startswith("aten.floor_divide"):
        rounding_mode = "floor"
    part = "quotient" if rounding_mode else ""
    divisor = number(other)
    if divisor and rounding_mode is None and self.dtype.is_floating_point:
        y = call.add(blocks.Affine(1 / divisor), self, part=part)
    else:
        y = call.add(blocks.Div(), self, other if divisor is None else constant(divisor, self), part=part)
    if rounding_mode is None:
        return y
    rounded = call.add(blocks.Function(rounding_mode), y, part="" if self.dtype.is_floating_point else "rounded")
    return rounded if self.dtype.is_floating_point else call.add(blocks.Cast(name_of(self.dtype)), rounded)


@aten("remainder", "fmod")
def remainder(call: Call, self: Value, other: Any) -> Value:
    truncated = call.operator.startswith("aten.fmod")
    divisor = number(other)
    return call.add(blocks.Remainder(truncated), self, other if divisor is None else constant(divisor, self))


@aten("maximum", "minimum", "fmax", "fmin")
def extreme(call: Call, self: Value, other: Value) -> Value:
    return larger_or_smaller(call, self, other, "max" in call.operator.split(".")[1])


def larger_or_smaller(call: Call, a: Value, b: Value, larger: bool) -> Value:
    """The larger of two, or the smaller; ReLU where one of them is 0."""
    if larger and is_zero(b) and covers(a, b):
        return call.add(blocks.ReLU(), a)
    if larger and is_zero(a) and covers(b, a):
        return call.add(blocks.ReLU(), b)
    return call.add(blocks.Max() if larger else blocks.Min(), a, b)


@aten("addcmul", "addcdiv")
def addc(call: Call, self: Value, tensor1: Value, tensor2: Value, value: float = 1) -> Value:
    kind = blocks.Mul if call.operator.startswith("aten.addcmul") else blocks.Div
    y = call.add(kind(), tensor1, tensor2, part="product")
    return call.add(blocks.Add(), self, scaled(call, y, value))


@aten("lerp")
def lerp(call: Call, self: Value, end: Value, weight: Any) -> Value:
    way = call.add(blocks.Sub(), end, self, part="difference")
    share = number(weight)
    step = scaled(call, way, share) if share is not None else call.add(blocks.Mul(), way, weight, part="step")
    return call.add(blocks.Add(), self, step)


# Comparing and choosing -----------------------------------------------------------------------------------------------

_COMPARED = {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
    "less": "less", "less_equal": "less_equal", "greater": "greater", "greater_equal": "greater_equal",
    "not_equal": "not_equal",
}  # fmt: skip


@aten(*_COMPARED)
def compare(call: Call, self: Value, other: Any) -> Value:
    kind, value = _COMPARED[call.operator.split(".")[1].rstrip("_")], number(other)
    if value is None and is_zero(other) and covers(self, other):
        value = 0
    if value is None:
        return call.add(blocks.Compare(kind), self, other)
    y = call.add(blocks.Compare(kind, value), self)
    return replace(y, sign_of=(self, kind)) if value == 0 and isinstance(self, Flow) else y


_LOGIC = {"and": "and", "or": "or", "xor": "xor", "not": "not"}


@aten(*(f"{kind}_{name}" for kind in ("logical", "bitwise") for name in _LOGIC), "__and__", "__or__", "__xor__")
def logic(call: Call, self: Value, other: Any = None) -> Value:
    name = call.operator.split(".")[1].strip("_").split("_")[-1]
    if "logical" in call.operator:
        self = cast(call, self, torch.bool)
        other = cast(call, other, torch.bool) if isinstance(other, Flow | Known) else other
    if other is not None and not isinstance(other, Flow | Known):
        other = constant(other, self)
    return call.add(blocks.Logic(name), *([self] if other is None else [self, other]))


@aten("where")
def where(call: Call, condition: Value, self: Any = None, other: Any = None) -> Value:
    if self is None:
        raise call.refuse("the places where a condition holds are as many as they happen to be")
    if (found := rectified(call, condition, self, other)) is not None:
        return found
    a, b = (value if number(value) is None else number(value) for value in (self, other))
    like = next((value for value in (a, b) if isinstance(value, Flow | Known)), condition)
    return call.add(blocks.Where(), condition, constant(a, like), constant(b, like))


@aten("masked_fill")
def masked_fill(call: Call, self: Value, mask: Value, value: Any) -> Value:
    filled = number(value)
    if filled == 0 and (found := rectified(call, mask, 0, self)) is not None:
        return found
    return call.add(blocks.Where(), mask, constant(filled, self) if filled is not None else value, self)


@aten("isnan")
def isnan(call: Call, self: Value) -> Value:
    return call.add(blocks.Compare("not_equal"), self, self)


# Helpers --------------------------------------------------------------------------------------------------------------


def constant(value: Any, like: Value) -> Value:
    """A number as a constant of the type of `like`; a tensor as it is."""
    if isinstance(value, Flow | Known):
        return value
    floating = isinstance(value, float) and not (like.dtype.is_floating_point or like.dtype.is_complex)
    return Known(torch.tensor(value, dtype=torch.float32 if floating else like.dtype))


def covers(x: Value, other: Value) -> bool:
    """Whether x keeps its shape if the other is broadcast to it."""
    pairs = [[v.trials[i].shape if isinstance(v, Flow) else v.shape for v in (x, other)] for i in range(2)]
    return all(torch.broadcast_shapes(mine, theirs) == mine for mine, theirs in pairs)


def rectified(call: Call, condition: Value, inside: Any, outside: Any) -> Value | None:
    """A ReLU, if this is one written out: x where x > 0, else 0."""
    if not isinstance(condition, Flow) or condition.sign_of is None:
        return None
    x, kind = condition.sign_of
    kept, cleared = (inside, outside) if kind in ("greater", "greater_equal") else (outside, inside)
    if kind in ("equal", "not_equal") or kept is not x or not is_zero(cleared):
        return None
    return call.add(blocks.ReLU(), x)


def scaled(call: Call, value: Value, factor: float) -> Value:
    """The value times a number, without a node for 1."""
    return value if factor == 1 else call.add(blocks.Affine(factor), value, part="scaled")


def cast(call: Call, value: Value, dtype: torch.dtype | None) -> Value:
    """The value in another type of number, without a node if it has it."""
    if dtype is None or dtype == value.dtype:
        return value
    y = call.add(blocks.Cast(name_of(dtype)), value, part="cast")
    return replace(y, sign_of=value.sign_of) if isinstance(value, Flow) else y
