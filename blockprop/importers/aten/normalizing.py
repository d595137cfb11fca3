"""Handlers of operators that normalize."""

from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call
from blockprop.importers.graph import Known, Value


@aten("batch_norm")
def batch_norm(
    call: Call,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    **_: Any,
) -> Value:
    if running_mean is None or running_var is None:
        raise UnsupportedError("batch normalization without running statistics works on the batch alone")
    mean, variance = call.weight(running_mean), call.weight(running_var)
    assert mean is not None
    assert variance is not None
    if call.training and not training:
        return fixed_batch_norm(call, input, weight, bias, (mean, variance), eps)
    scale, shift = affine_pair(call, weight, bias)
    kind: Any = {4: blocks.BatchNorm2d, 5: blocks.BatchNorm3d}.get(input.axes, blocks.BatchNorm1d)
    settings = {"channels": mean.shape[0], "epsilon": eps, "momentum": momentum, "affine": scale is not None}
    block = call.block(kind, settings, weight=scale, bias=shift, running_mean=mean, running_variance=variance)
    return call.add(block, input)


def fixed_batch_norm(
    call: Call, x: Value, weight: Value | None, bias: Value | None, statistics: tuple[Known, Known], eps: float
) -> Value:
    """With its running statistics, in training, too: a batch norm in evaluation mode inside a module in training."""
    ones = (1,) * (x.axes - 2)
    mean, variance = (statistic.tensor.reshape(-1, *ones) for statistic in statistics)
    y = call.add(blocks.Sub(), x, Known(mean, f"{call.name}.running_mean"), part="centered")
    y = call.add(blocks.Mul(), y, Known((variance + eps).rsqrt(), f"{call.name}.rsqrt"), part="scaled")
    for operand, block, part in ((weight, blocks.Mul(), "weighted"), (bias, blocks.Add(), "shifted")):
        if operand is not None:
            shaped = call.add(blocks.Reshape((-1, *ones), start_axis=0), operand, part=f"{part}.shape")
            y = call.add(block, y, shaped, part=part)
    return y


@aten("instance_norm")
def instance_norm(
    call: Call,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    **_: Any,
) -> Value:
    if not use_input_stats:
        return batch_norm(call, input, weight, bias, running_mean, running_var, False, momentum, eps)
    channels = input.shape[1]
    scale, shift = affine_pair(call, weight, bias)
    settings = {"channels": channels, "epsilon": eps, "affine": scale is not None}
    return call.add(call.block(blocks.InstanceNorm, settings, weight=scale, bias=shift), input)


@aten("group_norm")
def group_norm(
    call: Call, input: Value, num_groups: int, weight: Value | None, bias: Value | None, eps: float, **_: Any
) -> Value:
    scale, shift = affine_pair(call, weight, bias)
    settings = {"groups": num_groups, "channels": input.shape[1], "epsilon": eps, "affine": scale is not None}
    return call.add(call.block(blocks.GroupNorm, settings, weight=scale, bias=shift), input)


@aten("layer_norm")
def layer_norm(
    call: Call,
    input: Value,
    normalized_shape: Sequence[int],
    weight: Value | None,
    bias: Value | None,
    eps: float,
    **_: Any,
) -> Value:
    shape = tuple(normalized_shape)
    if weight is not None and bias is not None:
        scale, shift = affine_pair(call, weight, bias)
        settings = {"shape": shape, "epsilon": eps, "affine": True}
        return call.add(call.block(blocks.LayerNorm, settings, weight=scale, bias=shift), input)
    y = call.add(blocks.LayerNorm(shape, eps, affine=False), input, part="" if weight is bias else "normalized")
    y = y if weight is None else call.add(blocks.Mul(), y, weight)
    return y if bias is None else call.add(blocks.Add(), y, bias)


@aten("local_response_norm")
def local_response_norm(call: Call, input: Value, size: int, alpha: float, beta: float, k: float) -> Value:
    return call.add(blocks.LocalResponseNorm(size, alpha, beta, k), input)


@aten("rms_norm")
def rms_norm(
    call: Call, input: Value, normalized_shape: Sequence[int], weight: Value | None = None, eps: float | None = None
) -> Value:
    epsilon = torch.finfo(input.dtype).eps if eps is None else eps
    settings = {"shape": tuple(normalized_shape), "epsilon": epsilon, "affine": weight is not None}
    return call.add(call.block(blocks.RMSNorm, settings, weight=call.weight(weight)), input)


def affine_pair(call: Call, weight: Value | None, bias: Value | None) -> tuple[Known | None, Known | None]:
    """Scale and shift, both or none of them."""
    scale, shift = call.weight(weight), call.weight(bias)
    if scale is not None and shift is None:
        shift = Known(scale.tensor.new_zeros(scale.shape))
    if shift is not None and scale is None:
        scale = Known(shift.tensor.new_ones(shift.shape))
    return scale, shift
