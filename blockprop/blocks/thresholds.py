"""Activations that let through what is beyond a threshold, and nothing before it."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

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
