"""Blocks that shift and scale their input to mean 0 and variance 1, over a row or a group of channels …

Normalization of channels stands in batch_normalizing.py (over the batch) and instance_normalizing.py (of an example).

All of them compute x̂ = (x − mean) / σ over some axes, σ = √(variance + ε), and then y = weight · x̂ + bias. Mean and
variance depend on every x, so that with d_x̂ = weight · d_y

    d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ

d_weight and d_bias are the sums of d_y · x̂ and of d_y over all that share a weight.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.kernels import group_norm, group_norm_backward, layer_norm_backward
from blockprop.blocks.sizes import each_axis
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


class _RowNorm(Block):
    """What LayerNorm and GroupNorm share: each row of x is standardized by itself.

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
        self.shape = (shape,) if isinstance(shape, int) else each_axis(shape)
        check_settings(epsilon, **{f"shape[{i}]": n for i, n in enumerate(self.shape)})
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
        return layer_norm_backward(d_y, x, self.shape, mean, inverse_std, self.weight, self.bias, wanted)


class GroupNorm(_RowNorm):
    """Standardizes groups of channels:  y = weight · x̂ + bias,  x̂ = (x − mean) / σ,  σ = √(variance + epsilon).

    Mean and variance are those of each example's groups, each over groups of channels / groups channels and all places.

    d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ,  d_x̂ = weight · d_y     d_weight = Σ d_y · x̂     d_bias = Σ d_y

    x, y: (n, channels, ...)     weight, bias: (channels,), or None without affine
    Raises ShapeError if axis 1 is not channels, SettingError if groups does not divide channels.
    Source: Wu and He 2018, eqs. 1 to 7.
    """

    def __init__(self, groups: int, channels: int, epsilon: float = 1e-5, affine: bool = True):
        check_settings(epsilon, groups=groups, channels=channels)
        if channels % groups:
            raise SettingError(f"groups must divide channels, came {groups} and {channels}")
        self.groups, self.channels, self.epsilon, self.affine = groups, channels, epsilon, affine
        self.weight = torch.ones(channels) if affine else None
        self.bias = torch.zeros(channels) if affine else None

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() < 2 or x.shape[1] != self.channels:
            raise ShapeError(f"expected (n, {self.channels}, ...), came {tuple(x.shape)}")
        sizes = (x.shape[0], self.channels, math.prod(x.shape[2:]), self.groups)
        x = x.contiguous()
        y, mean, inverse_std = group_norm(x, self.weight, self.bias, *sizes, self.epsilon)
        return y, (x, mean, inverse_std, sizes)

    def _backward(self, saved: Any, d_y: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
        x, mean, inverse_std, sizes = saved
        return group_norm_backward(d_y, x, mean, inverse_std, self.weight, *sizes, wanted)


def check_settings(epsilon: float, **sizes: int) -> None:
    """SettingError for sizes below 1 and an epsilon that is not positive."""
    for name, size in sizes.items():
        if size < 1:
            raise SettingError(f"{name} must be at least 1, came {size}")
    if not epsilon > 0:
        raise SettingError(f"epsilon must be positive, came {epsilon}")
