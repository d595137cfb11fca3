"""Handlers of operators that act on each element by itself, or turn rows into shares."""

import math
from typing import Any

import torch

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.engine.block import Block
from blockprop.errors import UnsupportedError
from blockprop.importers.exact_sizes import FreeSizeError
from blockprop.importers.graph import Flow, Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.table import operator
from blockprop.importers.onnx_tensors import dtype_of


def elementwise(name: str, *versions: int, block: Block) -> None:
    """The operator is that block."""

    @operator(name, *versions)
    def handle(call: OnnxCall, x: Input) -> Any:
        return call.add(block, x)


elementwise("Relu", 6, 13, 14, block=blocks.ReLU())
elementwise("Sigmoid", 6, 13, block=blocks.Sigmoid())
elementwise("Tanh", 6, 13, block=blocks.Tanh())
elementwise("HardSwish", 14, 22, block=blocks.HardSwish())
elementwise("Exp", 6, 13, block=blocks.Exp())
elementwise("Log", 6, 13, block=blocks.Log())
elementwise("Sqrt", 6, 13, block=blocks.Sqrt())
elementwise("Abs", 6, 13, block=blocks.Abs())
elementwise("Softplus", 1, 22, block=blocks.Softplus())
for _name, _versions, _function in (
    ("Softsign", (1, 22), "softsign"),
    ("Mish", (18, 22), "mish"),
    ("Erf", (9, 13), "erf"),
    ("Neg", (6, 13), "neg"),
    ("Reciprocal", (6, 13), "reciprocal"),
    ("Sign", (9, 13), "sign"),
    ("Floor", (6, 13), "floor"),
    ("Ceil", (6, 13), "ceil"),
    ("Round", (11, 22), "round"),
    ("Sin", (7, 22), "sin"),
    ("Cos", (7, 22), "cos"),
    ("Tan", (7, 22), "tan"),
    ("Asin", (7, 22), "asin"),
    ("Acos", (7, 22), "acos"),
    ("Atan", (7, 22), "atan"),
    ("Sinh", (9, 22), "sinh"),
    ("Cosh", (9, 22), "cosh"),
    ("Asinh", (9, 22), "asinh"),
    ("Acosh", (9, 22), "acosh"),
    ("Atanh", (9, 22), "atanh"),
):
    elementwise(_name, *_versions, block=blocks.Function(_function))


@operator("LeakyRelu", 6, 16)
def leaky_relu(call: OnnxCall, x: Input, *, alpha: float) -> Any:
    if alpha < 0:  # max(x, 0) + alpha min(x, 0), because LeakyReLU tells the sides apart by its output
        positive = call.add(blocks.ReLU(), x, part="positive")
        negative = call.add(blocks.Clamp(high=0.0), x, part="negative")
        return call.add(blocks.Add(), positive, call.add(blocks.Affine(alpha), negative, part="scaled"))
    return call.add(blocks.LeakyReLU(alpha), x)


@operator("Elu", 6, 22)
def elu(call: OnnxCall, x: Input, *, alpha: float) -> Any:
    return call.add(blocks.ELU(alpha), x)


@operator("Celu", 12, 28)
def celu(call: OnnxCall, x: Input, *, alpha: float) -> Any:
    return call.add(blocks.CELU(alpha), x)


@operator("Selu", 6, 22)
def selu(call: OnnxCall, x: Input, *, alpha: float, gamma: float) -> Any:
    standard = abs(alpha - blocks.SELU.ALPHA) < 1e-6 and abs(gamma - blocks.SELU.SCALE) < 1e-6
    return call.add(blocks.SELU() if standard else blocks.SELU(alpha, gamma), x)


@operator("Gelu", 20)
def gelu(call: OnnxCall, x: Input, *, approximate: str) -> Any:
    return call.add(blocks.GELU(approximate), x)


