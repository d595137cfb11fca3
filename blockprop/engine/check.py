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

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.differences import TOLERANCE, Comparison, Probe
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.trace import Trace
from blockprop.errors import GradientError, shape


@dataclass(frozen=True)
class Report:
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

    def verify(self) -> "Report":
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
) -> Report:
    """Check `propagate` and `gradients` of a block against finite differences of its `forward`, at these inputs.

    Also reported: methods that change their arguments, give another answer when called again, or return a wrong shape
    or type of number. Runs on a float64 copy; the block itself is not touched.
    """
    subject, generator = f"{block!r}", torch.Generator().manual_seed(seed)
    block, tensors = _float64_block(block, seed), [_float64(x) for x in inputs]
    if not any(x.numel() for x in (tensors or block.parameters.values())):
        return Report(subject, (), ("there is nothing to check: the inputs have no elements",), tolerance)

    def run(given: list[Tensor] = tensors) -> tuple[tuple[Tensor, ...], Any]:
        if hasattr(block, "generator"):
            block.generator.manual_seed(seed)
        returned = block.forward(*given, **({"training": training} if block.has_training_mode else {}))
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise GradientError(f"{subject}: forward must return (output, saved); it returned {_kind(returned)}")
        return (returned[0] if block.output_count > 1 else returned[:1]), returned[1]

    outputs, saved = run()
    outputs = tuple([y.clone() for y in outputs])  # they may be views of what is changed below
    d_outputs = tuple(
        torch.randn(y.shape, dtype=torch.float64, generator=generator) if y.is_floating_point() else None
        for y in outputs  # nothing comes back from integers and booleans
    )
    d_output: Any = d_outputs if block.output_count > 1 else d_outputs[0]
    d_inputs, gradients = block.propagate(saved, d_output), block.gradients(saved, d_output)
    faults = [*_shape_faults(block, tensors, d_inputs, gradients)] or [*_faults(block, tensors, run)]
    if faults:
        return Report(subject, (), tuple(faults), tolerance)

    def value() -> float:
        # The difference from the first output: so that large outputs do not swallow small changes.
        pairs = zip(d_outputs, run()[0], outputs, strict=True)
        return sum(float((r * (y - first)).sum()) for r, y, first in pairs if r is not None)

    magnitude = sum(float((r * y).norm()) for r, y in zip(d_outputs, outputs, strict=True) if r is not None)
    probe = Probe(value, magnitude, tolerance, generator=generator)
    found = [
        probe.compare(name, x, torch.zeros_like(x) if d is None else d)
        for name, x, d in _places(block, tensors, d_inputs, gradients)
        if x.is_floating_point()
    ]
    return Report(subject, tuple(found), (), tolerance)


@torch.no_grad()
def check_objective(
    objective: Objective, outputs: Tensor | Mapping[str, Tensor], target: Any = None, tolerance: float = TOLERANCE
) -> Report:
    """Check an objective's seeds against finite differences of its value, in float64."""
    given = {"output": outputs} if isinstance(outputs, Tensor) else outputs
    tensors = {name: _float64(y) for name, y in given.items()}
    target = _float64(target) if isinstance(target, Tensor) else target
    value, seeds = objective.evaluate(tensors, target)
    probe = Probe(lambda: float(objective.evaluate(tensors, target)[0]), abs(float(value)) + 1.0, tolerance)
    faults = [
        f"the seed for {name!r} is {shape(seed)}, its output {shape(tensors[name])}"
        for name, seed in seeds.items()
        if seed.shape != tensors[name].shape
    ]
    found = [] if faults else [probe.compare(name, tensors[name], seed) for name, seed in seeds.items()]
    return Report(str(objective), tuple(found), tuple(faults), tolerance)


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
) -> Report:
    """Check ∂L/∂(each thing in wrt) of a whole network against finite differences, on a float64 copy.

    every_element: try all elements one by one, and not just along random directions. This takes two forward passes for
    each. `progress` is called with the name of each tensor before it is tried.
    """
    network, tensors = network.copy().to("cpu", torch.float64), [_float64(x.cpu()) for x in inputs]
    target = _float64(target.cpu()) if isinstance(target, Tensor) else target
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
    found = list(by_name.values())
    return Report(f"network of {len(network.nodes)} blocks, {objective}", tuple(found), (), tolerance)


