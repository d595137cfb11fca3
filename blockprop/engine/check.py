"""Check a backward pass against finite differences: of a block, of an objective, of a whole network.

The numbers, and why: everything runs in float64, because float32 cannot tell a wrong gradient from rounding. Central
differences with step 1e-6 are then right to about 1e-9. Each tensor is tried along three random directions, which
finds one element in a hundred wrong by 1 % in 99.8 % of all runs; if that fails, the elements are tried one by one
and the worst is reported with both numbers.

Kinks (ReLU at 0, ties in a maximum) have no derivative, only slopes to the left and right. Where the difference of
the two slopes does not shrink with the step, the point is a kink; at a single kink any value between the slopes is
right, and the report counts it. In a network many kinks can fall on one point (the black border of a picture, under
biases of 0), and then nothing can be said there: what fails is tried again a thousandth beside the point.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.contract import Subject, faults_of, float64, float64_subject
from blockprop.engine.differences import TOLERANCE, Comparison, Probe
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.trace import Trace
from blockprop.errors import GradientError, shape


@dataclass(frozen=True)
class CheckReport:
    """What a check found: one comparison for each tensor, and what else is wrong with the block's behavior."""

    subject: str
    comparisons: tuple[Comparison, ...]
    faults: tuple[str, ...] = ()
    tolerance: float = TOLERANCE

    @property
    def worst(self) -> Comparison | None:
        """The comparison with the largest error."""
        return max(self.comparisons, key=lambda c: c.error, default=None)

    @property
    def error(self) -> float:
        """The largest error of all; 0 if there was nothing to compare."""
        return self.worst.error if self.worst else 0.0

    @property
    def passed(self) -> bool:
        """True if every derivative agrees and nothing else is wrong."""
        return not self.faults and self.error <= self.tolerance

    def verify(self) -> "CheckReport":
        """Return the report itself, or raise GradientError with its text if the check failed."""
        if not self.passed:
            raise GradientError(str(self))
        return self

    def __str__(self) -> str:
        lines = [f"{self.subject}: {'right' if self.passed else 'WRONG'} (tolerance {self.tolerance:.0e})"]
        lines += [f"  {fault}" for fault in self.faults]
        lines += [f"  {comparison}" for comparison in sorted(self.comparisons, key=lambda c: -c.error)]
        return "\n".join(lines)


@torch.no_grad()
def check_block(
    block: Block, *inputs: Tensor, training: bool = False, tolerance: float = TOLERANCE, seed: int = 0
) -> CheckReport:
    """Check `propagate` and `gradients` of a block against finite differences of its `forward`, at these inputs.

    Also reported: what the CHECKS of contract.py find, such as methods that change their arguments, give another answer
    when called again, or return a wrong shape or type of number. Runs on a float64 copy; the block itself is not
    touched.
    """
    title, subject = f"{block!r}", float64_subject(block, inputs, training, seed)
    if not any(x.numel() for x in (subject.inputs or subject.block.parameters.values())):
        return CheckReport(title, (), ("there is nothing to check: the inputs have no elements",), tolerance)
    faults = faults_of(subject)
    comparisons = () if faults else tuple(_compared(subject, tolerance))
    return CheckReport(title, comparisons, faults, tolerance)


@torch.no_grad()
def check_objective(
    objective: Objective, outputs: Tensor | Mapping[str, Tensor], target: Any = None, tolerance: float = TOLERANCE
) -> CheckReport:
    """Check an objective's seeds against finite differences of its value, in float64."""
    by_name = {"output": outputs} if isinstance(outputs, Tensor) else outputs
    tensors = {name: float64(y) for name, y in by_name.items()}
    target = float64(target) if isinstance(target, Tensor) else target
    value, seeds = objective.evaluate(tensors, target)
    probe = Probe(lambda: float(objective.evaluate(tensors, target)[0]), abs(float(value)) + 1.0, tolerance)
    faults = [
        f"the seed for {name!r} is {shape(seed)}, its output {shape(tensors[name])}"
        for name, seed in seeds.items()
        if seed.shape != tensors[name].shape
    ]
    comparisons = [] if faults else [probe.compare(name, tensors[name], seed) for name, seed in seeds.items()]
    return CheckReport(str(objective), tuple(comparisons), tuple(faults), tolerance)


