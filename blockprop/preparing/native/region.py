"""A block that stands for a region of a prepared network, and has it computed by one program each way."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.briefly import brief_repr
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import NativeError
from blockprop.native.memory import bytes_, is_in_memory
from blockprop.preparing.native.kernels import Kernels, kernels, picture
from blockprop.preparing.native.passes import Forward, RegionWriter
from blockprop.preparing.native.writing import Compiled, Extent

MANY = 20
"""Sizes of pictures for which programs are kept."""
CACHE = 16 * 2**20
"""Bytes: pictures of a batch go through the arena together as long as it is not larger."""


class Plan(NamedTuple):
    """Programs for pictures of one size.

    forward: what was written; `program` of it.   back: by the outputs that errors come from.
    """

    forward: Forward
    program: Compiled
    back: dict[tuple[str, ...], Compiled]


class Kept(NamedTuple):
    """What the way forward leaves: bits and places of each part of the batch, and the inputs, if blocks must do it."""

    inputs: tuple[Tensor, ...]
    parts: tuple[tuple[int, int, Tensor], ...]
    threads: int

    def __repr__(self) -> str:
        return brief_repr(self)


class NativeRegion(Block):
    """Convolutions, poolings, sums and what joins them, by kernels in C:  y = what the blocks of these nodes give.

    d_x = what their propagate gives

    What kernels cannot do, sizes that do not fit, and what is not finite are left to the blocks: Winograd's convolution
    spreads an infinite number further than the formula does.
    """

    kind = "weights"

    def __init__(self, nodes: tuple[Node, ...], inputs: tuple[str, ...], outputs: tuple[str, ...], kernels: Kernels):
        self.nodes, self.inputs, self.outputs, self.kernels = nodes, inputs, outputs, kernels
        self.output_count = len(outputs)
        self._region = RegionWriter(nodes, inputs, outputs, kernels.width)
        self._blocks = Network(nodes, inputs, outputs)
        self._plans: dict[Any, tuple[Plan | None]] = {}

    def __reduce__(self) -> Any:
        return _again, (self.nodes, self.inputs, self.outputs)

    def at_most(self, *shapes: Any) -> Any:
        return self._at_most(shapes)[self.outputs[0]] if len(self.outputs) == 1 else None

    def inner_numbers(self, *shapes: Any) -> int:
        made = self._at_most(shapes)
        return sum(math.prod(made[node.name]) for node in self.nodes)

    def _at_most(self, shapes: Sequence[Any]) -> dict[str, Any]:
        """Shapes of all keys; of blocks for which there are kernels they are known."""
        made = dict(zip(self.inputs, shapes, strict=True))
        for node in self.nodes:
            made[node.name] = node.block.at_most(*(made[key] for key in node.inputs))
        return made

    def __repr__(self) -> str:
        return f"NativeRegion of {len(self.nodes)} nodes, {self.nodes[0].name} to {self.nodes[-1].name}"

    def forward(self, *x: Tensor) -> tuple[Any, Any]:
        kept: Any = self._kept(x)
        outputs = None if kept is None else self._forward(kept)
        if outputs is None:
            kept = self._blocks.forward(*x, keep=self.outputs)
            outputs = [kept[key] for key in self.outputs]
        return (outputs[0] if len(outputs) == 1 else tuple(outputs)), kept

    def propagate(self, saved: Any, d_y: Any) -> tuple[Tensor | None, ...]:
        seeds = dict(zip(self.outputs, (d_y,) if self.output_count == 1 else d_y, strict=True))
        seeds = {key: d for key, d in seeds.items() if d is not None}
        errors = self._backward(saved, seeds) if isinstance(saved, Kept) else None
        if errors is None:
            trace = self._blocks.forward(*saved.inputs) if isinstance(saved, Kept) else saved
            found = dict(self._blocks.sweep(trace, seeds, self.inputs, keep_trace=True))
            errors = [found.get(key) for key in self.inputs]
        return tuple(errors)

    def _kept(self, x: Sequence[Tensor]) -> Kept | None:
        """Room for what is kept; None if blocks must do it."""
        if not all(_is_readable(a) and a.dim() == 4 and 0 < len(a) == len(x[0]) for a in x):
            return None
        threads, count = torch.get_num_threads(), len(x[0])
        parts = []
        for start, size in self._split(x, count, threads):
            plan = self._plan(x, size, threads)
            if plan is None:
                return None
            parts.append((start, size, bytes_(plan.forward.saving.size)))
        return Kept(tuple(a.contiguous(memory_format=torch.channels_last) for a in x), tuple(parts), threads)

    def _split(self, x: Sequence[Tensor], count: int, threads: int) -> list[tuple[int, int]]:
        """(first, how many) of the pictures that go together."""
        one = self._plan(x, 1, threads) if count > 1 else None
        most = max(CACHE // one.program.arena, 1) if one else count
        return [(start, min(most, count - start)) for start in range(0, count, max(most, 1))]

    def _plan(self, x: Sequence[Tensor], count: int, threads: int) -> Plan | None:
        shapes = [(count, a.shape[2], a.shape[3], a.shape[1]) for a in x]
        question = tuple(shapes), threads
        known = self._plans.get(question)
        if known is None:
            if len(self._plans) >= MANY:
                self._plans = {}  # another one, since other threads may look into this one
            forward = self._region.write_forth(dict(zip(self.inputs, shapes, strict=True)))
            program = None if forward is None else self.kernels.program(forward.writer, threads)
            plan = None if forward is None or program is None else Plan(forward, program, {})
            known = self._plans[question] = (plan,)
        return known[0]

    def _forward(self, kept: Kept) -> list[Tensor] | None:
        """The outputs; None if one is not finite."""
        count = len(kept.inputs[0])
        outputs: list[Tensor] = []
        for start, size, saved in kept.parts:
            plan = self._plan(kept.inputs, size, kept.threads)
            assert plan is not None
            outputs = outputs or [picture(_of(count, plan.forward.shapes[key])) for key in self.outputs]
            pictures = [a[start : start + size] for a in (*kept.inputs, *outputs)]
            self.kernels.run(plan.program, kept.threads, saved, pictures)
        return outputs if all(map(_is_finite, outputs)) else None

    def _backward(self, kept: Kept, seeds: dict[str, Tensor]) -> list[Tensor | None] | None:
        """The errors of the inputs; None if one is not finite."""
        if not all(map(_is_readable, seeds.values())):
            return None
        d_y = [d.contiguous(memory_format=torch.channels_last) for d in seeds.values()]
        d_x: list[Tensor] = []
        for start, size, saved in kept.parts:
            plan = self._plan(kept.inputs, size, kept.threads)
            assert plan is not None
            seeded = tuple(seeds)
            if seeded not in plan.back:
                plan.back[seeded] = self.kernels.program(self._region.write_back(plan.forward, seeded), kept.threads)
            d_x = d_x or [picture(_nhwc(a)) for a in kept.inputs]
            pictures = [a[start : start + size] for a in (*d_y, *d_x)]
            self.kernels.run(plan.back[seeded], kept.threads, saved, pictures)
        reached = self._region.reached(tuple(seeds))
        errors = [d if key in reached else None for key, d in zip(self.inputs, d_x, strict=True)]
        return errors if all(_is_finite(d) for d in errors if d is not None) else None


class Same(Block):
    """One of several outputs of a region, under the name that it had:  y = x,   d_x = d_y."""

    kind = "reshaping"
    arranges = True

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y,)


def _again(nodes: tuple[Node, ...], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> NativeRegion:
    """A copy, on the kernels of the machine on which it is made."""
    found = kernels()
    if found is None:
        raise NativeError("a copy of this prepared network needs native kernels, and there are none; prepare anew")
    return NativeRegion(nodes, inputs, outputs, found)


def _is_readable(x: Tensor) -> bool:
    return is_in_memory(x) and x.dtype == torch.float32


def _is_finite(x: Tensor) -> bool:
    return math.isfinite(float(x.permute(0, 2, 3, 1).sum()))


def _nhwc(x: Tensor) -> Extent:
    n, c, h, w = x.shape
    return n, h, w, c


def _of(count: int, shape: Extent) -> Extent:
    return (count, *shape[1:])
