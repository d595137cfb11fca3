"""Axes of a module's inputs that vary together, and the sizes at which that is tried."""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

PRIMES = (2, 3, 5, 7, 11, 13)
"""By how much the free axes are enlarged for a trial, the first by 2, the next by 3 …, so that each can be told."""
LARGE = 128
"""From this size on a smaller one is tried, not a larger one: computing with it takes longer than an export."""
TrialSizes = tuple[tuple[int, ...], ...]
"""The shape of each input."""


class Axis(NamedTuple):
    """One axis of one input."""

    input: int
    axis: int


class AxisGroup(NamedTuple):
    """Axes that vary together: the batch of all inputs, or height and width of those of one size."""

    axes: tuple[Axis, ...]
    is_batch: bool
    factors: tuple[int, ...] = ()
    """By which to enlarge each axis."""
    parts: tuple["AxisGroup", ...] = ()
    """Smaller groups to try if the module refuses that all vary."""

    def without(self, banned: Collection[Axis]) -> "AxisGroup":
        """The same without these axes."""
        kept = [i for i, axis in enumerate(self.axes) if axis not in banned]
        parts = [rest for part in self.parts if (rest := part.without(banned)).axes]
        factors = tuple(self.factors[i] for i in kept) if self.factors else ()
        return AxisGroup(tuple(self.axes[i] for i in kept), self.is_batch, factors, tuple(parts))

    def other_sizes(self, sizes: TrialSizes) -> Iterator[TrialSizes]:
        """Sizes to try: odd ones, because padding may depend on that; multiples; half the size."""
        for change in self._changes():
            changed = sizes
            for place, factor in zip(self.axes, self.factors or itertools.repeat(1), strict=False):
                changed = resized(changed, (place,), change(sizes[place.input][place.axis], factor))
            yield changed

    def _changes(self) -> list[Any]:
        if self.is_batch:
            return [lambda size, _: size + 3]
        return [lambda size, factor: size * factor + 1, lambda size, factor: size * factor, lambda size, _: size // 2]

    def third_sizes(self, sizes: TrialSizes) -> Iterator[TrialSizes]:
        """Those to try the network at, until the module takes some: odd ones, if large ones then smaller first, other
        multiples, half the size; two examples, or three.
        """
        for change in (
            lambda size, i: (size if size < LARGE else size // 2) + 3 + 2 * i,
            lambda size, i: size + 3 + 2 * i,
            lambda size, i: size * (2 + i % 2),
            lambda size, _: size // 2,
        ):
            changed = sizes
            for place in self.axes:
                size = sizes[place.input][place.axis]
                changed = resized(changed, (place,), 2 + (size == 2) if self.is_batch else change(size, place.axis))
            yield changed


def groups_of(inputs: Sequence[Tensor]) -> list[AxisGroup]:
    """The batch, the sides of pictures, and other axes by their size: what has one length may be one thing."""
    first = inputs[0]
    batch = [Axis(i, 0) for i, x in enumerate(inputs) if x.dim() and first.dim() and x.shape[0] == first.shape[0]]
    groups = [AxisGroup(tuple(batch), True)] if batch else []
    primes = itertools.cycle(PRIMES)
    pictures: dict[Any, list[int]] = defaultdict(list)
    lengths: dict[int, list[Axis]] = defaultdict(list)
    for i, x in enumerate(inputs):
        if x.dim() > 3:
            pictures[tuple(x.shape[2:])].append(i)
        for axis in range(Axis(i, 0) in batch, x.dim() if x.dim() <= 3 else 1):
            lengths[x.shape[axis]].append(Axis(i, axis))
    for sides, members in pictures.items():
        factors = [next(primes) for _ in sides]
        axes = tuple(Axis(i, 2 + k) for i in members for k in range(len(sides)))
        groups.append(AxisGroup(axes, False, (*factors,) * len(members)))
    for places in lengths.values():
        groups += _of_one_length(places, primes)
    return groups


def _of_one_length(places: Sequence[Axis], primes: Iterator[int]) -> list[AxisGroup]:
    """The axes of one size: together if they are of several inputs; else the first of each, or each alone."""
    factor = next(primes)
    alone = [AxisGroup((place,), False, (next(primes) if i else factor,)) for i, place in enumerate(places)]
    firsts = tuple({place.input: place for place in reversed(places)}.values())
    if len(firsts) == 1:
        return alone
    others = [group for group in alone if group.axes[0] not in firsts]
    leading = AxisGroup(firsts, False, (factor,) * len(firsts), tuple(alone))
    if not others:
        return [leading]
    return [AxisGroup(tuple(places), False, (factor,) * len(places), (leading, *others))]


def resized(sizes: TrialSizes, axes: Iterable[Axis], size: int) -> TrialSizes:
    """The shapes with another size for these axes."""
    shapes = list(sizes)
    for place in axes:
        shapes[place.input] = (*shapes[place.input][: place.axis], size, *shapes[place.input][place.axis + 1 :])
    return tuple(shapes)


def third_sizes_of(groups: list[AxisGroup], sizes: TrialSizes) -> tuple[TrialSizes, ...]:
    """Shapes that differ from those of the example in every free axis, and are none of the trials."""
    if not groups:
        return ()
    choices = [sizes] * len(list(groups[0].third_sizes(sizes)))
    for group in groups:
        others = group.third_sizes(sizes)
        choices = [merged_sizes(chosen, other, group) for chosen, other in zip(choices, others, strict=True)]
    return tuple(dict.fromkeys(choices))


def merged_sizes(sizes: TrialSizes, other: TrialSizes, group: AxisGroup) -> TrialSizes:
    """The shapes with the other ones' sizes for the axes of the group."""
    for place in group.axes:
        sizes = resized(sizes, (place,), other[place.input][place.axis])
    return sizes
