"""Elementary functions of each element by name, `Function("sin")`, and the powers and remainders of two tensors."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.joining import require_broadcast, unbroadcast
from blockprop.engine.block import Block
from blockprop.errors import SettingError


class Function(Block):
    """An elementary function of each element:  y = f(x).

    d_x = f'(x) · d_y

    name   f(x)           f'(x)               name         f(x)            f'(x)
    sin    sin x          cos x               exp2         2^x             y log 2
    cos    cos x          −sin x              expm1        exp(x) − 1      y + 1
    tan    tan x          1 + y²              log1p        log(1 + x)      1 / (1 + x)
    asin   arcsin x       1 / √(1 − x²)       log2         log x / log 2   1 / (x log 2)
    acos   arccos x       −1 / √(1 − x²)      log10        log x / log 10  1 / (x log 10)
    atan   arctan x       1 / (1 + x²)        reciprocal   1 / x           −y²
    sinh   sinh x         cosh x              rsqrt        1 / √x          −y³ / 2
    cosh   cosh x         sinh x              softsign     x / (1 + |x|)   1 / (1 + |x|)²
    asinh  arsinh x       1 / √(x² + 1)       log_sigmoid  log σ(x)        σ(−x)
    acosh  arcosh x       1 / √(x² − 1)       mish         x t             t + x σ(x) (1 − t²)
    atanh  artanh x       1 / (1 − x²)          with t = tanh(log(1 + exp x))
    erf    2/√π ∫ exp −t² 2/√π exp(−x²)       neg          −x              −1
    sign, floor, ceil, trunc, round (halves to the even number): steps, so f' = 0

    x, y: any shape; nothing propagates to integers
    Raises SettingError for a name that is not in the table. Exp, Log, Sqrt, Pow, Abs, Tanh, … are blocks of their own.
    Source: Misra 2019 for mish, Glorot and Bengio 2010 for softsign.
    """

    kind = "activation"
    gate = ""

    def __init__(self, name: str):
        if name not in _FUNCTIONS:
            raise SettingError(f"name must be one of {', '.join(_FUNCTIONS)}, came {name!r}")
        self.name, self.gate = name, _GATES.get(name, "")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        function, needed, _ = _FUNCTIONS[self.name]
        y = function(x)
        return y, (tuple({"x": x, "y": y}[one] for one in needed) if x.is_floating_point() else None)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None]:
        if saved is None:
            return (None,)
        if self.name in _LOGARITHMS:
            return (d_y / _FUNCTIONS[self.name][2](*saved),)  # near 0, f' alone would overflow
        slope = _FUNCTIONS[self.name][2](*saved)
        if isinstance(slope, Tensor):
            return (slope.mul_(d_y),)
        return (d_y * slope if slope else torch.zeros_like(d_y),)


def _inverse_root(square: Tensor, shift: float, sign: float = 1.0) -> Tensor:
    """1 / √(shift + sign · square), written over the square."""
    return square.mul_(sign).add_(shift).rsqrt_()


def _bell(x: Tensor) -> Tensor:
    # exp2 takes a quarter of the time of exp, which torch hands to MKL.
    return (x * x).mul_(-1 / math.log(2)).exp2_().mul_(2 / math.sqrt(math.pi))


def _mish_slope(x: Tensor, y: Tensor) -> Tensor:
    # y / x is t again: a quarter of the time of tanh(log(1 + exp x)). Where y has lost digits, t is tanh(log 2).
    t = (y / x).masked_fill_(x.abs() < 4 * torch.finfo(x.dtype).tiny, 0.6)
    return torch.addcmul(t, torch.addcmul(x, y, t, value=-1), x.sigmoid(), out=t)


_FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], str, Callable[..., Tensor | float]]] = {
    # name: f, what its derivative is computed from, its derivative (a new tensor, or one number for all places)
    "sin": (torch.sin, "x", torch.cos),
    "cos": (torch.cos, "x", lambda x: x.sin().neg_()),
    "tan": (torch.tan, "y", lambda y: (y * y).add_(1)),
    "asin": (torch.asin, "x", lambda x: _inverse_root(x * x, 1, -1)),
    "acos": (torch.acos, "x", lambda x: _inverse_root(x * x, 1, -1).neg_()),
    "atan": (torch.atan, "x", lambda x: (x * x).add_(1).reciprocal_()),
    "sinh": (torch.sinh, "x", torch.cosh),
    "cosh": (torch.cosh, "x", torch.sinh),
    "asinh": (torch.asinh, "x", lambda x: _inverse_root(x * x, 1)),
    "acosh": (torch.acosh, "x", lambda x: _inverse_root(x * x, -1)),
    "atanh": (torch.atanh, "x", lambda x: (x * x).neg_().add_(1).reciprocal_()),
    "erf": (torch.erf, "x", _bell),
    "exp2": (torch.exp2, "y", lambda y: y * math.log(2)),
    "expm1": (torch.expm1, "y", lambda y: y + 1),
    "log1p": (torch.log1p, "x", lambda x: x + 1),
    "log2": (torch.log2, "x", lambda x: x * math.log(2)),
    "log10": (torch.log10, "x", lambda x: x * math.log(10)),
    "reciprocal": (torch.reciprocal, "y", lambda y: (y * y).neg_()),
    "rsqrt": (torch.rsqrt, "y", lambda y: (y * y).mul_(y).mul_(-0.5)),
    "softsign": (F.softsign, "x", lambda x: x.abs().add_(1).pow_(-2)),
    "log_sigmoid": (F.logsigmoid, "x", lambda x: (-x).sigmoid_()),
    "mish": (F.mish, "xy", _mish_slope),
    "neg": (torch.neg, "", lambda: -1.0),
    "sign": (torch.sign, "", lambda: 0.0),
    "floor": (torch.floor, "", lambda: 0.0),
    "ceil": (torch.ceil, "", lambda: 0.0),
    "round": (torch.round, "", lambda: 0.0),
    "trunc": (torch.trunc, "", lambda: 0.0),
}
_LOGARITHMS = ("log1p", "log2", "log10")
"""The functions among them for which 1 / f' stands there."""
_GATES = {
    "log_sigmoid": "closes by degrees",
    "mish": "opens by degrees, and lets a little of the negative side through",
}
"""The functions among them that gate; see `Block.gate`."""


