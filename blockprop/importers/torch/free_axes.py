"""Which axes of a module's inputs may vary: found by exporting the module at other sizes, and comparing the graphs.

Where the graph is the same, no size stands in it. Where a number in it is another one, it is explained by the size of
an axis that changed alike, view(2, -1) and view(5, -1) for a batch of 2 and of 5, or by what the module computed it
from (tracking.py). Only where that is not enough is torch.export asked for formulas, which takes it far longer. What
comes out is tried at yet other sizes: larger ones, and those where the module first decides otherwise (from_torch.py).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from blockprop.importers.symbols import BATCH_TRIALS
from blockprop.importers.torch.axis_groups import (
    Axis,
    AxisGroup,
    TrialSizes,
    groups_of,
    merged_sizes,
    resized,
    third_sizes_of,
)
from blockprop.importers.torch.explaining import (
    OTHER_OPERATORS,
    Explanations,
    OtherOperators,
    Unexplained,
    differing,
    explain,
)
from blockprop.importers.torch.exporting import Exporter, Program

MOST_FORMULAS = 60
"""Operators with sizes among their arguments, beyond the batch's, up to which torch.export is asked for formulas. It
takes minutes for more, as in a network of window attention; then height and width are those of the example."""


DECIDES = "the module decides by the size"


class Freedom(Enum):
    """How many sizes an export may leave free; from_torch takes the first of these with which the network is right."""

    EXPLAINED = "all that the module takes, as long as comparing graphs explains the numbers in them"
    CHANGING = "the same, but numbers that are alike in both graphs stay, whatever the module computed them from"
    FORMULAS = "all that torch.export finds formulas for, which takes it far longer"
    BATCH = "the batch alone"
    NOTHING = "none: all sizes are those of the example"


class Exported(NamedTuple):
    """A module's graph, the shapes of its inputs in two trials, which differ where an axis is free, and in a third."""

    program: Program
    trials: tuple[tuple[tuple[int, ...], ...], ...]
    """trials[input] = (shape in the first trial, shape in the second)"""
    explanations: Explanations
    """Which numbers in the graph are the sizes of what."""
    others: tuple[TrialSizes, ...] = ()
    """Shapes to try the network at: the first of them that the module takes."""
    tipping: tuple[TrialSizes, ...] = ()
    """Shapes with which the module first decides otherwise than with the graph's: all of them are tried."""
    wanted: tuple[Axis, ...] = ()
    """Axes that the module lets vary, as far as that was tried."""
    reasons: Mapping[Axis, str] = MappingProxyType({})
    """Why some of these do not vary in the graph."""
    sizes: TrialSizes = ()
    """Those that the graph was made with."""

    @property
    def free(self) -> list[Axis]:
        """The axes that may vary."""
        pairs = [zip(*trials, strict=True) for trials in self.trials]
        return [Axis(i, axis) for i, sizes in enumerate(pairs) for axis, (a, b) in enumerate(sizes) if a != b]

    def at(self, axis: Axis) -> int:
        """The axis' size in the graph."""
        return self.sizes[axis.input][axis.axis]

    def resized(self, inputs: Sequence[Tensor]) -> set[Axis]:
        """The axes whose sizes are others in the graph than in the example."""
        pairs = [(Axis(i, axis), n) for i, x in enumerate(inputs) for axis, n in enumerate(x.shape)]
        return {axis for axis, n in pairs if self.at(axis) != n}

    @property
    def has_free_axes(self) -> bool:
        """Whether any axis of any input may vary."""
        return bool(self.free)


class _Varied(NamedTuple):
    """A group of axes that may vary, the sizes at which that was found, and what explains the changes there."""

    group: AxisGroup
    sizes: TrialSizes
    explanations: Explanations | None
    differing: int


class _Sized(NamedTuple):
    """A group of axes, and sizes at which to try whether they may vary."""

    group: AxisGroup
    sizes: TrialSizes


def export(
    exporter: Exporter, freedom: Freedom = Freedom.EXPLAINED, banned: Collection[Axis] = frozenset()
) -> Exported:
    """Export with as many free axes as the module allows, and no more than `freedom` says; none of the banned ones."""
    exported = _Search(exporter, freedom, banned).result()
    stuck = exported.resized(exporter.inputs) - set(exported.free)
    if not stuck:
        return exported
    again = _Search(exporter, freedom, {*banned, *stuck}).result()  # the graph was made with another size of theirs
    wanted, reasons = (*exported.wanted, *again.wanted), {**again.reasons, **exported.reasons}
    return again._replace(wanted=wanted, reasons=reasons)


