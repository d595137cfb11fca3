"""A whole network that is checked: each node by itself, the last first, and the derivatives of it all."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.contract import faults_of
from blockprop.engine.differences import Comparison
from blockprop.engine.failures import MethodFailed, place_of
from blockprop.engine.halving import Probe
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.passes import run_forward
from blockprop.engine.plan import BackwardStep, ForwardStep, plan_forward
from blockprop.engine.subject import (
    Derivatives,
    Subject,
    float64,
    forward,
    make_float64,
    misfits_of_d_inputs,
    misfits_of_gradients,
    move,
    rounding,
)
from blockprop.engine.trace import Trace
from blockprop.engine.trials import judged


@dataclass(frozen=True, repr=False)
class NodeSubject(Subject):
    """A node's block, of which no more is asked than the backward pass asks.

    reached: for each output, whether an error comes back to it.
    """

    step: BackwardStep = field(kw_only=True)
    reached: tuple[bool, ...] = field(kw_only=True)

    def takes_error(self, output: int) -> bool:
        return self.reached[output] and super().takes_error(output)

    def derivatives(self, inputs: Sequence[Tensor], saved: Any, errors: tuple[Tensor | None, ...]) -> Derivatives:
        d_inputs, gradients = self._both(saved, errors)
        derivatives: Derivatives = {}
        for target, x, d in zip(self.step.targets, inputs, d_inputs, strict=False):  # none if nothing is propagated
            if target and x.dtype == torch.float64:  # float32 would be compared with its own rounding
                derivatives[f"∂/∂{target}"] = x, d
        for name, title in self.step.gradients_wanted:
            derivatives[f"∂/∂{title}"] = self.block.parameters[name], gradients[name]
        return derivatives

    def _both(self, saved: Any, errors: tuple[Tensor | None, ...]) -> tuple[Sequence[Any], dict[str, Tensor]]:
        if self.step.both_wanted and self.block.finds_both:
            d_inputs, gradients = self.back("both", saved, errors)
        else:
            d_inputs = self.back("propagate", saved, errors) if self.step.targets else ()
            gradients = self.back("gradients", saved, errors) if self.step.gradients_wanted else {}
        if self.step.targets:
            self._require("propagate", misfits_of_d_inputs(d_inputs, self.inputs, any_dtype=True))
        if self.step.gradients_wanted:
            self._require("gradients", misfits_of_gradients(gradients, self.block.parameters))
        return d_inputs, gradients

    def _require(self, method: str, misfits: Iterator[str]) -> None:
        for misfit in misfits:
            raise MethodFailed(f"{misfit} ({place_of(self.block, method)})")


class Whole:
    """A float64 copy of a network, with inputs, and an objective of its outputs."""

    def __init__(
        self, network: Network, inputs: Sequence[Tensor], objective: Objective, target: Any, training: bool
    ) -> None:
        self.network, self.objective, self.training = network.in_float64(), objective, training
        for block in self.network.unique_blocks.values():
            make_float64(block)
        self.inputs = tuple([float64(x.cpu()) for x in inputs])
        self.target = float64(target.cpu()) if isinstance(target, Tensor) else target
        self.keep = objective.nodes or network.outputs

    @property
    def places(self) -> dict[str, Tensor]:
        """What can be walked along, by name."""
        parameters = {} if self.network.has_fixed_weights else self.network.parameters
        return parameters | dict(zip(self.network.inputs, self.inputs, strict=False))

    def wanted(self, wrt: str | Iterable[str] | None) -> list[str]:
        """Of what is asked for, or of all, what can be walked along."""
        places = self.places
        names = places if wrt is None else self.network.wanted(wrt)
        return [name for name in names if name in places and places[name].is_floating_point()]

    def move(self) -> None:
        """Off whatever kinks it stands on."""
        move(list(self.places.values()))

    def compare(
        self, names: Sequence[str], tolerance: float, every_element: bool, progress: Callable[[str], None] | None
    ) -> dict[str, Comparison]:
        """The derivatives of the objective by these names against its differences."""
        trace, start, seeds = self._evaluate(self.keep)
        derivatives = self.network.backward(trace, seeds, names)
        terms = abs(float(start)) + 1.0
        probe = Probe(lambda: (float(self._evaluate(self.keep)[1]), terms), tolerance, sharp=False)
        probe.every_element = every_element
        compared = {}
        for name in names:
            if progress:
                progress(name)
            compared[name] = probe.compare(name, self.places[name], derivatives[name])
        return compared

    def first_guilty(self, wanted: Sequence[str], tolerance: float) -> str | None:
        """The first node, going back, that is wrong by itself, in words. MethodFailed if a method does not even run."""
        for subject in self._subjects(wanted):
            name = f"node {subject.step.name!r}, {subject.block!r}"
            try:
                comparisons = judged(subject, tolerance, at_kinks=False)
            except MethodFailed as error:
                raise MethodFailed(f"{name}: {error}") from error
            wrong = [comparison for comparison in comparisons if not comparison.error <= tolerance]
            if wrong:
                few = rounding(subject)
                return f"{name}: {few}" if few else f"{name}, is wrong by itself: {max(wrong, key=lambda c: c.error)}"
        return None

    def what_else(self, wanted: Sequence[str], tolerance: float) -> str:
        """What is wrong if each node by itself is right."""
        for subject in self._subjects(wanted):
            for fault in faults_of(Subject(subject.block, subject.inputs, subject.training)):
                return f"node {subject.step.name!r}, {subject.block!r}: {fault}"
        return "each node by itself is right: look at the objective (check_objective) and at how the graph is run"

    def _subjects(self, wanted: Sequence[str]) -> Iterator[NodeSubject]:
        """Of each node that the backward pass visits, in its order."""
        values = self._values()
        seeds = self.objective.evaluate({name: values[name] for name in self.keep}, self.target)[1]
        reached = set(seeds)
        for step in self.network.backward_plan(seeds, tuple(wanted)):
            comes = tuple([key in reached for key in step.node.keys])
            reached.update(target for target in step.targets if target)
            inputs = tuple([values[key] for key in step.node.inputs])
            subject = NodeSubject(step.block, inputs, self.training, step=step, reached=comes)
            if any(map(subject.takes_error, range(len(comes)))):
                yield subject

    def _values(self) -> dict[str, Tensor]:
        """Every node's output. MethodFailed if a node's forward does not run, though it refuses nothing."""
        self.network.seed(0)
        self.network.record(self.inputs, (), self.training)  # counts the inputs
        plan = plan_forward(self.network.nodes, None, self.training)
        return run_forward(plan, dict(zip(self.network.inputs, self.inputs, strict=True)), call=_forward)

    def _evaluate(self, keep: tuple[str, ...] | None) -> tuple[Trace, Tensor, Mapping[str, Tensor]]:
        self.network.seed(0)
        trace = self.network.record(self.inputs, keep, self.training)
        return trace, *self.objective.evaluate({name: trace[name] for name in self.keep}, self.target)


def _forward(step: ForwardStep, inputs: list[Tensor]) -> tuple[Any, Any]:
    return forward(step.block, inputs, {"training": True} if step.in_training else {})
