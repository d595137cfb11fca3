"""Which elements of a derivative are wrong: random directions find that some are, halving finds which.

Along a random direction u the error is Σ (d_i − ∂_i) u_i. None of the u_i is small, so that each wrong element shows,
and their sizes differ, so that two errors hardly ever cancel. The error along a span of elements is the sum of those
along its halves: where both halves are right, so is the whole, and what was seen along it was a kink or rounding. So a
span that does not look right is halved, the worse half first, down to single elements: one that is not right, and at no
kink, is wrong.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from blockprop.engine.differences import TOLERANCE, Comparison, Ground
from blockprop.engine.looking import FAR_BELOW, Look, Stretch

DIRECTIONS = 3
MOST_HALVINGS = 600
"""Along one direction; more are not right only where kinks are everywhere."""
MOST_CHANGES = 10**6
"""… in a large tensor: halvings times elements, beside what it takes to find two elements."""


@dataclass
class Probe:
    """A number as a function of tensors that are changed in place, and how their derivatives are tried.

    value: the number, and the size of the terms that add up to it; its rounding is proportional to that.
    sharp: try longer steps where the usual one drowns in rounding. Not where kinks lie close, as in whole networks.
    """

    value: Callable[[], tuple[float, float]]
    tolerance: float = TOLERANCE
    directions: int = DIRECTIONS
    every_element: bool = False
    sharp: bool = True
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def compare(self, name: str, tensor: Tensor, d: Tensor) -> Comparison:
        """Compare `d`, the backward pass's answer for `tensor`, with finite differences of `value`."""
        if tensor.numel() == 0:
            return Comparison(name, 0.0, 0.0, 0.0)
        if not torch.isfinite(d).all():
            bad = tuple((~torch.isfinite(d)).nonzero()[0].tolist())
            return Comparison(name, math.inf, float(d[bad]), math.nan, bad)
        ground = Ground(self.value, tensor, d)
        if self.every_element:
            return self._one_by_one(name, ground)
        return worst([self._along(name, ground) for _ in range(self.directions)])

    def compare_at(self, name: str, tensor: Tensor, d: Tensor, index: tuple[int, ...]) -> Comparison:
        """Compare one element alone."""
        place = torch.arange(d.numel()).view(d.shape)[index]
        look = self._element(Ground(self.value, tensor, d), int(place))
        return self._told(name, look, int(look.kink))

    def _along(self, name: str, ground: Ground) -> Comparison:
        """The verdict along one direction; where that is too steep for the usual steps, along one with smaller ones."""
        comparison = self._halved(name, ground)
        if comparison.index is not None or comparison.error <= self.tolerance:
            return comparison
        near = ground.near_poles()
        return comparison if torch.equal(near.reach, ground.reach) else self._halved(name, near)

    def _halved(self, name: str, ground: Ground) -> Comparison:
        whole = Stretch(ground, 0, ground.d.numel(), self._direction(ground), self.tolerance).look(self.sharp)
        doubtful, right, kinks, left = [whole], [], 0, _most_halvings(ground.d.numel())
        while doubtful:
            look = doubtful.pop()
            if look.span.is_element and not look.right:
                look = self._element(ground, look.span.first)
            kinks += look.kink
            if look.right:
                right.append(look)
            elif look.span.is_element:
                return self._told(name, look, kinks)
            elif left <= 0:
                return self._unclear(name, whole, kinks)
            else:
                left -= 1
                doubtful += sorted((half.look(self.sharp) for half in look.span.halves()), key=lambda one: one.walk.gap)
        return self._told(name, max(right, key=lambda one: one.error), kinks)

    def _direction(self, ground: Ground) -> Tensor:
        """±½ … ±1½ for each element, at random."""
        shape, dtype = ground.reach.shape, ground.reach.dtype
        sizes = torch.rand(shape, dtype=dtype, generator=self.generator) + 0.5
        signs = 2 * torch.randint(0, 2, shape, generator=self.generator) - 1
        return (sizes * signs).to(ground.reach.device) * ground.reach

    def _one_by_one(self, name: str, ground: Ground) -> Comparison:
        looks = [self._element(ground, place) for place in range(ground.d.numel())]
        comparison = self._told(name, max(looks, key=lambda one: one.error), sum(look.kink for look in looks))
        return replace(comparison, elements=len(looks))

    def _element(self, ground: Ground, place: int) -> Look:
        """One element by itself, with a smaller step, too, if it is small."""
        look = Stretch(ground, place, place + 1, ground.reach[place : place + 1], self.tolerance).look(self.sharp)
        near = ground if look.right else ground.near_poles()
        if bool(near.reach[place] == ground.reach[place]):
            return look
        closer = Stretch(near, place, place + 1, near.reach[place : place + 1], self.tolerance).look(self.sharp)
        shrunk = float((near.reach[place] / ground.reach[place]).abs())
        could_see = closer.walk.rounding < FAR_BELOW * look.walk.gap * shrunk
        return closer if closer.right and (could_see or not self.sharp) else look

    def _unclear(self, name: str, whole: Look, kinks: int) -> Comparison:
        """Too much to be looked into: an error of one element could hide in all of the gap."""
        comparison, size = self._told(name, whole, kinks), whole.span.ground.size
        return replace(comparison, resolution=whole.walk.gap / size if size else comparison.resolution)

    def _told(self, name: str, look: Look, kinks: int) -> Comparison:
        """The comparison that a look amounts to: a single element's numbers are those of a step of 1."""
        walk, size = look.walk, look.span.ground.size
        resolution = walk.rounding / size if size and look.right else 0.0
        if not look.span.is_element:
            return Comparison(name, look.error, walk.explicit, walk.numeric, kinks=kinks, resolution=resolution)
        step = float(look.span.way[0]) or 1.0
        index = tuple(int(i) for i in torch.unravel_index(torch.tensor(look.span.first), look.span.ground.tensor.shape))
        return Comparison(name, look.error, walk.explicit / step, walk.numeric / step, index, kinks, 0, resolution)


def _most_halvings(elements: int) -> int:
    return 2 * elements.bit_length() + min(MOST_HALVINGS, MOST_CHANGES // elements)


def worst(comparisons: Sequence[Comparison]) -> Comparison:
    """The one with the largest error; with the most kinks of all, and what the sharpest of them can see."""
    largest = max(comparisons, key=lambda one: one.error)
    sharpest = min(one.resolution for one in comparisons)
    return replace(largest, kinks=max(one.kinks for one in comparisons), resolution=sharpest)
