"""A block's derivatives beside finite differences of Σ r · output, where the r are random errors from above."""

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from blockprop.engine.differences import TOLERANCE, Comparison
from blockprop.engine.halving import DIRECTIONS, Probe, worst
from blockprop.engine.subject import Subject, moved


class Trial:
    """One backward pass from random errors r, and the number Σ r · (output − first output) whose slopes it gives.

    The difference from the first output: so that large outputs do not swallow small changes.
    signed: or all r above 0, so that a sum of functions that bend upwards (maxima) does so, too.
    """

    def __init__(self, subject: Subject, generator: torch.Generator, signed: bool = True):
        self.subject, self.inputs = subject, subject.copies()
        outputs, saved = subject.run(self.inputs)
        self.outputs = [y.clone() for y in outputs]  # they may be views of what is changed below
        self.errors = tuple(
            [_random(y, generator, signed) if subject.takes_error(i) else None for i, y in enumerate(outputs)]
        )
        given = tuple([None if r is None else r.clone() for r in self.errors])
        self.derivatives = {
            name: (x, torch.zeros_like(x) if d is None else d)
            for name, (x, d) in subject.derivatives(self.inputs, saved, given).items()
            if x.is_floating_point()
        }

    @cached_property
    def usual(self) -> float:
        """The squared size of all terms if they were of the usual one: a single huge output must not drown the rest."""
        terms = [(r * y).abs() for r, y in zip(self.errors, self.outputs, strict=True) if r is not None and y.numel()]
        return sum(float(term.median()) ** 2 * term.numel() for term in terms if term.median().isfinite())

    def value(self) -> tuple[float, float]:
        """The number, and the size of its terms: of those that have changed, and of all others as they usually are."""
        number, squares = 0.0, self.usual
        for r, y, first in zip(self.errors, self.subject.run(self.inputs)[0], self.outputs, strict=True):
            if r is not None:
                same = y == first  # infinities, too
                number += float((r * torch.where(same, 0.0, y - first)).sum())
                squares += float(torch.where(same, 0.0, r * y).square().sum())
        return number, squares**0.5


def judged(subject: Subject, tolerance: float = TOLERANCE, at_kinks: bool = True) -> list[Comparison]:
    """Each derivative's comparison; what fails at kinks must fail beside them, too.

    at_kinks: unless it is wrong at a kink by itself, whose slopes it does not lie between.
    """
    comparisons = compared(subject, tolerance)
    failed = {c.name for c in comparisons if not c.error <= tolerance and (c.kinks or c.index is None or not at_kinks)}
    beside = {c.name: c for c in compared(moved(subject), tolerance, failed)} if failed else {}
    for i, comparison in enumerate(comparisons):
        other = beside.get(comparison.name)
        if other and other.error <= tolerance and not (at_kinks and _is_wrong_alone(subject, comparison)):
            comparisons[i] = replace(other, moved=True, kinks=comparison.kinks)
    return comparisons


def compared(subject: Subject, tolerance: float, names: set[str] | None = None) -> list[Comparison]:
    """Each derivative (of these names) along a direction for each of several random errors from above."""
    generator = torch.Generator().manual_seed(subject.seed)
    rounds: dict[str, list[Comparison]] = {}
    for _ in range(DIRECTIONS):
        trial = Trial(subject, generator)
        probe = Probe(trial.value, tolerance, directions=1, generator=generator)
        for name, (x, d) in trial.derivatives.items():
            before = rounds.setdefault(name, []) if names is None or name in names else None
            if before is not None and (not before or before[-1].error <= tolerance):
                before.append(probe.compare(name, x, d))
    return [worst(comparisons) for comparisons in rounds.values()]


def _is_wrong_alone(subject: Subject, comparison: Comparison) -> bool:
    """Whether the element is wrong by itself, where overlapping maxima cannot cancel each other's kinks."""
    if comparison.index is None:
        return False
    trial = Trial(subject, torch.Generator().manual_seed(subject.seed), signed=False)
    x, d = trial.derivatives[comparison.name]
    return not Probe(trial.value).compare_at(comparison.name, x, d, comparison.index).error <= TOLERANCE


def _random(y: Tensor, generator: torch.Generator, signed: bool) -> Tensor:
    """½ … 1½ for each element, with random signs: none is small, or its derivative would be. 0 where y is infinite: it
    does not move with what it is computed from (a sum with −∞, as masks have it)."""
    sizes = torch.rand(y.shape, dtype=torch.float64, generator=generator) + 0.5
    signs = 2 * torch.randint(0, 2, y.shape, generator=generator) - 1
    return (sizes * signs if signed else sizes).to(y.device).masked_fill_(y.isinf(), 0.0)
