"""Network: a dataflow graph of blocks; forward through it, and back-propagation through it.

    trace = network.forward(x)                  each node's output, and what its block saved
    d = network.backward(trace, seeds)          ∂L/∂parameters, ∂L/∂inputs, ∂L/∂(any node)

Both passes are the loops of passes.py. The backward pass starts wherever `seeds` says, visits only nodes on a path from
a seed to something wanted, asks each block there to propagate, and adds where paths meet.
"""

import copy
import importlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self, cast

import torch
from torch import Tensor

from blockprop.engine.about import About, require_sizes
from blockprop.engine.block import Block, StandIn
from blockprop.engine.graph import parameter_places, sorted_nodes, usual_inputs
from blockprop.engine.passes import run_backward, run_forward
from blockprop.engine.plan import BackwardStep, Node, RuleMap
from blockprop.engine.plans import Plans
from blockprop.engine.room import bounded, room_of, weightless
from blockprop.engine.trace import Trace, only
from blockprop.errors import GraphError, SettingError, ShapeError, did_you_mean, listed, shape


class Network:
    """Named nodes in topological order: a directed acyclic graph with one or more inputs and outputs.

    nodes: in any order, each (name, block, inputs). The same block may stand at several nodes: its gradients add up.
    inputs: names of the network's inputs, in the order in which forward takes them. By default ("x",), or none if no
        node takes "x".
    outputs: names of node outputs; by default those that no other node takes.
    meta: plain data that is saved with the network: {"classes": [names], "shape": [one example's], …}; see `About`.
    Raises GraphError for a cycle, a name used twice, and an input that is neither a node nor a network input.
    """

    has_fixed_weights = False

    def __init__(
        self,
        nodes: Iterable[Node],
        inputs: Iterable[str] | None = None,
        outputs: Iterable[str] | None = None,
        meta: About | None = None,
    ):
        nodes = tuple(nodes)
        self.meta = cast(About, dict(meta or {}))
        self.inputs = usual_inputs(nodes) if inputs is None else tuple(inputs)
        self.nodes = sorted_nodes(nodes, self.inputs)
        self.blocks = MappingProxyType({node.name: node.block for node in self.nodes})
        self.keys = (*self.inputs, *(key for node in self.nodes for key in node.keys))
        taken = {key for node in self.nodes for key in node.inputs}
        self.outputs = tuple(outputs) if outputs is not None else tuple(k for k in self.keys if k not in taken)
        self._keys = frozenset(self.keys)
        self._parameter_places = parameter_places(self.unique_blocks, self.keys)
        self._require(self.outputs)
        self._plans = Plans(self.nodes, self._parameter_places)
        self._room = room_of(self.blocks.values())
        self.prepared: dict[Any, Any] = {}

    @torch.no_grad()
    def __call__(self, *inputs: Any) -> Any:
        """The plain forward pass: the output, or a tuple if there are several. Nothing is kept for going back."""
        for x in inputs:
            if isinstance(x, StandIn):
                return x.called(self, inputs)
        require_tensors(inputs)
        values = self._run(inputs, self.outputs, False, None)
        outputs = tuple(values[name] for name in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    @torch.no_grad()
    def values(self, *inputs: Tensor, keep: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The outputs of these nodes by name, of all if `keep` is None; nothing is kept for going back.

        Raises ShapeError naming the node whose block refused its input, GraphError for a name the network lacks.
        """
        require_tensors(inputs)
        kept = self.keys if keep is None else self._require(keep)
        values = self._run(inputs, kept, False, None)
        return {name: values[name] for name in kept}

    @torch.no_grad()
    def forward(self, *inputs: Tensor, keep: Iterable[str] | None = None, training: bool = False) -> Trace:
        """Run the blocks; return a Trace to look at and to go back from.

        keep: whose outputs the trace shall hold; by default every node's. Nothing beyond them is computed.
        training: dropout drops, batch normalization uses the batch's own statistics.
        Raises ShapeError naming the node whose block refused its input.
        """
        require_tensors(inputs)
        return self.record(inputs, None if keep is None else self._require(keep), training)

    def record(self, inputs: tuple[Tensor, ...], keep: tuple[str, ...] | None, training: bool) -> Trace:
        """`forward` for loops that switch autograd off once, around a whole step."""
        saved: dict[str, Any] = {}
        return Trace(self._run(inputs, keep, training, saved), saved, self.outputs)

    def _run(
        self, inputs: tuple[Tensor, ...], keep: tuple[str, ...] | None, training: bool, saved: dict[str, Any] | None
    ) -> dict[str, Tensor]:
        plan = self._plans.forth(keep, training)
        if len(inputs) != len(self.inputs):
            raise ShapeError(
                f"the network takes {len(self.inputs)} inputs ({', '.join(self.inputs)}), not {len(inputs)}"
            )
        values = dict(zip(self.inputs, inputs))  # noqa: B905, counted above
        if sizes := self.meta.get("sizes"):
            require_sizes(sizes, values)
        call = self._room.require(plan, values, keep, saved is not None) if self._room else None
        return run_forward(plan, values, saved, call)

    @torch.no_grad()
    def backward(
        self,
        trace: Trace,
        seeds: Tensor | Mapping[str, Tensor],
        wrt: str | Iterable[str] = "parameters",
        rules: RuleMap | None = None,
        keep_trace: bool = False,
    ) -> dict[str, Tensor]:
        """Return ∂L/∂(each thing in wrt) by name, given seeds = ∂L/∂(outputs or inner nodes).

        seeds: {node name: derivative of L by that node's output}; a bare tensor seeds the only output.
        wrt: names of inputs, nodes ("relu1") or parameters ("fc1.weight"); "parameters" and "inputs" stand for all of
            them. What no seed depends on gets zeros.
        rules: {block type or node name: rule(block, saved, d_output) -> d_inputs}, used instead of `propagate`.
        keep_trace: keep what forward saved, to go back again; by default it is freed on the way.
        The results may share memory with each other and with the seeds: clone one before changing it in place.
        Raises GraphError for a name or type the network lacks, ShapeError for a seed of the wrong shape.
        """
        if isinstance(seeds, Tensor):
            seeds = {only(self.outputs): seeds}
        for name in self._require(seeds):
            if name in trace.values and trace.values[name].shape != seeds[name].shape:
                came, expected = shape(seeds[name]), shape(trace[name])
                raise ShapeError(f"the seed for {name!r} is {came}, but its output is {expected}")
        wanted = self.wanted(wrt)
        d = dict(self.sweep(trace, seeds, wanted, rules, keep_trace))
        return {name: d[name] if name in d else torch.zeros_like(self.value(trace, name)) for name in wanted}

    def value(self, trace: Trace, name: str) -> Tensor:
        """A parameter, or a node's output in this trace."""
        return self.parameters[name] if name in self._parameter_places else trace[name]

    def sweep(
        self,
        trace: Trace,
        seeds: Mapping[str, Tensor],
        wanted: tuple[str, ...],
        rules: RuleMap | None = None,
        keep_trace: bool = False,
    ) -> Iterator[tuple[str, Tensor]]:
        """Go back once; yield (name, derivative) of each wanted thing as soon as it is complete.

        A parameter comes after its block has propagated, so that the caller may change it in place at once.
        """
        plan = self.backward_plan(seeds, wanted, rules)
        take = trace.saved.__getitem__ if keep_trace else trace.saved.pop
        return run_backward(plan, take, dict(seeds), [name for name in self.inputs if name in wanted])

    def backward_plan(
        self, seeds: Iterable[str], wanted: tuple[str, ...], rules: RuleMap | None = None
    ) -> list[BackwardStep]:
        """Which node is visited when, going back from the seeds to what is wanted, and what it is asked for."""
        return self._plans.back(seeds, wanted, rules)

    def prepare(
        self,
        keep: Iterable[str] | None = None,
        wrt: str | Iterable[str] = "inputs",
        rules: RuleMap | None = None,
        without: str | Iterable[str] = (),
        memory: int | str | None = None,
    ) -> "Network":
        """A network that gives the same in evaluation by fewer and leaner blocks, its weights fixed (and copied).

        keep: whose outputs are looked at and seeded; by default the network's. What they do not need goes.
        wrt: inputs and nodes whose errors are wanted.   rules: for a backward pass; what they touch is kept as it is.
        without: names of rewrites that are left out, or one; `report()` of what comes back names them all.
        memory: what both passes may take beside the weights, in bytes or as "500 MB"; to keep to it, some of what is
            saved is computed again on the way back. `report()` says what the last run was expected to take.
        The same comes back for the same question while no weight changes. Of a prepared network its origin is asked.
        Raises GraphError for names that the network lacks and for weights in `wrt`, SettingError for an unknown rewrite
        and, when it runs, for a memory that is too small for its inputs.
        """
        preparing = importlib.import_module("blockprop.preparing.kept")  # which knows the blocks, which know this file
        return preparing.prepared(self, keep, wrt, rules, without, memory)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The weights by name, "node.parameter"; a shared block's under the first node that has it."""
        return {title: getattr(self.blocks[node], name) for title, (node, name) in self._parameter_places.items()}

    @property
    def state(self) -> dict[str, Tensor]:
        """All tensors that make the network what it is: parameters and buffers (running statistics)."""
        buffers = {f"{name}.{key}": t for name, block in self.unique_blocks.items() for key, t in block.buffers.items()}
        return self.parameters | buffers

    @property
    def unique_blocks(self) -> dict[str, Block]:
        """The blocks by node name, a shared block once, at the first of its nodes."""
        first = {id(block): name for name, block in reversed(list(self.blocks.items()))}
        return {name: block for name, block in self.blocks.items() if first[id(block)] == name}

    def wanted(self, wrt: str | Iterable[str]) -> tuple[str, ...]:
        """The names that `wrt` stands for, checked."""
        names: list[str] = []
        for name in (wrt,) if isinstance(wrt, str) else wrt:
            if name == "parameters":
                names.extend(self._parameter_places)
            elif name == "inputs":
                names.extend(self.inputs)
            else:
                names.append(name)
        self._require(name for name in names if name not in self._parameter_places)
        return tuple(dict.fromkeys(names))

    def to(self, device: torch.device | torch.dtype | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Move all parameters and buffers in place; dtype applies to those of real numbers. Returns the network.

        A dtype may stand first, as in torch: `to(torch.float64)`. Blocks that make numbers of the parameters' one type,
        as their `dtype` says, make them of the new type then. Raises SettingError for a dtype of whole numbers.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        if dtype is not None and not dtype.is_floating_point:
            raise SettingError(f"weights are real numbers: expected torch.float32, torch.float64, …, came {dtype}")
        types = {str(tensor.dtype) for tensor in self.parameters.values() if tensor.is_floating_point()}
        for block in self.unique_blocks.values() if dtype is not None and len(types) == 1 else ():
            if f"torch.{getattr(block, 'dtype', '')}" in types:
                setattr(block, "dtype", str(dtype).removeprefix("torch."))  # noqa: B010, of some blocks alone
        for block in self.unique_blocks.values():
            for name, tensor in (block.parameters | block.buffers).items():
                setattr(block, name, tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None))
        return self

    def seed(self, seed: int) -> Self:
        """Give each random block (dropout) its own generator, so that a run can be repeated. Returns the network."""
        for i, block in enumerate(self.unique_blocks.values()):
            if hasattr(block, "generator"):
                block.generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
        return self

    def bounded(self, trusted: bool = False) -> Self:
        """Have it look before it runs at what it asks for: it is a file's (engine/room.py). Returns the network."""
        self._room = bounded(self.blocks.values(), trusted)
        return self

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """The generators of the random blocks by node name, of those that have one (`seed` gives one to all)."""
        generators = {name: getattr(block, "generator", None) for name, block in self.unique_blocks.items()}
        return {name: generator for name, generator in generators.items() if generator is not None}

    def weightless(self) -> "Network":
        """The network without its numbers, on torch's device "meta": it tells the shapes of all outputs at no cost."""
        twins = {id(block): weightless(block) for block in self.unique_blocks.values()}
        nodes = [Node(node.name, twins[id(node.block)], node.inputs) for node in self.nodes]
        return Network(nodes, self.inputs, self.outputs)

    def copy(self) -> Self:
        """An independent network with equal weights."""
        return copy.deepcopy(self)

    def in_float64(self) -> "Network":
        """An independent network with the same numbers in float64, in the computer's own memory."""
        return self.copy().to("cpu", torch.float64)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"blocks": dict(self.blocks), "_plans": None, "prepared": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"blocks": MappingProxyType(state["blocks"])})
        self._plans = Plans(self.nodes, self._parameter_places)

    def __repr__(self) -> str:
        lines = [f"  {node.name}: {node.block!r}  <-  {', '.join(node.inputs)}" for node in self.nodes]
        return "\n".join([f"Network({', '.join(self.inputs)} -> {', '.join(self.outputs)})", *lines])

    def _require(self, names: Iterable[str]) -> tuple[str, ...]:
        names = tuple(names)
        for name in names:
            if name not in self._keys:
                near = did_you_mean(name, [*self._keys, *self._parameter_places])
                raise GraphError(f"the network has no {name!r}; its nodes are {listed(self._keys)}{near}")
        return names


def require_tensors(inputs: Iterable[Any]) -> None:
    """ShapeError for anything else."""
    for x in inputs:
        if not isinstance(x, Tensor):
            raise ShapeError(f"expected torch tensors, came a {type(x).__name__}; torch.as_tensor makes one")
