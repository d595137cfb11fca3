"""Blocks that shift and scale their input to mean 0 and variance 1, over the batch, a row, a group of channels …

All of them compute x̂ = (x − mean) / σ over some axes, σ = √(variance + ε), and then y = weight · x̂ + bias. Mean and
variance depend on every x, so that with d_x̂ = weight · d_y

    d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ

d_weight and d_bias are the sums of d_y · x̂ and of d_y over all that share a weight.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

_batch_norm_backward = torch.ops.aten.native_batch_norm_backward.default
_layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default
_group_norm_backward = torch.ops.aten.native_group_norm_backward.default


class _BatchNorm(Block):
    """What BatchNorm1d, 2d and 3d share: everything but the number of axes."""

    kind = "normalization"
    parameter_names = ("weight", "bias")
    buffer_names = ("running_mean", "running_variance")
    has_training_mode = True
    axis_counts: tuple[int, ...]
    expected: str

    def __init__(self, channels: int, epsilon: float = 1e-5, momentum: float = 0.1, affine: bool = True):
        _check_settings(epsilon, channels=channels)
        if not 0 <= momentum <= 1:
            raise SettingError(f"momentum must be in 0…1, came {momentum}")
        self.channels, self.epsilon, self.momentum, self.affine = channels, epsilon, momentum, affine
        self.weight = torch.ones(channels) if affine else None
        self.bias = torch.zeros(channels) if affine else None
        self.running_mean, self.running_variance = torch.zeros(channels), torch.ones(channels)

    def forward(self, x: Tensor, training: bool = False) -> tuple[Tensor, Any]:
        if x.dim() not in self.axis_counts or x.shape[1] != self.channels:
            raise ShapeError(f"expected {self.expected.format(self.channels)}, came {tuple(x.shape)}")
        if training:
            mean, variance = _channel_statistics(x)
        else:
            mean, variance = self.running_mean, self.running_variance
        y = torch.batch_norm(x, self.weight, self.bias, mean, variance, False, 0.0, self.epsilon, False)
        inverse_std = (variance + self.epsilon).rsqrt_()
        return y, _BatchSeen(x if training or self.affine else None, mean, variance, inverse_std, training)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if not saved.training:
            scale = saved.inverse_std if self.weight is None else saved.inverse_std * self.weight
            return (d_y * _per_channel(scale, d_y.dim()),)
        return (self._backward(saved, d_y, [True, False, False])[0],)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        if not self.affine:
            return {}
        if saved.training:
            _, d_weight, d_bias = self._backward(saved, d_y, [False, True, True])
            return {"weight": d_weight, "bias": d_bias}
        axes = [axis for axis in range(d_y.dim()) if axis != 1]
        centered = saved.x - _per_channel(saved.mean, d_y.dim())
        return {"weight": centered.mul_(d_y).sum(axes).mul_(saved.inverse_std), "bias": d_y.sum(axes)}

    def both(self, saved: Any, d_y: Tensor) -> tuple[tuple[Tensor], dict[str, Tensor]]:
        if not saved.training or not self.affine:
            return self.propagate(saved, d_y), self.gradients(saved, d_y)
        d_x, d_weight, d_bias = self._backward(saved, d_y, [True, True, True])
        return (d_x,), {"weight": d_weight, "bias": d_bias}

    def remember(self, saved: Any) -> None:
        """Move the running statistics towards the batch's: by `momentum` of the way, with the unbiased variance."""
        if saved.training:
            count = saved.x.numel() // self.channels
            self.running_mean.lerp_(saved.mean, self.momentum)
            self.running_variance.lerp_(saved.variance * (count / (count - 1)), self.momentum)

    def _backward(self, saved: "_BatchSeen", d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        """(d_x, d_weight, d_bias) in training by the formulas on top of this file; only the wanted are computed.

        torch's kernel does it in two passes over memory, tensor arithmetic takes eight and is 1.3 to 2.2 times slower
        (one core, 1.6 to 13 million numbers). tests/blocks/test_normalizing.py has that version, and compares.
        """
        return _batch_norm_backward(
            d_y, saved.x, self.weight, None, None, saved.mean, saved.inverse_std, True, self.epsilon, wanted
        )


class BatchNorm1d(_BatchNorm):
    """Standardizes each channel over the batch:  y = weight · (x − mean) / σ + bias,  σ = √(variance + epsilon).

    Training: mean and variance are the batch's, and `remember` takes them over into the running statistics.
    d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ,  d_x̂ = weight · d_y     d_weight = Σ d_y · x̂     d_bias = Σ d_y
    Evaluation: mean and variance are the running statistics, so d_x = weight / σ · d_y.

    x, y: (n, channels) or (n, channels, length)     weight, bias: (channels,), or None without affine
    running_mean, running_variance: (channels,); of each batch the share `momentum` goes into them
    Raises ShapeError for another shape, and in training for fewer than two values per channel.
    Source: Ioffe and Szegedy 2015, algorithms 1 and 2, section 3.
    """

    axis_counts = (2, 3)
    expected = "(n, {0}) or (n, {0}, length)"


class BatchNorm2d(_BatchNorm):
    """Standardizes each channel over the batch and all places: BatchNorm1d for pictures, with the same d_x.

    x, y: (n, channels, h, w)     weight, bias: (channels,), or None without affine
    Raises ShapeError for another shape, and in training for fewer than two values per channel.
    Source: Ioffe and Szegedy 2015, section 3.2.
    """

    axis_counts = (4,)
    expected = "(n, {0}, h, w)"


class BatchNorm3d(_BatchNorm):
    """Standardizes each channel over the batch and all places: BatchNorm1d for volumes, with the same d_x.

    x, y: (n, channels, d, h, w)     weight, bias: (channels,), or None without affine
    Raises ShapeError for another shape, and in training for fewer than two values per channel.
    """

    axis_counts = (5,)
    expected = "(n, {0}, d, h, w)"


class _BatchSeen(NamedTuple):
    """What batch normalization saves."""

    x: Tensor | None
    mean: Tensor
    variance: Tensor
    inverse_std: Tensor
    training: bool


def _per_channel(values: Tensor, dims: int) -> Tensor:
    """One value for each channel, shaped so that they multiply an x of so many axes."""
    return values.view(-1, *[1] * (dims - 2))


def _channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each channel.

    In plain arithmetic, as torch's CPU kernel (batch_norm_update_stats) takes twice to six times as long on contiguous
    memory. On channels-last memory the kernel is up to three times faster for millions of numbers, but its float32
    results are off by 1e-5 to 3e-5 there, these by 4e-7.
    """
    if x.numel() // x.shape[1] < 2:
        raise ShapeError(f"training needs two values or more per channel, came {tuple(x.shape)}")
    axes = [axis for axis in range(x.dim()) if axis != 1]
    if x.is_cuda:
        variance, mean = torch.var_mean(x, axes, correction=0)
        return mean, variance
    mean = x.mean(axes, keepdim=True)
    return mean.flatten(), (x - mean).square_().mean(axes)


class _RowNorm(Block):
    """What LayerNorm, GroupNorm and InstanceNorm share: each row of x is standardized by itself.

    Both backward methods are torch's kernels of the formulas on top of this file: in plain arithmetic they take two to
    five times as long. tests/blocks/test_normalizing.py has the plain version, and compares.
    """

    kind = "normalization"
    parameter_names = ("weight", "bias")
    weight: Tensor | None
    bias: Tensor | None

    def _backward(self, saved: Any, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        """(d_x, d_weight, d_bias), of which only the wanted are computed."""
        raise NotImplementedError

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if not d_y.numel():  # the kernels divide by it
            return (torch.zeros_like(d_y),)
        return (self._backward(saved, d_y, [True, False, False])[0],)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        if self.weight is None or self.bias is None:
            return {}
        if not d_y.numel():
            return {"weight": torch.zeros_like(self.weight), "bias": torch.zeros_like(self.bias)}
        _, d_weight, d_bias = self._backward(saved, d_y, [False, True, True])
        return {"weight": d_weight, "bias": d_bias}


class LayerNorm(_RowNorm):
    """Standardizes over the last axes:  y = weight · x̂ + bias,  x̂ = (x − mean) / σ,  σ = √(variance + epsilon).

    d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ,  d_x̂ = weight · d_y     d_weight = Σ d_y · x̂     d_bias = Σ d_y

    x, y: (..., *shape)     weight, bias: shape, or None without affine
    Raises ShapeError if x does not end in shape.
    Source: Ba, Kiros and Hinton 2016, eqs. 3 and 4.
    """

    def __init__(self, shape: int | Sequence[int], epsilon: float = 1e-5, affine: bool = True):
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        _check_settings(epsilon, **{f"shape[{i}]": n for i, n in enumerate(self.shape)})
        if not self.shape:
            raise SettingError("shape must have at least one axis")
        self.epsilon, self.affine = epsilon, affine
        self.weight = torch.ones(self.shape) if affine else None
        self.bias = torch.zeros(self.shape) if affine else None

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.shape[-len(self.shape) :] != self.shape:
            raise ShapeError(f"expected (..., {', '.join(map(str, self.shape))}), came {tuple(x.shape)}")
        y, mean, inverse_std = torch.native_layer_norm(x, self.shape, self.weight, self.bias, self.epsilon)
        return y, (x, mean, inverse_std)

    def _backward(self, saved: Any, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        x, mean, inverse_std = saved
        return _layer_norm_backward(d_y, x, self.shape, mean, inverse_std, self.weight, self.bias, wanted)


class _ChannelNorm(_RowNorm):
    """What GroupNorm and InstanceNorm share: rows of whole channels, one weight for each channel."""

    channels: int
    epsilon: float

    def _normalize(self, x: Tensor, groups: int) -> tuple[Tensor, Any]:
        sizes = (x.shape[0], self.channels, math.prod(x.shape[2:]), groups)
        x = x.contiguous()
        y, mean, inverse_std = torch.native_group_norm(x, self.weight, self.bias, *sizes, self.epsilon)
        return y, (x, mean, inverse_std, sizes)

    def _backward(self, saved: Any, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        x, mean, inverse_std, sizes = saved
        return _group_norm_backward(d_y.contiguous(), x, mean, inverse_std, self.weight, *sizes, wanted)


class GroupNorm(_ChannelNorm):
    """Standardizes groups of channels:  y = weight · x̂ + bias,  x̂ = (x − mean) / σ,  σ = √(variance + epsilon).

    Mean and variance are those of each example's groups, each over groups of channels / groups channels and all places.

    d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ,  d_x̂ = weight · d_y     d_weight = Σ d_y · x̂     d_bias = Σ d_y

    x, y: (n, channels, ...)     weight, bias: (channels,), or None without affine
    Raises ShapeError if axis 1 is not channels, SettingError if groups does not divide channels.
    Source: Wu and He 2018, eqs. 1 to 7.
    """

    def __init__(self, groups: int, channels: int, epsilon: float = 1e-5, affine: bool = True):
        _check_settings(epsilon, groups=groups, channels=channels)
        if channels % groups:
            raise SettingError(f"groups must divide channels, came {groups} and {channels}")
        self.groups, self.channels, self.epsilon, self.affine = groups, channels, epsilon, affine
        self.weight = torch.ones(channels) if affine else None
        self.bias = torch.zeros(channels) if affine else None

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() < 2 or x.shape[1] != self.channels:
            raise ShapeError(f"expected (n, {self.channels}, ...), came {tuple(x.shape)}")
        return self._normalize(x, self.groups)


class InstanceNorm(_ChannelNorm):
    """Standardizes each channel of each example:  GroupNorm with as many groups as channels, and the same d_x.

    x, y: (n, channels, length) or (n, channels, h, w)     weight, bias: (channels,), or None without affine
    Raises ShapeError if axis 1 is not channels, or a channel has fewer than two values.
    Source: Ulyanov, Vedaldi and Lempitsky 2016. Departure from torch's: it keeps no running statistics.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5, affine: bool = False):
        _check_settings(epsilon, channels=channels)
        self.channels, self.epsilon, self.affine = channels, epsilon, affine
        self.weight = torch.ones(channels) if affine else None
        self.bias = torch.zeros(channels) if affine else None

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() < 3 or x.shape[1] != self.channels or math.prod(x.shape[2:]) < 2:
            raise ShapeError(
                f"expected (n, {self.channels}, ...) with two values or more per channel, came {tuple(x.shape)}"
            )
        return self._normalize(x, self.channels)


def _check_settings(epsilon: float, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise SettingError(f"{name} must be at least 1, came {size}")
    if not epsilon > 0:
        raise SettingError(f"epsilon must be positive, came {epsilon}")
