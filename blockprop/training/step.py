"""A step of training: forward, objective, backward, update on one batch, as a whole or part by part."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.means import BatchMean, shares
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.errors import GraphError
from blockprop.preparing.native.kernels import kernels
from blockprop.training.batches import batch_sizes
from blockprop.training.descent import GradientDescent, clipped
from blockprop.training.native_network import with_native_blocks
from blockprop.training.settings import Settings
from blockprop.training.threads import is_small

Gradients = Iterable[tuple[str, Tensor]]
"""Parameters' names with their gradients, each once."""


class TrainingStep:
    """What is done with every batch. It knows of no epochs and no files.

    trained: the names of the parameters that change.   runs: the network with native blocks where there are such.
    """

    def __init__(self, network: Network, objective: Objective, optimizer: Any, settings: Settings):
        self.network, self.objective, self.optimizer, self.settings = network, objective, optimizer, settings
        self.parameters, self.trained = network.parameters, settings.trainable(network, optimizer)
        self.nodes = objective.nodes or network.outputs
        found = kernels()
        self.runs = network if found is None else with_native_blocks(network, self.nodes, found)
        self.set = None if found is None or self.runs is network else found.set
        blocks = [(node.name, node.block) for node in self.runs.nodes]
        self.remembering = [(name, block) for name, block in blocks if type(block).remember is not Block.remember]
        self.is_descent = isinstance(optimizer, GradientDescent)
        # Inference mode saves a tenth of a small step; torch's own optimizers want to keep what they make in it.
        self.mode: Any = torch.inference_mode() if self.is_descent else torch.no_grad()
        small = is_small(self.parameters.values(), settings.batch_size)
        usual = self.is_descent and settings.gradients_may_go and not small
        self.immediate = usual if settings.immediate is None else settings.immediate

    @property
    def by(self) -> str:
        """What makes the steps, in words."""
        return "blocks" if self.set is None else f"blocks with native kernels ({self.set})"

    def learn(self, x: Tensor, y: Tensor) -> list[float]:
        """Update the parameters; return each term's value before. Nothing is updated if the objective is not finite.

        Raises GraphError for an objective that depends on none of the parameters to be trained.
        """
        if self.settings.accumulate > 1:
            return self._learn_in_parts(x, y)
        values, sweep = self._pass(x, y)
        if math.isfinite(self.total(values)):
            self._descend(sweep)
        return values

    def total(self, values: list[float]) -> float:
        """The objective, from its terms' values."""
        return sum(factor * value for (factor, _), value in zip(self.objective.terms, values, strict=True))

    def _learn_in_parts(self, x: Tensor, y: Tensor) -> list[float]:
        """The same step, from the gradients of parts of the batch: each counts as much as it has of the whole mean."""
        sizes, mean = batch_sizes(len(x), self.settings.batch_size), BatchMean(self.objective)
        gradients: dict[str, Tensor] = {}
        for rows, targets in zip(x.split(sizes), y.split(sizes), strict=True):
            values, sweep = self._pass(rows, targets, shares(self.objective, targets, y))
            mean.add(values, targets)
            if not math.isfinite(self.total(values)):
                return values
            for name, gradient in sweep:
                gradients[name] = gradients[name] + gradient if name in gradients else gradient
        self._descend(gradients.items())
        return mean.values

    def _pass(self, x: Tensor, y: Tensor, factors: list[float] | None = None) -> tuple[list[float], Gradients]:
        """Forward and objective: (each term's value, the backward sweep, which is not yet made)."""
        trace = self.runs.record((x,), self.nodes, True)
        terms, seeds = self.objective.by_term(trace.values, y, factors)
        values = [float(term) for term in terms]
        for name, block in self.remembering if math.isfinite(self.total(values)) else ():
            if name in trace.saved:
                block.remember(trace.saved[name])
        return values, self.runs.sweep(trace, seeds, self.trained)

    def _descend(self, sweep: Gradients) -> None:
        parameters, gradients = [], []
        name = None
        for name, gradient in sweep:
            if self.immediate:
                self._update([self.parameters[name]], [gradient])
                del gradient  # before the next block's is computed
            else:
                parameters.append(self.parameters[name])
                gradients.append(gradient)
        if name is None:
            raise GraphError(f"{self.objective!r} depends on none of the parameters that are to be trained")
        if self.immediate:
            return
        if self.settings.clip is not None:
            gradients = clipped(gradients, self.settings.clip)
        self._update(parameters, gradients)

    def _update(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        if self.is_descent:
            self.optimizer.update(parameters, gradients)
            return
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        for parameter in parameters:
            parameter.grad = None
