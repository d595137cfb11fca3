"""One forward and one backward pass with everything kept: values, derivatives, and what each branch adds at a fork."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from blockprop.calculus.recording import Recording
from blockprop.engine.briefly import brief
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.passes import run_forward
from blockprop.engine.plan import BackwardStep, Node, plan_forward
from blockprop.engine.subject import float64
from blockprop.engine.trace import Trace
from blockprop.errors import SettingError

LOSS = "the loss"
STEP = 1e-6
"""Of central differences, in units of the number that is moved, at least of 1."""


class BothPasses(Recording):
    """A network at one input, in float64 and in evaluation, with all that both passes computed.

    loss, seeds: the objective's.   steps: of the backward pass, the loss first.
    d: ∂L/∂(output) of every input and node that the loss depends on, and ∂L/∂(each parameter), by name.
    Raises GraphError for an objective of a node that the network lacks, SettingError for what is none.
    """

    @torch.no_grad()
    def __init__(self, network: Network, inputs: tuple[Tensor, ...], objective: Objective, target: Any):
        for name, came, kind in (("network", network, Network), ("objective", objective, Objective)):
            if not isinstance(came, kind):
                raise SettingError(f"expected a {kind.__name__} as {name}, came {brief(came)}")
        network = network.copy().to(dtype=torch.float64)
        super().__init__(network, network.forward(*(float64(x) for x in inputs)))
        self.objective, self.target = objective, float64(target) if isinstance(target, Tensor) else target
        self._read = objective.nodes or network.outputs
        self.loss, self.seeds = self._evaluated(self.trace.values)
        real = tuple(key for key in self.network.keys if self.trace[key].is_floating_point())
        wanted = (*real, *self.network.parameters)
        self.d: dict[str, Tensor] = dict(self.network.sweep(self.trace, self.seeds, wanted, keep_trace=True))
        self.d |= {name: seed for name, seed in self.seeds.items() if name not in self.d}
        self.d |= {name: torch.zeros_like(w) for name, w in self.network.parameters.items() if name not in self.d}
        self.steps = self.steps_to(wanted)

    def _evaluated(self, values: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """L and its seeds, of what the objective reads."""
        return self.objective.evaluate(Trace(values, {}, self._read).outputs, self.target)

    def steps_to(self, wanted: tuple[str, ...]) -> list[BackwardStep]:
        """The steps of the backward pass to these that something comes to, the loss first."""
        plan = self.network.backward_plan(self.seeds, wanted)
        return [step for step in plan if any(key in self.d for key in step.node.keys)]

    def branches(self, key: str) -> list[tuple[str, Tensor]]:
        """(from where, what it adds) of each part of ∂L/∂(an output), which is their sum; none where it has one part.

        Each reader of the output propagates once more for this.
        """
        if sum(step.targets.count(key) for step in self.steps) + (key in self.seeds) < 2:
            return []
        parts = [(LOSS, self.seeds[key])] if key in self.seeds else []
        for step in self.steps:
            if key in step.targets:
                d_x = step.block.propagate(self.trace.saved[step.name], self.d_output(step))
                parts += [
                    (step.name, d)
                    for target, d in zip(step.targets, d_x, strict=True)
                    if target == key and d is not None
                ]
        return parts

    def d_output(self, step: BackwardStep) -> Any:
        """The error that comes to a node."""
        return self.d.get(step.key) if step.key else tuple(self.d.get(key) for key in step.node.keys)

    def difference(self, name: str, index: tuple[int, ...]) -> float:
        """The central difference (L(v + h) − L(v − h)) / 2h, v one element of a parameter, an input or a node.

        h = 1e-6 max(1, |v|)
        """
        here = self.tensor(name)
        step = STEP * max(1.0, abs(float(here[index])))
        losses = []
        for way in (step, -step):
            moved = here.clone(memory_format=torch.contiguous_format)
            moved[index] += way
            losses.append(self.loss_with({name: moved}))
        return (losses[0] - losses[1]) / (2 * step)

    @torch.no_grad()
    def loss_with(self, changes: Mapping[str, Tensor]) -> float:
        """L with other numbers in place of some parameters, of some inputs, or of what one node gave.

        Only the nodes that stand behind these run again; parameters are put back.
        """
        parameters = self.network.parameters
        kept = {name: parameters[name].clone() for name in changes if name in parameters}
        values = self.trace.values | {name: changes[name] for name in changes if name not in parameters}
        again = self.behind(changes)
        try:
            for name in kept:
                parameters[name].copy_(changes[name])
            return float(self._evaluated(run_forward(plan_forward(again, self._read, False), values))[0])
        finally:
            for name, tensor in kept.items():
                parameters[name].copy_(tensor)

    def behind(self, names: Collection[str]) -> list[Node]:
        """The nodes whose outputs change with these parameters, inputs and outputs of nodes."""
        changed = {id(tensor) for name, tensor in self.network.parameters.items() if name in names}
        moved, found = set(names), list[Node]()
        for node in self.network.nodes:
            owns = any(id(tensor) in changed for tensor in node.block.parameters.values())
            if owns or not moved.isdisjoint(node.inputs):
                found.append(node)
                moved.update(node.keys)
        return found
