"""The graph that an importer builds, node by node, with what is known about every value.

Every node is run at once, on torch's "meta" device (sizes without numbers, so it costs nothing), in two trials with
different sizes for the free axes of the network's inputs. An axis whose size differs between the trials is free.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks import Constant, Parameter
from blockprop.blocks.sources import name_of
from blockprop.engine.about import About
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import GraphError, UnsupportedError, shape
from blockprop.importers.symbols import AxisSize, Symbol, same_size

MOST_NODES = 100_000


@dataclass(frozen=True, eq=False)
class Flow:
    """A value that the network computes.

    known: what it is, if it depends on weights and constants alone   filled: the number that it holds at every place
    sign_of: (x, kind) if it is x compared with 0
    """

    key: str
    trials: tuple[Tensor, ...]
    known: Tensor | None = None
    filled: float | None = None
    sign_of: tuple["Flow", str] | None = None

    @property
    def shape(self) -> tuple[AxisSize, ...]:
        """Each axis' size: a number, or a Symbol if it is free."""
        first, *rest = [tuple(trial.shape) for trial in self.trials]
        return tuple(
            size
            if all(other[axis] == size for other in rest)
            else Symbol.of(self.key, axis, (size, *(o[axis] for o in rest)))
            for axis, size in enumerate(first)
        )

    @property
    def axes(self) -> int:
        """The number of axes, alike in all trials."""
        return self.trials[0].dim()

    @property
    def dtype(self) -> torch.dtype:
        """The type of its elements, alike in all trials."""
        return self.trials[0].dtype


@dataclass(eq=False)
class Known:
    """A weight (trained) or a constant. One that differently used operators share is `tied`: it gets its own node.

    shape, axes, dtype: as of a Flow, but that no axis is free.
    """

    tensor: Tensor
    name: str = ""
    trained: bool = False
    tied: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def axes(self) -> int:
        return self.tensor.dim()

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype


Value = Flow | Known


