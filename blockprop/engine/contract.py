"""The contract of a block, check by check: what its methods must do beside being right.

Each check is a generator of faults, in words, over a Subject, and is named after what holds when it finds none.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.errors import GradientError, shape

METHODS = ("propagate", "gradients")
"""The two backward methods."""


@dataclass(frozen=True)
class Subject:
    """A block, and what it is tried on.

    inputs: are never changed; a check runs the block on copies, so that it cannot spoil the next one
    seed: of the block's generator in each run, if it has one
    """

    block: Block
    inputs: tuple[Tensor, ...]
    training: bool = False
    seed: int = 0

    def run(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Any]:
        """The outputs of one forward call, as a tuple even if there is one, and what it saved."""
        if hasattr(self.block, "generator"):
            self.block.generator.manual_seed(self.seed)
        mode = {"training": self.training} if self.block.has_training_mode else {}
        returned = self.block.forward(*inputs, **mode)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise GradientError(f"{self.block!r}: forward must return (output, saved); it returned {_kind(returned)}")
        return (returned[0] if self.block.output_count > 1 else returned[:1]), returned[1]

    def copies(self) -> list[Tensor]:
        return [x.clone() for x in self.inputs]

    def saved(self) -> Any:
        """What a forward call saves."""
        return self.run(self.copies())[1]

    @cached_property
    def outputs(self) -> tuple[Tensor, ...]:
        """Those of a first forward call."""
        return tuple([y.clone() for y in self.run(self.copies())[0]])

    def ones(self) -> tuple[Tensor | None, ...]:
        """A 1 as the derivative by every number of the outputs; nothing comes back from integers and booleans."""
        return tuple([torch.ones_like(y) if y.is_floating_point() else None for y in self.outputs])

    def d_output(self, d_outputs: tuple[Tensor | None, ...]) -> Any:
        """The derivatives by the outputs as the backward methods take them."""
        return d_outputs if self.block.output_count > 1 else d_outputs[0]

    def answer(self, method: str, saved: Any, d_outputs: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        """What a backward method returns, as a list of copies."""
        returned = getattr(self.block, method)(saved, self.d_output(d_outputs))
        tensors = returned.values() if isinstance(returned, dict) else returned
        return [None if d is None else d.clone() for d in tensors]


def float64_subject(block: Block, inputs: Sequence[Tensor], training: bool, seed: int) -> Subject:
    """A copy of the block, and of the inputs, with float64 in place of other real numbers."""
    block = copy.deepcopy(block)
    for name, tensor in (block.parameters | block.buffers).items():
        setattr(block, name, float64(tensor))
    if hasattr(block, "generator"):
        block.generator = torch.Generator().manual_seed(seed)
    return Subject(block, tuple([float64(x) for x in inputs]), training, seed)


def float64(tensor: Tensor) -> Tensor:
    """A copy, in float64 if it holds real numbers."""
    return tensor.detach().clone().double() if tensor.is_floating_point() else tensor.detach().clone()


def propagate_returns_d_inputs(subject: Subject) -> Iterator[str]:
    """A tuple, with a derivative for each input in its shape and type of number, or None."""
    d_inputs: Any = subject.block.propagate(subject.saved(), subject.d_output(subject.ones()))
    if not isinstance(d_inputs, tuple | list):
        yield f"propagate must return a tuple with a derivative for each input; it returned {_kind(d_inputs)}"
        return
    if len(d_inputs) != len(subject.inputs):
        yield f"propagate returns {len(d_inputs)} derivatives for {len(subject.inputs)} inputs"
        return
    for i, (x, d) in enumerate(zip(subject.inputs, d_inputs, strict=True)):
        yield from _misfit(f"input {i}", x, d)


def gradients_returns_d_parameters(subject: Subject) -> Iterator[str]:
    """A dictionary, with a derivative for each parameter in its shape and type of number."""
    gradients: Any = subject.block.gradients(subject.saved(), subject.d_output(subject.ones()))
    parameters = subject.block.parameters
    if not isinstance(gradients, dict) or set(gradients) != set(parameters):
        came = sorted(gradients) if isinstance(gradients, dict) else _kind(gradients)
        yield f"gradients returns {came}, but the parameters (parameter_names) are {sorted(parameters)}"
        return
    for name, parameter in parameters.items():
        yield from _misfit(name, parameter, gradients[name])


def settings_can_be_saved(subject: Subject) -> Iterator[str]:
    """No argument of the constructor is kept as a tensor."""
    for name, setting in subject.block.settings.items():
        if isinstance(setting, Tensor):
            yield f"the constructor's argument {name!r} is kept as a tensor and cannot be saved: rename the parameter"


def forward_keeps_inputs(subject: Subject) -> Iterator[str]:
    """forward changes nothing in place."""
    inputs = subject.copies()
    subject.run(inputs)
    if not _equal(inputs, subject.inputs):
        yield "forward changes its input"


def forward_repeats(subject: Subject) -> Iterator[str]:
    """forward is a function of its arguments."""
    (first, _), (second, _) = subject.run(subject.copies()), subject.run(subject.copies())
    if not _equal(first, second):
        yield "forward gives another output when called again"


def backward_keeps_d_output(subject: Subject) -> Iterator[str]:
    """Neither backward method writes over the error that it is given."""
    for method in METHODS:
        d_outputs = subject.ones()
        subject.answer(method, subject.saved(), d_outputs)
        if not _equal(d_outputs, subject.ones()):
            yield f"{method} changes the d_output that it is given"


def backward_repeats(subject: Subject) -> Iterator[str]:
    """Both backward methods give the same again, from the same `saved` and from that of another forward call."""
    saved = subject.saved()
    for method in METHODS:
        first, again, anew = (subject.answer(method, s, subject.ones()) for s in (saved, saved, subject.saved()))
        if not _equal(first, again) or not _equal(first, anew):
            yield f"{method} gives another answer when called again"


def backward_needs_saved_alone(subject: Subject) -> Iterator[str]:
    """Nothing is kept on the block: another forward call, on other inputs, changes no answer."""
    for method in METHODS:
        expected = subject.answer(method, subject.saved(), subject.ones())
        saved = subject.saved()
        subject.run([x.flatten().roll(1).view(x.shape) for x in subject.inputs])
        if not _equal(expected, subject.answer(method, saved, subject.ones())):
            yield f"{method} depends on more than `saved`: another forward call in between changes its answer"


def backward_keeps_inputs(subject: Subject) -> Iterator[str]:
    """Neither backward method writes over an input that forward has saved."""
    inputs = subject.copies()
    _, saved = subject.run(inputs)
    before = [x.clone() for x in inputs]
    for method in METHODS:
        subject.answer(method, saved, subject.ones())
    if not _equal(inputs, before):
        yield "the backward pass changes the block's input"


def both_agrees(subject: Subject) -> Iterator[str]:
    """A block that finds errors and gradients together finds the same as its two methods, up to rounding."""
    if not subject.block.finds_both:
        return
    d_inputs, gradients = subject.block.both(subject.saved(), subject.d_output(subject.ones()))
    if not _close(d_inputs, subject.answer("propagate", subject.saved(), subject.ones())):
        yield "both gives other errors than propagate"
    alone = subject.block.gradients(subject.saved(), subject.d_output(subject.ones()))
    if set(gradients) != set(alone) or not _close([gradients[name] for name in alone], list(alone.values())):
        yield "both gives other derivatives than gradients"


def missing_errors_are_zeros(subject: Subject) -> Iterator[str]:
    """A block with several outputs gets None where no error came back; that must be the same as zeros."""
    d_outputs = subject.ones()
    floating = [i for i, d in enumerate(d_outputs) if d is not None]
    for i in floating if len(floating) > 1 else []:
        none = tuple([None if j == i else d for j, d in enumerate(d_outputs)])
        zero = tuple([torch.zeros_like(d) if j == i and d is not None else d for j, d in enumerate(d_outputs)])
        try:
            answer = subject.answer("propagate", subject.saved(), none)
        except (TypeError, AttributeError, RuntimeError) as error:
            yield f"propagate must take None in place of any part of d_output ({error})"
            return
        if not _equal(answer, subject.answer("propagate", subject.saved(), zero)):
            yield f"propagate treats None for output {i} in another way than zeros"


Check = Callable[[Subject], Iterator[str]]
RETURNS: tuple[Check, ...] = (propagate_returns_d_inputs, gradients_returns_d_parameters, settings_can_be_saved)
"""What the others rest on: they are made only where these find nothing."""
CHECKS: tuple[Check, ...] = (
    *RETURNS,
    forward_keeps_inputs,
    forward_repeats,
    backward_keeps_d_output,
    backward_repeats,
    backward_needs_saved_alone,
    backward_keeps_inputs,
    both_agrees,
    missing_errors_are_zeros,
)
"""All. Each has a block in tests/engine/test_contract.py in which it finds a fault."""


def faults_of(subject: Subject) -> tuple[str, ...]:
    """What the checks find, each fault with its check's name."""
    return tuple(_faults(subject, RETURNS)) or tuple(_faults(subject, CHECKS[len(RETURNS) :]))


def _faults(subject: Subject, checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        for fault in check(subject):
            yield f"{fault} ({check.__name__})"


def _misfit(name: str, tensor: Tensor, d: Tensor | None) -> Iterator[str]:
    if d is not None and (d.shape != tensor.shape or (d.dtype != tensor.dtype and tensor.is_floating_point())):
        yield f"the derivative of {name} is {shape(d)} {d.dtype}, but it is {shape(tensor)} {tensor.dtype}"


def _equal(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> bool:
    return all(_same(one, other) for one, other in zip(a, b, strict=True))


def _close(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> bool:
    return len(a) == len(b) and all(
        one is other
        if one is None or other is None
        else one.shape == other.shape and torch.allclose(one, other, 1e-9, 1e-9, equal_nan=True)
        for one, other in zip(a, b, strict=True)
    )


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a.nan_to_num(), b.nan_to_num())


def _kind(value: Any) -> str:
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"
