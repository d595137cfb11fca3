"""Activations that are S-shaped, and those that open with such a share: sigmoid, tanh, SiLU, GELU, softplus …"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.kernels import (
    gelu_backward,
    hardswish_backward,
    hardtanh_backward,
    silu_backward,
    softplus_backward,
    tanh_backward,
)
from blockprop.engine.block import Block
from blockprop.engine.precision import all_finite
from blockprop.errors import SettingError


class GELU(Block):
    """Gaussian error linear unit:  y = x · Φ(x), Φ the standard normal distribution function.

    d_x = (Φ(x) + x · φ(x)) · d_y,     φ(x) = exp(−x²/2) / √(2π)
    With approximate="tanh", S(x) = (1 + tanh u)/2 stands for Φ, u = √(2/π) · (x + 0.044715 x³):
    d_x = (S + 2 · x · S · (1 − S) · u') · d_y,     u' = √(2/π) · (1 + 0.134145 x²)

    x, y: any shape
    Raises SettingError if approximate is neither "none" nor "tanh".
    Source: Hendrycks and Gimpel 2016.
    """

    kind = "activation"
    gate = "opens by degrees, and lets a little of the negative side through"

    def __init__(self, approximate: str = "none"):
        if approximate not in ("none", "tanh"):
            raise SettingError(f"approximate must be one of none, tanh, came {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return F.gelu(x, approximate=self.approximate), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        # torch's kernel of the formulas above: half to nine tenths of the time of tensor arithmetic, and in half
        # precision x² does not overflow in it. tests/blocks/test_pointwise.py has the plain version.
        d_x = gelu_backward(d_y, saved, approximate=self.approximate)
        if self.approximate == "none" or all_finite(d_x):
            return (d_x,)
        # x² may have overflowed: far out, the derivative is as at 100, which is 0 or 1
        return (gelu_backward(d_y, saved.clamp(-100, 100), approximate=self.approximate),)


class SiLU(Block):
    """Sigmoid linear unit, also called swish:  y = x · σ(x).

    d_x = (σ + y · (1 − σ)) · d_y

    x, y: any shape
    Source: Elfwing, Uchibe and Doya 2018, eqs. 3 and 4.
    """

    kind = "activation"
    gate = "opens by degrees, and lets a little of the negative side through"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return F.silu(x), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (silu_backward(d_y, saved),)  # two thirds of the time of tensor arithmetic


class Sigmoid(Block):
    """The logistic function:  y = σ(x) = 1 / (1 + exp(−x)).

    d_x = y · (1 − y) · d_y

    x, y: any shape
    """

    kind = "activation"
    gate = "opens by degrees"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x.sigmoid()
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (torch.addcmul(saved, saved, saved, value=-1).mul_(d_y),)


class Tanh(Block):
    """The hyperbolic tangent:  y = tanh(x).

    d_x = (1 − y²) · d_y

    x, y: any shape
    """

    kind = "activation"
    gate = ""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x.tanh()
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (tanh_backward(d_y, saved),)


class Softplus(Block):
    """A smooth ReLU:  y = log(1 + exp(beta · x)) / beta, and y = x where beta · x > threshold.

    d_x = σ(beta · x) · d_y, and d_x = d_y where beta · x > threshold

    x, y: any shape
    Raises SettingError if beta is not positive.
    Source: Dugas et al. 2001; the threshold is torch's.
    """

    kind = "activation"
    gate = "opens by degrees"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        if not beta > 0:
            raise SettingError(f"beta must be positive, came {beta}")
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return F.softplus(x, self.beta, self.threshold), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if self.threshold > 80:  # torch's kernel divides exp(beta · x) by 1 more than that, which overflows from 88 on
            slope = (saved * self.beta).sigmoid_() if self.beta != 1 else saved.sigmoid()
            return (slope.mul_(d_y),)
        return (softplus_backward(d_y, saved, self.beta, self.threshold),)


class HardSigmoid(Block):
    """Sigmoid of three straight pieces:  y = max(0, min(1, alpha · x + beta)), by default min(max(x + 3, 0), 6) / 6.

    d_x = alpha · d_y where 0 < y < 1, else 0 (also at the two bends)

    x, y: any shape
    Source: Courbariaux, Bengio and David 2015; the slope 1/6 is that of Howard et al. 2019. ONNX's default is 0.2.
    """

    kind = "activation"
    gate = "opens by degrees"

    def __init__(self, alpha: float = 1 / 6, beta: float = 0.5):
        self.alpha, self.beta = alpha, beta

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        usual = (self.alpha, self.beta) == (1 / 6, 0.5)
        y = F.hardsigmoid(x) if usual else (x * self.alpha).add_(self.beta).clamp_(0, 1)
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (hardtanh_backward(d_y, saved, 0, 1).mul_(self.alpha),)


class HardSwish(Block):
    """SiLU with a hard sigmoid:  y = x · min(max(x + 3, 0), 6) / 6.

    d_x = 0 where x ≤ −3,  (x/3 + 1/2) · d_y where −3 < x < 3,  d_y where x ≥ 3

    x, y: any shape
    Source: Howard et al. 2019, section 5.2.
    """

    kind = "activation"
    gate = "opens by degrees, and lets a little of the negative side through"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return F.hardswish(x), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (hardswish_backward(d_y, saved),)  # a quarter of the time of tensor arithmetic
