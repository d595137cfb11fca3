"""Which axes of a module's inputs may vary: found by exporting the module at other sizes.

A graph that is the same at another size holds no size at all, so that axis is free, and nothing more has to be known.
Only where sizes do stand in the graph (view(n, -1)) torch.export is asked for formulas, which takes it far longer.
"""

import inspect
import itertools
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

PRIMES = (2, 3, 5, 7, 11, 13)
"""By how much the free axes are enlarged for a trial, the first by 2, the next by 3 …, so that each can be told."""
MOST_FORMULAS = 60
"""Operators with sizes among their arguments, beyond the batch's, up to which formulas are asked for. torch.export takes
minutes for more, as in a network of window attention; then height and width are those of the example."""
BATCH = (3, 5)
"""Trial sizes of the batch: in a ratio that no other axis has."""


class Axis(NamedTuple):
    """One axis of one input."""

    input: int
    axis: int


class Exported(NamedTuple):
    """A module's graph, and the sizes of its inputs in two trials: they differ where an axis is free."""

    program: torch.export.ExportedProgram
    trials: tuple[tuple[tuple[int, ...], ...], ...]
    """trials[input] = (shape in the first trial, shape in the second)"""


def export(module: nn.Module, inputs: Sequence[Tensor], keywords: Mapping[str, Any], vary: bool = True) -> Exported:
    """Export with as many free axes as the module allows. `inputs` are the tensors among arguments and keywords."""
    exporter = _Exporter(module, inputs, keywords)
    groups = _groups(inputs) if vary else []
    if groups and groups[0].is_batch and inputs[0].shape[0] == 1:  # torch takes a size of 1 for a fixed one
        try:
            exporter.sizes = _resized(exporter.sizes, groups[0].axes, BATCH[0])
            base = exporter.static(exporter.sizes)
        except Exception:
            exporter.sizes = [tuple(x.shape) for x in inputs]
            base, groups = exporter.static(exporter.sizes), groups[1:]
    else:
        base = exporter.static(exporter.sizes)
    free, wanted = [], []
    for group in groups:
        other = exporter.elsewhere(group)
        if other is None:
            continue
        differing = _differing(base, other.program)
        if differing == 0:
            free.append(other)
        elif group.is_batch or differing < MOST_FORMULAS:
            wanted.append(other)
    program = base
    if wanted:
        program, wanted = exporter.dynamic(wanted, base)
    return Exported(program, _trials(exporter.sizes, [*free, *wanted]))


class _Elsewhere(NamedTuple):
    """An export at other sizes of a group's axes."""

    group: "_Group"
    sizes: list[tuple[int, ...]]
    program: torch.export.ExportedProgram