class Graph:
    """Nodes of a network under construction.

    inputs: the network's inputs by name, each with its meta tensors, one for each trial.
    """

    def __init__(self, inputs: Mapping[str, tuple[Tensor, ...]]):
        self.inputs = {name: Flow(name, trials) for name, trials in inputs.items()}
        self.nodes: list[Node] = []
        self._taken = Counter(self.inputs.keys())
        self._flows = dict(self.inputs)
        self._sources: dict[int, dict[str, str]] = {}
        self._twins: dict[int, Block] = {}
        self._blocks: dict[Any, Block] = {}
        self._lifted: dict[int, Flow] = {}
        self._kept: list[Any] = []
        self._counted = 0
        self.parameter_names: dict[str, str] = {}
        """Name in the network -> name in the model that it came from; complete after `network`."""
        self.norm_by_input: Callable[[str], bool | None] = lambda _running_mean: None
        """Whether a normalization with this buffer takes the input's statistics in the mode that is not imported."""

    def counted(self) -> tuple[int, int]:
        """Sizes in both trials for an axis whose length follows from numbers in the data: like no other axis'."""
        self._counted += 1
        return 1009 + 2 * self._counted, 2027 + 6 * self._counted

    def add(
        self, name: str, block: Block, *operands: Value, known: Any = None, trials: list[Tensor] | None = None
    ) -> Any:
        """A node at the end of the graph: its output, or a tuple of them. Weights among the operands get a node.

        known: what the output is, or the outputs are, if they depend on weights and constants alone
        trials: its only output in both trials, if its shape does not follow from those of the operands (`counted`)
        """
        if len(self.nodes) >= MOST_NODES:
            raise GraphError(f"the model has more than {MOST_NODES} nodes, which cannot be meant")
        flows = [self.lift(operand) for operand in operands]
        if trials is None:
            trials = [self._run(block, [flow.trials[i] for flow in flows]) for i in range(2)]
        node = Node(self.unique(name), block, tuple(flow.key for flow in flows))
        self.nodes.append(node)
        if block.output_count == 1:
            self._flows[node.name] = Flow(node.name, tuple(trials), known)
            return self._flows[node.name]
        outputs = tuple(
            Flow(key, tuple(trial[i] for trial in trials), None if known is None else known[i])
            for i, key in enumerate(node.keys)
        )
        self._flows.update({flow.key: flow for flow in outputs})
        return outputs

    def _run(self, block: Block, inputs: list[Tensor]) -> Any:
        twin = self._twins.get(id(block))
        if twin is None:
            twin = self._twins[id(block)] = copy.copy(block)
            self._kept.append(block)  # keeps the id its own
            for name, tensor in (block.parameters | block.buffers).items():
                setattr(twin, name, tensor.to("meta"))
        with torch.no_grad(), torch.device("meta") if not inputs else nullcontext():
            return twin.forward(*inputs)[0]

    def lift(self, value: Value) -> Flow:
        """The value as one of the network's: a weight or constant gets a node without inputs."""
        if isinstance(value, Flow):
            return value
        if id(value) not in self._lifted:
            trained = value.trained and value.tensor.is_floating_point()
            kind: Any = Parameter if trained else Constant
            settings = {"shape": value.shape} | ({} if trained else {"dtype": name_of(value.dtype)})
            block = self.block(kind, settings, value=value)
            self._lifted[id(value)] = self.add(value.name or "constant", block, known=value.tensor)
            self._kept.append(value)  # keeps the id its own
        return self._lifted[id(value)]

    def block(self, kind: Callable[..., Block], settings: Mapping[str, Any], **tensors: Known | Tensor | None) -> Block:
        """A block with these tensors as its weights and buffers: the same one for the same tensors and settings."""
        mark = (kind, repr(settings), *((name, _mark(t)) for name, t in tensors.items()))
        if tensors and mark in self._blocks:
            return self._blocks[mark]
        with torch.device("meta"):
            block = kind(**settings)
        for name, operand in tensors.items():
            parameter, tensor = getattr(block, name, None), _tensor(operand)
            if (parameter is None) != (tensor is None) or (
                tensor is not None and parameter is not None and parameter.shape != tensor.shape
            ):
                raise UnsupportedError(
                    f"{name} is {'missing' if tensor is None else shape(tensor)}, but {block!r} takes "
                    f"{'none' if parameter is None else shape(parameter)}"
                )
            if tensor is not None:
                setattr(block, name, tensor.detach().clone(memory_format=torch.contiguous_format))
        self._blocks[mark] = block
        self._sources[id(block)] = {name: t.name for name, t in tensors.items() if isinstance(t, Known) and t.name}
        self._kept.append(tensors)
        return block

    def unique(self, name: str) -> str:
        """The name, or name#2, name#3, … if it is taken."""
        name = name or "node"
        self._taken[name] += 1
        if self._taken[name] == 1 and name not in ("inputs", "parameters"):
            return name
        number = max(self._taken[name], 2)
        while self._taken[f"{name}#{number}"]:
            number += 1
        return self.unique(f"{name}#{number}")

    def sizes(self, wanted: Sequence[AxisSize], *operands: Value) -> tuple[tuple[int | str, ...], tuple[Flow, ...]]:
        """`formulas`, where a size that equals the first operand's own at the same place is taken from there.

        Equal means in both trials: free axes are given trial sizes in different ratios, so that this is no chance.
        """
        first = operands[0].shape if operands else ()
        return self.formulas(
            [first[i] if i < len(first) and same_size(size, first[i]) else size for i, size in enumerate(wanted)],
            *operands,
        )

    def formulas(self, wanted: Sequence[AxisSize], *operands: Value) -> tuple[tuple[int | str, ...], tuple[Flow, ...]]:
        """(sizes as blocks take them, operands that the block takes besides for their sizes alone)"""
        keys = [operand.key if isinstance(operand, Flow) else "" for operand in operands]
        others: list[Flow] = []
        leaves = [leaf for size in wanted if isinstance(size, Symbol) for leaf in size.leaves]
        for leaf in leaves:
            if leaf.key not in keys:
                keys.append(leaf.key)
                others.append(self.flow(leaf.key))
        names = {leaf: f"{'abcdefghijklmnopqrstuvwxyz'[keys.index(leaf.key)]}{leaf.axis}" for leaf in leaves}
        return tuple(size.formula(names) if isinstance(size, Symbol) else size for size in wanted), tuple(others)

    def origins(self, value: Value) -> tuple[str, ...]:
        """The network's inputs from which the value is computed."""
        needed = {value.key} if isinstance(value, Flow) else set()
        for node in reversed(self.nodes):
            if not needed.isdisjoint(node.keys):
                needed.update(node.inputs)
        return tuple(name for name in self.inputs if name in needed)

    def knowing(self, flow: Flow, known: Tensor) -> Flow:
        """The value, of which it is known now what it is."""
        self._flows[flow.key] = replace(flow, known=known)
        return self._flows[flow.key]

    def flow(self, key: str) -> Flow:
        """The value of this name; it has been added before."""
        return self._flows[key]

    def network(self, outputs: Iterable[Flow], meta: About) -> Network:
        """The nodes that the outputs depend on, as a network."""
        keys = [flow.key for flow in outputs]
        needed, kept = set(keys), []
        for node in reversed(self.nodes):
            if not needed.isdisjoint(node.keys):
                kept.append(node)
                needed.update(node.inputs)
        names = self._apart_from_weights(kept)
        nodes = [
            Node(names.get(name, name), block, tuple(names.get(key, key) for key in inputs))
            for name, block, inputs in reversed(kept)
        ]
        network = Network(nodes, self.inputs, [names.get(key, key) for key in keys], meta)
        for name, block in network.unique_blocks.items():
            names = self._sources.get(id(block), {})
            self.parameter_names.update({f"{name}.{here}": title for here, title in names.items()})
        return network

    def _apart_from_weights(self, nodes: Iterable[Node]) -> dict[str, str]:
        """New names for nodes that are called like a weight of another: "fc.weight" beside a node "fc"."""
        titles = {f"{node.name}.{name}" for node in nodes for name in node.block.parameter_names}
        return {node.name: self.unique(node.name) for node in nodes if node.name in titles}


def _tensor(given: Known | Tensor | None) -> Tensor | None:
    return given.tensor if isinstance(given, Known) else given


def _mark(given: Known | Tensor | None) -> Any:
    """What is the same for the same tensor; for a number that an importer has made itself, its value."""
    return given.item() if isinstance(given, Tensor) and given.dim() == 0 else id(_tensor(given))
