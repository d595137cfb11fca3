"""Which axes of a module's inputs may vary: found by exporting the module at other sizes, and comparing the graphs.

Where the graph is the same, no size stands in it. Where a number in it is another one, it is explained by the size of
an axis that changed alike: view(2, -1) and view(5, -1) for a batch of 2 and of 5. Only where that is not enough is
torch.export asked for formulas, which takes it far longer. What comes out is tried at yet another size (from_torch.py).
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple

from torch import Tensor

from blockprop.importers.symbols import BATCH_TRIALS
from blockprop.importers.torch.explaining import Explanations, Reference, differing, explain
from blockprop.importers.torch.exporting import Exporter, Program

PRIMES = (2, 3, 5, 7, 11, 13)
"""By how much the free axes are enlarged for a trial, the first by 2, the next by 3 …, so that each can be told."""
MOST_FORMULAS = 60
"""Operators with sizes among their arguments, beyond the batch's, up to which torch.export is asked for formulas. It
takes minutes for more, as in a network of window attention; then height and width are those of the example."""

TrialSizes = tuple[tuple[int, ...], ...]
"""The shape of each input."""


class Freedom(Enum):
    """How many sizes an export may leave free; from_torch takes the first of these with which the network is right."""

    EXPLAINED = "all that the module takes, as long as comparing graphs explains the numbers in them"
    FORMULAS = "all that torch.export finds formulas for, which takes it far longer"
    BATCH = "the batch alone"
    NOTHING = "none: all sizes are those of the example"


class Axis(NamedTuple):
    """One axis of one input."""

    input: int
    axis: int


class Exported(NamedTuple):
    """A module's graph, the shapes of its inputs in two trials, which differ where an axis is free, and in a third."""

    program: Program
    trials: tuple[tuple[tuple[int, ...], ...], ...]
    """trials[input] = (shape in the first trial, shape in the second)"""
    explanations: Explanations
    """Which numbers in the graph are the sizes of what."""
    others: tuple[TrialSizes, ...] = ()
    """Shapes to try the network at: the first of them that the module takes."""

    @property
    def has_free_axes(self) -> bool:
        """Whether any axis of any input may vary."""
        return any(first != second for first, second in self.trials)


