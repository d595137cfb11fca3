"""Elementary functions of each element, a class for each, and the softmaxes."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block, Shape
from blockprop.engine.precision import wide
from blockprop.errors import SettingError, ShapeError


class Exp(Block):
    """The exponential function:  y = exp(x).

    d_x = y · d_y

    x, y: any shape
    """

    kind = "activation"
    gate = ""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x.exp()
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y * saved,)


class Log(Block):
    """The natural logarithm:  y = log(x), −∞ at 0 and NaN below.

    d_x = d_y / x

    x, y: any shape
    """

    kind = "activation"
    gate = ""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.log(), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y / saved,)


class Sqrt(Block):
    """The square root:  y = √x, NaN below 0.

    d_x = d_y / (2 y), infinite at 0

    x, y: any shape
    """

    kind = "activation"
    gate = ""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x.sqrt()
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return ((d_y / saved).mul_(0.5),)


class Pow(Block):
    """A fixed power:  y = x^exponent, NaN for negative x unless the exponent is whole.

    d_x = exponent · x^(exponent − 1) · d_y, which is 0 everywhere for exponent 0

    x, y: any shape
    Raises SettingError if the exponent is not finite.
    """

    kind = "activation"
    gate = ""

    def __init__(self, exponent: float):
        if not math.isfinite(exponent):
            raise SettingError(f"exponent must be finite, came {exponent}")
        self.exponent = exponent

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.pow(self.exponent), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if self.exponent == 0:
            return (torch.zeros_like(d_y),)
        return (saved.pow(self.exponent - 1).mul_(d_y).mul_(self.exponent),)


class Abs(Block):
    """The absolute value:  y = |x|.

    d_x = sign(x) · d_y, with sign(0) = 0

    x, y: any shape
    """

    kind = "activation"
    gate = "turns the negative side round and cuts nothing off"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.abs(), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (saved.sign().mul_(d_y),)


class Affine(Block):
    """A fixed change of units, channel by channel:  y = factor · x + shift.

    d_x = factor · d_y

    x, y: (n, channels, ...)   factor, shift: one number for all channels, or one for each
    Raises ShapeError if x has another number of channels, SettingError for numbers that are not finite.
    """

    gate = ""
    kind = "other"

    def __init__(self, factor: float | Sequence[float] = 1.0, shift: float | Sequence[float] = 0.0):
        self.factor, self.shift = (tuple(v) if isinstance(v, Sequence) else v for v in (factor, shift))
        for name, value in (("factor", self.factor), ("shift", self.shift)):
            if not all(map(math.isfinite, value if isinstance(value, tuple) else (value,))):
                raise SettingError(f"{name} must be finite, came {value}")

    def at_most(self, *shapes: Shape) -> Shape | None:
        return shapes[0]

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x if self.factor == 1 else x * self._channels(self.factor, x)
        return y if self.shift == 0 and y is not x else y + self._channels(self.shift, x), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y * self._channels(self.factor, d_y),)

    def _channels(self, value: float | tuple[float, ...], x: Tensor) -> float | Tensor:
        if not isinstance(value, tuple):
            return value
        if x.dim() < 2 or x.shape[1] != len(value):
            raise ShapeError(f"expected (n, {len(value)}, ...), came {tuple(x.shape)}")
        return torch.tensor(value, dtype=x.dtype, device=x.device).view(-1, *[1] * (x.dim() - 2))


class Softmax(Block):
    """Positive shares that add up to 1 along one axis:  y_i = exp(x_i) / Σ_j exp(x_j).

    d_x = y ∘ (d_y − Σ_j d_y_j y_j)

    x, y: any shape that has the axis
    Raises ShapeError if x lacks the axis.
    Source: Bridle 1990.
    """

    kind = "activation"
    gate = ""

    def __init__(self, axis: int = 1):
        self.axis = axis

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        _check_axis(x, self.axis)
        y = x.softmax(self.axis)
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        d_x = d_y * saved
        return (d_x.addcmul_(saved, d_x.sum(self.axis, keepdim=True), value=-1),)


class LogSoftmax(Block):
    """The logarithm of Softmax, without its underflow:  y_i = x_i − log Σ_j exp(x_j).

    d_x = d_y − exp(y) · Σ_j d_y_j

    x, y: any shape that has the axis
    Raises ShapeError if x lacks the axis.
    """

    kind = "activation"
    gate = ""

    def __init__(self, axis: int = 1):
        self.axis = axis

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        _check_axis(x, self.axis)
        y = x.log_softmax(self.axis)
        return y, y

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        # exp2 takes a quarter of the time of exp, which torch hands to MKL.
        d, shares = wide(d_y), (wide(saved) * (1 / math.log(2))).exp2_()
        return (torch.addcmul(d, shares, d.sum(self.axis, keepdim=True), value=-1, out=shares).to(d_y.dtype),)


def _check_axis(x: Tensor, axis: int) -> None:
    if not -x.dim() <= axis < x.dim():
        raise ShapeError(f"expected an input that has axis {axis}, came {tuple(x.shape)}")


class Detach(Block):
    """The input itself, with nothing going back:  y = x.

    d_x = nothing: what stands before counts as constant

    x, y: any shape
    """

    kind = "other"
    gate = ""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[None]:
        return (None,)
