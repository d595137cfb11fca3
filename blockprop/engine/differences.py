"""Finite differences: the slope of a number along directions in a tensor, beside what the backward pass says of it."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

STEPS = (1e-6, 1e-7, 1e-8)
"""The usual step, and smaller ones that decide near a kink and where a function bends much."""
LONG_STEPS = (1e-2, 1e-3)
"""Where the usual step drowns in rounding; then with four points, so that bending does not show."""
TOLERANCE = 1e-6
ROUNDINGS = 16
"""By so many times the last place of its terms the number may be off: what a block computes inside rounds, too."""


@dataclass(frozen=True)
class Comparison:
    """One tensor's derivative against finite differences; `index`, `explicit` and `numeric` show the worst place.

    error: |explicit − numeric| in units of the gradient's own size, so that 1e-3 means wrong by a thousandth.
    """

    name: str
    error: float
    explicit: float
    numeric: float
    index: tuple[int, ...] | None = None
    kinks: int = 0
    elements: int = 0
    """How many elements were tried one by one."""
    resolution: float = 0.0
    """Rounding of the differences, in the same units: smaller errors than this cannot be seen."""
    moved: bool = False
    """Compared a thousandth beside the given point, because that lies on kinks."""

    def __str__(self) -> str:
        place = f" at {list(self.index)}" if self.index is not None else " along a random direction"
        kinks = f", {self.kinks} at kinks" if self.kinks else ""
        kinks += ", a thousandth beside the point" if self.moved else ""
        kinks += f", too small to see errors below {self.resolution:.0e}" if self.resolution > 1e-4 else ""
        numbers = f"backward {self.explicit:.9g}, differences {self.numeric:.9g}"
        return f"{self.name}: error {self.error:.1e} ({numbers}{place}{kinks})"


@dataclass(frozen=True)
class Slopes:
    """Slopes along a direction: `explicit` by the derivative, `behind` and `ahead` by differences to both sides.

    rounding: by how much the differences may be off.
    """

    explicit: float
    behind: float
    ahead: float
    rounding: float

    @property
    def numeric(self) -> float:
        return (self.behind + self.ahead) / 2

    @property
    def gap(self) -> float:
        """|explicit − numeric|, infinite if a NaN was on the way."""
        gap = abs(self.explicit - self.numeric)
        return math.inf if math.isnan(gap) else gap

    @property
    def jump(self) -> float:
        """By how much the slopes to the two sides differ."""
        return abs(self.ahead - self.behind)

    def is_between(self, slack: float) -> bool:
        low, high = min(self.behind, self.ahead), max(self.behind, self.ahead)
        return low - slack <= self.explicit <= high + slack


class Ground:
    """A tensor that is changed in place, the derivative `d` that is claimed for it, and the number that it moves.

    value: the number, and the size of the terms that add up to it; its rounding is proportional to that.
    reach: what a step of 1 is for each element.
    """

    def __init__(self, value: Callable[[], tuple[float, float]], tensor: Tensor, d: Tensor):
        self.value, self.tensor, self.d = value, tensor, d.flatten()
        self.start = tensor.detach().clone(memory_format=torch.contiguous_format).flatten()
        self.reach = usual_reach(self.start)
        self.middle = value()[0]

    @cached_property
    def size(self) -> float:
        """The usual size of a derivative other than 0, for a step of 1.

        Not the mean, which a single large one could decide.
        """
        return _median(self.d * self.reach)

    @cached_property
    def usual_size(self) -> float:
        """The same for usual steps."""
        return _median(self.d * usual_reach(self.start))

    def near_poles(self) -> "Ground":
        """The same with steps that are small beside each element, as functions want it near a pole (log, division)."""
        other = copy.copy(self)
        other.__dict__.pop("size", None)
        small = self.reach.minimum(300 * self.start.abs())
        other.reach = torch.where((self.start == 0) | (self.reach == 0), self.reach, small)
        return other

    def walk(self, span: slice, way: Tensor, step: float) -> Slopes:
        """To both sides of a span's elements; what counts is the way really gone, because x + step · way is rounded."""
        here = self.start[span]
        ahead, back = here + step * way, here - step * way
        gone = torch.where(way == 0, 0.0, (ahead - back) / (2 * step))
        try:
            (there, terms), (behind, other_terms) = self._at(span, ahead), self._at(span, back)
        finally:
            self.tensor.copy_(self.start.view(self.tensor.shape))
        rounding = ROUNDINGS * torch.finfo(torch.float64).eps * max(terms, other_terms) / step
        explicit = float(self.d[span] @ gone)
        return Slopes(explicit, (self.middle - behind) / step, (there - self.middle) / step, rounding)

    def long_walk(self, span: slice, way: Tensor, step: float) -> Slopes:
        """The slope by four points, which is right up to the fifth derivative, but not where there are kinks."""
        near, far = self.walk(span, way, step), self.walk(span, way, 2 * step)
        slope = (4 * near.numeric - far.numeric) / 3
        return Slopes(near.explicit, slope, slope, 1.5 * near.rounding)

    def _at(self, span: slice, values: Tensor) -> tuple[float, float]:
        changed = self.start.clone()
        changed[span] = values
        self.tensor.copy_(changed.view(self.tensor.shape))
        return self.value()


def usual_reach(x: Tensor) -> Tensor:
    """1; more for large numbers, which a small step would leave as they are, and 0 for infinite ones."""
    return torch.where(x.isfinite(), (1e-4 * x.abs()).clamp_min(1.0), 0.0)


def _median(numbers: Tensor) -> float:
    """Of the sizes of those that are not 0."""
    sizes = numbers[numbers != 0].abs()
    return float(sizes.median()) if sizes.numel() else 0.0
