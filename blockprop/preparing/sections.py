"""Parts of a forward pass that save nothing, and are computed again on the way back."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.passes import run_forward
from blockprop.engine.plan import ForwardStep
from blockprop.engine.trace import Trace

MOST_SECTIONS = 16
Drawn = list[tuple[torch.Generator, Tensor]]
"""States of generators."""


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
    """What the blocks saved, by node; what was not kept is computed again, a section at a time, once it is wanted."""

    def __init__(self, parts: Sequence[ForwardSection], again: Iterable[int]):
        super().__init__()
        self._parts = {step.name: number for number in again for step in parts[number].steps}
        self._sections = parts
        self._begun: dict[int, dict[str, Tensor]] = {}
        self._drawn: dict[int, Drawn] = {}

    def begin(self, number: int, values: dict[str, Tensor]) -> None:
        """Note what a section that will be computed again begins with."""
        self._begun[number] = values
        self._drawn[number] = states(step.block for step in self._sections[number].steps)

    def __missing__(self, node: str) -> Any:
        self._compute(node, keep=True)
        return self[node]

    def pop(self, node: str, *default: Any) -> Any:
        """What the node saved, which is then forgotten."""
        if node not in self:
            self._compute(node, keep=False)
        self._begun.pop(self._parts.get(node, -1), None)
        return super().pop(node, *default)

    def _compute(self, node: str, keep: bool) -> None:
        number = self._parts.get(node, -1)
        values = self._begun.get(number) if keep else self._begun.pop(number, None)
        if values is None:
            raise KeyError(node)
        with drawn_again(self._drawn[number]):
            run_forward(_forgetting(self._sections[number]), dict(values) if keep else values, self)


def _forgetting(part: ForwardSection) -> Iterable[ForwardStep]:
    """The steps of a section, of which nothing lives on but what is saved."""
    last = {key: i for i, step in enumerate(part.steps) for key in (*step.node.inputs, *step.node.keys)}
    for i, step in enumerate(part.steps):
        dead = tuple(key for key in dict.fromkeys((*step.node.inputs, *step.node.keys)) if last[key] == i)
        yield replace(step, dead=dead)


def record(
    network: Network, parts: Sequence[ForwardSection], again: tuple[int, ...], inputs: tuple[Tensor, ...]
) -> Trace:
    """A forward pass, of whose parts with these numbers nothing is saved."""
    saved = Recomputed(parts, again)
    values = dict(zip(network.inputs, inputs, strict=True))
    for number, part in enumerate(parts):
        if number in again:
            read = {key for step in part.steps for key in step.node.inputs}
            saved.begin(number, {key: x for key, x in values.items() if key in read})
        run_forward(part.steps, values, None if number in again else saved)
    return Trace(values, saved, network.outputs)


def states(blocks: Iterable[Block]) -> Drawn:
    """Where the generators are that the random ones draw from: each its own, or else torch's."""
    generators = [block.generator or torch.default_generator for block in blocks if hasattr(block, "generator")]
    return [(generator, generator.get_state()) for generator in dict.fromkeys(generators)]


@contextmanager
def drawn_again(drawn: Drawn) -> Iterator[None]:
    """What is drawn within is what was drawn from these states on; afterwards goes on what was before."""
    before = [(generator, generator.get_state()) for generator, _ in drawn]
    for generator, state in drawn:
        generator.set_state(state)
    try:
        yield
    finally:
        for generator, state in before:
            generator.set_state(state)
