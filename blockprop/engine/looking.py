"""Whether a span of a derivative's elements is right, as walks along it with several steps show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.differences import LONG_STEPS, STEPS, Ground, Slopes, usual_reach

FAR_BELOW = 1 / 4
"""Of what another step has seen, so that a step which sees nothing of it tells something."""


@dataclass(frozen=True)
class Look:
    """What walking has shown: the walk that tells most, and whether the derivative is right.

    kink: the slopes to both sides differ, however small the step.
    """

    span: "Stretch"
    walk: Slopes
    right: bool
    kink: bool = False

    @property
    def error(self) -> float:
        """In units of the derivative's size in this span; 0 at a kink whose slopes it lies between."""
        if self.kink and self.right:
            return 0.0
        norm = float((self.span.ground.d[self.span.elements] * self.span.way).norm())
        unseen = self.walk.rounding / self.span.tolerance if self.right else 0.0
        unit = max(norm, self.span.unit(self.walk), unseen, 1e-300)
        return self.walk.gap / unit


@dataclass(frozen=True)
class Stretch:
    """The elements first … last − 1 of a tensor, walked along `way`."""

    ground: Ground
    first: int
    last: int
    way: Tensor
    tolerance: float

    def __repr__(self) -> str:
        return brief_repr(self)

    @property
    def elements(self) -> slice:
        return slice(self.first, self.last)

    @property
    def is_element(self) -> bool:
        return self.last - self.first == 1

    def halves(self) -> tuple["Stretch", "Stretch"]:
        middle = (self.first + self.last) // 2
        first, second = self.way.split([middle - self.first, self.last - middle])
        return (
            Stretch(self.ground, self.first, middle, first, self.tolerance),
            Stretch(self.ground, middle, self.last, second, self.tolerance),
        )

    @property
    def size(self) -> float:
        """The usual size of one element's derivative, for steps as they are here."""
        if not self.is_element:
            return self.ground.size
        share = (self.way / usual_reach(self.ground.start[self.elements])).abs().nan_to_num()
        return self.ground.usual_size * float(share)

    def unit(self, walk: Slopes) -> float:
        """What an error is measured in: the usual size of one element's derivative, or this one's own."""
        sizes = (abs(walk.explicit), abs(walk.numeric)) if self.is_element else ()
        return max(self.size, *(size for size in sizes if math.isfinite(size)), 0.0)

    def look(self, sharp: bool) -> Look:
        """Walk; smaller steps may clear what the usual one has seen, if they could have seen it.

        sharp: walk far, too, where the usual step drowns in rounding.
        """
        walks: list[Slopes] = []
        for step in STEPS:
            walk = self.ground.walk(self.elements, self.way, step)
            if self._is_clear(walk, walks):
                drowns = walk.rounding > self.tolerance * self.size
                return self._far(walk) if sharp and drowns else Look(self, walk, True)
            walks.append(walk)
        kink = self.is_element and self._is_kink(walks)
        right = kink and walks[0].is_between(self._allowed(walks[0]))
        off = [walk for walk in walks if walk.gap > self._allowed(walk)]
        return Look(self, min(off, key=lambda one: one.gap + one.rounding), right, kink)

    def _far(self, usual: Slopes) -> Look:
        """What long steps see and the usual one could not: it is an error if it is the same for both."""
        walks: list[Slopes] = []
        for step in LONG_STEPS:
            walk = self.ground.long_walk(self.elements, self.way, step)
            if self._is_clear(walk, walks):
                return Look(self, walk, True)
            walks.append(walk)
        long, short = (walk.explicit - walk.numeric for walk in walks)
        agree = abs(long - short) < FAR_BELOW * abs(short) and abs(short) * FAR_BELOW < usual.rounding
        return Look(self, walks[0] if agree else usual, not agree)

    def _is_clear(self, walk: Slopes, before: Sequence[Slopes]) -> bool:
        seen = min((other.gap for other in before), default=math.inf)
        return walk.gap <= self._allowed(walk) and walk.rounding < FAR_BELOW * seen

    def _allowed(self, walk: Slopes) -> float:
        return max(self.tolerance * self.unit(walk), walk.rounding)

    def _is_kink(self, walks: Sequence[Slopes]) -> bool:
        jump = walks[0].jump
        telling = [walk for walk in walks if walk.rounding < FAR_BELOW * jump]
        return bool(telling) and jump > self._allowed(walks[0]) and telling[-1].jump > jump / 2
