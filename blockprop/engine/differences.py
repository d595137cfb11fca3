"""Finite differences: one tensor's derivative beside the slopes of a number. check.py says why it is done so."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

STEP = 1e-6
TOLERANCE = 1e-6
DIRECTIONS = 3
ELEMENTS = 2_000
"""At most so many elements are tried one by one: the largest derivatives and a random rest."""


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


@dataclass
class Probe:
    """A number as a function of tensors that are changed in place, and how to walk along one of them.

    magnitude: size of the terms that add up to the number; rounding is proportional to it.
    """

    value: Callable[[], float]
    magnitude: float
    tolerance: float = TOLERANCE
    every_element: bool = False
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def compare(self, name: str, tensor: Tensor, d: Tensor) -> Comparison:
        """Compare `d`, the backward pass's answer for `tensor`, with finite differences of `value`."""
        if tensor.numel() == 0:
            return Comparison(name, 0.0, 0.0, 0.0)
        if not torch.isfinite(d).all():
            bad = tuple((~torch.isfinite(d)).nonzero()[0].tolist())
            return Comparison(name, float("inf"), float(d[bad]), float("nan"), bad)
        found = self._compare(name, tensor, d, torch.ones_like(tensor))
        if not found.error <= self.tolerance:  # near a pole (log, division) the step must be small beside x
            near_zero = torch.where(tensor == 0, 1.0, (300 * tensor.abs()).clamp(max=1.0))
            again = self._compare(name, tensor, d, near_zero) if (near_zero < 1).any() else found
            found = again if again.error < found.error else found
        return found

    def _compare(self, name: str, tensor: Tensor, d: Tensor, reach: Tensor) -> Comparison:
        if self.every_element:
            return self._elements(name, tensor, d, reach)
        tried = [self._direction(name, tensor, d, reach) for _ in range(DIRECTIONS)]
        worst = max(tried, key=lambda c: c.error)
        clear = worst.error <= self.tolerance and not any(c.kinks for c in tried)
        return worst if clear else self._elements(name, tensor, d, reach)

    def _direction(self, name: str, tensor: Tensor, d: Tensor, reach: Tensor) -> Comparison:
        direction = torch.randn(tensor.shape, dtype=tensor.dtype, generator=self.generator).to(tensor.device)
        return self._walk(name, tensor, direction * reach, d, float((d * reach).norm()))

    def _elements(self, name: str, tensor: Tensor, d: Tensor, reach: Tensor) -> Comparison:
        size = float(d.norm()) / d.numel() ** 0.5
        places = self._places(d)
        worst, kinks = Comparison(name, -1.0, 0.0, 0.0), 0
        direction = torch.zeros_like(tensor, memory_format=torch.contiguous_format)
        for place in places:
            index = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), tensor.shape))
            direction[index] = step = float(reach[index])
            found = self._walk(name, tensor, direction, d, size * step)
            direction[index] = 0.0
            kinks += found.kinks
            if not found.error <= worst.error:
                worst = replace(found, explicit=found.explicit / step, numeric=found.numeric / step, index=index)
        return replace(worst, kinks=kinks, elements=len(places))

    def _places(self, d: Tensor) -> list[int]:
        if d.numel() <= ELEMENTS or self.every_element:
            return list(range(d.numel()))
        largest = d.abs().flatten().topk(ELEMENTS // 2).indices.tolist()
        others = torch.randperm(d.numel(), generator=self.generator)[: ELEMENTS // 2].tolist()
        return list(dict.fromkeys(largest + others))

    def _walk(self, name: str, tensor: Tensor, direction: Tensor, d: Tensor, scale: float) -> Comparison:
        """Walk both ways along a direction; smaller steps are tried before it counts as an error.

        scale: the size that d · direction has on average. A NaN on the way is an infinite error.
        """
        best, gaps, between = Comparison(name, math.inf, 0.0, math.nan), [], False
        rounding = 16 * torch.finfo(torch.float64).eps * self.magnitude / STEP
        for step in (STEP, STEP / 10, STEP / 100):
            behind, ahead, moved = self._slopes(tensor, direction, step)
            explicit, numeric = float((d * moved).sum()), (behind + ahead) / 2
            unit = max(scale, abs(numeric), abs(explicit), 1e-300)
            error = abs(explicit - numeric) / max(unit, rounding / self.tolerance)
            if error < best.error:
                best = Comparison(name, error, explicit, numeric, resolution=rounding / unit)
            if best.error <= self.tolerance:
                return best
            gaps.append(abs(ahead - behind))
            slack = max(self.tolerance * unit, rounding)
            between = min(ahead, behind) - slack <= explicit <= max(ahead, behind) + slack
        kink = between and gaps[2] > gaps[0] / 2
        return replace(best, error=0.0, kinks=1) if kink else best

    def _slopes(self, tensor: Tensor, direction: Tensor, step: float) -> tuple[float, float, Tensor]:
        """The slopes behind and ahead, and the direction that was really walked: x + step · direction is rounded."""
        start, middle = tensor.clone(), self.value()
        there, back = start + step * direction, start - step * direction
        ahead, behind = (self._at(tensor, there) - middle) / step, (middle - self._at(tensor, back)) / step
        tensor.copy_(start)
        return behind, ahead, (there - back) / (2 * step)

    def _at(self, tensor: Tensor, there: Tensor) -> float:
        tensor.copy_(there)
        return self.value()