@torch.no_grad()
def check_network(
    network: Network,
    *inputs: Tensor,
    objective: Objective,
    target: Any = None,
    wrt: str | Iterable[str] = ("parameters", "inputs"),
    training: bool = False,
    every_element: bool = False,
    tolerance: float = TOLERANCE,
    progress: Callable[[str], None] | None = None,
) -> CheckReport:
    """Check ∂L/∂(each thing in wrt) of a whole network against finite differences, on a float64 copy.

    every_element: try all elements one by one, and not just along random directions. This takes two forward passes for
    each. `progress` is called with the name of each tensor before it is tried.
    """
    network, tensors = network.copy().to("cpu", torch.float64), [float64(x.cpu()) for x in inputs]
    target = float64(target.cpu()) if isinstance(target, Tensor) else target
    keep = objective.nodes or network.outputs

    def evaluate() -> tuple[Trace, Tensor, Mapping[str, Tensor]]:
        network.seed(0)
        trace = network.record(tuple(tensors), keep, training)
        return trace, *objective.evaluate({name: trace[name] for name in keep}, target)

    places = network.parameters | dict(zip(network.inputs, tensors, strict=True))
    wanted = [name for name in network.wanted(wrt) if name in places and places[name].is_floating_point()]

    def compare(names: list[str]) -> dict[str, Comparison]:
        trace, start, seeds = evaluate()
        derivatives = network.backward(trace, seeds, names)
        probe = Probe(lambda: float(evaluate()[1]), abs(float(start)) + 1.0, tolerance, every_element)
        compared = {}
        for name in names:
            if progress:
                progress(name)
            compared[name] = probe.compare(name, places[name], derivatives[name])
        return compared

    by_name = compare(wanted)
    failed = [name for name, comparison in by_name.items() if not comparison.error <= tolerance]
    if failed:
        _move(list(places.values()))
        by_name |= {name: replace(comparison, moved=True) for name, comparison in compare(failed).items()}
    title = f"network of {len(network.nodes)} blocks, {objective}"
    return CheckReport(title, tuple(by_name.values()), (), tolerance)


def _compared(subject: Subject, tolerance: float) -> Iterator[Comparison]:
    """Each derivative along Σ r · output, with random r, which are the errors that the block is given."""
    block, tensors = subject.block, subject.copies()
    generator = torch.Generator().manual_seed(subject.seed)
    outputs, saved = subject.run(tensors)
    outputs = tuple([y.clone() for y in outputs])  # they may be views of what is changed below
    d_outputs = tuple(
        torch.randn(y.shape, dtype=torch.float64, generator=generator) if y.is_floating_point() else None
        for y in outputs  # nothing comes back from integers and booleans
    )
    d_output = subject.d_output(d_outputs)
    d_inputs, gradients = block.propagate(saved, d_output), block.gradients(saved, d_output)

    def value() -> float:
        # The difference from the first output: so that large outputs do not swallow small changes.
        pairs = zip(d_outputs, subject.run(tensors)[0], outputs, strict=True)
        return sum(float((r * (y - first)).sum()) for r, y, first in pairs if r is not None)

    magnitude = sum(float((r * y).norm()) for r, y in zip(d_outputs, outputs, strict=True) if r is not None)
    probe = Probe(value, magnitude, tolerance, generator=generator)
    places = [(f"input {i}", x, d) for i, (x, d) in enumerate(zip(tensors, d_inputs, strict=True))]
    places += [(name, tensor, gradients[name]) for name, tensor in block.parameters.items()]
    for name, x, d in places:
        if x.is_floating_point():
            yield probe.compare(name, x, torch.zeros_like(x) if d is None else d)


def _move(tensors: list[Tensor]) -> None:
    """Shift every element by about a thousandth of its tensor's size, off whatever kinks the point lies on."""
    generator = torch.Generator().manual_seed(1)
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            size = tensor.abs().mean().clamp_min(1e-2)
            tensor.add_(1e-3 * size * torch.randn(tensor.shape, dtype=tensor.dtype, generator=generator))