class _Group(NamedTuple):
    """Axes that vary together: the batch of all inputs, or height and width of those of one size."""

    axes: tuple[Axis, ...]
    is_batch: bool
    factors: tuple[int, ...] = ()
    """By which to enlarge each axis."""

    def other_sizes(self, sizes: TrialSizes) -> Iterator[TrialSizes]:
        """Sizes to try: odd ones, because padding may depend on that; multiples; half the size."""
        for change in self._changes():
            changed = sizes
            for place, factor in zip(self.axes, self.factors or itertools.repeat(1), strict=False):
                changed = _resized(changed, (place,), change(sizes[place.input][place.axis], factor))
            yield changed

    def _changes(self) -> list[Any]:
        if self.is_batch:
            return [lambda size, _: size + 3]
        return [lambda size, factor: size * factor + 1, lambda size, factor: size * factor, lambda size, _: size // 2]

    def third_sizes(self, sizes: TrialSizes) -> Iterator[TrialSizes]:
        """Three to try the network at: slightly larger ones, other multiples, half the size; one more example."""
        for change in (lambda size, i: size + 3 + 2 * i, lambda size, i: size * (2 + i % 2), lambda size, _: size // 2):
            changed = sizes
            for place in self.axes:
                size = sizes[place.input][place.axis]
                changed = _resized(changed, (place,), size + 1 if self.is_batch else change(size, place.axis))
            yield changed


class _Varied(NamedTuple):
    """A group of axes that may vary, the sizes at which that was found, and what explains the changes there."""

    group: _Group
    sizes: TrialSizes
    explanations: Explanations | None
    differing: int


def export(exporter: Exporter, freedom: Freedom = Freedom.EXPLAINED) -> Exported:
    """Export with as many free axes as the module allows, and no more than `freedom` says."""
    inputs, formulas = exporter.inputs, freedom is Freedom.FORMULAS
    sizes: TrialSizes = tuple(tuple(x.shape) for x in inputs)
    groups = _groups(inputs) if freedom is not Freedom.NOTHING else []
    if freedom is Freedom.BATCH:
        groups = [group for group in groups if group.is_batch]
    base = None
    if groups and groups[0].is_batch and inputs[0].shape[0] == 1:  # torch takes a size of 1 for a fixed one
        larger = _resized(sizes, groups[0].axes, BATCH_TRIALS[0])
        with suppress(Exception):  # the module refuses it in whatever way it likes
            base = exporter.static(larger)
        sizes, groups = (larger, groups) if base else (sizes, groups[1:])
    base = base or exporter.static(sizes)
    first = [(group, next(group.other_sizes(sizes))) for group in groups]
    varied = [] if formulas or not groups else _all_at_once(exporter, first, base, sizes)
    if not varied:
        accepted = [pair for group in groups for pair in _accepted(exporter, group, sizes)]
        varied = _varied(exporter, accepted, base, sizes, formulas)
    program, free, explanations = _with_formulas(exporter, varied, base, sizes)
    return Exported(
        program, _trials(sizes, free), explanations, _third_sizes([variation.group for variation in free], sizes)
    )


def _groups(inputs: Sequence[Tensor]) -> list[_Group]:
    first = inputs[0]
    batch = [Axis(i, 0) for i, x in enumerate(inputs) if x.dim() and first.dim() and x.shape[0] == first.shape[0]]
    groups = [_Group(tuple(batch), True)] if batch else []
    kinds: dict[Any, list[int]] = {}
    for i, x in enumerate(inputs):
        kinds.setdefault((tuple(x.shape[1:]), x.is_floating_point()), []).append(i)
    primes = itertools.cycle(PRIMES)
    for (rest, floating), members in kinds.items():
        together = [range(2, len(rest) + 1)] if len(rest) >= 3 else [(axis,) for axis in range(1, len(rest) + 1)]
        if len(rest) == 1 and floating:  # (n, features): a number of features is not free
            continue
        for axes in together:
            factors = [next(primes) for _ in axes]
            groups.append(
                _Group(tuple(Axis(i, axis) for i in members for axis in axes), False, (*factors,) * len(members))
            )
    return groups


def _resized(sizes: TrialSizes, axes: Iterable[Axis], size: int) -> TrialSizes:
    shapes = list(sizes)
    for place in axes:
        shapes[place.input] = (*shapes[place.input][: place.axis], size, *shapes[place.input][place.axis + 1 :])
    return tuple(shapes)


def _accepted(exporter: Exporter, group: _Group, sizes: TrialSizes) -> list[tuple[_Group, TrialSizes]]:
    """The group, with sizes that the module takes; if it takes none, those of its axes that may vary alone."""
    for other in group.other_sizes(sizes):
        if exporter.accepts(other):
            return [(group, other)]
    numbers = sorted({place.axis for place in group.axes})
    if group.is_batch or len(numbers) == 1:
        return []
    pairs = []
    for axis in numbers:
        chosen = [i for i, place in enumerate(group.axes) if place.axis == axis]
        alone = _Group(tuple(group.axes[i] for i in chosen), False, tuple(group.factors[i] for i in chosen))
        pairs += _accepted(exporter, alone, sizes)
    return pairs


def _varied(
    exporter: Exporter, accepted: list[tuple[_Group, TrialSizes]], base: Program, sizes: TrialSizes, formulas: bool
) -> list[_Varied]:
    """Export at the other sizes: at all of them at once, if that is explained; else of one group after the other."""
    varied = [] if formulas or len(accepted) < 2 else _all_at_once(exporter, accepted, base, sizes)
    if varied:
        return varied
    for group, other in accepted:
        with suppress(Exception):
            program = exporter.static(other)
            count = differing(base, program)
            explanations = explain(base, program, _changed([group])) if count == 0 or not formulas else None
            varied.append(_Varied(group, other, explanations, count))
    return varied


def _all_at_once(
    exporter: Exporter, accepted: list[tuple[_Group, TrialSizes]], base: Program, sizes: TrialSizes
) -> list[_Varied]:
    """All groups, if the graph at the other sizes of all of them is explained."""
    everything = sizes
    for group, other in accepted:
        everything = _merged_sizes(everything, other, group)
    with suppress(Exception):  # the module may refuse sizes in whatever way it likes
        explanations = explain(base, exporter.static(everything), _changed(group for group, _ in accepted))
        if explanations is not None:
            return [_Varied(*pair, explanations, 0) for pair in accepted]
    return []


def _changed(groups: Iterable[_Group]) -> list[tuple[int, int]]:
    return [(place.input, place.axis) for group in groups for place in group.axes]


def _with_formulas(
    exporter: Exporter, varied: list[_Varied], base: Program, sizes: TrialSizes
) -> tuple[Program, list[_Varied], Explanations]:
    """(graph, groups that are free in it, explanations): with torch.export's formulas where explanations lack."""
    explained = [variation for variation in varied if variation.explanations is not None]
    explanations, clashing = _merged(explained)
    explained = [variation for variation in explained if variation not in clashing]
    others = [variation for variation in varied if variation.explanations is None or variation in clashing]
    others = [variation for variation in others if variation.group.is_batch or variation.differing < MOST_FORMULAS]
    if not others:
        return base, explained, explanations
    constant = [variation for variation in explained if not variation.explanations]
    wanted = [*others, *(variation for variation in explained if variation.explanations)]
    wanted.sort(key=lambda variation: not variation.group.is_batch)
    for count in range(len(wanted), 0, -1):
        axes = [place for variation in wanted[:count] for place in variation.group.axes]
        with suppress(Exception):  # whatever torch.export stumbles over
            program, free = exporter.dynamic(sizes, axes)
            kept = [variation for variation in wanted[:count] if all(place in free for place in variation.group.axes)]
            if len(kept) + len(constant) <= len(explained):
                break
            return program, [*constant, *kept], {}
    return base, explained, explanations


def _merged(varied: list[_Varied]) -> tuple[dict[tuple[str, int], Reference], list[_Varied]]:
    """All explanations, and the groups that explain a number that another one explains already."""
    references: dict[tuple[str, int], Reference] = {}
    clashing = []
    for variation in varied:
        new = dict(variation.explanations or {})
        if any(references.get(place, reference) != reference for place, reference in new.items()):
            clashing.append(variation)
        else:
            references |= new
    return references, clashing


def _trials(sizes: TrialSizes, free: list[_Varied]) -> tuple[tuple[tuple[int, ...], ...], ...]:
    first = second = sizes
    for variation in free:
        if variation.group.is_batch:
            batches = zip((first, second), BATCH_TRIALS, strict=True)
            first, second = (_resized(shapes, variation.group.axes, batch) for shapes, batch in batches)
        else:
            for place in variation.group.axes:
                second = _resized(second, (place,), variation.sizes[place.input][place.axis])
    return tuple(zip(first, second, strict=True))


def _third_sizes(groups: list[_Group], sizes: TrialSizes) -> tuple[TrialSizes, ...]:
    """Shapes that differ from those of the example in every free axis, and are none of the trials."""
    if not groups:
        return ()
    choices = [sizes, sizes, sizes]
    for group in groups:
        others = group.third_sizes(sizes)
        choices = [_merged_sizes(chosen, other, group) for chosen, other in zip(choices, others, strict=True)]
    return tuple(dict.fromkeys(choices))


def _merged_sizes(sizes: TrialSizes, other: TrialSizes, group: _Group) -> TrialSizes:
    for place in group.axes:
        sizes = _resized(sizes, (place,), other[place.input][place.axis])
    return sizes
