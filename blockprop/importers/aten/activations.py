"""Handlers of activations and of elementary functions."""

from typing import Any

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.elementwise import cast, constant
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, number
from blockprop.importers.graph import Value


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
    name = call.operator.split(".")[1]
    return call.add(blocks.Clamp(lowest, highest, inclusive=name.startswith("cl")), self)


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
        raise UnsupportedError("rrelu in training draws random slopes")
    return call.add(blocks.LeakyReLU((lower + upper) / 2), self)


@aten("prelu", "_prelu_kernel")
def prelu(call: Call, self: Value, weight: Value) -> Value:
    slopes = call.weight(weight)
    assert slopes is not None
    return call.add(call.block(blocks.PReLU, {"channels": slopes.tensor.numel()}, weight=slopes), self)


@aten("elu")
def elu(call: Call, self: Value, alpha: float, scale: float, input_scale: float) -> Value:
    if scale != 1 or input_scale != 1:
        raise UnsupportedError("elu with a scale")
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
        raise UnsupportedError("glu along a free axis")
    a, b = call.add(blocks.Split((half, half), dim), self, part="split")
    return call.add(blocks.Mul(), a, call.add(blocks.Sigmoid(), b, part="sigmoid"))


@aten("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def dropout(call: Call, input: Value, p: float, train: bool) -> Value:
    if "alpha" in call.operator:
        if train and p:
            raise UnsupportedError(
                "this kind of dropout in training mode has no block; import the model in evaluation mode"
            )
        return input
    if call.training and not train:  # F.dropout(x, training=False): it never drops
        return input
    return call.add(blocks.Dropout(p, channels="feature" in call.operator), input)


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
        raise UnsupportedError("rounding to decimals")
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
