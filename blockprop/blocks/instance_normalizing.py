"""Blocks that bring each channel of an example to mean 0 and variance 1."""

from typing import Any

from torch import Tensor

from blockprop.blocks.channel_norms import ChannelNorm, Standardized, rows_of_channels, standardized, standardized_back
from blockprop.errors import ShapeError


class _InstanceNorm(ChannelNorm):
    """What both share: each channel of each example is a channel of one example."""

    def _by_example(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() < 3 or x.shape[1] != self.channels or x.shape[2:].numel() < 2:
            raise ShapeError(
                f"expected (n, {self.channels}, ...) with two values or more per channel, came {tuple(x.shape)}"
            )
        y, seen = standardized(
            rows_of_channels(x), self._repeated(self.weight, x), self._repeated(self.bias, x), self.epsilon
        )
        return y.view(x.shape), seen

    def _backward(self, saved: Standardized, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        weight = self._repeated(self.weight, d_y)
        d_x, *d_affine = standardized_back(saved, rows_of_channels(d_y), weight, self.epsilon, wanted)
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
