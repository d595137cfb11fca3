"""One forward and one backward pass with everything kept: values, derivatives, and what each branch adds at a fork."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.plan import BackwardStep
from blockprop.engine.subject import float64

LOSS = "the loss"


class BothPasses:
    """A network at one input, in float64 and in evaluation, with all that both passes computed.

    trace: values and what blocks saved.   loss, seeds: the objective's.   steps: the backward plan, the loss first.
    d: ∂L/∂(output) of every input and node that the loss depends on, and ∂L/∂(parameter), by name.
    """

    @torch.no_grad()
    def __init__(self, network: Network, inputs: tuple[Tensor, ...], objective: Objective, target: Any):
        self.network = network.copy().to(dtype=torch.float64)
        self.trace = self.network.forward(*(float64(x) for x in inputs))
        self.objective, self.target = objective, float64(target) if isinstance(target, Tensor) else target
        self.loss, self.seeds = objective.evaluate(self.trace.outputs, self.target)
        real = tuple(key for key in self.network.keys if self.trace[key].is_floating_point())
        wanted = (*real, *self.network.parameters)
        self.steps = self.network.backward_plan(self.seeds, wanted)
        self.d: dict[str, Tensor] = dict(self.network.sweep(self.trace, self.seeds, wanted, keep_trace=True))
        self.d |= {name: seed for name, seed in self.seeds.items() if name not in self.d}

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

    def loss_with(self, changes: Mapping[str, Tensor]) -> float:
        """L with other numbers in place of some parameters or inputs; what was there is put back."""
        parameters = self.network.parameters
        inputs = [changes.get(name, self.trace[name]) for name in self.network.inputs]
        kept = {name: parameters[name].clone() for name in changes if name in parameters}
        try:
            for name in kept:
                parameters[name].copy_(changes[name])
            values = self.network.values(*inputs, keep=self.network.outputs)
            return float(self.objective.evaluate(values, self.target)[0])
        finally:
            for name, tensor in kept.items():
                parameters[name].copy_(tensor)