@operator("HardSigmoid", 6, 22)
def hard_sigmoid(call: OnnxCall, x: Input, *, alpha: float, beta: float) -> Any:
    usual = abs(alpha - 1 / 6) < 1e-7 and beta == 0.5
    return call.add(blocks.HardSigmoid() if usual else blocks.HardSigmoid(alpha, beta), x)


@operator("Swish", 24)
def swish(call: OnnxCall, x: Input, *, alpha: float) -> Any:
    if alpha == 1:
        return call.add(blocks.SiLU(), x)
    gate = call.add(blocks.Affine(alpha), x, part="scaled")
    return call.add(blocks.Mul(), x, call.add(blocks.Sigmoid(), gate, part="sigmoid"))


@operator("ThresholdedRelu", 10, 22)
def thresholded_relu(call: OnnxCall, x: Input, *, alpha: float) -> Any:
    return call.add(blocks.ThresholdedReLU(alpha), x)


@operator("Shrink", 9)
def shrink(call: OnnxCall, x: Input, *, bias: float, lambd: float) -> Any:
    return call.add(blocks.Shrink(bias, lambd), x)


@operator("PRelu", 7, 9, 16)
def prelu(call: OnnxCall, x: Input, slope: Input) -> Any:
    if isinstance(slope, Flow) and slope.known is None:  # max(x, 0) + slope min(x, 0)
        negative = call.add(blocks.Mul(), call.add(blocks.Clamp(high=0.0), x, part="negative"), slope, part="scaled")
        return call.add(blocks.Add(), call.add(blocks.ReLU(), x, part="positive"), negative)
    weight = slope if isinstance(slope, Known) else call.weight(slope) if isinstance(slope, Flow) else None
    if weight is None:
        raise UnsupportedError("a slope that is computed from sizes")
    flat = Known(weight.tensor.reshape(-1), weight.name, trained=True)
    if weight.tensor.numel() == 1:
        return call.add(call.block(blocks.PReLU, {"channels": 1}, weight=flat), x)
    channels_first = weight.axes == x.axes - 1 and weight.shape[1:] == (1,) * (x.axes - 2)
    if channels_first and x.axes > 1 and x.shape[1] == weight.shape[0]:
        return call.add(call.block(blocks.PReLU, {"channels": weight.shape[0]}, weight=flat), x)
    return call.add(call.block(blocks.PReLU, {"shape": weight.shape}, weight=weight), x)


@operator("Clip", 6)
def clip_between(call: OnnxCall, x: Input, *, min: float, max: float) -> Any:
    limit = 3.4028234e38  # the default: all that there is
    return _clip(call, x, None if min <= -limit else min, None if max >= limit else max)


@operator("Clip", 11, 12, 13)
def clip(call: OnnxCall, x: Input, low: Input | None = None, high: Input | None = None) -> Any:
    if any(isinstance(bound, Flow) and bound.known is None for bound in (low, high)):
        y = x if low is None else call.add(blocks.Max(), x, low, part="" if high is None else "low")
        return y if high is None else call.add(blocks.Min(), y, high)
    return _clip(call, x, call.number_in(low), call.number_in(high))


def _clip(call: OnnxCall, x: Input, low: float | None, high: float | None) -> Any:
    if low is not None and low == -math.inf:
        low = None
    if high is not None and high == math.inf:
        high = None
    if low is None and high is None:
        return x
    if low == 0 and high is None and x.dtype.is_floating_point:
        return call.add(blocks.ReLU(), x)
    if low is not None and high is not None and low >= high:  # ONNX: all elements become the upper bound
        return call.add(blocks.Affine(0.0, high), x)
    return call.add(blocks.Clamp(low, high), x)


@operator("Softmax", 13)
def softmax(call: OnnxCall, x: Input, *, axis: int) -> Any:
    return call.add(blocks.Softmax(axis), x)


@operator("LogSoftmax", 13)
def log_softmax(call: OnnxCall, x: Input, *, axis: int) -> Any:
    return call.add(blocks.LogSoftmax(axis), x)


