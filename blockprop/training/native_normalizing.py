"""Batch normalization as training runs it by kernels in C, together with the ReLU behind it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.blocks import BatchNorm2d, ReLU
from blockprop.blocks.channel_norms import Standardized
from blockprop.engine.precision import is_held
from blockprop.preparing.draft import is_as_made
from blockprop.preparing.native.kernels import Kernels
from blockprop.training.native_blocks import NativeBlock, is_plain
from blockprop.training.native_pictures import Pictures, extent, is_taken

PART = 2048
"""Rows of which sums are found at once, as in native/normalization.c."""


class NativeBatchNorm2d(NativeBlock):
    """BatchNorm2d in training, with the ReLU behind it, if there is one:  y = max(bn(x), 0).

    x and the statistics are kept, from which the way back finds again what was rectified (native/normalization.c).
    """

    parameter_names = ("weight", "bias")
    has_training_mode = True

    def __init__(self, block: BatchNorm2d, relu: ReLU | None, kernels: Kernels, pictures: Pictures):
        super().__init__(block, kernels, pictures)
        self.relu = relu

    def forward(self, x: Tensor, training: bool = False) -> tuple[Tensor, Any]:
        seen = self._seen(x) if training and self._takes(x) else None
        if seen is None:
            y, saved = self.block.forward(x, training=training)
            y, kept = (y, None) if self.relu is None else self.relu.forward(y)
            return y, ((saved, kept), None)
        scale = seen.inverse_std if self.weight is None else seen.inverse_std * self.weight
        shift = torch.zeros_like(scale) if self.bias is None else self.bias.clone()
        made = _Normalized(seen, scale, shift)
        y = self.pictures.new(extent(x))
        self.kernels.call("normalize", made.x, *_rows(x), *made.channels, int(self.relu is not None), y)
        return y, (None, made)

    def remember(self, saved: Any) -> None:
        self.block.remember(saved[0][0] if saved[1] is None else saved[1].seen)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if saved[1] is None:
            return self.block.propagate(saved[0][0], self._through(saved, d_y))
        d_y = self.pictures.laid_out(d_y)
        return (self._errors(saved[1], d_y, self._sums(saved[1], d_y)),)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        if saved[1] is None:
            return self.block.gradients(saved[0][0], self._through(saved, d_y))
        return self._gradients(saved[1], self._sums(saved[1], self.pictures.laid_out(d_y)))

    def both(self, saved: Any, d_y: Tensor) -> tuple[tuple[Tensor], dict[str, Tensor]]:
        if saved[1] is None:
            return self.propagate(saved, d_y), self.gradients(saved, d_y)
        d_y = self.pictures.laid_out(d_y)
        sums = self._sums(saved[1], d_y)
        return (self._errors(saved[1], d_y, sums),), self._gradients(saved[1], sums)

    def _takes(self, x: Tensor) -> bool:
        if self.block.batch is not None:  # of which other processes have a part
            return False
        as_made = is_as_made(self.block) and (self.relu is None or is_as_made(self.relu))
        plain = all(is_plain(tensor) for tensor in (self.weight, self.bias) if tensor is not None)
        return as_made and plain and is_taken(x) and x.shape[1] == self.block.channels and x.numel() > x.shape[1]

    def _seen(self, x: Tensor) -> Standardized | None:
        """x and its statistics; None where the variance leaves the range of float32."""
        x = self.pictures.laid_out(x)
        mean, variance = x.new_empty(x.shape[1]), x.new_empty(x.shape[1])
        self.kernels.call("statistics", x, *_rows(x), mean, variance, _scratch(x))
        if not is_held(variance):
            return None
        return Standardized(x, mean, variance, (variance + self.block.epsilon).rsqrt_(), True)

    def _through(self, saved: Any, d_y: Tensor) -> Tensor:
        """d_y, where the ReLU lets it through."""
        return d_y if self.relu is None else self.relu.propagate(saved[0][1], d_y)[0]

    def _sums(self, made: "_Normalized", d_y: Tensor) -> Tensor:
        """Σ d and Σ d (x − mean) of each channel, d being d_y where y was not rectified."""
        sums = _scratch(made.x)
        rectifies = int(self.relu is not None)
        self.kernels.call("normalize_sums", made.x, d_y, *_rows(made.x), *made.channels, rectifies, sums)
        return sums[0]

    def _errors(self, made: "_Normalized", d_y: Tensor, sums: Tensor) -> Tensor:
        means = sums / _rows(made.x)[0]
        means[1] *= made.seen.inverse_std.double().square_()
        first, second = means.float()
        d_x = self.pictures.new(extent(made.x))
        given, rectifies = (*made.channels, first, second), int(self.relu is not None)
        self.kernels.call("normalize_back", made.x, d_y, *_rows(made.x), *given, rectifies, d_x)
        return d_x

    def _gradients(self, made: "_Normalized", sums: Tensor) -> dict[str, Tensor]:
        if not self.block.affine:
            return {}
        return {"weight": (sums[1] * made.seen.inverse_std).float(), "bias": sums[0].float()}


class _Normalized(NamedTuple):
    """seen: what the batch normalization itself would save.   scale, shift: as in native/normalization.c."""

    seen: Standardized
    scale: Tensor
    shift: Tensor

    @property
    def x(self) -> Tensor:
        assert self.seen.x is not None
        return self.seen.x

    @property
    def channels(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.seen.mean, self.scale, self.shift


def _rows(x: Tensor) -> tuple[int, int]:
    """Places of all pictures; channels."""
    return x.numel() // x.shape[1], x.shape[1]


def _scratch(x: Tensor) -> Tensor:
    """Two sums for each channel and part of the rows; in the end, those of the first part are of all."""
    rows, channels = _rows(x)
    return torch.empty(-(-rows // PART), 2, channels, dtype=torch.float64, device="cpu")
