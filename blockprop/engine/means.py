"""Means over batches: the value that one batch of all the examples would have, whatever batches they came in."""

import math
from collections.abc import Sequence
from typing import Any

from blockprop.engine.objectives import Objective
from blockprop.errors import SettingError


def shares(objective: Objective, target: Any, whole: Any, factors: Sequence[float] | None = None) -> list[float]:
    """What each term of an objective counts on some of a batch's examples, so that the parts add up to the whole.

    target, whole: of these examples, and of all.   factors: other ones than the objective's, of the whole.
    Returns factor · weight / whole weight of each term.
    """
    own = [factor for factor, _ in objective.terms] if factors is None else factors
    return [
        factor if term.adds_up else factor * _divisor(term, target) / _divisor(term, whole)
        for factor, (_, term) in zip(own, objective.terms, strict=True)
    ]


def _divisor(term: Objective, target: Any) -> float:
    """What a term's value on these examples was divided by: their weight, or nothing if none of them counts."""
    return term.weight(target) or 1.0


class BatchMean:
    """An objective's value on all examples, from its values on batches of them.

    Each term is Σ weight · value / Σ weight, or Σ value where it is a sum. sums, weights: so far, for each term.
    """

    def __init__(self, objective: Objective):
        self.terms = objective.terms
        self.sums, self.weights = [0.0] * len(self.terms), [0.0] * len(self.terms)

    def add(self, values: Sequence[float], target: Any) -> None:
        """Take in a batch: each term's value on it, and its target."""
        for i, (value, (_, term)) in enumerate(zip(values, self.terms, strict=True)):
            weight = 1.0 if term.adds_up else term.weight(target)
            if weight or math.isfinite(value):  # the mean of nothing is NaN, and says nothing
                self.sums[i] += (weight or 1.0) * value
                self.weights[i] += weight

    def add_counted(self, values: Sequence[float], counts: Sequence[int]) -> None:
        """Take in batches of which each weighs as many examples as it has: the only term's values on them."""
        for value, count in zip(values, counts, strict=True):
            self.sums[0] += count * value
            self.weights[0] += count

    @property
    def values(self) -> list[float]:
        """Each term's value so far, 0 where no example counts: a step of training on such a batch changes nothing."""
        return [
            total if term.adds_up else total / (weight or 1.0)
            for (_, term), total, weight in zip(self.terms, self.sums, self.weights, strict=True)
        ]

    @property
    def value(self) -> float:
        """Σ factor · term. SettingError if no example counts in one of them: the mean of nothing is no number."""
        for (_, term), weight in zip(self.terms, self.weights, strict=True):
            if not term.adds_up and not weight:
                raise SettingError(
                    f"{term} is a mean of nothing on these data: each of their targets has the weight 0 "
                    "(with class weights: those of all classes that occur are 0)"
                )
        return sum(factor * value for (factor, _), value in zip(self.terms, self.values, strict=True))
