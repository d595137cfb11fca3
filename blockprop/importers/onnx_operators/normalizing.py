"""Handlers of normalization."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.exact_sizes import FreeSizeError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.table import operator

_BATCH_NORMS: dict[int, Any] = {
    2: blocks.BatchNorm1d,
    3: blocks.BatchNorm1d,
    4: blocks.BatchNorm2d,
    5: blocks.BatchNorm3d,
}


@operator("BatchNormalization", 7, 9, 14, 15)
def batch_normalization(
    call: OnnxCall,
    x: Input,
    scale: Input,
    bias: Input,
    mean: Input,
    variance: Input,
    *,
    epsilon: float,
    momentum: float,
    spatial: int = 1,
    training_mode: int = 0,
) -> Any:
    if training_mode or sum(map(bool, call.outputs)) > 1:
        raise UnsupportedError("training mode; blockprop's batch normalization acts in training by itself")
    if not spatial:
        raise UnsupportedError("one mean for each place (spatial = 0)")
    if x.axes not in _BATCH_NORMS:
        raise UnsupportedError(f"an input of {x.axes} axes")
    weight, shift = call.held(scale), call.held(bias)
    settings = {"channels": weight.shape[0], "epsilon": epsilon, "momentum": round(1 - momentum, 6)}
    buffers = {"running_mean": call.held(mean), "running_variance": call.held(variance)}
    block = call.block(_BATCH_NORMS[x.axes], settings, weight=weight, bias=shift, **buffers)
    return call.add(block, x)


@operator("InstanceNormalization", 6, 22)
def instance_normalization(call: OnnxCall, x: Input, scale: Input, bias: Input, *, epsilon: float) -> Any:
    weight, shift = call.held(scale), call.held(bias)
    settings = {"channels": weight.shape[0], "epsilon": epsilon, "affine": True}
    return call.add(call.block(blocks.InstanceNorm, settings, weight=weight, bias=shift), x)


@operator("GroupNormalization", 18)
def group_normalization_by_groups(
    call: OnnxCall, x: Input, scale: Input, bias: Input, *, num_groups: int, epsilon: float
) -> Any:
    """One scale and bias for each group: so it was in its first version, which was a mistake."""
    channels = x.shape[1]
    if not isinstance(channels, int):
        raise FreeSizeError("the number of channels")
    by_channel = [
        Known(call.held(w).tensor.repeat_interleave(channels // num_groups), trained=True) for w in (scale, bias)
    ]
    return group_normalization(call, x, *by_channel, num_groups=num_groups, epsilon=epsilon)


@operator("GroupNormalization", 21)
def group_normalization(
    call: OnnxCall, x: Input, scale: Input, bias: Input, *, num_groups: int, epsilon: float, stash_type: int = 1
) -> Any:
    weight, shift = call.held(scale), call.held(bias)
    settings = {"groups": num_groups, "channels": weight.shape[0], "epsilon": epsilon}
    return call.add(call.block(blocks.GroupNorm, settings, weight=weight, bias=shift), x)


@operator("LayerNormalization", 17)
def layer_normalization(
    call: OnnxCall,
    x: Input,
    scale: Input,
    bias: Input | None = None,
    *,
    axis: int,
    epsilon: float,
    stash_type: int = 1,
) -> Any:
    weight, shape = call.held(scale), _row(call, x, axis)
    zeros = Known(torch.zeros(shape, dtype=weight.dtype))
    held = {"weight": _whole(weight, shape), "bias": _whole(call.held(bias), shape) if bias is not None else zeros}
    y = call.add(call.block(blocks.LayerNorm, {"shape": shape, "epsilon": epsilon}, **held), x)
    if not any(call.outputs[1:]):
        return y
    axes = tuple(range(-len(shape), 0))
    mean = call.add(blocks.Mean(axes, keep=True), x, part="mean")
    variance = call.add(blocks.Variance(axes, 0, keep=True), x, part="variance")
    shifted = call.add(blocks.Affine(shift=epsilon), variance, part="shifted")
    return y, mean, call.add(blocks.Function("rsqrt"), shifted, part="inverse")


@operator("RMSNormalization", 23)
def rms_normalization(call: OnnxCall, x: Input, scale: Input, *, axis: int, epsilon: float, stash_type: int = 1) -> Any:
    shape = _row(call, x, axis)
    settings = {"shape": shape, "epsilon": epsilon}
    return call.add(call.block(blocks.RMSNorm, settings, weight=_whole(call.held(scale), shape)), x)


def _row(call: OnnxCall, x: Input, axis: int) -> tuple[int, ...]:
    """The sizes of the axes from `axis` on."""
    if not -x.axes <= axis < x.axes:
        raise GraphError(f"axis {axis} of an input of {x.axes} axes")
    sizes = x.shape[axis % x.axes :]
    if not all(isinstance(size, int) for size in sizes):
        raise FreeSizeError("the size of the rows")
    return tuple(size for size in sizes if isinstance(size, int))


def _whole(weight: Known, shape: tuple[int, ...]) -> Known:
    """The weight in this shape: itself, or repeated where it is to be broadcast."""
    if weight.shape == shape:
        return weight
    return Known(weight.tensor.expand(shape).contiguous(), trained=True)


@operator("LRN", 1, 13)
def lrn(call: OnnxCall, x: Input, *, size: int, alpha: float, beta: float, bias: float) -> Any:
    if size % 2:
        return call.add(blocks.LocalResponseNorm(size, alpha, beta, bias), x)
    raise UnsupportedError(f"a window of {size} channels, which has no middle")


@operator("MeanVarianceNormalization", 9, 13)
def mean_variance_normalization(call: OnnxCall, x: Input, *, axes: list[int]) -> Any:
    return call.add(blocks.MeanVarianceNorm(axes), x)


@operator("LpNormalization", 1, 22)
def lp_normalization(call: OnnxCall, x: Input, *, axis: int, p: int) -> Any:
    return call.add(blocks.LpNorm(axis, p), x)