class _Group(NamedTuple):
    """Axes that vary together: the batch of all inputs, or height and width of those of one size."""

    axes: tuple[Axis, ...]
    is_batch: bool
    factors: tuple[int, ...] = ()
    """By which to enlarge each axis."""

    def other_sizes(self, sizes: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
        """Sizes to try: larger ones, each axis by another factor, then half the size."""
        if self.is_batch:
            yield _resized(sizes, self.axes, sizes[self.axes[0].input][0] + 2)
            return
        for change in (lambda size, factor: size * factor, lambda size, _: size // 2):
            found = sizes
            for place, factor in zip(self.axes, self.factors, strict=True):
                size = sizes[place.input][place.axis]
                found = _resized(found, (place,), change(size, factor))
            yield found


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


def _resized(sizes: list[tuple[int, ...]], axes: Iterable[Axis], size: int) -> list[tuple[int, ...]]:
    found = list(sizes)
    for place in axes:
        found[place.input] = (*found[place.input][: place.axis], size, *found[place.input][place.axis + 1 :])
    return found


class _Exporter:
    def __init__(self, module: nn.Module, inputs: Sequence[Tensor], keywords: Mapping[str, Any]):
        self.module, self.inputs, self.names = module, inputs, list(keywords)
        self.sizes = [tuple(x.shape) for x in inputs]

    def static(self, sizes: list[tuple[int, ...]]) -> torch.export.ExportedProgram:
        return self._export(sizes, None)

    def elsewhere(self, group: _Group) -> _Elsewhere | None:
        """The export at other sizes of the group's axes, if the module takes any."""
        for sizes in group.other_sizes(self.sizes):
            with suppress(Exception):  # the module refuses a size in whatever way it likes
                return _Elsewhere(group, sizes, self.static(sizes))
        return None

    def dynamic(
        self, wanted: list[_Elsewhere], base: torch.export.ExportedProgram
    ) -> tuple[torch.export.ExportedProgram, list[_Elsewhere]]:
        """With formulas for the sizes of these groups; without the last ones if that fails."""
        for count in range(len(wanted), 0, -1):
            axes: list[dict[int, Any]] = [{} for _ in self.inputs]
            for each in wanted[:count]:
                for place in each.group.axes:
                    axes[place.input][place.axis] = torch.export.Dim.AUTO
            try:
                program = self._export(self.sizes, axes)
            except Exception:
                continue
            shapes = [value.shape for value in _values(program)]
            kept = [
                each
                for each in wanted[:count]
                if all(isinstance(shapes[p.input][p.axis], torch.SymInt) for p in each.group.axes)
            ]
            return program, kept
        return base, []

    def _export(self, sizes: list[tuple[int, ...]], axes: Any) -> torch.export.ExportedProgram:
        given: Any = [_like(x, size) for x, size in zip(self.inputs, sizes, strict=True)]
        count = len(given) - len(self.names)
        keywords = dict(zip(self.names, given[count:], strict=True))
        shapes = None
        if axes is not None:
            positional = list(inspect.signature(self.module.forward).parameters)[:count]
            shapes = dict(zip([*positional, *self.names], axes, strict=True)) if self.names else tuple(axes)
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(
            False
        )  # one operator for a whole layer of a transformer: nothing to see
        try:
            with warnings.catch_warnings(), torch.inference_mode(False), _quiet():
                warnings.simplefilter("ignore")
                return torch.export.export(
                    self.module, tuple(given[:count]), keywords, dynamic_shapes=shapes, strict=False
                )
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _quiet() -> Iterator[None]:
    """Sizes that do not fit are tried on purpose; torch need not log them as errors."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _like(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """x, or zeros of its kind in another size: while a module is exported, no number is computed with."""
    return x if tuple(x.shape) == size else torch.zeros(size, dtype=x.dtype, device=x.device)


def _values(program: torch.export.ExportedProgram) -> list[Tensor]:
    """The tensors that stand for the inputs in the graph."""
    names = set(program.graph_signature.user_inputs)
    found = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return [value for value in found if isinstance(value, Tensor)]


def _description(program: torch.export.ExportedProgram) -> list[Any]:
    """All operators and their arguments, sizes among them."""
    return [(node.name, str(node.target), str(node.args), str(node.kwargs)) for node in program.graph.nodes]


def _differing(a: torch.export.ExportedProgram, b: torch.export.ExportedProgram) -> int:
    """How many operators have other arguments; many if they are not the same operators at all."""
    mine, theirs = _description(a), _description(b)
    if [row[:2] for row in mine] != [row[:2] for row in theirs]:
        return MOST_FORMULAS
    return sum(x != y for x, y in zip(mine, theirs, strict=True))


def _trials(sizes: list[tuple[int, ...]], free: list[_Elsewhere]) -> tuple[tuple[tuple[int, ...], ...], ...]:
    first, second = list(sizes), list(sizes)
    for each in free:
        if each.group.is_batch:
            first, second = (_resized(s, each.group.axes, n) for s, n in zip((first, second), BATCH, strict=True))
        else:
            for place in each.group.axes:
                second = _resized(second, (place,), each.sizes[place.input][place.axis])
    return tuple(zip(first, second, strict=True))
