"""Prepare a network whose weights stay fixed: the same values and errors, by fewer and leaner blocks.

lean = network.prepare(keep=("relu1_1", "relu4_2"))
print(lean.report())
trace = lean.forward(x)
d = lean.backward(trace, seeds, wrt="inputs")
"""

from collections.abc import Collection, Iterable
from typing import Any, Self

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.graph import needed_nodes
from blockprop.engine.network import Network
from blockprop.engine.plan import BackwardStep, Node, RuleMap, RuleOfAny, check_rules, rules_of
from blockprop.engine.room import Room
from blockprop.engine.trace import Trace
from blockprop.errors import BlockpropError, GraphError, SettingError, suggestion
from blockprop.preparing.budget import Budget, TooLittleMemory
from blockprop.preparing.draft import Draft, is_as_made
from blockprop.preparing.native.regions import described, with_regions
from blockprop.preparing.rewrites import REWRITES
from blockprop.preparing.sections import drawn_again, states

NATIVE = "join_regions"
"""The last rewrite: what is left goes to kernels in C, where there are some."""
SHOWN = 5
"""Names in a line of a report."""


class Prepared(Network):
    """A network that gives what another one gives in evaluation, with less work; its weights are copies.

    origin: the other one.   draft: how its graph was rewritten.
    nodes: those of the draft, or others that compute the same.   is_native: whether kernels in C may compute regions.
    memory: bytes beside the weights that both passes may take.   budget: what keeps to that; None if it is not given.
    narrowed: the one last made of it that computes certain channels alone (rows.py), by these.
    """

    has_fixed_weights = True

    def __init__(
        self,
        origin: Network,
        keep: tuple[str, ...],
        draft: Draft,
        nodes: Iterable[Node] | None = None,
        memory: int | None = None,
        is_native: bool = True,
    ):
        made = [*(draft.nodes.values() if nodes is None else nodes)]
        self.is_native = is_native and memory is None
        own = {node.name for node in made if not is_as_made(node.block)}
        made = with_regions(made, draft.visible, draft.untouched | own) if self.is_native else made
        super().__init__(made, origin.inputs, keep, origin.meta)
        self.origin, self.draft = origin, draft
        self.narrowed: dict[Any, Network] = {}
        self.budget = None if memory is None else Budget(self, memory)
        self._room = Room(origin._room.trusted) if origin._room else None

    def record(self, inputs: tuple[Tensor, ...], keep: tuple[str, ...] | None, training: bool) -> Trace:
        if training:
            raise GraphError("a prepared network computes as in evaluation; train the network that it was made of")
        keep = (*self.inputs, *self.outputs) if keep is None else keep
        if self.budget is None or len(inputs) != len(self.inputs):
            return super().record(inputs, keep, training)
        try:
            return self.budget.record(inputs, keep)
        except TooLittleMemory:
            raise
        except BlockpropError:
            self.origin.values(*inputs, keep=self.outputs)
            raise

    def wanted(self, wrt: str | Iterable[str]) -> tuple[str, ...]:
        return super().wanted(_no_weights(wrt, self.origin))

    def backward_plan(
        self, seeds: Iterable[str], wanted: tuple[str, ...], rules: RuleMap | None = None
    ) -> list[BackwardStep]:
        """As of any network. GraphError for a rule at a node that is not here as it was."""
        if rules:
            check_rules(rules, self.origin.nodes)
            self._require_own(rules)
            rules = {place: rules[place] for node in self.nodes for place in rules_of(node, rules)}
        return super().backward_plan(seeds, wanted, rules)

    @property
    def replaced(self) -> list[Node]:
        """Nodes of the origin, of those that are needed, for which other blocks stand."""
        needed = needed_nodes(self.origin.nodes, self.draft.visible)
        return [node for node in needed if self.blocks.get(node.name) is not node.block]

    def _require_own(self, rules: RuleMap) -> None:
        for node in self.replaced:
            for place in rules_of(node, rules):
                if isinstance(rules[place], RuleOfAny) and node.name in self.blocks:
                    continue
                name = place if isinstance(place, str) else place.__name__
                raise GraphError(
                    f"the rule for {name!r} would not reach node {node.name!r}, for which another block stands in this "
                    "prepared network; name the rules when it is prepared: prepare(rules=…)"
                )

    def value(self, trace: Trace, name: str) -> Tensor:
        """Computed again if it was not kept."""
        if name in trace.values or not all(key in trace.values for key in self.inputs):
            return super().value(trace, name)
        with drawn_again(states(self.blocks.values())):
            return self.values(*[trace[key] for key in self.inputs], keep=[name])[name]

    def to(self, device: torch.device | torch.dtype | str | None = None, dtype: torch.dtype | None = None) -> Self:
        device, dtype = (None, device) if isinstance(device, torch.dtype) else (device, dtype)
        numbers = [tensor for tensor in self.origin.state.values() if tensor.is_floating_point()]
        if all(tensor.to(device=device, dtype=dtype) is tensor for tensor in numbers):
            return self
        raise GraphError("a prepared network is not moved; move the network that it was made of, and prepare again")

    def in_float64(self) -> Network:
        """What it was made of, in float64, prepared in the same way."""
        wrt = (*self.inputs, *(key for key in self.draft.visible if key not in self.outputs))
        rules: RuleMap = dict.fromkeys(self.draft.untouched, Block.propagate)  # their places alone count
        return prepare(self.origin.in_float64(), self.outputs, wrt, rules, self.without)

    @property
    def without(self) -> list[str]:
        """The rewrites that were left out."""
        done = {*self.draft.rewritten, *([NATIVE] if self.is_native else [])}
        return [name for name in (*REWRITES, NATIVE) if name not in done]

    def report(self) -> str:
        """What was changed, and what was not, in words."""
        lines = [f"{len(self.origin.nodes)} nodes became {len(self.nodes)}"]
        for name, count in self.draft.rewritten.items():
            lines.append(f"  {name}: {count} nodes" if count else f"  {name}: nothing to do")
        if self.is_native:
            lines.append(f"  {NATIVE}: {described(self.nodes)}")
        if self.without:
            lines.append(f"  switched off: {', '.join(self.without)}")
        if untouched := [node.name for node in self.origin.nodes if node.name in self.draft.untouched]:
            more = f" and {len(untouched) - SHOWN} more" if len(untouched) > SHOWN else ""
            lines.append(f"  kept as they are, with rules: {', '.join(untouched[:SHOWN])}{more}")
        if self.budget is not None:
            lines.append(self.budget.report())
        return "\n".join(lines)

    def _run(self, inputs: tuple[Tensor, ...], *more: Any) -> dict[str, Tensor]:
        try:
            return super()._run(inputs, *more)
        except BlockpropError:
            self.origin.values(*inputs, keep=self.outputs)  # which names its own node, if it raises
            raise


