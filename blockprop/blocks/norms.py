"""Blocks that divide their input by its own size: by a root mean square, a standard deviation, a norm."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.normalizing import check_settings
from blockprop.blocks.sizes import each_axis
from blockprop.engine.block import Block
from blockprop.engine.precision import LEAST, centered, is_held, wide
from blockprop.errors import SettingError, ShapeError


class RMSNorm(Block):
    """Divides the last axes by their root mean square:  y = weight · x̂,  x̂ = x / r,  r = √(mean(x²) + epsilon).

    d_x = (d_x̂ − x̂ · mean(d_x̂ · x̂)) / r,  d_x̂ = weight · d_y     d_weight = Σ d_y · x̂

    x, y: (..., *shape)     weight: shape, or None without affine
    Half precision is computed in float32. epsilon: None stands for the spacing, at 1, of the numbers it is computed in,
    as in torch.nn.RMSNorm.
    Raises ShapeError if x does not end in shape; SettingError for a negative epsilon and sizes below 1.
    Source: Zhang and Sennrich 2019, eq. 4.
    """

    kind = "normalization"
    parameter_names = ("weight",)

    def __init__(self, shape: int | Sequence[int], epsilon: float | None = None, affine: bool = True):
        self.shape = (shape,) if isinstance(shape, int) else each_axis(shape)
        if not self.shape or min(self.shape) < 1:
            raise SettingError(f"shape must have sizes of at least 1, came {self.shape}")
        if epsilon is not None and not epsilon >= 0:
            raise SettingError(f"epsilon must be at least 0, came {epsilon}")
        self.epsilon, self.affine = epsilon, affine
        self._axes = tuple(range(-len(self.shape), 0))
        self.weight = torch.ones(self.shape) if affine else None

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.shape[-len(self.shape) :] != self.shape:
            raise ShapeError(f"expected (..., {', '.join(map(str, self.shape))}), came {tuple(x.shape)}")
        kind = torch.promote_types(x.dtype, torch.float32)
        epsilon = torch.finfo(kind).eps if self.epsilon is None else self.epsilon
        norm = torch.linalg.vector_norm(x, 2, self._axes, True, dtype=kind)
        inverse = norm.mul_(math.prod(self.shape) ** -0.5).square_().add_(epsilon).rsqrt_()
        y = x * inverse
        y = y if self.weight is None else y.mul_(self.weight)
        return y.to(x.dtype), (x, inverse)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, inverse = saved
        d_scaled = d_y * inverse  # d_x̂ / r
        d_scaled = d_scaled if self.weight is None else d_scaled.mul_(self.weight)
        mean = (d_scaled * x).mean(self._axes, keepdim=True).mul_(inverse).mul_(inverse)
        return (d_scaled.addcmul_(x.to(mean.dtype), mean, value=-1).to(x.dtype),)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        if self.weight is None:
            return {}
        x, inverse = saved
        return {"weight": (x * inverse).mul_(d_y).sum_to_size(self.shape).to(self.weight.dtype)}


class MeanVarianceNorm(Block):
    """Brings x to mean 0 and deviation 1 over some axes:  y = (x − mean) / s,  s = σ + epsilon,  σ = √variance.

    d_x = (d_y − mean(d_y) − y · mean(d_y · y) · s / σ) / s, and without the last term where σ is 0

    x, y: any shape that has the axes. The default is each channel over batch and places of (n, channels, h, w).
    Raises ShapeError if x lacks an axis.
    Source: ONNX, operator MeanVarianceNormalization; unlike the other norms, it adds epsilon outside of the root.
    """

    kind = "normalization"

    def __init__(self, axes: Sequence[int] = (0, 2, 3), epsilon: float = 1e-9):
        if not epsilon >= 0:
            raise SettingError(f"epsilon must be at least 0, came {epsilon}")
        self.axes, self.epsilon = each_axis(axes), epsilon

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        for axis in self.axes:
            _check_axis(x, axis)
        distance = centered(x, [axis % x.dim() for axis in self.axes])
        variance = distance.square().mean(self.axes, keepdim=True)
        if not is_held(variance, LEAST):
            y, saved = self.forward(x.double())
            return y.to(x.dtype), saved
        sigma = variance.sqrt_()
        y = distance.div_(sigma + self.epsilon)
        return y.to(x.dtype), (y, sigma)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        y, sigma = saved
        s, d = sigma + self.epsilon, wide(d_y)
        share = (d * y).mean(self.axes, keepdim=True).mul_(s / sigma).masked_fill_(sigma == 0, 0)
        d_x = (d - d.mean(self.axes, keepdim=True)).addcmul_(y, share, value=-1).div_(s)
        return (d_x.to(d_y.dtype),)


class LpNorm(Block):
    """Divides x by its norm along an axis:  y = x / ‖x‖,  ‖x‖ = (Σ |x|^order)^(1/order), and 0 where the norm is 0.

    d_x = (d_y − sign(x) · |x / ‖x‖|^(order − 1) · Σ d_y · y) / ‖x‖, and 0 where the norm is 0

    x, y: any shape that has the axis   order: a number from 1 on
    Raises ShapeError if x lacks the axis, SettingError for another order.
    Source: ONNX, operator LpNormalization, which has the orders 1 and 2.
    """

    kind = "normalization"

    def __init__(self, axis: int = -1, order: float = 2):
        if not 1 <= order < math.inf:
            raise SettingError(f"order must be a number from 1 on, came {order}")
        self.axis, self.order = axis, order

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        _check_axis(x, self.axis)
        norm = torch.linalg.vector_norm(x, self.order, self.axis, keepdim=True)
        norm.masked_fill_(norm == 0, math.inf)  # so that all that is divided by it becomes 0
        y = x / norm
        return y, (y, norm, x.sign() if self.order == 1 else None)  # of what is so small that y is 0, y has no sign

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        y, norm, sign = saved
        slope = sign if self.order == 1 else y
        if self.order not in (1, 2):
            slope = y.abs().pow_(self.order - 1).mul_(y.sign())
        d = wide(d_y)
        along = (d * y).sum(self.axis, keepdim=True)
        return (torch.addcmul(d, wide(slope), along, value=-1).div_(norm).to(d_y.dtype),)


def _check_axis(x: Tensor, axis: int) -> None:
    if not -x.dim() <= axis < x.dim():
        raise ShapeError(f"expected an input that has axis {axis}, came {tuple(x.shape)}")


class LocalResponseNorm(Block):
    """Each channel, damped by the channels around it:  y = x · s^(−beta),  s = k + alpha / size · Σ_window x².

    d_x = s^(−beta) · d_y − 2 · alpha · beta / size · x · Σ d_y · y / s, the sum over all channels whose window holds x

    The window of channel c is c − size//2 … c + (size − 1)//2; what sticks out counts as 0.
    x, y: (n, channels, ...)
    Raises ShapeError if x has no axis 1.
    Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3. Departure, with torch: alpha is divided by size.
    """

    kind = "normalization"

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        check_settings(1.0, size=size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() < 2:
            raise ShapeError(f"expected (n, channels, ...), came {tuple(x.shape)}")
        square = wide(x) * wide(x)
        s = _window_sums(square, self.size // 2, (self.size - 1) // 2).mul_(self.alpha / self.size).add_(self.k)
        factor = s.pow(-self.beta)
        return (x * factor).to(x.dtype), (x, s, factor)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, s, factor = saved
        d_x = d_y * factor
        reach = _window_sums((d_x * x).div_(s), (self.size - 1) // 2, self.size // 2)
        return (d_x.addcmul_(wide(x), reach, value=-2 * self.alpha * self.beta / self.size).to(d_y.dtype),)


def _window_sums(x: Tensor, before: int, after: int) -> Tensor:
    """sums[c] = x[c − before] + … + x[c + after] along axis 1; what is outside of x counts as 0."""
    sums, channels = x.clone(), x.shape[1]
    for shift in range(1, min(before, channels - 1) + 1):
        sums[:, shift:] += x[:, :-shift]
    for shift in range(1, min(after, channels - 1) + 1):
        sums[:, :-shift] += x[:, shift:]
    return sums
