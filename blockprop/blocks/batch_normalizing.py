"""Blocks that bring each channel to mean 0 and variance 1 over the batch."""

from typing import Any

from torch import Tensor

from blockprop.blocks.channel_norms import ChannelNorm, Standardized, standardized, standardized_back
from blockprop.blocks.synchronizing import standardized_back_together, standardized_together
from blockprop.engine.shared_batch import SharedBatch
from blockprop.errors import ShapeError


class BatchNorm(ChannelNorm):
    """What BatchNorm1d, 2d and 3d share: everything but the number of axes."""

    has_training_mode = True
    axis_counts: tuple[int, ...]
    expected: str
    batch: SharedBatch | None = None
    """The batch, if only some of its rows are here and the statistics are to be those of all."""

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
        if self.batch is not None:
            return standardized_together(x, self.weight, self.bias, self.epsilon, self.batch)
        if x.numel() // x.shape[1] < 2:
            raise ShapeError(f"the batch's own mean needs two values or more per channel, came {tuple(x.shape)}")
        return standardized(x, self.weight, self.bias, self.epsilon)

    def remember(self, saved: Any) -> None:
        """Move the running statistics towards the batch's: by `momentum` of the way, with the unbiased variance."""
        if saved.by_input and self.running:
            count = saved.counted or saved.x.numel() // self.channels
            self._take_over(saved.mean, saved.variance * (count / (count - 1)), self.momentum)

    def _backward(self, saved: Standardized, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        if self.batch is not None:
            return standardized_back_together(saved, d_y, self.weight, self.batch, wanted)
        return standardized_back(saved, d_y, self.weight, self.epsilon, wanted)


class BatchNorm1d(BatchNorm):
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


class BatchNorm2d(BatchNorm):
    """Standardizes each channel over the batch and all places: BatchNorm1d for pictures, with the same d_x.

    x, y: (n, channels, h, w)     weight, bias: (channels,), or None without affine
    Settings and errors as in BatchNorm1d.
    Source: Ioffe and Szegedy 2015, section 3.2.
    """

    axis_counts = (4,)
    expected = "(n, {0}, h, w)"


class BatchNorm3d(BatchNorm):
    """Standardizes each channel over the batch and all places: BatchNorm1d for volumes, with the same d_x.

    x, y: (n, channels, d, h, w)     weight, bias: (channels,), or None without affine
    Settings and errors as in BatchNorm1d.
    """

    axis_counts = (5,)
    expected = "(n, {0}, d, h, w)"
