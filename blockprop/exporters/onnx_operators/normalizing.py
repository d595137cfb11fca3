"""Handlers of blocks that bring their input to a mean and a size."""

import math
from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand
from blockprop.exporters.writing import Writing


@exports(blocks.BatchNorm1d, blocks.BatchNorm2d, blocks.BatchNorm3d, blocks.RunningInstanceNorm)
def batch_norm(writing: Writing, block: Any, x: Operand) -> Any:
    if block.running_mean is None:
        return _by_batch(writing, block, x)
    statistics = writing.weight("running_mean"), writing.weight("running_variance")
    scale_shift = _scale(writing, block, block.channels), _shift(writing, block, block.channels)
    options: dict[str, Any] = {"epsilon": float(block.epsilon)}
    if block.momentum is not None:  # ONNX counts what stays; it has no mean over all batches
        options["momentum"] = 1.0 - block.momentum
    return writing.add("BatchNormalization", x, *scale_shift, *statistics, **options)


def _by_batch(writing: Writing, block: Any, x: Operand) -> Any:
    """With the batch's own mean and variance: the operator has these in training alone."""
    axes = [axis for axis in range(x.axes) if axis != 1]
    centered = writing.add("Sub", x, writing.reduce("ReduceMean", x, axes, True))
    variance = writing.reduce("ReduceMean", writing.add("Mul", centered, centered), axes, True)
    deviation = writing.add("Sqrt", writing.add("Add", variance, writing.number(block.epsilon)))
    y = writing.add("Div", centered, deviation)
    return _affine(writing, y, x) if block.affine else y


def _affine(writing: Writing, y: Any, x: Operand) -> Any:
    """weight · y + bias, one of each for each channel."""
    beside = [1] * (x.axes - 2)
    weight, bias = writing.weight("weight"), writing.weight("bias")
    if beside:
        weight, bias = (writing.add("Reshape", parameter, writing.whole(-1, *beside)) for parameter in (weight, bias))
    return writing.add("Add", writing.add("Mul", y, weight), bias)


@exports(blocks.LayerNorm)
def layer_norm(writing: Writing, block: blocks.LayerNorm, x: Operand) -> Any:
    inputs = [_scale(writing, block, *block.shape), *([writing.weight("bias")] if block.affine else [])]
    return writing.add("LayerNormalization", x, *inputs, axis=-len(block.shape), epsilon=float(block.epsilon))


@exports(blocks.InstanceNorm)
def instance_norm(writing: Writing, block: blocks.InstanceNorm, x: Operand) -> Any:
    inputs = _scale(writing, block, block.channels), _shift(writing, block, block.channels)
    return writing.add("InstanceNormalization", x, *inputs, epsilon=float(block.epsilon))


@exports(blocks.GroupNorm)
def group_norm(writing: Writing, block: blocks.GroupNorm, x: Operand) -> Any:
    if writing.opset >= 21:
        inputs = _scale(writing, block, block.channels), _shift(writing, block, block.channels)
        options: dict[str, Any] = {"num_groups": block.groups, "epsilon": float(block.epsilon)}
        return writing.add("GroupNormalization", x, *inputs, **options)
    rows = writing.add("Reshape", x, writing.whole(0, block.groups, -1))
    one, zero = (writing.constant(torch.full((block.groups,), level, dtype=x.dtype)) for level in (1.0, 0.0))
    rows = writing.add("InstanceNormalization", rows, one, zero, epsilon=float(block.epsilon))
    y = writing.reshape(rows, [f"a{i}" for i in range(x.axes)], copies=1)
    return _affine(writing, y, x) if block.affine else y


def _scale(writing: Writing, block: Any, *shape: int) -> str:
    return writing.weight("weight") if block.affine else writing.constant(torch.ones(shape, dtype=writing.dtype))


def _shift(writing: Writing, block: Any, *shape: int) -> str:
    return writing.weight("bias") if block.affine else writing.constant(torch.zeros(shape, dtype=writing.dtype))


@exports(blocks.LocalResponseNorm)
def local_response_norm(writing: Writing, block: blocks.LocalResponseNorm, x: Operand) -> Any:
    if block.size % 2 and x.axes == 4:  # both divide alpha by the size; of even windows, ONNX has the longer end behind
        settings: dict[str, Any] = {"alpha": float(block.alpha), "beta": float(block.beta), "bias": float(block.k)}
        return writing.add("LRN", x, size=block.size, **settings)
    rows = writing.reshape(writing.add("Mul", x, x), ["a0", 1, "a1", -1], copies=1)
    ends = writing.whole(0, 0, block.size // 2, 0, 0, 0, (block.size - 1) // 2, 0)
    means = writing.add("AveragePool", writing.add("Pad", rows, ends), kernel_shape=[block.size, 1])
    s = writing.add("Add", writing.add("Mul", means, writing.number(block.alpha)), writing.number(block.k))
    factor = writing.add("Pow", s, writing.number(-block.beta))
    return writing.add("Mul", x, writing.reshape(factor, [f"a{i}" for i in range(x.axes)], copies=1))


@exports(blocks.RMSNorm)
def rms_norm(writing: Writing, block: blocks.RMSNorm, x: Operand) -> Any:
    kind = torch.promote_types(x.dtype, torch.float32)
    wide = writing.cast(x, kind)
    epsilon = torch.finfo(kind).eps if block.epsilon is None else block.epsilon
    square = writing.reduce("ReduceMean", writing.add("Mul", wide, wide), block._axes, True)
    size = writing.add("Sqrt", writing.add("Add", square, writing.number(epsilon, kind)))
    y = writing.add("Div", wide, size)
    if block.weight is not None:
        y = writing.add("Mul", y, writing.cast(writing.weight("weight"), kind, block.weight.dtype))
    return writing.cast(y, writing.dtype, kind)


@exports(blocks.MeanVarianceNorm)
def mean_variance_norm(writing: Writing, block: blocks.MeanVarianceNorm, x: Operand) -> Any:
    centered = writing.add("Sub", x, writing.reduce("ReduceMean", x, block.axes, True))
    variance = writing.reduce("ReduceMean", writing.add("Mul", centered, centered), block.axes, True)
    deviation = writing.add("Sqrt", variance)
    return writing.add("Div", centered, writing.add("Add", deviation, writing.number(block.epsilon)))


@exports(blocks.LpNorm)
def lp_norm(writing: Writing, block: blocks.LpNorm, x: Operand) -> Any:
    if block.order in (1, 2):
        norm = writing.reduce(f"ReduceL{block.order:g}", x, [block.axis], True)
    else:
        powers = writing.add("Pow", writing.add("Abs", x), writing.number(block.order))
        total = writing.reduce("ReduceSum", powers, [block.axis], True)
        norm = writing.add("Pow", total, writing.number(1 / block.order))
    nothing = writing.add("Equal", norm, writing.number(0.0))
    return writing.add("Div", x, writing.add("Where", nothing, writing.number(math.inf), norm))
