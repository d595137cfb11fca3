"""Check a backward pass against finite differences: of a block, of an objective, of a whole network.

The numbers, and why: everything runs in float64, because float32 cannot tell a wrong gradient from rounding. Each
tensor is tried along random directions (halving.py), which see a single wrong element among a million; halving finds
which one it is. A block is tried with several random errors from above, in case a derivative is small for one. In a
network each node is tried so by itself, the last first, and then the whole.

Kinks (ReLU at 0, ties in a maximum) have no derivative, only slopes to the left and right. Where the difference of
the two slopes does not shrink with the step, the point is a kink; at a single kink any value between the slopes is
right, and the report counts it. Many kinks can fall on one point (the black border of a picture, under biases of 0),
and then nothing can be said there: what fails at kinks is tried again a thousandth beside the point.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.contract import LISTED, faults_of
from blockprop.engine.differences import TOLERANCE, Comparison
from blockprop.engine.failures import MethodFailed, failure_in_own_code
from blockprop.engine.halving import Probe
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.subject import Subject, float64, float64_subject, move, require_count, rounding
from blockprop.engine.trials import judged
from blockprop.engine.whole import Whole
from blockprop.errors import GradientError, SettingError, shape


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
    _require_block(block, inputs)
    title = f"{block!r}"
    if faults := faults_of(Subject(block, inputs), (LISTED,)):
        return CheckReport(title, (), faults, tolerance)
    subject = float64_subject(block, inputs, training, seed)
    if not any(x.numel() for x in (subject.inputs or subject.block.parameters.values())):
        return CheckReport(title, (), ("there is nothing to check: the inputs have no elements",), tolerance)
    faults = faults_of(subject)
    if faults and not any(x.is_floating_point() for x in (*subject.inputs, *subject.block.parameters.values())):
        faults = ("there is nothing to check: no input holds real numbers, and there are no weights",)
    comparisons = () if faults else tuple(judged(subject, tolerance))
    report = CheckReport(title, comparisons, faults, tolerance)
    few = None if report.passed or faults else rounding(subject)
    return replace(report, faults=(few,)) if few else report


def _require_block(block: Block, inputs: Sequence[Tensor]) -> None:
    """SettingError for anything else."""
    if not isinstance(block, Block):
        hint = f"; make one: {block.__name__}(…)" if isinstance(block, type) else ""
        raise SettingError(f"expected a block such as ReLU(), came {block!r}{hint}")
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise SettingError(
                f"expected tensors as inputs, input {i} is a {type(x).__name__}; torch.as_tensor makes one"
            )
    require_count(block, len(inputs), "give each, as in check_block(block, x, y)")


@torch.no_grad()
def check_objective(
    objective: Objective, outputs: Tensor | Mapping[str, Tensor], target: Any = None, tolerance: float = TOLERANCE
) -> CheckReport:
    """Check an objective's seeds against finite differences of its value, in float64.

    An error that the objective raises in its own code, not to refuse its arguments, is reported with its line.
    """
    by_name = {"output": outputs} if isinstance(outputs, Tensor) else outputs
    tensors = {name: float64(y) for name, y in by_name.items()}
    target = float64(target) if isinstance(target, Tensor) else target
    try:
        value, seeds = objective.evaluate(tensors, target)
        faults = tuple(_misfits_of_seeds(seeds, tensors))
    except Exception as error:  # whatever people's own code raises
        return CheckReport(str(objective), (), (failure_in_own_code(error),), tolerance)
    if faults:
        return CheckReport(str(objective), (), faults, tolerance)

    def evaluated() -> tuple[float, float]:
        return float(objective.evaluate(tensors, target)[0]), abs(float(value)) + 1.0

    probe = Probe(evaluated, tolerance)
    comparisons = {name: probe.compare(name, tensors[name], seed) for name, seed in seeds.items()}
    unclear = [name for name, c in comparisons.items() if c.index is None and c.error > tolerance]
    if unclear:  # kinks everywhere
        move(list(tensors.values()))
        seeds = objective.evaluate(tensors, target)[1]
        for name in unclear:
            comparisons[name] = replace(probe.compare(name, tensors[name], seeds[name]), moved=True)
    return CheckReport(str(objective), tuple(comparisons.values()), (), tolerance)


@torch.no_grad()
def check_network(
    network: Network,
    *inputs: Tensor,
    objective: Objective,
    target: Any = None,
    wrt: str | Iterable[str] | None = None,
    training: bool = False,
    every_element: bool = False,
    tolerance: float = TOLERANCE,
    progress: Callable[[str], None] | None = None,
) -> CheckReport:
    """Check ∂L/∂(each thing in wrt) of a whole network against finite differences, on a float64 copy.

    First each node by itself, at the inputs that it gets there and with random errors from above: the report names the
    first that is wrong, going back. Then the whole, in which the wrong node shows wherever its error arrives.

    wrt: by default all parameters and inputs; of a prepared network, whose weights are fixed, the inputs alone.
    every_element: try all elements one by one, and not just along random directions. This takes two forward passes for
    each. `progress` is called with the name of each tensor before it is tried.
    """
    whole = Whole(network, inputs, objective, target, training)
    title = f"network of {len(network.nodes)} blocks, {objective}"
    wanted = whole.wanted(wrt)
    try:
        guilty = whole.first_guilty(wanted, tolerance)
    except MethodFailed as error:
        return CheckReport(title, (), (str(error),), tolerance)
    by_name = whole.compare(wanted, tolerance, every_element, progress)
    failed = [name for name, comparison in by_name.items() if not comparison.error <= tolerance]
    if failed and not guilty:
        whole.move()
        beside = whole.compare(failed, tolerance, every_element, None)
        by_name |= {name: replace(comparison, moved=True) for name, comparison in beside.items()}
    report = CheckReport(title, tuple(by_name.values()), (guilty,) if guilty else (), tolerance)
    return report if report.passed or guilty else replace(report, faults=(whole.what_else(wanted, tolerance),))


def _misfits_of_seeds(seeds: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Iterator[str]:
    for name, seed in seeds.items():
        if seed.shape != outputs[name].shape:
            yield f"the seed for {name!r} is {shape(seed)}, its output {shape(outputs[name])}"
