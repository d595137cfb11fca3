"""Blocks that make one number of many along some axes, and running sums."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from blockprop.blocks.reshaping import Axes, Reduction, axis_of
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


class _Extreme(Reduction):
    value: ClassVar[Callable[..., Tensor]]
    place: ClassVar[Callable[..., Tensor]]

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axes = self._checked(x)
        if not all(x.shape[axis] for axis in axes):
            raise ShapeError(f"expected at least one element along axes {self.axes}, came {tuple(x.shape)}")
        return type(self).value(x, axes, self.keep), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        # The places are looked for only here: forward takes torch ten times as long with them.
        axes = self._checked(saved)
        rows = _rows(saved, axes).contiguous()  # the search takes three times as long in strides
        first = type(self).place(rows, -1, True)
        d_rows = d_y.new_zeros(rows.shape).scatter_(-1, first, d_y.reshape(first.shape))
        return (_from_rows(d_rows, saved.shape, axes),)


class MaxOver(_Extreme):
    """The largest element over some axes:  y = max x.

    d_x = d_y at the place of the largest element, 0 elsewhere

    At a tie the whole derivative goes to the first of the largest, in the order of rows (last axis fastest).
    NaN counts as larger than any number.
    axes: one or more; they are left out of y, or stay with size 1 if keep
    Raises ShapeError if x lacks one of them or has no elements along it.
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
        y = x.logsumexp(self._checked(x), self.keep)
        return y, (x, y)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, y = saved
        level = self._spread(x.shape, y.masked_fill(y.isinf(), 0))
        # exp2 takes a quarter of the time of exp, which torch hands to MKL.
        shares = (x - level).mul_(1 / math.log(2)).exp2_()
        return (shares.mul_(self._spread(x.shape, d_y)),)


class Variance(Reduction):
    """The mean squared distance from the mean over some axes:  y = Σ (x − mean)² / (count − correction).

    d_x = 2 (x − mean) / (count − correction) · d_y

    axes: one or more; they are left out of y, or stay with size 1 if keep
    correction: 1 to estimate the variance from a sample (Bessel), 0 for that of the numbers themselves
    Raises ShapeError if x lacks an axis, or count is not above correction; SettingError for a negative correction.
    """

    def __init__(self, axes: Axes, correction: float = 1, keep: bool = False):
        super().__init__(axes, keep)
        if not 0 <= correction < math.inf:
            raise SettingError(f"correction must be at least 0, came {correction}")
        self.correction = correction

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axes = self._checked(x)
        count = math.prod(x.shape[axis] for axis in axes) - self.correction
        if count <= 0:
            raise ShapeError(f"expected more than {self.correction} elements along {self.axes}, came {tuple(x.shape)}")
        mean = x.mean(axes, keepdim=True)
        return _sum_of_squares(x - mean, axes, self.keep).div_(count).to(x.dtype), (x, mean, count)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, mean, count = saved
        return ((x - mean).mul_(self._spread(x.shape, d_y * (2 / count))),)


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
        y = _sum_of_squares(x, axes, self.keep).sqrt_().to(x.dtype)
        return y, (x, y)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        x, y = saved
        if self.order == 1:
            return (x.sign().mul_(self._spread(x.shape, d_y)),)
        return (x * self._spread(x.shape, (d_y / y).masked_fill_(y == 0, 0)),)


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


def _sum_of_squares(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    # torch's var and vector_norm take more than ten times as long, save for norms along the last axis.
    wide = x.float() if x.dtype == torch.float16 else x  # whose squares end at 65504
    return (wide * wide).sum(axes, keepdim=keep)
