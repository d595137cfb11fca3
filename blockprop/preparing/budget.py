"""Both passes in bounded memory: what some sections of a network save is not kept, but computed again on the way back.

What a run takes is known before it: it is run on torch's "meta" device, sizes without numbers. Which sections are
computed again is decided once for each shape of the inputs: those first that free most bytes for a second of work, as
measured on these inputs.
"""

import ctypes
import functools
import math
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from blockprop.engine.network import Network
from blockprop.engine.passes import called, run_forward
from blockprop.engine.plan import ForwardStep, plan_forward
from blockprop.engine.room import Alive, in_bytes
from blockprop.engine.trace import Trace
from blockprop.errors import BlockpropError, SettingError, shape

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
MOST_SECTIONS = 16
M_MMAP_THRESHOLD = -3
"""Of malloc.h."""


@functools.cache
def give_back_at_once() -> None:
    """From now on memory of a quarter megabyte or more goes back to the system when it is freed.

    glibc else keeps pieces of up to 32 MB, half as much again as is needed, and no budget can count on them.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**18)


def bytes_named(memory: int | str) -> int:
    """ "500 MB" -> 500,000,000. SettingError for what is no size above 0."""
    number, unit = memory, 1
    if isinstance(memory, str):
        digits = memory.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
        number, unit = (
            digits,
            {name.lower(): size for name, size in (UNITS | {"": 1}).items()}.get(memory[len(digits) :].lower(), 0),
        )
    try:
        count = int(float(number) * unit)
    except (ValueError, OverflowError, TypeError):
        count = 0
    if count < 1 or isinstance(memory, bool):
        raise SettingError(f"expected memory as '500 MB' or '2 GB', with {', '.join(UNITS)}, came {memory!r}")
    return count


def rounded_up(count: int) -> int:
    """To two digits."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return math.ceil(count / step) * step


class MadeBytes(NamedTuple):
    """Bytes of what a forward pass makes.   saved: by node.   values: by name"""

    saved: dict[str, int]
    values: dict[str, int]


class ForwardSection(NamedTuple):
    """Steps of a forward pass that follow each other."""

    steps: tuple[ForwardStep, ...]

    def __repr__(self) -> str:
        return f"ForwardSection({self.steps[0].name} … {self.steps[-1].name})"


def sections(steps: Sequence[ForwardStep], always: Iterable[str], made: MadeBytes) -> list[ForwardSection]:
    """The steps, parted where one value alone goes on that is smaller than what was saved since the last such place.

    always: names of values that are kept anyway.   made: by the steps.
    """
    least, always = sum(made.saved.values()) / MOST_SECTIONS, frozenset(always)
    alive: set[str] = set()
    parts: list[ForwardSection] = []
    current: list[ForwardStep] = []
    saved = 0
    for step in steps:
        current.append(step)
        saved += made.saved[step.name]
        alive.update(key for key in step.node.keys if key not in always)
        alive.difference_update(step.dead)
        if len(alive) <= 1 and saved >= least and saved > sum(made.values[key] for key in alive):
            parts.append(ForwardSection(tuple(current)))
            current, saved = [], 0
    return [*parts, ForwardSection(tuple(current))] if current else parts


class Recomputed(dict[str, Any]):
    """What the blocks saved, by node; what was not kept is computed again, a section at a time, when it is asked for.

    begun: what sections that are computed again begin with, by number.
    """

    def __init__(self, parts: Sequence[ForwardSection], again: Iterable[int]):
        super().__init__()
        self._parts = {step.name: number for number in again for step in parts[number].steps}
        self._sections, self.begun = parts, dict[int, dict[str, Tensor]]()

    def __missing__(self, node: str) -> Any:
        self._compute(node, keep=True)
        return self[node]

    def pop(self, node: str, *default: Any) -> Any:
        """What the node saved, which is then forgotten."""
        if node not in self:
            self._compute(node, keep=False)
        self.begun.pop(self._parts.get(node, -1), None)
        return super().pop(node, *default)

    def _compute(self, node: str, keep: bool) -> None:
        number = self._parts.get(node, -1)
        values = self.begun.get(number) if keep else self.begun.pop(number, None)
        if values is None:
            raise KeyError(node)
        run_forward(_forgetting(self._sections[number]), dict(values) if keep else values, self)


def _forgetting(part: ForwardSection) -> Iterable[ForwardStep]:
    """The steps of a section, of which nothing lives on but what is saved."""
    last = {key: i for i, step in enumerate(part.steps) for key in (*step.node.inputs, *step.node.keys)}
    for i, step in enumerate(part.steps):
        dead = tuple(key for key in dict.fromkeys((*step.node.inputs, *step.node.keys)) if last[key] == i)
        yield replace(step, dead=dead)


class TooLittleMemory(SettingError):
    """A budget that cannot be kept.   least: bytes that would do"""

    def __init__(self, message: str, least: int):
        super().__init__(message)
        self.least = least


