"""Check a backward pass against finite differences: of a block, of an objective, of a whole network.

The numbers, and why: everything runs in float64, because float32 cannot tell a wrong gradient from rounding. Central
differences with step 1e-6 are then right to about 1e-9. Each tensor is tried along three random directions, which
finds one element in a hundred wrong by 1 % in 99.8 % of all runs; if that fails, the elements are tried one by one
and the worst is reported with both numbers.

Kinks (ReLU at 0, ties in a maximum) have no derivative, only slopes to the left and right. Where the difference of
the two slopes does not shrink with the step, the point is a kink; there any value between the slopes is right, and
the report counts it.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from blockprop.block import Block
from blockprop.errors import GradientError
from blockprop.network import Network, Trace, shape
from blockprop.objectives import Objective

STEP = 1e-6
TOLERANCE = 1e-6
DIRECTIONS = 3
ELEMENTS = 2_000
"""At most so many elements are tried one by one: the largest derivatives and a random rest."""


@dataclass(frozen=True)
class Comparison:
    """One tensor's derivative against finite differences; `index`, `explicit` and `numeric` show the worst place.

    error: |explicit − numeric| in units of the gradient's own size, so that 1e-3 means wrong by a thousandth.
    """

    name: str
    error: float
    explicit: float
    numeric: float
    index: tuple[int, ...] | None = None
    kinks: int = 0
    elements: int = 0

    def __str__(self) -> str:
        place = f" at {list(self.index)}" if self.index is not None else " along a random direction"
        kinks = f", {self.kinks} at kinks" if self.kinks else ""
        numbers = f"backward {self.explicit:.9g}, differences {self.numeric:.9g}"
        return f"{self.name}: error {self.error:.1e} ({numbers}{place}{kinks})"


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


@dataclass
class Probe:
    """A number as a function of tensors that are changed in place, and how to walk along one of them.

    magnitude: size of the terms that add up to the number; rounding is proportional to it.
    """

    value: Callable[[], float]
    magnitude: float
    tolerance: float = TOLERANCE
    every_element: bool = False
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def compare(self, name: str, tensor: Tensor, d: Tensor) -> Comparison:
        """Compare `d`, the backward pass's answer for `tensor`, with finite differences of `value`."""
        if tensor.numel() == 0:
            return Comparison(name, 0.0, 0.0, 0.0)
        if not torch.isfinite(d).all():
            bad = tuple((~torch.isfinite(d)).nonzero()[0].tolist())
            return Comparison(name, float("inf"), float(d[bad]), float("nan"), bad)
        if self.every_element:
            return self._elements(name, tensor, d)
        tried = [self._direction(name, tensor, d) for _ in range(DIRECTIONS)]
        worst = max(tried, key=lambda c: c.error)
        clear = worst.error <= self.tolerance and not any(c.kinks for c in tried)
        return worst if clear else self._elements(name, tensor, d)

    def _direction(self, name: str, tensor: Tensor, d: Tensor) -> Comparison:
        direction = torch.randn(tensor.shape, dtype=tensor.dtype, generator=self.generator).to(tensor.device)
        explicit = float((d * direction).sum())
        scale = float(d.norm())
        error, numeric, kink = self._walk(tensor, direction, explicit, scale)
        return Comparison(name, error, explicit, numeric, kinks=int(kink))

    def _elements(self, name: str, tensor: Tensor, d: Tensor) -> Comparison:
        scale = float(d.norm()) / d.numel() ** 0.5
        places = self._places(d)
        worst, kinks = Comparison(name, -1.0, 0.0, 0.0), 0
        direction = torch.zeros_like(tensor, memory_format=torch.contiguous_format)
        for place in places:
            index = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), tensor.shape))
            direction[index] = 1.0
            explicit = float(d[index])
            error, numeric, kink = self._walk(tensor, direction, explicit, scale)
            direction[index] = 0.0
            kinks += kink
            if error > worst.error:
                worst = Comparison(name, error, explicit, numeric, index)
        return Comparison(name, worst.error, worst.explicit, worst.numeric, worst.index, kinks, len(places))

    def _places(self, d: Tensor) -> list[int]:
        if d.numel() <= ELEMENTS or self.every_element:
            return list(range(d.numel()))
        largest = d.abs().flatten().topk(ELEMENTS // 2).indices.tolist()
        others = torch.randperm(d.numel(), generator=self.generator)[: ELEMENTS // 2].tolist()
        return list(dict.fromkeys(largest + others))

    def _walk(self, tensor: Tensor, direction: Tensor, explicit: float, scale: float) -> tuple[float, float, bool]:
        """Return (error, numeric derivative, whether this is a kink); smaller steps are tried before it is an error."""
        best, gaps = (float("inf"), float("nan")), []
        for step in (STEP, STEP / 10, STEP / 100):
            behind, ahead = self._slopes(tensor, direction, step)
            numeric = (behind + ahead) / 2
            rounding = 16 * torch.finfo(torch.float64).eps * self.magnitude / step
            unit = max(scale, abs(numeric), abs(explicit), rounding / self.tolerance, 1e-300)
            best = min(best, (abs(explicit - numeric) / unit, numeric))
            if best[0] <= self.tolerance:
                return *best, False
            gaps.append(abs(ahead - behind))
            between = (
                min(ahead, behind) - self.tolerance * unit <= explicit <= max(ahead, behind) + self.tolerance * unit
            )
        kink = between and gaps[2] > gaps[0] / 2
        return (0.0, numeric, True) if kink else (*best, False)

    def _slopes(self, tensor: Tensor, direction: Tensor, step: float) -> tuple[float, float]:
        start, middle = tensor.clone(), self.value()
        ahead = (self._at(tensor, start + step * direction) - middle) / step
        behind = (middle - self._at(tensor, start - step * direction)) / step
        tensor.copy_(start)
        return behind, ahead

    def _at(self, tensor: Tensor, there: Tensor) -> float:
        tensor.copy_(there)
        return self.value()


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

    def run() -> tuple[tuple[Tensor, ...], Any]:
        if hasattr(block, "generator"):
            block.generator.manual_seed(seed)
        output, saved = block.forward(*tensors, **({"training": training} if block.has_training_mode else {}))
        return (output if block.output_count > 1 else (output,)), saved

    outputs, saved = run()
    d_outputs = tuple(torch.randn(y.shape, dtype=torch.float64, generator=generator) for y in outputs)
    d_output: Any = d_outputs if block.output_count > 1 else d_outputs[0]
    d_inputs, gradients = block.propagate(saved, d_output), block.gradients(saved, d_output)
    faults = [*_shape_faults(block, tensors, d_inputs, gradients)]
    faults += _faults(block, tensors, [_float64(x) for x in inputs], run)
    if faults:
        return Report(subject, (), tuple(faults), tolerance)

    def value() -> float:
        return sum(float((r * y).sum()) for r, y in zip(d_outputs, run()[0], strict=True))

    magnitude = sum(float((r * y).abs().sum()) for r, y in zip(d_outputs, outputs, strict=True))
    probe = Probe(value, magnitude, tolerance, generator=generator)
    pairs = [
        (f"input {i}", x, d) for i, (x, d) in enumerate(zip(tensors, d_inputs, strict=True)) if x.is_floating_point()
    ]
    pairs += [(name, tensor, gradients[name]) for name, tensor in block.parameters.items()]
    found = [probe.compare(name, x, torch.zeros_like(x) if d is None else d) for name, x, d in pairs]
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
    trace, start, seeds = evaluate()
    derivatives = network.backward(trace, seeds, wanted)
    probe = Probe(lambda: float(evaluate()[1]), abs(float(start)) + 1.0, tolerance, every_element)
    found = []
    for name in wanted:
        if progress:
            progress(name)
        found.append(probe.compare(name, places[name], derivatives[name]))
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


def _faults(block: Block, tensors: list[Tensor], originals: list[Tensor], run: Callable[[], Any]) -> Iterator[str]:
    """Methods that are not functions of their arguments: each is called twice on the same, which must not change."""
    (first, _), (second, saved) = run(), run()
    if any(not torch.equal(a, b) for a, b in zip(tensors, originals, strict=True)):
        yield "forward changes its input"
    if any(not _same(a, b) for a, b in zip(first, second, strict=True)):
        yield "forward gives another output when called again"
    d_outputs = tuple(torch.ones_like(y) for y in second)
    d_output: Any = d_outputs if block.output_count > 1 else d_outputs[0]
    for name in ("propagate", "gradients"):
        method = getattr(block, name)
        answers = [_flat(method(run()[1] if i == 2 else saved, d_output)) for i in range(3)]
        if any(not torch.equal(d, torch.ones_like(d)) for d in d_outputs):
            yield f"{name} changes the d_output that it is given"
            return
        if any(not _same(a, b) for other in answers[1:] for a, b in zip(answers[0], other, strict=True)):
            yield f"{name} gives another answer when called again"
    if any(not torch.equal(a, b) for a, b in zip(tensors, originals, strict=True)):
        yield "the backward pass changes the block's input"


def _flat(answer: Any) -> list[Tensor | None]:
    return [None if d is None else d.clone() for d in (answer.values() if isinstance(answer, dict) else answer)]


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a.nan_to_num(), b.nan_to_num())


def _shape_faults(
    block: Block, tensors: list[Tensor], d_inputs: tuple[Tensor | None, ...], gradients: dict[str, Tensor]
) -> Iterator[str]:
    if len(d_inputs) != len(tensors):
        yield f"propagate returns {len(d_inputs)} derivatives for {len(tensors)} inputs"
        return
    if set(gradients) != set(block.parameters):
        yield f"gradients returns {sorted(gradients)}, but the parameters are {sorted(block.parameters)}"
        return
    places = [(f"input {i}", x, d) for i, (x, d) in enumerate(zip(tensors, d_inputs, strict=True))]
    places += [(name, tensor, gradients[name]) for name, tensor in block.parameters.items()]
    for name, x, d in places:
        if d is not None and (d.shape != x.shape or d.dtype != x.dtype):
            yield f"the derivative of {name} is {shape(d)} {d.dtype}, but it is {shape(x)} {x.dtype}"
