"""Activations with thresholds: what lies beyond one is let through, or cut off."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.kernels import hardtanh_backward
from blockprop.blocks.pointwise import where_above
from blockprop.engine.block import Block
from blockprop.errors import SettingError


class ThresholdedReLU(Block):
    """What is above a threshold:  y = x where x > alpha, else 0.

    d_x = d_y where x > alpha, else 0 (also at alpha, where y jumps)

    x, y: any shape
    Source: Konda, Memisevic and Krueger 2015.
    """

    kind = "activation"
    gate = "cuts elsewhere than at 0"

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha
        self.gate = f"cuts at {alpha:g}, not at 0"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return F.threshold(x, self.alpha, 0.0), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (where_above(saved, self.alpha, d_y),)


class Shrink(Block):
    """What is far from 0, moved towards it:  y = x + bias where x < −lambd, x − bias where x > lambd, else 0.

    d_x = d_y where |x| > lambd, else 0

    x, y: any shape. Shrink(0, λ) is torch's hardshrink, Shrink(λ, λ) its softshrink.
    Raises SettingError if lambd is negative.
    Source: Donoho and Johnstone 1994; the settings are ONNX's.
    """

    kind = "activation"
    gate = "cuts off what is near 0, on both sides"

    def __init__(self, bias: float = 0.0, lambd: float = 0.5):
        if not lambd >= 0:
            raise SettingError(f"lambd must be at least 0, came {lambd}")
        self.bias, self.lambd = bias, lambd

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = F.hardshrink(x, self.lambd)
        return y.sub_(y.sign(), alpha=self.bias) if self.bias else y, x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (where_above(saved.abs(), self.lambd, d_y),)


class Clamp(Block):
    """What lies between two bounds:  y = min(max(x, low), high); None stands for no bound.

    d_x = d_y where low < y < high, else 0 (also at the bounds, as for ReLU; with inclusive, d_y at the bounds)

    x, y: any shape. Clamp(0, 6) is ReLU6 (Krizhevsky 2010). torch's relu6 and hardtanh are so, its clamp is inclusive.
    Raises SettingError if low is not below high, or neither is given.
    """

    kind = "activation"
    gate = "cuts elsewhere than at 0 from below"

    def __init__(self, low: float | None = None, high: float | None = None, inclusive: bool = False):
        if low is None and high is None:
            raise SettingError("give low, high or both")
        if low is not None and high is not None and not low < high:
            raise SettingError(f"low must be below high, came {low} and {high}")
        self.low, self.high, self.inclusive = low, high, inclusive
        bounds = " and ".join(f"{bound:g}" for bound in (low, high) if bound is not None)
        self.gate = f"cuts at {bounds}, not at 0 from below"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.clamp(self.low, self.high), x  # x: in half precision y holds the bounds rounded, and looks inside them

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if self.inclusive:
            return (self._with_bounds(saved, d_y),)
        if self.low is not None and self.high is not None:
            return (hardtanh_backward(d_y, saved, self.low, self.high),)
        if self.low is not None:
            return (where_above(saved, self.low, d_y),)
        assert self.high is not None
        return (where_above(-saved, -self.high, d_y),)

    def _with_bounds(self, x: Tensor, d_y: Tensor) -> Tensor:
        d_x = d_y
        if self.low is not None:
            d_x = d_x.masked_fill(x < self.low, 0)
        return d_x if self.high is None else d_x.masked_fill(x > self.high, 0)
