"""What a descent did, in words: whether it converged and to what, and what its rate and momentum had to do with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from blockprop.calculus.derivatives import gradient
from blockprop.calculus.descent import DescentStep, rate_and_momentum
from blockprop.calculus.recording import Differentiable
from blockprop.calculus.second import hessian_vector_product
from blockprop.engine.briefly import brief
from blockprop.errors import NotFiniteError, SettingError

MOST_ELEMENTS = 10
LOOKS = 8
"""At so many points of the path the curvature is measured."""
CONVERGED = 1e-4
"""A gradient of this size, in units of the largest of the path, is none any more."""
FAR_TOO_SMALL = 0.1
"""In units of 1/λ."""
NARROW = 20.0
"""Curvatures across and along a valley in this proportion make it narrow."""
DEEP = 1e6
"""Below so many times its first size the loss falls without end."""
CLEAR = 1e-3
"""Second derivatives that are off by more than this, in units of their size, are none: there is an edge."""
FADING = 0.25
"""A curvature that changes by this share on the way that is left is none of a parabola."""
FLAT = 1e-6
"""A curvature of this size, in units of the largest of the path, is none."""


class Verdict(NamedTuple):
    """What a descent did. kind: in a word, one of KINDS.   sentences: what there is to say, the main thing first.

    curvature: λ, the largest one that was measured along the path.
    """

    kind: str
    sentences: tuple[str, ...]
    curvature: float


KINDS = ("minimum", "saddle", "maximum", "flat", "grows", "unbounded", "bounces", "slow", "unfinished")


@torch.no_grad()
def judge(
    f: Differentiable, records: Sequence[DescentStep], rate: float, momentum: float = 0.0, is_finite: bool = True
) -> Verdict:
    """Say what the records of a descent show, by the curvature of f along the path: eigenvalues of second derivatives.

    On a parabola of largest curvature λ the loss falls at every step for a rate up to 2/λ, and along one straight line
    up to 1/λ; with momentum m it grows above 2 (1 + m)/λ (Polyak 1964).

    is_finite: False if the run broke off because f or its derivative was not finite.
    Raises SettingError for no records, and for points of more than 10 elements.
    """
    rate, momentum = rate_and_momentum(rate, momentum)
    if not isinstance(records, Sequence) or not all(isinstance(one, DescentStep) for one in records):
        raise SettingError(f"expected the records of a descent in a list, came {brief(records)}")
    if not records:
        raise SettingError("there are no records to judge; a descent gives at least its start")
    if records[0].x.numel() > MOST_ELEMENTS:
        raise SettingError(f"a path of points of at most {MOST_ELEMENTS} elements can be judged")
    return _Path(f, records, rate, momentum, is_finite).verdict()


@dataclass
class _Path:
    f: Differentiable
    records: Sequence[DescentStep]
    rate: float
    momentum: float
    is_finite: bool

    @cached_property
    def points(self) -> Tensor:
        return torch.stack([record.x.flatten().double() for record in self.records])

    @cached_property
    def values(self) -> list[float]:
        return [record.value for record in self.records]

    @cached_property
    def rises(self) -> list[int]:
        """The steps after which the loss was higher, by more than rounding."""
        pairs = enumerate(zip(self.values, self.values[1:], strict=False), 1)
        return [i for i, (before, after) in pairs if after > before + 1e-12 * max(abs(before), abs(after))]

    @cached_property
    def curvature(self) -> float:
        """λ, the largest one along the path; if the loss grows, where it begins to."""
        end = self.rises[0] if self.grows and self.rises else len(self.records)
        largest = self._largest(torch.linspace(0, end - 1, min(end, LOOKS)).round().int().unique().tolist())
        if end < len(self.records) and self.rate <= self._bound(largest):
            largest = max(largest, self._largest([end]))
        return largest

    def _largest(self, places: list[int]) -> float:
        found = [curvatures(self.f, self.records[i].x) for i in places]
        return max((float(one[0][-1]) for one in found if one is not None), default=0.0)

    def _bound(self, curvature: float) -> float:
        """The rate above which the loss grows on a parabola."""
        return 2 * (1 + self.momentum) / curvature if curvature > 0 else math.inf

    @cached_property
    def seen(self) -> float:
        """The largest change of the gradient, at most, in units of the way: far above λ it is an edge's."""
        norms = [record.gradient_norm for record in self.records]
        ways = (self.points[1:] - self.points[:-1]).norm(dim=1).tolist()
        return max(((a + b) / way for a, b, way in zip(norms[1:], norms, ways, strict=False) if way), default=0.0)

    @property
    def bound(self) -> float:
        return self._bound(self.curvature)

    @property
    def bound_in_words(self) -> str:
        name = "2 (1 + m)/λ" if self.momentum else "2/λ"
        return f"{name} = {self.bound:.4g}"

    @cached_property
    def grows(self) -> bool:
        first, last = self.values[0], self.values[-1]
        return last > first + 1e-9 * abs(first) and last >= 0.5 * max(self.values)

    @cached_property
    def turns(self) -> int:
        """How many steps go back by more than they go aside."""
        ways = self.points[1:] - self.points[:-1]
        sizes = ways.norm(dim=1)
        if len(ways) < 2:
            return 0
        cosines = (ways[1:] * ways[:-1]).sum(1) / (sizes[1:] * sizes[:-1]).clamp_min(1e-300)
        return int(((cosines < -0.5) & (sizes[1:] > 1e-9 * sizes.max())).sum())

    @property
    def is_zigzag(self) -> bool:
        return self.turns >= 3 and self.turns > 0.3 * (len(self.records) - 2)

    def verdict(self) -> Verdict:
        kind, said = self._main()
        sentences = [said]
        if kind in ("minimum", "saddle", "flat", "slow", "unfinished"):
            sentences += self._remarks(kind)
        return Verdict(kind, tuple(sentences), self.curvature)

    def _main(self) -> tuple[str, str]:
        last, steps = self.records[-1], _counted(self.records[-1].step)
        largest = max(record.gradient_norm for record in self.records)
        if self.grows:
            return "grows", self._growth()
        if not self.is_finite:
            return "unbounded", self._break_off(last.step)
        if last.gradient_norm <= max(CONVERGED * largest, 1e-12) or largest == 0:
            return self._end(last)
        if self._bounces():
            return "bounces", self._bouncing()
        if self._is_endless():
            return (
                "unbounded",
                f"the loss falls without end: after {steps} it is {last.value:.4g}, as steep as ever",
            )
        share = last.gradient_norm / self.records[0].gradient_norm if self.records[0].gradient_norm else math.inf
        reach = self.rate / (1 - self.momentum)
        if self.curvature > 0 and reach < FAR_TOO_SMALL / self.curvature and not self.rises:
            times = 1 / (self.curvature * reach)
            return "slow", (
                f"the rate {self.rate:g} is far too small: 1/λ = {1 / self.curvature:.4g} is {times:.3g} times as large"
                f"{' as with this momentum it comes to' if self.momentum else ''} (λ = {self.curvature:.4g}, the "
                "largest curvature along the path); "
                f"after {steps} the gradient is still {share:.2g} times that of the start"
            )
        return (
            "unfinished",
            f"not there yet: after {steps} the gradient is {share:.2g} times that of the start",
        )

    def _growth(self) -> str:
        lam, over = self.curvature, "" if self.is_finite else ", until it is no number any more"
        if self.rate > self.bound * (1 - 1e-6):
            return (
                f"the loss grows{over}: the rate {self.rate:g} is above {self.bound_in_words} "
                f"(λ = {lam:.4g}, the largest curvature where it begins to)"
            )
        return f"the loss grows{over}: the rate {self.rate:g} is too large for where the path goes"

    def _break_off(self, steps: int) -> str:
        """Why the function is no number any more though it fell."""
        if self.values[-1] < -DEEP * max(1.0, abs(self.values[0])):
            now = f"after {_counted(steps)} it is {self.values[-1]:.4g}"
            return f"the loss falls without end: {now}, then beyond all numbers"
        if self.rate > self.bound:
            return (
                f"step {steps + 1} leaves where the function is defined: the rate {self.rate:g} is too large "
                f"({self.bound_in_words}; λ = {self.curvature:.4g}, the largest curvature along the path)"
            )
        return f"step {steps + 1} leaves where the function is defined, falling all the way: there is no minimum before"

    def _is_endless(self) -> bool:
        """Whether it falls in steps that do not get smaller."""
        norms = [record.gradient_norm for record in self.records]
        return (
            len(norms) > 4
            and not (self.rises or self.is_zigzag)
            and norms[-1] >= max(0.99 * max(norms), norms[len(norms) // 2])
        )

    def _bounces(self) -> bool:
        """Whether it goes to and fro in steps that do not get smaller."""
        ways = (self.points[1:] - self.points[:-1]).norm(dim=1)
        half = len(ways) // 2
        return len(ways) > 3 and self.is_zigzag and float(ways[-1]) > 0.9 * float(ways[half]) > 0

    def _bouncing(self) -> str:
        if self.curvature > 0 and abs(self.rate / self.bound - 1) < 0.02:
            return f"the path goes to and fro, no nearer: the rate {self.rate:g} is just {self.bound_in_words}"
        if self.seen > 10 * max(self.curvature, 0.0):
            return (
                f"the path goes to and fro over an edge, where the derivative jumps: its steps stay as long as the "
                f"rate {self.rate:g} makes them, and only a smaller rate comes nearer"
            )
        return f"the path goes to and fro, no nearer, at the rate {self.rate:g} ({self.bound_in_words})"

    def _end(self, last: DescentStep) -> tuple[str, str]:
        where = f"{_numbers(last.x)}, f = {last.value + 0.0:.6g}"
        found = curvatures(self.f, last.x)
        if found is None:
            return "flat", f"the gradient is gone at {where}, where there are no second derivatives"
        values, ways = found
        least = FLAT * max(float(values.abs().max()), abs(self.curvature) if self.curvature > 0 else 0.0, 1e-12)
        listed = "curvature " + " and ".join(f"{value:.4g}" for value in values.tolist())
        if values[0] > least and not self._fades(last.x, values, ways):
            return "minimum", f"converged to a minimum at {where} ({listed})"
        if values[0] < -least and values[-1] > least:
            way = _numbers(ways[:, 0])
            return "saddle", f"stands on a saddle at {where}: f falls along {way} and rises across ({listed})"
        if values[-1] < -least:
            return "maximum", f"stands on a maximum at {where}, where the gradient is 0: no step leads away ({listed})"
        return (
            "flat",
            f"the gradient is gone at {where}; f is too flat there for second derivatives to decide ({listed})",
        )

    def _fades(self, x: Tensor, values: Tensor, ways: Tensor) -> bool:
        """Whether the least curvature goes away together with the gradient, as that of x⁴ does."""
        gone = gradient(self.f, x, kinks=True).flatten()
        there = curvatures(self.f, x - (ways @ (ways.T @ gone / values)).reshape(x.shape))  # where a parabola is lowest
        return there is None or abs(float(there[0][0] / values[0]) - 1) > FADING

    def _remarks(self, kind: str) -> list[str]:
        said = []
        lam, bound = self.curvature, self.bound
        if self.momentum and self.rises:
            times = f"{len(self.rises)} of {_counted(len(self.records) - 1)}"
            said.append(f"momentum {self.momentum:g} carries it past the minimum and back: the loss rose in {times}")
        elif not self.momentum and self.is_zigzag and lam > 0 and 1 / lam < self.rate <= bound:
            said.append(
                f"it zigzags: the rate {self.rate:g} is between 1/λ = {1 / lam:.4g} and {self.bound_in_words}, so that "
                f"a step across goes too far; up to {1 / lam:.4g} it does not"
            )
        found = curvatures(self.f, self.records[-1].x) if kind == "unfinished" else None
        if found is not None and found[0][0] > 0 and found[0][-1] > NARROW * found[0][0]:
            along, across = float(found[0][0]), float(found[0][-1])
            said.append(
                f"the valley is narrow, its curvature {across:.3g} across and {along:.3g} along: a rate that suits "
                f"the one is slow for the other{'' if self.momentum else ', where momentum helps'}"
            )
        return said


def curvatures(f: Differentiable, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """The curvatures of f at x, least first, and their directions as columns; None if f has none there."""
    units = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    try:
        columns = [hessian_vector_product(f, x, along=unit) for unit in units]
    except NotFiniteError:
        return None
    found = torch.stack([column.product.flatten() for column in columns], 1)
    if max(column.error for column in columns) > CLEAR * max(float(found.abs().max()), 1e-9):
        return None
    values, ways = torch.linalg.eigh((found + found.T) / 2)
    return values, ways


def _numbers(x: Tensor) -> str:
    numbers = [f"{number:.4g}" for number in torch.where(x.abs() < 1e-4 * x.abs().max(), 0.0, x).flatten().tolist()]
    return numbers[0] if len(numbers) == 1 else f"({', '.join(numbers)})"


def _counted(steps: int) -> str:
    return f"{steps:,} step{'s' * (steps != 1)}"
