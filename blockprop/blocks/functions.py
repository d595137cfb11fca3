"""Elementary functions of each element, the softmaxes, and dropout."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.pointwise import where_above
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

_between = torch.ops.aten.hardtanh_backward.default
"""d where low < x < high, else 0, in one pass over memory."""


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


class Clamp(Block):
    """What lies between two bounds:  y = min(max(x, low), high); None stands for no bound.

    d_x = d_y where low < y < high, else 0 (also at the bounds, as for ReLU)

    x, y: any shape. Clamp(0, 6) is ReLU6 (Krizhevsky 2010).
    Raises SettingError if low is not below high, or neither is given.
    Departure: torch.clamp has derivative 1 at the bounds; torch's relu6 and hardtanh have 0, like this.
    """

    kind = "activation"
    gate = "cuts elsewhere than at 0 from below"

    def __init__(self, low: float | None = None, high: float | None = None):
        if low is None and high is None:
            raise SettingError("give low, high or both")
        if low is not None and high is not None and not low < high:
            raise SettingError(f"low must be below high, came {low} and {high}")
        self.low, self.high = low, high
        bounds = " and ".join(f"{bound:g}" for bound in (low, high) if bound is not None)
        self.gate = f"cuts at {bounds}, not at 0 from below"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x.clamp(self.low, self.high), x  # x: in half precision y holds the bounds rounded, and looks inside them

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if self.low is not None and self.high is not None:
            return (_between(d_y, saved, self.low, self.high),)
        if self.low is not None:
            return (where_above(saved, self.low, d_y),)
        assert self.high is not None
        return (where_above(-saved, -self.high, d_y),)


class Affine(Block):
    """A fixed change of units, channel by channel:  y = factor · x + shift.

    d_x = factor · d_y

    x, y: (n, channels, ...)   factor, shift: one number for all channels, or one for each
    Raises ShapeError if x has another number of channels, SettingError for numbers that are not finite.
    """

    kind = "other"

    def __init__(self, factor: float | Sequence[float] = 1.0, shift: float | Sequence[float] = 0.0):
        self.factor, self.shift = (tuple(v) if isinstance(v, Sequence) else v for v in (factor, shift))
        for name, value in (("factor", self.factor), ("shift", self.shift)):
            if not all(map(math.isfinite, value if isinstance(value, tuple) else (value,))):
                raise SettingError(f"{name} must be finite, came {value}")

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
        shares = (saved * (1 / math.log(2))).exp2_()
        return (torch.addcmul(d_y, shares, d_y.sum(self.axis, keepdim=True), value=-1, out=shares),)


def _check_axis(x: Tensor, axis: int) -> None:
    if not -x.dim() <= axis < x.dim():
        raise ShapeError(f"expected an input that has axis {axis}, came {tuple(x.shape)}")


class Detach(Block):
    """The input itself, with nothing going back:  y = x.

    d_x = nothing: what stands before counts as constant

    x, y: any shape
    """

    kind = "other"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[None]:
        return (None,)


class Dropout(Block):
    """In training, elements set to 0 at random and the rest scaled up to keep the expectation:  y = x ∘ mask.

    d_x = d_y ∘ mask,     mask = 0 with the given probability, else 1 / (1 − probability)
    In evaluation y = x and d_x = d_y: the tensors themselves, not copies.

    x, y: any shape
    Raises SettingError if the probability is outside 0…1.
    Source: Srivastava et al. 2014, section 10 for the scaling in training.
    """

    kind = "activation"
    gate = ""
    pools = True
    has_training_mode = True
    generator: torch.Generator | None = None
    """Draws the masks, on its own device; None stands for torch's global generator on the input's device."""

    def __init__(self, probability: float = 0.5):
        if not 0 <= probability <= 1:
            raise SettingError(f"probability must be in 0…1, came {probability}")
        self.probability = probability

    def forward(self, x: Tensor, training: bool = False) -> tuple[Tensor, Any]:
        if not training or self.probability == 0:
            return x, None
        mask = self.mask(x)
        return x * mask, mask

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y if saved is None else d_y * saved,)

    def mask(self, x: Tensor) -> Tensor:
        """Draw a new mask in the shape, type of number and place of x; it does not depend on x's memory layout."""
        if self.probability == 1:
            return torch.zeros_like(x)
        device = x.device if self.generator is None else self.generator.device
        # Two random numbers of 32 bits from each of 64: an eighth of the time of bernoulli_. An element is kept if its
        # number is below `bound`, as happens with the share 1 − probability (to 2⁻³²) of all numbers.
        count = x.numel()
        numbers = torch.empty((count + 1) // 2, dtype=torch.int64, device=device)
        numbers = numbers.random_(-(2**63), None, generator=self.generator).view(torch.int32)[:count]
        bound = min(round((1 - self.probability) * 2**32) - 2**31, 2**31 - 1)
        mask = torch.empty(count, dtype=x.dtype, device=device)
        torch.lt(numbers, bound, out=mask)
        return mask.mul_(1 / (1 - self.probability)).view(x.shape).to(x.device)