class _Search:
    """One search for free axes."""

    def __init__(self, exporter: Exporter, freedom: Freedom, banned: Collection[Axis]):
        inputs = exporter.inputs
        self.exporter, self.freedom, self.formulas = exporter, freedom, freedom is Freedom.FORMULAS
        self.sizes: TrialSizes = tuple(tuple(x.shape) for x in inputs)
        groups = groups_of(inputs) if freedom is not Freedom.NOTHING else []
        self.groups = [rest for group in groups if (rest := group.without(banned)).axes]
        self.other_operators: Unexplained | None = None
        """Why the graph is another one when all groups vary."""
        self.wanted: list[Axis] = []
        self.reasons: dict[Axis, str] = {}
        base = None
        if self.groups and self.groups[0].is_batch and inputs[0].shape[0] == 1:  # torch takes a size of 1 for fixed
            larger = resized(self.sizes, self.groups[0].axes, BATCH_TRIALS[0])
            try:
                base = exporter.static(larger)
                self.sizes = larger
            except Exception as error:  # the module refuses it in whatever way it likes
                self._refused(self.groups.pop(0), error)
        if freedom is Freedom.BATCH:
            self.groups = [group for group in self.groups if group.is_batch]
        self.base = base or exporter.static(self.sizes)

    def result(self) -> Exported:
        """The graph, with what varies in it."""
        sized = [_Sized(group, next(group.other_sizes(self.sizes))) for group in self.groups]
        varied = [] if self.formulas or not sized else self._all_at_once(sized)
        if not varied:
            varied = self._varied([pair for group in self.groups for pair in self._accepted(group)])
        self.wanted += [axis for variation in varied for axis in variation.group.axes]
        program, free, explanations = self._with_formulas(varied)
        if self.freedom is Freedom.CHANGING:
            explanations = explanations.changing()
        trials, groups = _trials(self.sizes, free), [variation.group for variation in free]
        others = third_sizes_of(groups, self.sizes)
        tipping = tuple(self._tipping(groups))
        return Exported(program, trials, explanations, others, tipping, tuple(self.wanted), self.reasons, self.sizes)

    def _tipping(self, groups: Sequence[AxisGroup]) -> Iterator[TrialSizes]:
        for place, axis, size in self.exporter.tipping(self.sizes):
            for group in groups:
                together = [other for other in group.axes if len(set(group.factors)) < 2 or other.axis == axis]
                if Axis(place, axis) in together:
                    yield resized(self.sizes, together, size)

    def _refused(self, group: AxisGroup, error: Exception) -> None:
        """Note why these axes do not vary; the first reason counts."""
        for axis in group.axes:
            self.reasons.setdefault(axis, str(error))

    def _accepted(self, group: AxisGroup) -> list[_Sized]:
        """The group, with sizes that the module takes; if it takes none, those of its axes that may vary alone."""
        for other in group.other_sizes(self.sizes):
            if self.exporter.accepts(other):
                return [_Sized(group, other)]
        if group.parts:
            return [pair for part in group.parts for pair in self._accepted(part)]
        numbers = sorted({place.axis for place in group.axes})
        if group.is_batch or len(numbers) == 1:
            return []
        pairs = []
        for axis in numbers:
            chosen = [i for i, place in enumerate(group.axes) if place.axis == axis]
            alone = AxisGroup(tuple(group.axes[i] for i in chosen), False, tuple(group.factors[i] for i in chosen))
            pairs += self._accepted(alone)
        return pairs

    def _varied(self, accepted: list[_Sized]) -> list[_Varied]:
        """Export at the other sizes: all of them at once, if that is explained; else one group after the other."""
        varied = [] if self.formulas or len(accepted) < 2 else self._all_at_once(accepted)
        if varied:
            return varied
        for group, other in accepted:
            others_vary = 0 < len(varied) == len(accepted) - 1 and all(one.explanations is not None for one in varied)
            if self.other_operators and others_vary:  # so that it is this one which makes them run
                self._refused(group, self.other_operators)
                varied.append(_Varied(group, other, None, OTHER_OPERATORS))
                continue
            try:
                program = self.exporter.static(other)
            except Exception as error:  # whatever torch.export stumbles over
                self._refused(group, error)
                continue
            varied.append(self._compared(group, other, program))
        return varied

    def _compared(self, group: AxisGroup, other: TrialSizes, program: Program) -> _Varied:
        explanations, count = None, differing(self.base, program)
        if count == 0 or not self.formulas:
            try:
                explanations = explain(self.base, program, _changed([group]))
            except Unexplained as error:
                self._refused(group, self._worded(error, other))
        return _Varied(group, other, explanations, count)

    def _all_at_once(self, sized: list[_Sized]) -> list[_Varied]:
        """All groups, if the graph at the other sizes of all of them is explained."""
        everything = self.sizes
        for group, other in sized:
            everything = merged_sizes(everything, other, group)
        self.other_operators = None
        if not self.exporter.accepts(everything):
            return []
        if place := self.exporter.turning(self.sizes, everything):
            self.other_operators = Unexplained(DECIDES, place)
            return []
        with suppress(Exception):  # torch.export may stumble over whatever it likes
            program = self.exporter.static(everything)
            try:
                explanations = explain(self.base, program, _changed(pair.group for pair in sized))
                return [_Varied(*pair, explanations, 0) for pair in sized]
            except OtherOperators as error:
                self.other_operators = self._worded(error, everything)
        return []

    def _worded(self, error: Unexplained, other: TrialSizes) -> Unexplained:
        """The same error, if it is not that the module decides by a size."""
        place = self.exporter.deciding(self.sizes, other)
        return Unexplained(DECIDES, place) if place else error

    def _with_formulas(self, varied: list[_Varied]) -> tuple[Program, list[_Varied], Explanations]:
        """(graph, groups that are free in it, explanations): with torch's own formulas where explanations lack."""
        explained = [variation for variation in varied if variation.explanations is not None]
        explanations, clashing = _merged(explained)
        explained = [variation for variation in explained if variation not in clashing]
        others = [variation for variation in varied if variation.explanations is None or variation in clashing]
        others = [variation for variation in others if variation.group.is_batch or variation.differing < MOST_FORMULAS]
        if not others:
            return self.base, explained, explanations
        constant = [variation for variation in explained if not _formulas_of(variation)]
        wanted = [*others, *(variation for variation in explained if _formulas_of(variation))]
        wanted.sort(key=lambda variation: not variation.group.is_batch)
        for count in range(len(wanted), 0, -1):
            axes = [place for variation in wanted[:count] for place in variation.group.axes]
            with suppress(Exception):  # whatever torch.export stumbles over
                program, free = self.exporter.dynamic(self.sizes, axes)
                kept = [one for one in wanted[:count] if all(place in free for place in one.group.axes)]
                if len(kept) + len(constant) <= len(explained):
                    break
                return program, [*constant, *kept], Explanations({})
        return self.base, explained, explanations


