"""Handlers of blocks that bring their input to a mean and a size."""

import math
from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.table import exports


@exports(blocks.BatchNorm1d, blocks.BatchNorm2d, blocks.BatchNorm3d)
def batch_norm(call: Call, block: Any, x: Value) -> Any:
    statistics = call.weight("running_mean"), call.weight("running_variance")
    scale_shift = _scale(call, block.channels), _shift(call, block.channels)
    return call.add("BatchNormalization", x, *scale_shift, *statistics, epsilon=float(block.epsilon))


@exports(blocks.LayerNorm)
def layer_norm(call: Call, block: blocks.LayerNorm, x: Value) -> Any:
    inputs = [_scale(call, *block.shape), *([call.weight("bias")] if block.affine else [])]
    return call.add("LayerNormalization", x, *inputs, axis=-len(block.shape), epsilon=float(block.epsilon))


@exports(blocks.InstanceNorm)
def instance_norm(call: Call, block: blocks.InstanceNorm, x: Value) -> Any:
    inputs = _scale(call, block.channels), _shift(call, block.channels)
    return call.add("InstanceNormalization", x, *inputs, epsilon=float(block.epsilon))


@exports(blocks.GroupNorm)
def group_norm(call: Call, block: blocks.GroupNorm, x: Value) -> Any:
    if call.opset >= 21:
        inputs = _scale(call, block.channels), _shift(call, block.channels)
        options: dict[str, Any] = {"num_groups": block.groups, "epsilon": float(block.epsilon)}
        return call.add("GroupNormalization", x, *inputs, **options)
    rows = call.add("Reshape", x, call.whole(0, block.groups, -1))
    one, zero = (call.constant(torch.full((block.groups,), level, dtype=x.dtype)) for level in (1.0, 0.0))
    rows = call.add("InstanceNormalization", rows, one, zero, epsilon=float(block.epsilon))
    y = call.reshape(rows, [f"a{i}" for i in range(x.axes)], copies=1)
    if not block.affine:
        return y
    beside = [1] * (x.axes - 2)
    weight, bias = call.weight("weight"), call.weight("bias")
    if beside:
        weight, bias = (call.add("Reshape", each, call.whole(-1, *beside)) for each in (weight, bias))
    return call.add("Add", call.add("Mul", y, weight), bias)


def _scale(call: Call, *shape: int) -> str:
    return call.weight("weight") if call.block.affine else call.constant(torch.ones(shape, dtype=call.dtype))  # type: ignore[attr-defined]


def _shift(call: Call, *shape: int) -> str:
    return call.weight("bias") if call.block.affine else call.constant(torch.zeros(shape, dtype=call.dtype))  # type: ignore[attr-defined]


@exports(blocks.LocalResponseNorm)
def local_response_norm(call: Call, block: blocks.LocalResponseNorm, x: Value) -> Any:
    if block.size % 2 and x.axes == 4:  # both divide alpha by the size; of even windows, ONNX has the longer end behind
        settings: dict[str, Any] = {"alpha": float(block.alpha), "beta": float(block.beta), "bias": float(block.k)}
        return call.add("LRN", x, size=block.size, **settings)
    rows = call.reshape(call.add("Mul", x, x), ["a0", 1, "a1", -1], copies=1)
    ends = call.whole(0, 0, block.size // 2, 0, 0, 0, (block.size - 1) // 2, 0)
    means = call.add("AveragePool", call.add("Pad", rows, ends), kernel_shape=[block.size, 1])
    s = call.add("Add", call.add("Mul", means, call.number(block.alpha)), call.number(block.k))
    factor = call.add("Pow", s, call.number(-block.beta))
    return call.add("Mul", x, call.reshape(factor, [f"a{i}" for i in range(x.axes)], copies=1))


@exports(blocks.RMSNorm)
def rms_norm(call: Call, block: blocks.RMSNorm, x: Value) -> Any:
    kind = torch.promote_types(x.dtype, torch.float32)
    wide = call.cast(x, kind)
    epsilon = torch.finfo(kind).eps if block.epsilon is None else block.epsilon
    square = call.reduce("ReduceMean", call.add("Mul", wide, wide), block._axes, True)
    size = call.add("Sqrt", call.add("Add", square, call.number(epsilon, kind)))
    y = call.add("Div", wide, size)
    if block.weight is not None:
        y = call.add("Mul", y, call.cast(call.weight("weight"), kind, block.weight.dtype))
    return call.cast(y, call.dtype, kind)


@exports(blocks.MeanVarianceNorm)
def mean_variance_norm(call: Call, block: blocks.MeanVarianceNorm, x: Value) -> Any:
    centered = call.add("Sub", x, call.reduce("ReduceMean", x, block.axes, True))
    variance = call.reduce("ReduceMean", call.add("Mul", centered, centered), block.axes, True)
    return call.add("Div", centered, call.add("Add", call.add("Sqrt", variance), call.number(block.epsilon)))


@exports(blocks.LpNorm)
def lp_norm(call: Call, block: blocks.LpNorm, x: Value) -> Any:
    if block.order in (1, 2):
        norm = call.reduce(f"ReduceL{block.order:g}", x, [block.axis], True)
    else:
        powers = call.add("Pow", call.add("Abs", x), call.number(block.order))
        norm = call.add("Pow", call.reduce("ReduceSum", powers, [block.axis], True), call.number(1 / block.order))
    nothing = call.add("Equal", norm, call.number(0.0))
    return call.add("Div", x, call.add("Where", nothing, call.number(math.inf), norm))
