"""Both passes of a region as programs: the way forward, and the way back from some of its outputs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blockprop.blocks import Add, Concat
from blockprop.engine.plan import Node
from blockprop.native.program import RECTIFY, Kind
from blockprop.preparing.convolution import FixedConv2d
from blockprop.preparing.native.arena import Buffer, Slab
from blockprop.preparing.native.convolutions import native_of
from blockprop.preparing.native.gates import GatePlan
from blockprop.preparing.native.poolings import pooled, write_pool
from blockprop.preparing.native.writing import OTHERS, Bytes, Extent, OpWriter, Saving
from blockprop.preparing.pooling import FixedMaxPool2d
from blockprop.preparing.sums import FixedReLU, RectifiedSum

SUMS = (Add, RectifiedSum)


@dataclass
class Forward:
    """What the way forward of a region is, for inputs of certain sizes.

    shapes: (n, h, w, c) of each key.   gates, winners: what is kept of it, by the node that makes it.
    """

    writer: OpWriter
    shapes: dict[str, Extent]
    saving: Saving
    gates: dict[str, Bytes] = field(default_factory=dict)
    winners: dict[str, Bytes] = field(default_factory=dict)


class RegionWriter:
    """Nodes that one program computes.

    inputs, outputs: keys of what comes in and of what others look at.   convolutions: by node.
    """

    def __init__(self, nodes: Sequence[Node], inputs: Sequence[str], outputs: Sequence[str], width: int):
        self.nodes, self.inputs, self.outputs, self.width = tuple(nodes), tuple(inputs), tuple(outputs), width
        self.convolutions = {
            node.name: native_of(node.block, width) for node in nodes if isinstance(node.block, FixedConv2d)
        }
        self.uses = Counter(key for node in nodes for key in node.inputs)
        self.homes = self._homes()
        self.sums = self._sums()
        self.gates = GatePlan(nodes, outputs)

    def write_forth(self, inputs: Mapping[str, Extent]) -> Forward | None:
        """The program that computes the outputs, its pieces being inputs and outputs; None if the sizes do not fit."""
        shapes = self._shapes(inputs)
        if shapes is None:
            return None
        made = Forward(OpWriter(self.width, len(self.inputs) + len(self.outputs)), shapes, Saving(self.width))
        values: dict[str, Slab] = {}
        for i, key in enumerate(self.inputs):
            values[key] = _readable(made.writer, _outside(OTHERS + i, shapes[key]))
        for node in self.nodes:
            self._write_forward(made, node, values)
        return made

    def write_back(self, forward: Forward, seeded: Sequence[str]) -> OpWriter:
        """The program that finds the errors of the inputs; pieces: errors of these outputs, and those of the inputs."""
        writer = OpWriter(self.width, len(seeded) + len(self.inputs))
        errors = _Errors(self, forward, writer, seeded)
        for node in reversed(self.nodes):
            if d_y := errors.found.get(node.name):
                self._write_backward(forward, node, d_y, errors)
        return writer

    def reached(self, seeded: Sequence[str]) -> set[str]:
        """The keys to which errors of these come."""
        reached = {*seeded}
        for node in reversed(self.nodes):
            if node.name in reached:
                reached.update(node.inputs)
        return reached

    def _write_forward(self, made: Forward, node: Node, values: dict[str, Slab]) -> None:
        block, writer = node.block, made.writer
        if isinstance(block, SUMS) and node.name in values:  # found with a convolution
            return
        x = [values[key] for key in node.inputs]
        fused = self.sums.get(node.name)
        name = fused.name if fused else node.name
        y = values[name] = self._target(made, name, values)
        if isinstance(block, FixedConv2d):
            convolution = self.convolutions[node.name]
            cut, add = convolution.cut, None
            if fused:
                cut = 0.0 if isinstance(fused.block, RectifiedSum) else None
                (other,) = (key for key in fused.inputs if key != node.name)
                add = values[other]
            kept = self._keep(made, name, y, values)
            convolution.write_forward(writer, x[0], y, add, kept, cut)
        elif isinstance(block, FixedMaxPool2d):
            made.winners[name] = made.saving.places(y)
            kept = self._keep(made, name, y, values)
            write_pool(
                writer, Kind.POOL, block, x[0], y, made.winners[name], kept=kept, high=self.gates.pools.get(name, 0.0)
            )
        elif isinstance(block, Concat):
            for key, part, view in zip(node.inputs, _parts(y, x), x, strict=True):
                if self.homes.get(key) != node.name:
                    writer.write(Kind.PASS, view, part)
        elif isinstance(block, FixedReLU):
            kept = self._keep(made, name, y, values)
            writer.write(Kind.PASS, x[0], y, kept=kept, flags=RECTIFY, high=block.high or 0.0)
        else:
            flags = RECTIFY if isinstance(block, RectifiedSum) else 0
            writer.write(Kind.PASS, x[0], y, add=x[1], kept=self._keep(made, name, y, values), flags=flags)

    def _write_backward(self, forward: Forward, node: Node, d_y: Slab, errors: "_Errors") -> None:
        block, writer = node.block, errors.writer
        if isinstance(block, FixedConv2d):
            add, gate, d_x = errors.next(node.inputs[0])
            self.convolutions[node.name].write_backward(writer, d_y, d_x, add, gate)
        elif isinstance(block, FixedMaxPool2d):
            add, gate, d_x = errors.next(node.inputs[0])
            write_pool(writer, Kind.UNPOOL, block, d_y, d_x, forward.winners[node.name], add, gate)
        elif isinstance(block, Concat):
            start = 0
            for key in node.inputs:
                channels = forward.shapes[key][3]
                errors.same(key, d_y.slice(start, channels))
                start += channels
        else:
            for key in node.inputs:
                errors.same(key, d_y)

    def _keep(self, made: Forward, name: str, y: Slab, values: Mapping[str, Slab]) -> Bytes | None:
        """Where the bits of a rectifier are kept, if it has any: beside those of others that it is joined with, if
        they can."""
        plan, home = self.gates, self.homes.get(name)
        if name not in (plan.pools if name in made.winners else plan.heights) or name in plan.behind:
            return None
        concat = next((node for node in self.nodes if node.name == home), None)
        if concat is None or not plan.together(concat, self.homes, made.shapes, self.width):
            made.gates[name] = made.saving.bits(y)
            return made.gates[name]
        if concat.name not in made.gates:
            made.gates[concat.name] = made.saving.bits(values[concat.name])
        start = sum(made.shapes[key][3] for key in concat.inputs[: concat.inputs.index(name)])
        return made.gates[concat.name].part(start)

    def _target(self, made: Forward, key: str, values: dict[str, Slab]) -> Slab:
        """Where a node's output goes: to whoever looks at it, or beside those that it will be joined with."""
        if key in values:
            return values[key]
        if key in self.outputs:
            return _outside(OTHERS + len(self.inputs) + self.outputs.index(key), made.shapes[key])
        if home := self.homes.get(key):
            whole = values[home] = self._target(made, home, values)
            (node,) = (node for node in self.nodes if node.name == home)
            start = sum(made.shapes[other][3] for other in node.inputs[: node.inputs.index(key)])
            return whole.slice(start, made.shapes[key][3])
        return made.writer.room(made.shapes[key])

    def _homes(self) -> dict[str, str]:
        """For what a node here makes and is joined with others: the node that joins it, for the first of them."""
        names = {node.name for node in self.nodes} - {*self.outputs}
        homes: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node.block, Concat):
                for key in node.inputs:
                    if key in names and node.inputs.count(key) == 1:
                        homes.setdefault(key, node.name)
        return homes

    def _sums(self) -> dict[str, Node]:
        """Sums that are found with the convolution that makes one of their parts, by that: the last to be computed."""
        order = {node.name: i for i, node in enumerate(self.nodes)}
        found: dict[str, Node] = {}
        for node in self.nodes:
            if not isinstance(node.block, SUMS):
                continue
            last = max(node.inputs, key=lambda key: order.get(key, -1))
            block = self.nodes[order[last]].block if last in order else None
            is_inner = self.uses[last] == 1 and last not in self.outputs
            if isinstance(block, FixedConv2d) and block.rectifier is None and is_inner:
                found[last] = node
        return found

    def _shapes(self, inputs: Mapping[str, Extent]) -> dict[str, Extent] | None:
        """(n, h, w, c) of all keys."""
        shapes = dict(inputs)
        for node in self.nodes:
            x, block = [shapes[key] for key in node.inputs], node.block
            y: Extent | None = x[0]
            if isinstance(block, FixedConv2d):
                y = self.convolutions[node.name].shape(x[0])
            elif isinstance(block, FixedMaxPool2d):
                y = pooled(block, x[0])
            elif isinstance(block, Concat):
                y = (*x[0][:3], sum(shape[3] for shape in x)) if len({shape[:3] for shape in x}) == 1 else None
            elif isinstance(block, SUMS) and len({*x}) != 1:
                y = None
            if y is None:
                return None
            shapes[node.name] = y
        return shapes


