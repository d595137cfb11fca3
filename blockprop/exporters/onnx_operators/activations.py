"""Handlers of activations, softmaxes and dropout."""

import math
from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.table import exports


@exports(blocks.ReLU)
def relu(call: Call, block: blocks.ReLU, x: Value) -> Any:
    return call.add("Relu", x)


@exports(blocks.LeakyReLU)
def leaky_relu(call: Call, block: blocks.LeakyReLU, x: Value) -> Any:
    return call.add("LeakyRelu", x, alpha=float(block.negative_slope))


@exports(blocks.PReLU)
def prelu(call: Call, block: blocks.PReLU, x: Value) -> Any:
    slopes = block.weight
    if block.shape is None and x.axes > 2 and block.channels > 1:
        slopes = slopes.view(-1, *[1] * (x.axes - 2))
    return call.add("PRelu", x, call.weight("weight", slopes))


@exports(blocks.ELU)
def elu(call: Call, block: blocks.ELU, x: Value) -> Any:
    return call.add("Elu", x, alpha=float(block.alpha))


@exports(blocks.CELU)
def celu(call: Call, block: blocks.CELU, x: Value) -> Any:
    return call.add("Celu", x, alpha=float(block.alpha))


@exports(blocks.SELU)
def selu(call: Call, block: blocks.SELU, x: Value) -> Any:
    return call.add("Selu", x, alpha=float(block.alpha), gamma=float(block.scale))


@exports(blocks.GELU)
def gelu(call: Call, block: blocks.GELU, x: Value) -> Any:
    if call.opset >= 20:
        return call.add("Gelu", x, approximate=block.approximate)
    if block.approximate == "none":
        part = call.add("Erf", call.add("Mul", x, call.number(math.sqrt(0.5))))
    else:
        cubic = call.add("Mul", call.add("Mul", call.add("Mul", x, x), x), call.number(0.044715))
        part = call.add("Tanh", call.add("Mul", call.add("Add", x, cubic), call.number(math.sqrt(2 / math.pi))))
    half = call.add("Mul", x, call.number(0.5))
    return call.add("Mul", half, call.add("Add", part, call.number(1.0)))


@exports(blocks.SiLU)
def silu(call: Call, block: blocks.SiLU, x: Value) -> Any:
    return call.add("Mul", x, call.add("Sigmoid", x))


@exports(blocks.Sigmoid)
def sigmoid(call: Call, block: blocks.Sigmoid, x: Value) -> Any:
    return call.add("Sigmoid", call.cast(x, call.dtype))


@exports(blocks.Tanh)
def tanh(call: Call, block: blocks.Tanh, x: Value) -> Any:
    return call.add("Tanh", call.cast(x, call.dtype))


@exports(blocks.Softplus)
def softplus(call: Call, block: blocks.Softplus, x: Value) -> Any:
    if block.beta == 1:
        scaled: str = x
        y = call.add("Softplus", x)
    else:
        scaled = call.add("Mul", x, call.number(block.beta))
        y = call.add("Div", call.add("Softplus", scaled), call.number(block.beta))
    if block.threshold >= 20 and x.dtype != torch.float64:
        return y  # beyond it both are equal, as far as float32 can tell
    return call.add("Where", call.add("Greater", scaled, call.number(block.threshold)), x, y)


@exports(blocks.HardSigmoid)
def hard_sigmoid(call: Call, block: blocks.HardSigmoid, x: Value) -> Any:
    return call.add("HardSigmoid", x, alpha=float(block.alpha), beta=float(block.beta))


@exports(blocks.HardSwish)
def hard_swish(call: Call, block: blocks.HardSwish, x: Value) -> Any:
    return call.add("HardSwish", x)


@exports(blocks.ThresholdedReLU)
def thresholded_relu(call: Call, block: blocks.ThresholdedReLU, x: Value) -> Any:
    return call.add("ThresholdedRelu", x, alpha=float(block.alpha))


@exports(blocks.Shrink)
def shrink(call: Call, block: blocks.Shrink, x: Value) -> Any:
    return call.add("Shrink", x, bias=float(block.bias), lambd=float(block.lambd))


@exports(blocks.Softmax, blocks.LogSoftmax)
def softmax(call: Call, block: blocks.Softmax | blocks.LogSoftmax, x: Value) -> Any:
    return call.add(type(block).__name__, x, axis=block.axis)


@exports(blocks.Detach)
def detach(call: Call, block: blocks.Detach, x: Value) -> Any:
    return call.add("Identity", x)


@exports(blocks.Dropout)
def dropout(call: Call, block: blocks.Dropout, x: Value) -> Any:
    if block.probability == 1 or not x.dtype.is_floating_point:
        return call.add("Identity", x)
    return call.add("Dropout", x, call.number(block.probability, torch.float32))
