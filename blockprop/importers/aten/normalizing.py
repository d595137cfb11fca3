"""Handlers of operators that normalize."""

from collections.abc import Sequence
from typing import Any, NamedTuple

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
    kind: Any = {4: blocks.BatchNorm2d, 5: blocks.BatchNorm3d}.get(input.axes, blocks.BatchNorm1d)
    settings: dict[str, Any] = {"channels": input.shape[1], "epsilon": eps}
    by_input = _by_input(call, running_mean, training)
    if by_input.always:
        return channel_norm(call, kind, input, weight, bias, {**settings, "running": False})
    mean, variance = _running(call, running_mean, running_var)
    if by_input.never:
        return fixed_batch_norm(call, input, weight, bias, (mean, variance), eps)
    statistics: dict[str, Any] = {"running_mean": mean, "running_variance": variance}
    if momentum < 0:  # the mean over all batches, and how many there were: count_as_momentum
        statistics["batches"] = torch.tensor(int(-1 - momentum))
    settings["momentum"] = None if momentum < 0 else momentum
    return channel_norm(call, kind, input, weight, bias, settings, **statistics)


class _ByInput(NamedTuple):
    """Whether mean and variance are the input's own."""

    in_training: bool
    in_evaluation: bool

    @property
    def always(self) -> bool:
        return self.in_training and self.in_evaluation

    @property
    def never(self) -> bool:
        return not self.in_training and not self.in_evaluation


def _by_input(call: Call, running_mean: Value | None, here: bool) -> _ByInput:
    """here: in the mode that is imported; the other one is asked for, and where that is unknown, it is as usual."""
    if running_mean is None:
        return _ByInput(True, True)
    name = running_mean.name if isinstance(running_mean, Known) else ""
    there = call.graph.norm_by_input(name)
    if there is None:
        there = not call.training
    found = _ByInput(here, there) if call.training else _ByInput(there, here)
    if found.in_evaluation and not found.in_training:
        raise UnsupportedError("a normalization that takes its input's statistics in evaluation alone")
    return found


def _running(call: Call, mean: Value | None, variance: Value | None) -> tuple[Known, Known]:
    """The running statistics, which are there where the input's own are not always taken."""
    assert mean is not None
    known_mean, known_variance = call.weight(mean), call.weight(variance)
    assert known_mean is not None
    assert known_variance is not None
    return known_mean, known_variance


def channel_norm(
    call: Call,
    kind: Any,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    settings: dict[str, Any],
    **statistics: Any,
) -> Value:
    """A block with weight and bias, if it can hold just these; otherwise they are multiplied and added afterwards."""
    if isinstance(weight, Known) and isinstance(bias, Known) and weight.trained and bias.trained:
        block = call.block(kind, {**settings, "affine": True}, weight=weight, bias=bias, **statistics)
        return call.add(block, x)
    bare = weight is None and bias is None
    block = call.block(kind, {**settings, "affine": False}, **statistics)
    y = call.add(block, x, part="" if bare else "normalized")
    return scaled_channels(call, y, weight, bias)


def scaled_channels(call: Call, y: Value, weight: Value | None, bias: Value | None) -> Value:
    """y times weight plus bias, whichever there are: one number for each channel."""
    ones = (1,) * (y.axes - 2)
    for operand, block, part in ((weight, blocks.Mul(), "weighted"), (bias, blocks.Add(), "shifted")):
        if operand is not None:
            shaped = call.add(blocks.Reshape((-1, *ones), start_axis=0), operand, part=f"{part}.shape")
            y = call.add(block, y, shaped, part=part)
    return y


def fixed_batch_norm(
    call: Call, x: Value, weight: Value | None, bias: Value | None, statistics: tuple[Known, Known], eps: float
) -> Value:
    """With its running statistics, in training, too: a batch norm in evaluation mode inside a module in training."""
    ones = (1,) * (x.axes - 2)
    mean, variance = (statistic.tensor.reshape(-1, *ones) for statistic in statistics)
    y = call.add(blocks.Sub(), x, Known(mean, f"{call.name}.running_mean"), part="centered")
    y = call.add(blocks.Mul(), y, Known((variance + eps).rsqrt(), f"{call.name}.rsqrt"), part="scaled")
    return scaled_channels(call, y, weight, bias)


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
    settings: dict[str, Any] = {"channels": input.shape[1], "epsilon": eps}
    by_input = _by_input(call, running_mean, use_input_stats)
    if by_input.always:
        return channel_norm(call, blocks.InstanceNorm, input, weight, bias, settings)
    mean, variance = _running(call, running_mean, running_var)
    if by_input.never:
        return fixed_batch_norm(call, input, weight, bias, (mean, variance), eps)
    statistics = {"running_mean": mean, "running_variance": variance}
    return channel_norm(
        call, blocks.RunningInstanceNorm, input, weight, bias, {**settings, "momentum": momentum}, **statistics
    )


@aten("group_norm")
def group_norm(
    call: Call, input: Value, num_groups: int, weight: Value | None, bias: Value | None, eps: float, **_: Any
) -> Value:
    settings = {"groups": num_groups, "channels": input.shape[1], "epsilon": eps}
    return channel_norm(call, blocks.GroupNorm, input, weight, bias, settings)


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
    if isinstance(weight, Known) and isinstance(bias, Known) and weight.trained and bias.trained:
        settings = {"shape": shape, "epsilon": eps, "affine": True}
        return call.add(call.block(blocks.LayerNorm, settings, weight=weight, bias=bias), input)
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
    shape = tuple(normalized_shape)
    if isinstance(weight, Known) and weight.trained:
        settings = {"shape": shape, "epsilon": epsilon, "affine": True}
        return call.add(call.block(blocks.RMSNorm, settings, weight=weight), input)
    y = call.add(blocks.RMSNorm(shape, epsilon, affine=False), input, part="" if weight is None else "normalized")
    return y if weight is None else call.add(blocks.Mul(), y, weight)
