"""ReLU and its kin: functions of each element by itself that are straight lines with a bend at 0, or nearly so."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.kernels import elu_backward, leaky_relu_backward, threshold_backward
from blockprop.blocks.sizes import each_axis
from blockprop.engine.block import Block, Shape
from blockprop.engine.precision import all_finite, shares
from blockprop.errors import SettingError, ShapeError

# Selecting by a mask (torch.where, masked_fill, a product with a boolean) takes torch several times as long as
# arithmetic, on CPUs. This kernel is the fast selection; all kinks of this file are built from it. NaN in x lets d
# through.


def where_above(x: Tensor, level: float, d: Tensor) -> Tensor:
    """d where x > level, else 0."""
    return threshold_backward(d, x, level)


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
        return (threshold_backward(d_y, saved, 0),)


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
        return (leaky_relu_backward(d_y, saved, self.negative_slope, True),)


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
        self.channels, self.shape = channels, None if shape is None else each_axis(shape)
        self.weight = torch.full((channels,) if self.shape is None else self.shape, 0.25)

    def at_most(self, *shapes: Shape) -> Shape | None:
        return shapes[0] if self.shape is None else None

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
        d_x = where_above(saved, 0, d_y).lerp_(d_y, weight)
        return (d_x if all_finite(d_x) else torch.where(saved > 0, d_y, d_y * weight),)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        d_slopes = shares(saved.clamp(max=0), d_y)
        if self.shape is not None:
            return {"weight": d_slopes.sum_to_size(self.shape)}
        if self.channels == 1:
            return {"weight": d_slopes.sum().view(1)}
        return {"weight": d_slopes.sum([axis for axis in range(d_y.dim()) if axis != 1])}


class ELU(Block):
    """Exponential linear unit:  y = x where x > 0, else alpha · (exp(x) − 1).

    d_x = d_y where x > 0, else alpha · exp(x) · d_y (also at 0)

    x, y: any shape. Of x, not (y + alpha) as in the paper: far out y rounds to −alpha, and its slope would be 0.
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
        return F.elu(x, self.alpha), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (elu_backward(d_y, self.alpha, 1.0, 1.0, False, saved),)


class CELU(Block):
    """ELU whose slope is continuous, whatever alpha is:  y = x where x > 0, else alpha · (exp(x / alpha) − 1).

    d_x = d_y where x > 0, else exp(x / alpha) · d_y (also at 0, where both are 1)

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
        return F.celu(x, self.alpha), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (elu_backward(d_y, self.alpha, 1.0, 1 / self.alpha, False, saved),)


class SELU(Block):
    """ELU scaled so that activations keep mean 0 and variance 1:  y = scale · ELU(x; alpha).

    d_x = scale · d_y where x > 0, else scale · alpha · exp(x) · d_y (also at 0)

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
        return torch.ops.aten.elu.default(x, self.alpha, self.scale), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (elu_backward(d_y, self.alpha, self.scale, 1.0, False, saved),)