@operator("Softmax", 1, 11)
def softmax_of_rows(call: OnnxCall, x: Input, *, axis: int) -> Any:
    return _of_rows(call, blocks.Softmax, x, axis)


@operator("LogSoftmax", 1, 11)
def log_softmax_of_rows(call: OnnxCall, x: Input, *, axis: int) -> Any:
    return _of_rows(call, blocks.LogSoftmax, x, axis)


def _of_rows(call: OnnxCall, kind: Any, x: Input, axis: int) -> Any:
    """All axes from `axis` on are one row: so it was before opset 13."""
    axis = axis % x.axes if x.axes else 0
    if all(isinstance(size, int) and size == 1 for size in x.shape[axis + 1 :]):
        return call.add(kind(axis), x)
    rows = call.add(blocks.Flatten(axis), x, part="rows")
    y = call.add(kind(axis), rows, part="shares")
    sizes, others = call.sizes(x.shape, y)
    return call.add(blocks.Reshape(sizes, 0), y, *others)


@operator("Hardmax", 13)
def hardmax(call: OnnxCall, x: Input, *, axis: int) -> Any:
    size = x.shape[axis]
    if not isinstance(size, int):
        raise FreeSizeError(f"the size of axis {axis}")
    places = call.add(blocks.ArgMax(axis), x, part="places")
    y = call.add(blocks.OneHot(size, axis), places, part="one_hot" if x.dtype != torch.float32 else "")
    return y if x.dtype == torch.float32 else call.add(blocks.Cast(name_of(x.dtype)), y)


@operator("Hardmax", 1, 11)
def hardmax_of_rows(call: OnnxCall, x: Input, *, axis: int) -> Any:
    rows = call.add(blocks.Flatten(axis % x.axes), x, part="rows")
    y = hardmax(call, rows, axis=-1)
    sizes, others = call.sizes(x.shape, y)
    return call.add(blocks.Reshape(sizes, 0), y, *others, part="shape")


# saturate and round_mode are for numbers of 8 bits and less, which are refused anyway.


@operator("Cast", 6, 9, 13, 19, 21, 23, 24, 25, 28)
def cast(call: OnnxCall, x: Input, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    return cast_to(call, x, dtype_of(to))


@operator("CastLike", 15, 19, 21, 23, 24, 25)
def cast_like(call: OnnxCall, x: Input, target: Input, *, saturate: int = 1, round_mode: str = "up") -> Any:
    return cast_to(call, x, target.dtype)


def cast_to(call: OnnxCall, x: Input, dtype: torch.dtype) -> Any:
    """x in this type of number; a weight that is converted stays a weight."""
    if x.dtype == dtype:
        return x
    return call.add(blocks.Cast(name_of(dtype)), x)


@operator("Identity", 1, 13, 14, 16, 19, 21, 23, 24, 25)
def identity(call: OnnxCall, x: Input) -> Any:
    return x


@operator("Dropout", 7, 10)
def dropout(call: OnnxCall, x: Input, *, ratio: float) -> Any:
    return _dropped(call, x, ratio)


@operator("Dropout", 12, 13, 22)
def dropout_by_input(
    call: OnnxCall,
    x: Input,
    ratio: Input | None = None,
    training: Input | None = None,
    *,
    seed: int | None = None,
) -> Any:
    if call.number_in(training, False):
        raise UnsupportedError("training mode; blockprop's dropout acts in training by itself")
    return _dropped(call, x, call.number_in(ratio, 0.5))


def _dropped(call: OnnxCall, x: Input, ratio: float) -> Any:
    y = call.add(blocks.Dropout(ratio), x) if isinstance(x, Flow) else x
    if len(call.outputs) == 1:
        return y
    dtype = torch.bool if call.version >= 10 else x.dtype
    sizes, others = call.sizes(x.shape)
    return y, call.add(blocks.Filled(sizes, 1.0, name_of(dtype)), *others, part="mask")
