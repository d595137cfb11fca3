"""Handlers of activations, softmaxes and dropout."""

import math
from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing


@exports(blocks.ReLU)
def relu(writing: Writing, block: blocks.ReLU, x: Operand) -> Any:
    return writing.add("Relu", x)


@exports(blocks.LeakyReLU)
def leaky_relu(writing: Writing, block: blocks.LeakyReLU, x: Operand) -> Any:
    return writing.add("LeakyRelu", x, alpha=float(block.negative_slope))


@exports(blocks.PReLU)
def prelu(writing: Writing, block: blocks.PReLU, x: Operand) -> Any:
    slopes = block.weight
    if block.shape is None and x.axes > 2 and block.channels > 1:
        slopes = slopes.view(-1, *[1] * (x.axes - 2))
    return writing.add("PRelu", x, writing.weight("weight", slopes))


@exports(blocks.ELU)
def elu(writing: Writing, block: blocks.ELU, x: Operand) -> Any:
    return writing.add("Elu", x, alpha=float(block.alpha))


@exports(blocks.CELU)
def celu(writing: Writing, block: blocks.CELU, x: Operand) -> Any:
    return writing.add("Celu", x, alpha=float(block.alpha))


@exports(blocks.SELU)
def selu(writing: Writing, block: blocks.SELU, x: Operand) -> Any:
    return writing.add("Selu", x, alpha=float(block.alpha), gamma=float(block.scale))


@exports(blocks.GELU)
def gelu(writing: Writing, block: blocks.GELU, x: Operand) -> Any:
    if writing.opset >= 20:
        return writing.add("Gelu", x, approximate=block.approximate)
    if block.approximate == "none":
        part = writing.add("Erf", writing.add("Mul", x, writing.number(math.sqrt(0.5))))
    else:
        cubic = writing.add("Mul", writing.add("Mul", writing.add("Mul", x, x), x), writing.number(0.044715))
        inner = writing.add("Mul", writing.add("Add", x, cubic), writing.number(math.sqrt(2 / math.pi)))
        part = writing.add("Tanh", inner)
    half = writing.add("Mul", x, writing.number(0.5))
    return writing.add("Mul", half, writing.add("Add", part, writing.number(1.0)))


@exports(blocks.SiLU)
def silu(writing: Writing, block: blocks.SiLU, x: Operand) -> Any:
    return writing.add("Mul", x, writing.add("Sigmoid", x))


@exports(blocks.Sigmoid)
def sigmoid(writing: Writing, block: blocks.Sigmoid, x: Operand) -> Any:
    return writing.add("Sigmoid", writing.cast(x, writing.dtype))


@exports(blocks.Tanh)
def tanh(writing: Writing, block: blocks.Tanh, x: Operand) -> Any:
    return writing.add("Tanh", writing.cast(x, writing.dtype))


@exports(blocks.Softplus)
def softplus(writing: Writing, block: blocks.Softplus, x: Operand) -> Any:
    if block.beta == 1:
        scaled: OperatorInput = x
        y = writing.add("Softplus", x)
    else:
        scaled = writing.add("Mul", x, writing.number(block.beta))
        y = writing.add("Div", writing.add("Softplus", scaled), writing.number(block.beta))
    if block.threshold >= 20 and x.dtype != torch.float64:
        return y  # beyond it both are equal, as far as float32 can tell
    return writing.add("Where", writing.add("Greater", scaled, writing.number(block.threshold)), x, y)


@exports(blocks.HardSigmoid)
def hard_sigmoid(writing: Writing, block: blocks.HardSigmoid, x: Operand) -> Any:
    return writing.add("HardSigmoid", x, alpha=float(block.alpha), beta=float(block.beta))


@exports(blocks.HardSwish)
def hard_swish(writing: Writing, block: blocks.HardSwish, x: Operand) -> Any:
    return writing.add("HardSwish", x)


@exports(blocks.ThresholdedReLU)
def thresholded_relu(writing: Writing, block: blocks.ThresholdedReLU, x: Operand) -> Any:
    return writing.add("ThresholdedRelu", x, alpha=float(block.alpha))


@exports(blocks.Shrink)
def shrink(writing: Writing, block: blocks.Shrink, x: Operand) -> Any:
    return writing.add("Shrink", x, bias=float(block.bias), lambd=float(block.lambd))


@exports(blocks.Softmax, blocks.LogSoftmax)
def softmax(writing: Writing, block: blocks.Softmax | blocks.LogSoftmax, x: Operand) -> Any:
    return writing.add(type(block).__name__, x, axis=block.axis)


@exports(blocks.Detach)
def detach(writing: Writing, block: blocks.Detach, x: Operand) -> Any:
    return writing.add("Identity", x)


@exports(blocks.Dropout)
def dropout(writing: Writing, block: blocks.Dropout, x: Operand) -> Any:
    if block.probability == 1 or block.channels or not x.dtype.is_floating_point:  # ONNX leaves out elements alone
        return writing.add("Identity", x)
    return writing.add("Dropout", x, writing.number(block.probability, torch.float32))
