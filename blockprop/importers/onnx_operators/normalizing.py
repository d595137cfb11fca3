"""Handlers of normalization."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers import exact_sizes
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
    if x.axes not in _BATCH_NORMS:
        raise UnsupportedError(f"an input of {x.axes} axes")
    if not spatial or any(map(call.is_computed, (scale, bias, mean, variance))):
        return _by_computed_statistics(call, x, scale, bias, mean, variance, epsilon)
    weight, shift = call.held(scale), call.held(bias)
    settings = {"channels": weight.shape[0], "epsilon": epsilon, "momentum": round(1 - momentum, 6)}
    buffers = {"running_mean": call.held(mean), "running_variance": call.held(variance)}
    block = call.block(_BATCH_NORMS[x.axes], settings, weight=weight, bias=shift, **buffers)
    return call.add(block, x)


def _by_computed_statistics(
    call: OnnxCall, x: Input, scale: Input, bias: Input, mean: Input, variance: Input, epsilon: float
) -> Any:
    """scale · (x − mean) / √(variance + epsilon) + bias, spelled out: so it is in training, too."""
    mean, variance = (Known(v.tensor, v.name) if isinstance(v, Known) else v for v in (mean, variance))
    column = [
        _along_channels(call, value, x, part)
        for value, part in ((mean, "mean"), (variance, "variance"), (scale, "scale"), (bias, "bias"))
    ]
    shifted = call.add(blocks.Affine(shift=epsilon), column[1], part="shifted")
    factor = call.add(
        blocks.Mul(), call.add(blocks.Function("rsqrt"), shifted, part="inverse"), column[2], part="factor"
    )
    centered = call.add(blocks.Sub(), x, column[0], part="centered")
    return call.add(blocks.Add(), call.add(blocks.Mul(), centered, factor, part="scaled"), column[3])


def _along_channels(call: OnnxCall, value: Input, x: Input, part: str) -> Any:
    """A value for each channel, in a shape that is broadcast over x: (channels, 1, ...); one for each place as is."""
    if value.axes == x.axes - 1:
        return value
    if value.axes != 1:
        raise GraphError(f"its {part} has {value.axes} axes, not one")
    axes = tuple(range(1, x.axes - 1))
    return call.add(blocks.Unsqueeze(axes), value, part=part) if axes else value


def _scaled_and_shifted(call: OnnxCall, normalized: Input, x: Input, scale: Input, bias: Input | None) -> Any:
    """scale · normalized + bias, with a computed scale or bias for each channel."""
    y = call.add(
        blocks.Mul(), normalized, _along_channels(call, scale, x, "scale"), part="" if bias is None else "scaled"
    )
    return y if bias is None else call.add(blocks.Add(), y, _along_channels(call, bias, x, "bias"))


@operator("InstanceNormalization", 6, 22)
def instance_normalization(call: OnnxCall, x: Input, scale: Input, bias: Input, *, epsilon: float) -> Any:
    if any(map(call.is_computed, (scale, bias))):
        (channels,) = exact_sizes.whole(scale.shape)
        normalized = call.add(blocks.InstanceNorm(channels, epsilon), x, part="normalized")
        return _scaled_and_shifted(call, normalized, x, scale, bias)
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
    if any(map(call.is_computed, (scale, bias))):
        repeat = blocks.RepeatInterleave(channels // num_groups, 0)
        computed = [call.add(repeat, w, part=part) for w, part in ((scale, "scales"), (bias, "biases"))]
        return group_normalization(call, x, *computed, num_groups=num_groups, epsilon=epsilon)
    by_channel = [
        Known(call.held(w).tensor.repeat_interleave(channels // num_groups), trained=True) for w in (scale, bias)
    ]
    return group_normalization(call, x, *by_channel, num_groups=num_groups, epsilon=epsilon)


@operator("GroupNormalization", 21)
def group_normalization(
    call: OnnxCall, x: Input, scale: Input, bias: Input, *, num_groups: int, epsilon: float, stash_type: int = 1
) -> Any:
    if any(map(call.is_computed, (scale, bias))):
        (channels,) = exact_sizes.whole(x.shape[1:2])
        block = blocks.GroupNorm(num_groups, channels, epsilon, affine=False)
        return _scaled_and_shifted(call, call.add(block, x, part="normalized"), x, scale, bias)
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
    if any(map(call.is_computed, (scale, bias))):
        if any(call.outputs[1:]):
            raise UnsupportedError("its mean as an output, with a computed scale")
        normalized = call.add(blocks.LayerNorm(_row(call, x, axis), epsilon, affine=False), x, part="normalized")
        y = call.add(blocks.Mul(), normalized, scale, part="" if bias is None else "scaled")
        return y if bias is None else call.add(blocks.Add(), y, bias)
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
    if call.is_computed(scale):
        return call.add(blocks.Mul(), call.add(blocks.RMSNorm(shape, epsilon, False), x, part="normalized"), scale)
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