class Budget:
    """So many bytes beside the weights for both passes over a network, from all of its outputs to all inputs."""

    def __init__(self, network: Network, limit: int):
        self.network, self.limit = network, limit
        give_back_at_once()
        self._chosen: dict[Any, tuple[list[ForwardSection], tuple[int, ...], int]] = {}

    def record(self, inputs: tuple[Tensor, ...], keep: tuple[str, ...]) -> Trace:
        """A forward pass, from which it is gone back within the limit. SettingError if that cannot be."""
        parts, again, _ = self.chosen(inputs, keep)
        return _record(self.network, parts, again, inputs)

    def chosen(
        self, inputs: tuple[Tensor, ...], keep: tuple[str, ...]
    ) -> tuple[list[ForwardSection], tuple[int, ...], int]:
        """(sections, the numbers of those that are computed again, the bytes that this takes)."""
        question = keep, *[(x.shape, x.dtype, x.stride()) for x in inputs]
        if question not in self._chosen:
            self._chosen[question] = self._choose(inputs, keep)
        return self._chosen[question]

    def report(self) -> str:
        """What was decided for the last inputs, in words."""
        if not self._chosen:
            return f"  at most {in_bytes(self.limit)}: nothing was run yet"
        parts, again, peak = [*self._chosen.values()][-1]
        nodes = sum(len(parts[number].steps) for number in again)
        repeated = f"{nodes} nodes are computed again on the way back" if nodes else "nothing is computed again"
        return f"  at most {in_bytes(self.limit)}: {in_bytes(peak)} expected, {repeated}"

    def _choose(
        self, inputs: tuple[Tensor, ...], keep: tuple[str, ...]
    ) -> tuple[list[ForwardSection], tuple[int, ...], int]:
        network, twin = self.network, self.network.weightless()
        steps = plan_forward(network.nodes, keep, False)
        if network._room is not None:  # a file's, which is also run as it is, to measure it
            network._room.require(steps, dict(zip(network.inputs, inputs, strict=True)), keep, True)
        try:
            made = _made(twin, steps, inputs)
        except BlockpropError as error:  # as of blocks of people's own, which need numbers
            raise SettingError(f"what both passes take cannot be known beforehand: {error}") from error
        parts = sections(steps, (*network.inputs, *keep), made)
        peak = least = peak_of(twin, parts, (), inputs, keep)
        if peak <= self.limit:
            return parts, (), peak
        sizes, seconds = _saved(parts, made), _seconds(network, parts, inputs)
        numbers = range(len(parts) - 1)
        quick = sorted(numbers, key=lambda number: -sizes[number] / max(seconds[number], 1e-9))
        large = sorted(
            numbers, key=lambda number: -sizes[number]
        )  # whatever was measured: the least that is told holds
        for order in (quick, large):
            for count in range(1, len(order) + 1):
                again = tuple(sorted(order[:count]))
                peak = peak_of(twin, parts, again, inputs, keep)
                if peak <= self.limit:
                    return parts, again, peak
                least = min(least, peak) if order is large else least
        came = " and ".join(map(shape, inputs))
        raise TooLittleMemory(
            f"{in_bytes(self.limit)} of memory are too little for {came}: both passes take at least "
            f"{in_bytes(rounded_up(least))} beside the weights; give that much, or smaller or fewer inputs",
            least,
        )


def peak_of(
    network: Network,
    parts: Sequence[ForwardSection],
    again: tuple[int, ...],
    inputs: tuple[Tensor, ...],
    keep: tuple[str, ...],
) -> int:
    """Bytes alive at the worst moment of both passes, inputs and weights not among them.   network: without numbers"""
    given, bare_parts = _bare(inputs), [ForwardSection(_of(network, part.steps)) for part in parts]
    with torch.no_grad(), Alive(given) as alive:
        trace = _record(network, bare_parts, again, given)
        seeds = {name: torch.empty_like(trace[name]) for name in keep if name not in network.inputs}
        for _ in network.sweep(trace, seeds, network.inputs):
            pass
    return alive.most


def _record(
    network: Network, parts: Sequence[ForwardSection], again: tuple[int, ...], inputs: tuple[Tensor, ...]
) -> Trace:
    saved = Recomputed(parts, again)
    values = dict(zip(network.inputs, inputs, strict=True))
    for number, part in enumerate(parts):
        if number in again:
            read = {key for step in part.steps for key in step.node.inputs}
            saved.begun[number] = {key: x for key, x in values.items() if key in read}
        run_forward(part.steps, values, None if number in again else saved)
    return Trace(values, saved, network.outputs)


def _bare(inputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple(torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta") for x in inputs)


def _of(network: Network, steps: Iterable[ForwardStep]) -> tuple[ForwardStep, ...]:
    """The same steps with the blocks of another network."""
    return tuple(replace(step, block=network.blocks[step.name]) for step in steps)


def _made(twin: Network, steps: Sequence[ForwardStep], inputs: tuple[Tensor, ...]) -> MadeBytes:
    """What the steps make, by the twin without numbers."""
    made = MadeBytes({}, {})

    def watched(step: ForwardStep, given: list[Tensor]) -> tuple[Any, Any]:
        output, saved = called(step, given)
        made.saved[step.name] = _bytes(saved)
        for key, y in zip(step.node.keys, (output,) if step.key else output, strict=True):
            made.values[key] = _bytes(y)
        return output, saved

    with torch.no_grad():
        run_forward(_of(twin, steps), dict(zip(twin.inputs, _bare(inputs), strict=True)), None, watched)
    return made


def _saved(parts: Iterable[ForwardSection], made: MadeBytes) -> list[int]:
    return [sum(made.saved[step.name] for step in part.steps) for part in parts]


def _bytes(tensors: Any) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor))


def _seconds(network: Network, parts: Sequence[ForwardSection], inputs: tuple[Tensor, ...]) -> list[float]:
    """What each section takes on these inputs, the second time."""
    for _ in range(2):
        values, seconds = dict(zip(network.inputs, inputs, strict=True)), []
        for part in parts:
            start = time.perf_counter()
            run_forward(part.steps, values)
            seconds.append(time.perf_counter() - start)
    return seconds
