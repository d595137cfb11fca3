"""Blocks that make one number of many along some axes, and running sums."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from blockprop.blocks.joining import require_ties
from blockprop.blocks.reshaping import Axes, Reduction, axis_of
from blockprop.engine.block import Block
from blockprop.engine.precision import LEAST, centered, is_held, wide
from blockprop.errors import SettingError, ShapeError


class _Extreme(Reduction):
    value: ClassVar[Callable[..., Tensor]]
    place: ClassVar[Callable[..., Tensor]]

    def __init__(self, axes: Axes, keep: bool = False, ties: str = "first"):
        super().__init__(axes, keep)
        require_ties(ties)
        self.ties = ties

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axes = self._checked(x)
        if not all(x.shape[axis] for axis in axes):
            raise ShapeError(f"expected at least one element along axes {self.axes}, came {tuple(x.shape)}")
        y = type(self).value(x, axes, self.keep)
        return y, (x, y if self.ties == "shared" else None)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, y = saved
        axes = self._checked(x)
        if self.ties == "shared":
            largest = x == self._spread(x.shape, y)
            shares = d_y / largest.sum(axes, keepdim=self.keep)
            return (largest.to(d_y.dtype).mul_(self._spread(x.shape, shares)),)
        # The places are looked for only here: forward takes torch ten times as long with them.
        rows = _rows(x, axes).contiguous()  # the search takes three times as long in strides
        first = type(self).place(rows, -1, True)
        d_rows = d_y.new_zeros(rows.shape).scatter_(-1, first, d_y.reshape(first.shape))
        return (_from_rows(d_rows, x.shape, axes),)


class MaxOver(_Extreme):
    """The largest element over some axes:  y = max x.

    d_x = d_y at the place of the largest element, 0 elsewhere

    ties: "first" gives the whole derivative to the first of the largest, in the order of rows (last axis fastest), as
    torch's max along an axis; "shared" gives all of them the same part, as torch's amax.
    NaN counts as larger than any number.
    axes: one or more; they are left out of y, or stay with size 1 if keep
    Raises ShapeError if x lacks one of them or has no elements along it, SettingError for other ties.
    """

    value, place = torch.amax, torch.argmax


class MinOver(_Extreme):
    """The smallest element over some axes:  y = min x.

    d_x = d_y at the place of the smallest element, 0 elsewhere

    Everything else as in MaxOver; NaN counts as smaller than any number.
    """

    value, place = torch.amin, torch.argmin


class Product(Reduction):
    """The product over some axes:  y = Π x, 1 over no elements.

    d_x_i = d_y Π_{j<i} x_j Π_{j>i} x_j     (and not y / x_i, so that zeros do no harm)

    axes: one or more; they are left out of y, or stay with size 1 if keep   Raises ShapeError if x lacks one.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axes = self._checked(x)
        y = _rows(x, axes).prod(-1)
        return y.view([1 if i in axes else n for i, n in enumerate(x.shape)]) if self.keep else y, x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        axes = self._checked(saved)
        rows = _rows(saved, axes).contiguous()
        if not rows.numel():
            return (torch.zeros_like(saved),)
        others = _product_before(rows) * _product_before(rows.flip(-1)).flip(-1)
        return (_from_rows(others.mul_(d_y.reshape(*rows.shape[:-1], 1)), saved.shape, axes),)


class LogSumExp(Reduction):
    """The logarithm of a sum of exponentials, a smooth maximum:  y = log Σ exp(x).

    d_x = exp(x − y) · d_y, which is 0 if every x is −∞

    axes: one or more; they are left out of y, or stay with size 1 if keep   Raises ShapeError if x lacks one.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = wide(x).logsumexp(self._checked(x), self.keep)
        return y.to(x.dtype), (x, y)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, y = saved
        level = self._spread(x.shape, y.masked_fill(y == -math.inf, 0))
        # exp2 takes a quarter of the time of exp, which torch hands to MKL.
        shares = (x - level).mul_(1 / math.log(2)).exp2_()
        return (shares.mul_(self._spread(x.shape, d_y)).to(x.dtype),)


class _Deviation(Reduction):
    """What both share: the settings, and the variance."""

    def __init__(self, axes: Axes, correction: float = 1, keep: bool = False):
        super().__init__(axes, keep)
        if not 0 <= correction < math.inf:
            raise SettingError(f"correction must be at least 0, came {correction}")
        self.correction = correction

    def _variance(self, x: Tensor) -> tuple[Tensor, Tensor, float]:
        """(the variance in wide numbers, x, count − correction); in float64 where float32 does not hold it."""
        axes = self._checked(x)
        count = math.prod(x.shape[axis] for axis in axes) - self.correction
        if count <= 0:
            raise ShapeError(f"expected more than {self.correction} elements along {self.axes}, came {tuple(x.shape)}")
        # torch's var takes more than ten times as long
        y = centered(x, axes).square_().sum(axes, keepdim=self.keep).div_(count)
        return (y, x, count) if is_held(y, LEAST) else self._variance(x.double())


class Variance(_Deviation):
    """The mean squared distance from the mean over some axes:  y = Σ (x − mean)² / (count − correction).

    d_x = 2 (x − mean) / (count − correction) · d_y

    axes: one or more; they are left out of y, or stay with size 1 if keep
    correction: 1 to estimate the variance from a sample (Bessel), 0 for that of the numbers themselves
    Raises ShapeError if x lacks an axis, or count is not above correction; SettingError for a negative correction.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y, of, count = self._variance(x)
        return y.to(x.dtype), (of, count)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, count = saved
        d_x = centered(x, self._checked(x)).mul_(self._spread(x.shape, wide(d_y) * (2 / count)))
        return (d_x.to(d_y.dtype),)