class Power(Block):
    """One tensor to the power of another:  y = a^b, with broadcasting; NaN for negative a unless b is whole.

    d_a = d_y b a^(b − 1), 0 where b = 0     d_b = d_y y log a, 0 where a ≤ 0
    each summed over the axes along which the input was repeated; None for an input of integers

    Raises ShapeError if the shapes cannot be broadcast.
    Departure: d_b is NaN in torch where a < 0, and −∞ where a = 0 and b < 0.
    """

    gate = ""
    kind = "joining"

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(a, b)
        y = a.pow(b)
        return y, (a, b, y)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b, y = saved
        d_a = d_b = None
        if a.is_floating_point():
            d_a = _back_to(a, (a.pow(b - 1) * b).mul_(d_y).masked_fill_(b == 0, 0))
        if b.is_floating_point():
            d_b = _back_to(b, (y * a.to(y.dtype).log()).mul_(d_y).masked_fill_(a <= 0, 0))
        return d_a, d_b


class Remainder(Block):
    """What a division leaves:  y = a − b ⌊a / b⌋ (Python's %, with the sign of b), with broadcasting.

    d_a = d_y     d_b = −d_y ⌊a / b⌋     each summed over the axes along which the input was repeated

    truncated: round a / b towards 0 in place of down (C's fmod, with the sign of a)
    Nothing propagates to an input of integers. Raises ShapeError if the shapes cannot be broadcast.
    """

    gate = ""
    kind = "joining"

    def __init__(self, truncated: bool = False):
        self.truncated = truncated

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(a, b)
        return (a.fmod(b) if self.truncated else a.remainder(b)), (a, b)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = saved
        d_b = None
        if b.is_floating_point():
            quotient = torch.div(a, b, rounding_mode="trunc" if self.truncated else "floor")
            d_b = _back_to(b, quotient.mul_(d_y).neg_())
        return _back_to(a, d_y) if a.is_floating_point() else None, d_b


def _back_to(x: Tensor, d: Tensor) -> Tensor:
    """The derivative of an input that was broadcast, and perhaps converted, on its way to d."""
    return unbroadcast(d, x.shape).to(x.dtype)