def _float64(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().double() if tensor.is_floating_point() else tensor.detach().clone()


def _float64_block(block: Block, seed: int) -> Block:
    block = copy.deepcopy(block)
    for name, tensor in (block.parameters | block.buffers).items():
        setattr(block, name, _float64(tensor))
    if hasattr(block, "generator"):
        block.generator = torch.Generator().manual_seed(seed)
    return block


def _move(tensors: list[Tensor]) -> None:
    """Shift every element by about a thousandth of its tensor's size, off whatever kinks the point lies on."""
    generator = torch.Generator().manual_seed(1)
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            size = tensor.abs().mean().clamp_min(1e-2)
            tensor.add_(1e-3 * size * torch.randn(tensor.shape, dtype=tensor.dtype, generator=generator))


def _faults(block: Block, tensors: list[Tensor], run: Callable[..., Any]) -> Iterator[str]:
    """Methods that are not functions of their arguments: each is called again on the same, which must not change."""
    originals = [x.clone() for x in tensors]
    (first, _), (second, saved) = run(), run()
    if any(not _same(a, b) for a, b in zip(tensors, originals, strict=True)):
        yield "forward changes its input"
        return
    if any(not _same(a, b) for a, b in zip(first, second, strict=True)):
        yield "forward gives another output when called again"
    d_outputs = tuple(torch.ones_like(y) if y.is_floating_point() else None for y in second)
    d_output: Any = d_outputs if block.output_count > 1 else d_outputs[0]
    for name in ("propagate", "gradients"):
        method = getattr(block, name)
        answers = [_flat(method(run()[1] if i == 2 else saved, d_output)) for i in range(3)]
        between = run()[1]
        run([x.flatten().roll(1).view(x.shape) for x in tensors])
        answers.append(_flat(method(between, d_output)))
        if any(d is not None and not torch.equal(d, torch.ones_like(d)) for d in d_outputs):
            yield f"{name} changes the d_output that it is given"
            return
        if not all(_equal(answers[0], other) for other in answers[1:3]):
            yield f"{name} gives another answer when called again"
        if not _equal(answers[0], answers[3]):
            yield f"{name} depends on more than `saved`: another forward call in between changes its answer"
    if any(not _same(a, b) for a, b in zip(tensors, originals, strict=True)):
        yield "the backward pass changes the block's input"
    yield from _missing_parts(block, run, d_outputs)


def _missing_parts(block: Block, run: Callable[..., Any], d_outputs: tuple[Tensor | None, ...]) -> Iterator[str]:
    """A block with several outputs gets None where no error came back; that must be the same as zeros."""
    given = [i for i, d in enumerate(d_outputs) if d is not None]
    for i in given if len(given) > 1 else []:
        none = tuple(None if j == i else d for j, d in enumerate(d_outputs))
        zero = tuple(torch.zeros_like(d) if j == i and d is not None else d for j, d in enumerate(d_outputs))
        try:
            answer = _flat(block.propagate(run()[1], none))
        except (TypeError, AttributeError, RuntimeError) as error:
            yield f"propagate must take None in place of any part of d_output ({error})"
            return
        if not _equal(answer, _flat(block.propagate(run()[1], zero))):
            yield f"propagate treats None for output {i} in another way than zeros"


def _flat(answer: Any) -> list[Tensor | None]:
    return [None if d is None else d.clone() for d in (answer.values() if isinstance(answer, dict) else answer)]


def _equal(a: list[Tensor | None], b: list[Tensor | None]) -> bool:
    return all(_same(one, other) for one, other in zip(a, b, strict=True))


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a.nan_to_num(), b.nan_to_num())


def _places(
    block: Block, tensors: list[Tensor], d_inputs: tuple[Tensor | None, ...], gradients: dict[str, Tensor]
) -> list[tuple[str, Tensor, Tensor | None]]:
    """(name, tensor, its derivative) for each input and parameter."""
    places = [(f"input {i}", x, d) for i, (x, d) in enumerate(zip(tensors, d_inputs, strict=True))]
    return places + [(name, tensor, gradients[name]) for name, tensor in block.parameters.items()]


def _shape_faults(block: Block, tensors: list[Tensor], d_inputs: Any, gradients: Any) -> Iterator[str]:
    if not isinstance(d_inputs, tuple | list):
        yield f"propagate must return a tuple with a derivative for each input; it returned {_kind(d_inputs)}"
        return
    if len(d_inputs) != len(tensors):
        yield f"propagate returns {len(d_inputs)} derivatives for {len(tensors)} inputs"
        return
    if not isinstance(gradients, dict) or set(gradients) != set(block.parameters):
        came = sorted(gradients) if isinstance(gradients, dict) else _kind(gradients)
        yield f"gradients returns {came}, but the parameters (parameter_names) are {sorted(block.parameters)}"
        return
    for name, x, d in _places(block, tensors, tuple(d_inputs), gradients):
        if d is not None and (d.shape != x.shape or (d.dtype != x.dtype and x.is_floating_point())):
            yield f"the derivative of {name} is {shape(d)} {d.dtype}, but it is {shape(x)} {x.dtype}"
    for name, setting in block.settings.items():
        if isinstance(setting, Tensor):
            yield f"the constructor's argument {name!r} is kept as a tensor and cannot be saved: rename the parameter"


def _kind(value: Any) -> str:
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"
