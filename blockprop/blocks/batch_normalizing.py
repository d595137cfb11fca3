"""Blocks that bring each channel to mean 0 and variance 1: over the batch, or within each example.

The formulas stand on top of normalizing.py. In training, mean and variance are the input's; in evaluation they are the
running statistics, if the block keeps some.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.blocks.normalizing import check_settings
from blockprop.engine.block import Block
from blockprop.engine.precision import anywhere, is_held, wide
from blockprop.errors import SettingError, ShapeError

_batch_norm_backward = torch.ops.aten.native_batch_norm_backward.default


class _Seen(NamedTuple):
    """What these blocks save. inverse_std: (channels,), where mean and variance are the input's: see _standardized."""

    x: Tensor | None
    mean: Tensor
    variance: Tensor
    inverse_std: Tensor
    by_input: bool


class _ChannelNorm(Block):
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

    def _by_running(self, x: Tensor) -> tuple[Tensor, _Seen]:
        mean, variance = self.running_mean, self.running_variance
        assert mean is not None
        assert variance is not None
        y = torch.batch_norm(x, self.weight, self.bias, mean, variance, False, 0.0, self.epsilon, False)
        return y, _Seen(x if self.affine else None, mean, variance, (variance + self.epsilon).rsqrt_(), False)

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

    def _backward(self, saved: _Seen, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
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


class _BatchNorm(_ChannelNorm):
    """What BatchNorm1d, 2d and 3d share: everything but the number of axes."""

    has_training_mode = True
    axis_counts: tuple[int, ...]
    expected: str

    def __init__(
        self,
        channels: int,
        epsilon: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        running: bool = True,
    ):
        self.channels, self.epsilon, self.momentum, self.affine = channels, epsilon, momentum, affine
        self.running = running
        self._start()
        if running:
            self._start_running(momentum)

    def forward(self, x: Tensor, training: bool = False) -> tuple[Tensor, Any]:
        if x.dim() not in self.axis_counts or x.shape[1] != self.channels:
            raise ShapeError(f"expected {self.expected.format(self.channels)}, came {tuple(x.shape)}")
        if self.running and not training:
            return self._by_running(x)
        if x.numel() // x.shape[1] < 2:
            raise ShapeError(f"the batch's own mean needs two values or more per channel, came {tuple(x.shape)}")
        return _standardized(x, self.weight, self.bias, self.epsilon)

    def remember(self, saved: Any) -> None:
        """Move the running statistics towards the batch's: by `momentum` of the way, with the unbiased variance."""
        if saved.by_input and self.running:
            count = saved.x.numel() // self.channels
            self._take_over(saved.mean, saved.variance * (count / (count - 1)), self.momentum)

    def _backward(self, saved: _Seen, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        return _standardized_back(saved, d_y, self.weight, self.epsilon, wanted)


class BatchNorm1d(_BatchNorm):
    """Standardizes each channel over the batch:  y = weight · (x − mean) / σ + bias,  σ = √(variance + epsilon).

    Training: mean and variance are the batch's, and `remember` takes them over into the running statistics.
    d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ,  d_x̂ = weight · d_y     d_weight = Σ d_y · x̂     d_bias = Σ d_y
    Evaluation: mean and variance are the running statistics, so d_x = weight / σ · d_y.

    x, y: (n, channels) or (n, channels, length)     weight, bias: (channels,), or None without affine
    running_mean, running_variance: (channels,); of each batch the share `momentum` goes into them. With momentum None
    they are the mean over all batches, and the buffer `batches` counts these. Without `running` there are none:
    evaluation takes the batch's, too.
    Half precision is computed in float32.
    Raises ShapeError for another shape, and for fewer than two values per channel where the batch's mean is taken.
    Source: Ioffe and Szegedy 2015, algorithms 1 and 2, section 3.
    """

    axis_counts = (2, 3)
    expected = "(n, {0}) or (n, {0}, length)"


class BatchNorm2d(_BatchNorm):
    """Standardizes each channel over the batch and all places: BatchNorm1d for pictures, with the same d_x.

    x, y: (n, channels, h, w)     weight, bias: (channels,), or None without affine
    Settings and errors as in BatchNorm1d.
    Source: Ioffe and Szegedy 2015, section 3.2.
    """

    axis_counts = (4,)
    expected = "(n, {0}, h, w)"


class BatchNorm3d(_BatchNorm):
    """Standardizes each channel over the batch and all places: BatchNorm1d for volumes, with the same d_x.

    x, y: (n, channels, d, h, w)     weight, bias: (channels,), or None without affine
    Settings and errors as in BatchNorm1d.
    """

    axis_counts = (5,)
    expected = "(n, {0}, d, h, w)"


class _InstanceNorm(_ChannelNorm):
    """What both share: each channel of each example is a channel of one example."""

    def _by_example(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() < 3 or x.shape[1] != self.channels or x.shape[2:].numel() < 2:
            raise ShapeError(
                f"expected (n, {self.channels}, ...) with two values or more per channel, came {tuple(x.shape)}"
            )
        y, seen = _standardized(_rows(x), self._repeated(self.weight, x), self._repeated(self.bias, x), self.epsilon)
        return y.view(x.shape), seen

    def _backward(self, saved: _Seen, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        weight = self._repeated(self.weight, d_y)
        d_x, *d_affine = _standardized_back(saved, _rows(d_y), weight, self.epsilon, wanted)
        d_x = d_x.view(d_y.shape) if wanted[0] else d_x
        d_weight, d_bias = (d.view(-1, self.channels).sum(0) if wanted[1] else d for d in d_affine)
        return d_x, d_weight, d_bias

    def _repeated(self, weight: Tensor | None, x: Tensor) -> Tensor | None:
        return None if weight is None else weight.repeat(len(x))


class InstanceNorm(_InstanceNorm):
    """Standardizes each channel of each example:  y = weight · (x − mean) / σ + bias,  σ = √(variance + epsilon).

    d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ,  d_x̂ = weight · d_y     d_weight = Σ d_y · x̂     d_bias = Σ d_y

    x, y: (n, channels, length) or (n, channels, h, w)     weight, bias: (channels,), or None without affine
    Half precision is computed in float32.
    Raises ShapeError if axis 1 is not channels, or a channel has fewer than two values.
    Source: Ulyanov, Vedaldi and Lempitsky 2016. RunningInstanceNorm evaluates by running statistics.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5, affine: bool = False):
        self.channels, self.epsilon, self.affine = channels, epsilon, affine
        self._start()

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return self._by_example(x)


class RunningInstanceNorm(_InstanceNorm):
    """Standardizes each channel of each example in training, and by running statistics in evaluation.

    Training: InstanceNorm; `remember` takes the examples' mean and variance over into the running statistics.
    d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ,  d_x̂ = weight · d_y     d_weight = Σ d_y · x̂     d_bias = Σ d_y
    Evaluation: mean and variance are the running statistics, so d_x = weight / σ · d_y.

    x, y: (n, channels, length) or (n, channels, h, w)     weight, bias: (channels,), or None without affine
    running_mean, running_variance: (channels,); of each batch the share `momentum` goes into them
    Raises ShapeError if axis 1 is not channels, or in training a channel has fewer than two values.
    Source: torch's InstanceNorm with track_running_stats.
    """

    has_training_mode = True

    def __init__(self, channels: int, epsilon: float = 1e-5, momentum: float = 0.1, affine: bool = False):
        self.channels, self.epsilon, self.momentum, self.affine = channels, epsilon, momentum, affine
        self._start()
        self._start_running(momentum)

    def forward(self, x: Tensor, training: bool = False) -> tuple[Tensor, Any]:
        if training:
            return self._by_example(x)
        if x.dim() < 2 or x.shape[1] != self.channels:
            raise ShapeError(f"expected (n, {self.channels}, ...), came {tuple(x.shape)}")
        return self._by_running(x)

    def remember(self, saved: Any) -> None:
        """Move the running statistics towards the examples' mean ones: by `momentum` of the way."""
        if saved.by_input and saved.x.numel():
            count = saved.x.shape[2]
            mean, variance = (one.view(-1, self.channels).mean(0) for one in (saved.mean, saved.variance))
            self._take_over(mean, variance * (count / (count - 1)), self.momentum)


def _standardized(x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> tuple[Tensor, _Seen]:
    """Each channel of x by its own mean and variance, computed in wide numbers."""
    if not x.numel():  # which the kernels refuse
        nothing = x.new_zeros(x.shape[1])
        return torch.zeros_like(x), _Seen(x, nothing, nothing, nothing, True)
    mean, variance = _channel_statistics(wide(x), epsilon)
    if not is_held(variance):
        scale, shift = (None if one is None else one.double() for one in (weight, bias))
        y, seen = _standardized(x.double(), scale, shift, epsilon)
        return y.to(x.dtype), seen
    scale, shift = (None if one is None else wide(one) for one in (weight, bias))
    z, center = wide(x), mean
    if _is_far(mean, variance, epsilon):  # the kernel computes x · a − mean · a
        z, center = z - per_channel(mean, x.dim()), torch.zeros_like(mean)
    y = torch.batch_norm(z, scale, shift, center, variance, False, 0.0, epsilon, False)
    return y.to(x.dtype), _Seen(x, mean, variance, (variance + epsilon).rsqrt_(), True)


def _standardized_back(
    saved: _Seen, d_y: Tensor, weight: Tensor | None, epsilon: float, wanted: list[bool]
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
    d_x, d_weight, d_bias = _batch_norm_backward(
        d_y.to(kind), saved.x.to(kind), scale, None, None, saved.mean, saved.inverse_std, True, epsilon, wanted
    )
    return tuple([d if d is None else d.to(d_y.dtype) for d in (d_x, d_weight, d_bias)])  # type: ignore[return-value]


def _rows(x: Tensor) -> Tensor:
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
