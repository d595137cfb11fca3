"""Activations: functions of each element by itself that bend straight lines."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

# Selecting by a mask (torch.where, masked_fill, a product with a boolean) takes torch several times as long as
# arithmetic, on CPUs. This kernel is the fast selection; all kinks of this file are built from it. NaN in x lets d
# through.
_threshold = torch.ops.aten.threshold_backward.default
_threshold_into = torch.ops.aten.threshold_backward.grad_input


def where_above(x: Tensor, level: float, d: Tensor) -> Tensor:
    """d where x > level, else 0."""
    return _threshold(d, x, level)


def keep_above_(x: Tensor, level: float, d: Tensor) -> Tensor:
    """The same, written over d. (A new tensor costs as much as two or three passes over an old one.)"""
    return _threshold_into(d, x, level, grad_input=d)


class ReLU(Block):
    """What is positive:  y = max(x, 0).

    d_x = d_y where y > 0, else 0 (so the derivative at 0 is 0)

    x, y: any shape
    Source: Nair and Hinton 2010.
    """

    kind = "activation"
    gate = "cuts off the negative side"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x.relu()
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (_threshold(d_y, saved, 0),)


class LeakyReLU(Block):
    """ReLU that lets a little of the negative side through:  y = x where x > 0, else negative_slope · x.

    d_x = d_y where y > 0, else negative_slope · d_y (also at 0)

    x, y: any shape
    Raises SettingError if negative_slope is negative (then y alone could not tell the sides apart).
    Source: Maas, Hannun and Ng 2013.
    """

    kind = "activation"
    gate = "lets a share of the negative side through"

    def __init__(self, negative_slope: float = 0.01):
        if not negative_slope >= 0:
            raise SettingError(f"negative_slope must be at least 0, came {negative_slope}")
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = F.leaky_relu(x, self.negative_slope)
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (where_above(saved, 0, d_y).lerp_(d_y, self.negative_slope),)


class PReLU(Block):
    """Leaky ReLU whose slope is learned, one for each channel or one for all:  y = x where x > 0, else weight_c · x.

    d_x = d_y where x > 0, else weight_c · d_y (also at 0)     d_weight_c = sum over channel c of d_y · min(x, 0)

    x, y: (n, channels, ...), or any shape if channels is 1     weight: (channels,), starts at 0.25
    shape: a shape for weight in place of (channels,), which then meets the last axes of x: (channels, 1, 1), (h, w), …
    Raises ShapeError if axis 1 is not channels, or the weight's shape does not fit x.
    Source: He et al. 2015, eqs. 1, 8 and 10; ONNX's PRelu for other shapes.
    """

    kind = "activation"
    gate = "lets a share of the negative side through"
    parameter_names = ("weight",)

    def __init__(self, channels: int = 1, shape: Sequence[int] | None = None):
        if channels < 1:
            raise SettingError(f"channels must be at least 1, came {channels}")
        self.channels, self.shape = channels, None if shape is None else tuple(shape)
        self.weight = torch.full((channels,) if self.shape is None else self.shape, 0.25)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if self.shape is not None:
            fits = [w in (1, n) for w, n in zip(self.shape[::-1], x.shape[::-1], strict=False)]
            if len(fits) < len(self.shape) or not all(fits):
                raise ShapeError(f"expected an input that {self.shape} slopes fit, came {tuple(x.shape)}")
            return x.relu().addcmul_(x.clamp(max=0), self.weight), x
        if self.channels > 1 and (x.dim() < 2 or x.shape[1] != self.channels):
            raise ShapeError(f"expected (n, {self.channels}, ...), came {tuple(x.shape)}")
        return F.prelu(x, self.weight), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        weight = self.weight
        if self.shape is None:
            weight = weight.view(-1, *[1] * (d_y.dim() - 2)) if self.channels > 1 else weight.view(())
        return (where_above(saved, 0, d_y).lerp_(d_y, weight),)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        d_slopes = saved.clamp(max=0).mul_(d_y)
        if self.shape is not None:
            return {"weight": d_slopes.sum_to_size(self.shape)}
        if self.channels == 1:
            return {"weight": d_slopes.sum().view(1)}
        return {"weight": d_slopes.sum([axis for axis in range(d_y.dim()) if axis != 1])}


class ELU(Block):
    """Exponential linear unit:  y = x where x > 0, else alpha · (exp(x) − 1).

    d_x = d_y where y > 0, else (y + alpha) · d_y (also at 0)

    x, y: any shape
    Raises SettingError if alpha is negative.
    Source: Clevert, Unterthiner and Hochreiter 2016, eq. 15.
    """

    kind = "activation"
    gate = "bends the negative side and does not cut it off"

    def __init__(self, alpha: float = 1.0):
        if not alpha >= 0:
            raise SettingError(f"alpha must be at least 0, came {alpha}")
        self.alpha = alpha

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = F.elu(x, self.alpha)
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (_bend(saved, self.alpha, 1.0, d_y),)


class CELU(Block):
    """ELU whose slope is continuous, whatever alpha is:  y = x where x > 0, else alpha · (exp(x / alpha) − 1).

    d_x = d_y where y > 0, else (y / alpha + 1) · d_y (also at 0, where both are 1)

    x, y: any shape
    Raises SettingError if alpha is not positive.
    Source: Barron 2017.
    """

    kind = "activation"
    gate = "bends the negative side and does not cut it off"

    def __init__(self, alpha: float = 1.0):
        if not alpha > 0:
            raise SettingError(f"alpha must be positive, came {alpha}")
        self.alpha = alpha

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = F.celu(x, self.alpha)
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (saved.clamp(max=0).div_(self.alpha).add_(1).mul_(d_y),)


class SELU(Block):
    """ELU scaled so that activations keep mean 0 and variance 1:  y = scale · ELU(x; alpha).

    d_x = scale · d_y where y > 0, else (y + scale · alpha) · d_y (also at 0)

    x, y: any shape
    Raises SettingError if alpha is negative or scale is not positive.
    Source: Klambauer et al. 2017, eq. 2 and appendix.
    """

    kind = "activation"
    gate = "bends the negative side and does not cut it off"
    ALPHA = 1.6732632423543772848170429916717
    SCALE = 1.0507009873554804934193349852946

    def __init__(self, alpha: float = ALPHA, scale: float = SCALE):
        if not (alpha >= 0 and scale > 0):
            raise SettingError(f"alpha must be at least 0 and scale positive, came {alpha} and {scale}")
        self.alpha, self.scale = alpha, scale

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = torch.ops.aten.elu.default(x, self.alpha, self.scale)
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (_bend(saved, self.scale * self.alpha, self.scale, d_y),)


def _bend(y: Tensor, left: float, right: float, d_y: Tensor) -> Tensor:
    """right · d_y where y > 0, else (y + left) · d_y."""
    d_x = y.clamp(max=0).add_(left).mul_(d_y)
    return d_x if left == right else d_x.add_(where_above(y, 0, d_y), alpha=right - left)


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
        if approximate not in self._SLOPES:
            raise SettingError(f"approximate must be one of {', '.join(self._SLOPES)}, came {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = F.gelu(x, approximate=self.approximate)
        return y, (x, y)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, y = saved
        # y / x is Φ(x) again, without erf or tanh, the slowest functions there are. 0 / 0 is Φ(0).
        distribution = (y / x).nan_to_num_(nan=0.5)
        return (self._SLOPES[self.approximate](x, y, distribution).mul_(d_y),)

    @staticmethod
    def _exact_slope(x: Tensor, _y: Tensor, distribution: Tensor) -> Tensor:
        # exp2 takes a quarter of the time of exp, which torch hands to MKL.
        density = (x * x).mul_(-0.5 / math.log(2)).exp2_()
        return distribution.addcmul_(x, density, value=1 / math.sqrt(2 * math.pi))

    @staticmethod
    def _tanh_slope(x: Tensor, y: Tensor, distribution: Tensor) -> Tensor:
        d_u = (x * x).mul_(3 * 0.044715).add_(1)
        rest = (1 - distribution).mul_(y)
        return distribution.addcmul_(rest, d_u, value=2 * math.sqrt(2 / math.pi))

    _SLOPES = {"none": _exact_slope, "tanh": _tanh_slope}  # noqa: RUF012


class SiLU(Block):
    """Sigmoid linear unit, also called swish:  y = x · σ(x).

    d_x = (σ + y · (1 − σ)) · d_y

    x, y: any shape
    Source: Elfwing, Uchibe and Doya 2018, eqs. 3 and 4.
    """

    kind = "activation"
    gate = "opens by degrees, and lets a little of the negative side through"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = F.silu(x)
        return y, (x, y)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, y = saved
        s = x.sigmoid()
        return (torch.lerp(y, s.new_ones(()), s, out=s).mul_(d_y),)  # on the way from y to 1, by s of it


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
        part = d_y * saved
        return (torch.addcmul(d_y, part, saved, value=-1, out=part),)


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
        slope = (saved * self.beta).sigmoid_() if self.beta != 1 else saved.sigmoid()
        if math.exp(-self.threshold) < torch.finfo(slope.dtype).eps / 2:  # σ rounds to 1 above the threshold
            return (slope.mul_(d_y),)
        return (where_above(saved, self.threshold / self.beta, d_y).lerp_(d_y, slope),)


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
        inside = torch.addcmul(saved, saved, saved, value=-1).ceil_()  # of y (1 − y), which is 0 at both ends
        return (inside.mul_(d_y).mul_(self.alpha),)


class HardSwish(Block):
    """SiLU with a hard sigmoid:  y = x · min(max(x + 3, 0), 6) / 6.

    d_x = 0 where x ≤ −3,  (x/3 + 1/2) · d_y where −3 < x ≤ 3,  d_y where x > 3

    x, y: any shape
    Source: Howard et al. 2019, section 5.2.
    """

    kind = "activation"
    gate = "opens by degrees, and lets a little of the negative side through"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return F.hardswish(x), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        slope = saved.clamp(-3, 3).mul_(1 / 3).add_(0.5)  # 3/2 above 3: a half too much, taken away below
        return (keep_above_(saved, -3, slope.mul_(d_y)).sub_(where_above(saved, 3, d_y), alpha=0.5),)