def _formulas_of(varied: _Varied) -> Mapping[tuple[str, int], Any]:
    return varied.explanations.formulas if varied.explanations else {}


def _changed(groups: Iterable[AxisGroup]) -> list[tuple[int, int]]:
    return [(place.input, place.axis) for group in groups for place in group.axes]


def _merged(varied: list[_Varied]) -> tuple[Explanations, list[_Varied]]:
    """All explanations, and the groups that explain a number that another one explains already."""
    whole, clashing = Explanations({}), []
    for variation in varied:
        new = variation.explanations or Explanations({})
        if any(whole.formulas.get(place, formula) != formula for place, formula in new.formulas.items()):
            clashing.append(variation)
        else:
            whole = Explanations(whole.formulas | new.formulas, whole.unchanged | new.unchanged)
    return whole, clashing


def _trials(sizes: TrialSizes, free: list[_Varied]) -> tuple[tuple[tuple[int, ...], ...], ...]:
    first = second = sizes
    for variation in free:
        if variation.group.is_batch:
            batches = zip((first, second), BATCH_TRIALS, strict=True)
            first, second = (resized(shapes, variation.group.axes, batch) for shapes, batch in batches)
        else:
            for place in variation.group.axes:
                second = resized(second, (place,), variation.sizes[place.input][place.axis])
    return tuple(zip(first, second, strict=True))