def prepare(
    network: Network,
    keep: Iterable[str] | None = None,
    wrt: str | Iterable[str] = "inputs",
    rules: RuleMap | None = None,
    without: Collection[str] = (),
    memory: int | None = None,
    made: dict[Any, Block] | None = None,
) -> Prepared:
    """What `Network.prepare` does, each time anew.

    made: takes the leaner blocks, and has those that were made of the same network before.
    """
    for name in without:
        if name not in (*REWRITES, NATIVE):
            raise SettingError(f"there is no rewrite {name!r}{suggestion(name, (*REWRITES, NATIVE))}")
    outputs = network.outputs if keep is None else tuple(keep)
    visible = {*outputs, *(name for name in network.wanted(_no_weights(wrt, network)) if name not in network.inputs)}
    check_rules(rules or {}, network.nodes)
    untouched = {node.name for node in network.nodes if rules_of(node, rules or {})}
    draft = Draft(network.nodes, visible, untouched, {} if made is None else made)
    for name, rewrite in REWRITES.items():
        if name not in without:
            draft.rewritten[name] = rewrite(draft)
    return Prepared(network, outputs, draft, memory=memory, is_native=NATIVE not in without)


def _no_weights(wrt: str | Iterable[str], network: Network) -> tuple[str, ...]:
    """The names. GraphError for weights of the network."""
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for name in names:
        if name == "parameters" or name in network.parameters:
            raise GraphError(
                f"a prepared network has fixed weights, and no derivative by {name!r}; ask the network that it was "
                "made of"
            )
    return names