class _Errors:
    """Derivatives on the way back: what is known of each key, and what is still to come."""

    def __init__(self, region: RegionWriter, forward: Forward, writer: OpWriter, seeded: Sequence[str]):
        self.region, self.forward, self.writer = region, forward, writer
        self.found: dict[str, Slab] = {}
        reached = region.reached(seeded)
        self._left = Counter(key for node in region.nodes if node.name in reached for key in node.inputs)
        self._left.update(seeded)
        for i, key in enumerate(seeded):
            self.same(key, _outside(OTHERS + i, forward.shapes[key]))
        self._outside = {key: OTHERS + len(seeded) + i for i, key in enumerate(region.inputs)}

    def next(self, key: str) -> tuple[Slab | None, Bytes | None, Slab]:
        """(what is to be added, its gate, where it goes), for the next error that somebody computes for a key."""
        add, is_last = self.found.get(key), self._count(key)
        self.found[key] = self._room(key, is_last)
        return add, self.forward.gates.get(key) if is_last else None, self.found[key]

    def same(self, key: str, d: Slab) -> None:
        """An error that is another one, as it is."""
        is_gated = self._left[key] == 1 and (key in self.forward.gates or key in self.region.inputs)
        is_readable = d.channels % self.region.width == 0 or d.buffer.count
        if key in self.found or is_gated or not is_readable:
            add, gate, to = self.next(key)
            self.writer.write(Kind.PASS, d, to, add=add, gate=gate)
        else:
            self._count(key)
            self.found[key] = d

    def _count(self, key: str) -> bool:
        self._left[key] -= 1
        return self._left[key] == 0

    def _room(self, key: str, is_last: bool) -> Slab:
        shape = self.forward.shapes[key]
        return _outside(self._outside[key], shape) if is_last and key in self.region.inputs else self.writer.room(shape)


def _outside(piece: int, shape: Extent) -> Slab:
    return Slab(Buffer(piece), shape, shape[3])


def _readable(writer: OpWriter, view: Slab) -> Slab:
    """The same, or a copy in the arena, if reading a vector of channels would go beyond the end of it."""
    if view.channels % writer.width == 0:
        return view
    copy, (n, h, w, c) = writer.room(view.shape), view.shape
    lines = (n, h, 1, w * c)  # whole ones, since places lie beside each other
    writer.write(Kind.PASS, view._replace(shape=lines, ld=w * c), copy._replace(shape=lines, ld=w * c))
    return copy


def _parts(whole: Slab, parts: Sequence[Slab]) -> list[Slab]:
    starts = [sum(part.channels for part in parts[:i]) for i in range(len(parts))]
    return [whole.slice(start, part.channels) for start, part in zip(starts, parts, strict=True)]
