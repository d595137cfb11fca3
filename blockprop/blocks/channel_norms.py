"""What normalizations of channels share, over the batch or within each example: mean 0 and variance 1.

The formulas stand on top of normalizing.py. In training, mean and variance are the input's; in evaluation they are the
running statistics, if the block keeps some.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.blocks.kernels import batch_norm_backward
from blockprop.blocks.normalizing import check_settings
from blockprop.engine.block import Block
from blockprop.engine.briefly import brief_repr
from blockprop.engine.precision import anywhere, is_held, wide
from blockprop.errors import SettingError


class Standardized(NamedTuple):
    """What these blocks save. inverse_std: (channels,), where mean and variance are the input's: see standardized.

    counted: values per channel that they are of, if these are not in x alone; x is standardized then.
    """

    x: Tensor | None
    mean: Tensor
    variance: Tensor
    inverse_std: Tensor
    by_input: bool
    counted: int | None = None

    def __repr__(self) -> str:
        return brief_repr(self)


class ChannelNorm(Block):
    """What all of them share: the weights, both backward passes, and running statistics."""

    kind = "normalization"
    parameter_names = ("weight", "bias")
    buffer_names = ("running_mean", "running_variance", "batches")
    channels: int
    epsilon: float
    affine: bool
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None = None
    running_variance: Tensor | None = None
    batches: Tensor | None = None

    def _start(self) -> None:
        check_settings(self.epsilon, channels=self.channels)
        self.weight = torch.ones(self.channels) if self.affine else None
        self.bias = torch.zeros(self.channels) if self.affine else None

    def _start_running(self, momentum: float | None) -> None:
        if momentum is not None and not 0 <= momentum <= 1:
            raise SettingError(f"momentum must be in 0…1, came {momentum}")
        self.running_mean, self.running_variance = torch.zeros(self.channels), torch.ones(self.channels)
        self.batches = torch.zeros((), dtype=torch.int64) if momentum is None else None

    def _by_running(self, x: Tensor) -> tuple[Tensor, Standardized]:
        mean, variance = self.running_mean, self.running_variance
        assert mean is not None
        assert variance is not None
        y = torch.batch_norm(x, self.weight, self.bias, mean, variance, False, 0.0, self.epsilon, False)
        return y, Standardized(x if self.affine else None, mean, variance, (variance + self.epsilon).rsqrt_(), False)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if not saved.by_input:
            scale = saved.inverse_std if self.weight is None else saved.inverse_std * self.weight
            return (d_y * per_channel(scale, d_y.dim()),)
        return (self._backward(saved, d_y, [True, False, False])[0],)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        if not self.affine:
            return {}
        if saved.by_input:
            _, d_weight, d_bias = self._backward(saved, d_y, [False, True, True])
            return {"weight": d_weight, "bias": d_bias}
        axes = [axis for axis in range(d_y.dim()) if axis != 1]
        scaled = (wide(saved.x) - per_channel(saved.mean, d_y.dim())).mul_(per_channel(saved.inverse_std, d_y.dim()))
        return {"weight": scaled.mul_(d_y).sum(axes).to(d_y.dtype), "bias": d_y.sum(axes)}

    def both(self, saved: Any, d_y: Tensor) -> tuple[tuple[Tensor], dict[str, Tensor]]:
        if not saved.by_input or not self.affine:
            return self.propagate(saved, d_y), self.gradients(saved, d_y)
        d_x, d_weight, d_bias = self._backward(saved, d_y, [True, True, True])
        return (d_x,), {"weight": d_weight, "bias": d_bias}

    def _backward(self, saved: Standardized, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        """(d_x, d_weight, d_bias) by the formulas; only the wanted are computed."""
        raise NotImplementedError

    def _take_over(self, mean: Tensor, variance: Tensor, momentum: float | None) -> None:
        """Move the running statistics towards these: by `momentum` of the way, or to the mean over all batches."""
        assert self.running_mean is not None
        assert self.running_variance is not None
        if self.batches is not None:
            self.batches += 1
            momentum = 1 / int(self.batches)
        assert momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_variance.lerp_(variance.to(self.running_variance.dtype), momentum)


def standardized(x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> tuple[Tensor, Standardized]:
    """Each channel of x by its own mean and variance, computed in wide numbers."""
    if not x.numel():  # which the kernels refuse
        nothing = x.new_zeros(x.shape[1])
        return torch.zeros_like(x), Standardized(x, nothing, nothing, nothing, True)
    mean, variance = _channel_statistics(wide(x), epsilon)
    if not is_held(variance):
        scale, shift = (None if one is None else one.double() for one in (weight, bias))
        y, seen = standardized(x.double(), scale, shift, epsilon)
        return y.to(x.dtype), seen
    scale, shift = (None if one is None else wide(one) for one in (weight, bias))
    z, center = wide(x), mean
    if _is_far(mean, variance, epsilon):  # the kernel computes x · a − mean · a
        z, center = z - per_channel(mean, x.dim()), torch.zeros_like(mean)
    y = torch.batch_norm(z, scale, shift, center, variance, False, 0.0, epsilon, False)
    return y.to(x.dtype), Standardized(x, mean, variance, (variance + epsilon).rsqrt_(), True)


def standardized_back(
    saved: Standardized, d_y: Tensor, weight: Tensor | None, epsilon: float, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """(d_x, d_weight, d_bias) by the formulas; only the wanted are computed.

    torch's kernel does it in two passes over memory, tensor arithmetic takes eight and is 1.3 to 2.2 times slower
    (one core, 1.6 to 13 million numbers). tests/blocks/test_normalizing.py has that version, and compares.
    """
    assert saved.x is not None
    if not d_y.numel():
        return torch.zeros_like(d_y), d_y.new_zeros(d_y.shape[1]), d_y.new_zeros(d_y.shape[1])
    kind = saved.mean.dtype
    scale = None if weight is None else weight.to(kind)
    d_x, d_weight, d_bias = batch_norm_backward(
        d_y.to(kind), saved.x.to(kind), scale, None, None, saved.mean, saved.inverse_std, True, epsilon, wanted
    )
    return tuple([d if d is None else d.to(d_y.dtype) for d in (d_x, d_weight, d_bias)])  # type: ignore[return-value]


def rows_of_channels(x: Tensor) -> Tensor:
    """(1, n · channels, places)"""
    return x.reshape(1, x.shape[0] * x.shape[1], x.shape[2:].numel())


def per_channel(values: Tensor, dims: int) -> Tensor:
    """One value for each channel, shaped so that they multiply an x of so many axes."""
    return values.view(-1, *[1] * (dims - 2))


def _channel_statistics(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each channel.

    In plain arithmetic, as torch's CPU kernel (batch_norm_update_stats) takes twice to six times as long on contiguous
    memory. On channels-last memory the kernel is up to three times faster for millions of numbers, but its float32
    results are off by 1e-5 to 3e-5 there, these by 4e-7. Where the mean's own rounding would be seen beside a small
    deviation, as among equal numbers, it is taken once more of what is left.
    """
    axes = [axis for axis in range(x.dim()) if axis != 1]
    if x.is_cuda:
        variance, mean = torch.var_mean(x, axes, correction=0)
        return mean, variance
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square_().mean(axes)
    if _is_far(mean.flatten(), variance, epsilon):
        mean += (x - mean).mean(axes, keepdim=True)
        variance = (x - mean).square_().mean(axes)
    return mean.flatten(), variance


def _is_far(mean: Tensor, variance: Tensor, epsilon: float) -> bool:
    """Whether the rounding of a mean is seen beside the deviation: from 1/100,000 of it on."""
    return anywhere(mean.abs() * (1e5 * torch.finfo(mean.dtype).eps) > (variance + epsilon).sqrt())