class StandardDeviation(_Deviation):
    """The root mean squared distance from the mean over some axes:  y = √(Σ (x − mean)² / (count − correction)).

    d_x = (x − mean) / (y (count − correction)) · d_y, and 0 where y is 0, as among equal numbers

    Settings and errors as in Variance.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        variance, of, count = self._variance(x)
        y = variance.sqrt_()
        return y.to(x.dtype), (of, y, count)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, y, count = saved
        size = self._spread(x.shape, y.masked_fill(y == 0, math.inf))  # so that all that is divided by it becomes 0
        d_x = centered(x, self._checked(x)).div_(size).mul_(self._spread(x.shape, wide(d_y) / count))
        return (d_x.to(d_y.dtype),)


class Norm(Reduction):
    """The length of vectors along some axes:  y = Σ |x| for order 1, √Σ x² for order 2.

    d_x = sign(x) · d_y for order 1     d_x = x / y · d_y for order 2     0 where y is 0

    axes: one or more; they are left out of y, or stay with size 1 if keep
    Raises ShapeError if x lacks one of them, SettingError for another order.
    """

    def __init__(self, axes: Axes, keep: bool = False, order: float = 2):
        super().__init__(axes, keep)
        if order not in (1, 2):
            raise SettingError(f"order must be 1 or 2, came {order}")
        self.order = order

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axes = self._checked(x)
        if self.order == 1:
            return x.abs().sum(axes, keepdim=self.keep), (x, None)
        # torch's vector_norm takes more than ten times as long, save along the last axis
        y = (wide(x) * wide(x)).sum(axes, keepdim=self.keep).sqrt_()
        return y.to(x.dtype), (x, y)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, y = saved
        if self.order == 1:
            return (x.sign().mul_(self._spread(x.shape, d_y)),)
        size = self._spread(x.shape, y.masked_fill(y == 0, math.inf))  # so that all that is divided by it becomes 0
        return ((x / size).mul_(self._spread(x.shape, d_y)).to(x.dtype),)


class CumSum(Block):
    """Running sums along one axis:  y_i = Σ_{j≤i} x_j.

    d_x_j = Σ_{i≥j} d_y_i: the running sums of d_y from the other end

    exclusive: without x_i itself, so that the first sum is 0     reverse: from the end, y_i = Σ_{j≥i} x_j
    x, y: any shape that has the axis   Raises ShapeError if x lacks it.
    """

    kind = "reshaping"

    def __init__(self, axis: int, exclusive: bool = False, reverse: bool = False):
        self.axis, self.exclusive, self.reverse = axis, exclusive, reverse

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axis_of(self.axis, x)
        return self._sums(x, self.reverse), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (self._sums(d_y, not self.reverse),)

    def _sums(self, x: Tensor, reverse: bool) -> Tensor:
        x = x.flip(self.axis) if reverse else x
        x = _shifted(x, self.axis, 0) if self.exclusive else x
        y = x.cumsum(self.axis)
        return y.flip(self.axis) if reverse else y


def _rows(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The axes last and, in their order in x, as one."""
    return x.movedim(sorted(axes), list(range(-len(axes), 0))).flatten(-len(axes))


def _from_rows(rows: Tensor, shape: torch.Size, axes: tuple[int, ...]) -> Tensor:
    """The inverse of _rows."""
    back = rows.unflatten(-1, [shape[axis] for axis in sorted(axes)])
    return back.movedim(list(range(-len(axes), 0)), sorted(axes))


def _shifted(x: Tensor, axis: int, first: float) -> Tensor:
    """One place further along the axis, with `first` in front and without the last element."""
    size = x.shape[axis]
    start = torch.full_like(x.narrow(axis, 0, min(size, 1)), first)
    return torch.cat([start, x.narrow(axis, 0, max(size - 1, 0))], axis)


def _product_before(rows: Tensor) -> Tensor:
    """Π_{j<i} rows_j along the last axis."""
    return _shifted(rows, -1, 1).cumprod(-1)
