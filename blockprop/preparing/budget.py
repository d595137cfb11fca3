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
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from blockprop.engine.network import Network
from blockprop.engine.passes import called, run_forward
from blockprop.engine.plan import ForwardStep, RuleMap, plan_forward
from blockprop.engine.room import Alive, in_bytes
from blockprop.engine.trace import Trace
from blockprop.errors import BlockpropError, SettingError, shape
from blockprop.preparing.layout import Convolution
from blockprop.preparing.sections import (
    ForwardSection,
    MadeBytes,
    drawn_again,
    record,
    sections,
    states,
)

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
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
        memory = memory.strip()
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


class TooLittleMemory(SettingError):
    """A budget that cannot be kept.   least: bytes that would do"""

    def __init__(self, message: str, least: int):
        super().__init__(message)
        self.least = least


Back = Callable[[Network, Trace], Iterable[Any]]
"""Goes back from a trace as the job will, with numbers that do not matter."""


class Choice(NamedTuple):
    """How a budget is kept.   parts: of the forward pass.   again: numbers of those that are computed again.

    peak: bytes that are expected, without weights that kernels have still to lay out.
    """

    parts: list[ForwardSection]
    again: tuple[int, ...]
    peak: int

    def __repr__(self) -> str:
        return f"Choice({len(self.again)} of {len(self.parts)} sections computed again, {in_bytes(self.peak)})"


def kernels_weights(network: Network) -> int:
    """The bytes of weights that kernels have still to lay out, in an order of their own, when they first run."""
    parts = [part for block in network.unique_blocks.values() for part in vars(block).values()]
    return sum(part.still_to_lay_out for part in parts if isinstance(part, Convolution))


class Budget:
    """So many bytes beside the weights for both passes over a network, from all of its outputs to all inputs.

    besides: bytes of these that something else takes all the while. In the first run those of `kernels_weights` come to
    them.
    """

    def __init__(self, network: Network, limit: int, besides: int = 0):
        self.network, self.limit, self.besides = network, limit, besides
        give_back_at_once()
        self._chosen: dict[Any, Choice] = {}

    def record(self, inputs: tuple[Tensor, ...], keep: tuple[str, ...], back: Back | None = None) -> Trace:
        """A forward pass, from which it is gone back within the limit. SettingError if that cannot be.

        back: how, if not at once from all of `keep` to all inputs.
        """
        parts, again, _ = self.chosen(inputs, keep, back)
        return record(self.network, parts, again, inputs)

    def chosen(self, inputs: tuple[Tensor, ...], keep: tuple[str, ...], back: Back | None = None) -> Choice:
        """How it is kept for inputs of these sizes, decided once."""
        question = keep, *[(x.shape, x.dtype, x.stride()) for x in inputs]
        if question not in self._chosen:
            with drawn_again(states(self.network.blocks.values())):  # what is tried changes nothing that is drawn later
                self._chosen[question] = self._choose(inputs, keep, back or from_all(keep))
        return self._chosen[question]

    def expected(self, inputs: tuple[Tensor, ...], keep: tuple[str, ...], back: Back | None = None) -> int:
        """The bytes that the next run takes."""
        return self.chosen(inputs, keep, back).peak + kernels_weights(self.network)

    def report(self) -> str:
        """What was decided for the last inputs, in words."""
        if not self._chosen:
            return f"  at most {in_bytes(self.limit)}: nothing was run yet"
        parts, again, peak = [*self._chosen.values()][-1]
        nodes = sum(len(parts[number].steps) for number in again)
        repeated = f"{nodes} nodes are computed again on the way back" if nodes else "nothing is computed again"
        return (
            f"  at most {in_bytes(self.limit)}: {in_bytes(peak + kernels_weights(self.network))} expected, {repeated}"
        )

    def _choose(self, inputs: tuple[Tensor, ...], keep: tuple[str, ...], back: Back) -> Choice:
        network, twin = self.network, self.network.weightless()
        weights = kernels_weights(network)
        limit = self.limit - weights
        steps = plan_forward(network.nodes, keep, False)
        if network._room is not None:  # a file's, which is also run as it is, to measure it
            network._room.require(steps, dict(zip(network.inputs, inputs, strict=True)), keep, True)

        def peak_of(again: tuple[int, ...] = ()) -> int:
            return self.besides + most_alive(twin, parts, again, inputs, back)

        try:
            made = _made(twin, steps, inputs)
            parts = sections(steps, (*network.inputs, *keep), made)
            peak = least = peak_of()
        except BlockpropError as error:  # as of blocks and rules of people's own, which need numbers
            raise SettingError(f"what both passes take cannot be known beforehand: {error}") from error
        if peak <= limit:
            return Choice(parts, (), peak)
        sizes, numbers = _saved(parts, made), range(len(parts) - 1)

        def first(order: Sequence[int]) -> Choice | None:
            """With the fewest of these sections computed again, in their order, that keep to the limit."""
            nonlocal least
            for count in range(1, len(order) + 1):
                again = tuple(sorted(order[:count]))
                peak = peak_of(again)
                least = min(least, peak)
                if peak <= limit:
                    return Choice(parts, again, peak)
            return None

        largest = first(sorted(numbers, key=lambda number: -sizes[number]))
        if largest is not None:  # which does not hang on what is measured
            seconds = _seconds(network, parts, inputs)
            return first(sorted(numbers, key=lambda number: -sizes[number] / max(seconds[number], 1e-9))) or largest
        came = " and ".join(map(shape, inputs))
        raise TooLittleMemory(
            f"{in_bytes(self.limit)} of memory are too little for {came}: both passes take at least "
            f"{in_bytes(rounded_up(least + weights))} beside the weights; give that much, or smaller or fewer inputs",
            least + weights,
        )


def most_alive(
    network: Network, parts: Sequence[ForwardSection], again: tuple[int, ...], inputs: tuple[Tensor, ...], back: Back
) -> int:
    """Bytes alive at the worst moment of both passes, inputs and weights not among them.   network: without numbers"""
    given, bare_parts = _bare(inputs), [ForwardSection(_of(network, part.steps)) for part in parts]
    with torch.no_grad(), Alive(given) as alive:
        for _ in back(network, record(network, bare_parts, again, given)):
            pass
    return alive.most


def forward_peak(network: Network, inputs: tuple[Tensor, ...], keep: tuple[str, ...]) -> int:
    """Bytes alive at the worst moment of a forward pass that saves nothing."""
    twin, given = network.weightless(), _bare(inputs)
    with torch.no_grad(), Alive(given) as alive:
        run_forward(_of(twin, plan_forward(network.nodes, keep, False)), dict(zip(twin.inputs, given, strict=True)))
    return alive.most


def from_all(keep: tuple[str, ...], rules: RuleMap | None = None) -> Back:
    """At once from all these nodes to all inputs; whoever goes back holds the trace and the seeds meanwhile."""

    def back(network: Network, trace: Trace) -> Iterable[Any]:
        seeds = {name: torch.empty_like(trace[name]) for name in keep if name not in network.inputs}
        yield from network.sweep(trace, seeds, network.inputs, rules)

    return back


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
