"""The contract of a block, check by check: what its methods must do beside being right.

Each check is a generator of faults, in words, over a Subject, and is named after what holds when it finds none.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import arguments_of
from blockprop.engine.failures import MethodFailed, place_of
from blockprop.engine.subject import Subject, kind_of, misfits_of_d_inputs, misfits_of_gradients

METHODS = ("propagate", "gradients")
"""The two backward methods."""


def listed_names_are_tensors(subject: Subject) -> Iterator[str]:
    """What parameter_names and buffer_names list are tensors of the block, parameters of real numbers, or None."""
    for kind in ("parameter_names", "buffer_names"):
        names: Any = getattr(subject.block, kind)
        if isinstance(names, str):
            yield f"{kind} is the text {names!r}, of which each letter is taken for a name: write ({names!r},)"
            return
        for name in names:
            value = getattr(subject.block, name, subject)
            if value is subject:
                yield f"{kind} lists {name!r}, and there is no self.{name}"
            elif value is not None and not isinstance(value, Tensor):
                yield f"{kind} lists {name!r}, and self.{name} is {kind_of(value)}, no tensor"
            elif value is not None and kind == "parameter_names" and not value.is_floating_point():
                yield f"self.{name} is of {value.dtype} and cannot be trained: make it of real numbers, or a buffer"


def settings_can_be_saved(subject: Subject) -> Iterator[str]:
    """Every argument of the constructor is kept under its name, and none as a tensor."""
    for name in arguments_of(type(subject.block)):
        if not hasattr(subject.block, name):
            yield f"the constructor's argument {name!r} is not kept as self.{name}: the block could not be saved"
        elif isinstance(getattr(subject.block, name), Tensor):
            yield f"the constructor's argument {name!r} is kept as a tensor and cannot be saved: rename the parameter"


def tensors_are_named(subject: Subject) -> Iterator[str]:
    """Every tensor that a block keeps is a parameter or a buffer, or would be neither trained nor saved; but for those
    with an underscore in front, which its settings give.
    """
    block = subject.block
    listed = {*block.parameter_names, *block.buffer_names, *arguments_of(type(block))}
    for name, value in vars(block).items():
        if isinstance(value, Tensor) and name not in listed and not name.startswith("_"):
            yield f"self.{name} is a tensor that neither parameter_names (to be trained) nor buffer_names lists"


def forward_returns_numbers(subject: Subject) -> Iterator[str]:
    """(output, saved), the output a tensor without a NaN."""
    for y in subject.outputs:
        if y.isnan().any():
            place = (y.isnan().nonzero()[0]).tolist()
            yield f"forward gives a NaN at {place} of its output: nothing can be compared at these inputs, try others"
            return


def propagate_returns_d_inputs(subject: Subject) -> Iterator[str]:
    """A tuple, with a derivative for each input in its shape and type of number, or None."""
    try:
        d_inputs = subject.back("propagate", subject.saved(), subject.ones())
    except MethodFailed as error:
        if any(map(subject.takes_error, range(len(subject.outputs)))):
            raise
        kinds = ", ".join(sorted({str(y.dtype) for y in subject.outputs}))
        yield f"forward returns {kinds}, to which no error comes back, and propagate does not take None ({error})"
        return
    for misfit in misfits_of_d_inputs(d_inputs, subject.inputs):
        yield f"{misfit} ({place_of(subject.block, 'propagate')})"


def gradients_returns_d_parameters(subject: Subject) -> Iterator[str]:
    """A dictionary, with a derivative for each parameter in its shape and type of number."""
    gradients = subject.back("gradients", subject.saved(), subject.ones())
    for misfit in misfits_of_gradients(gradients, subject.block.parameters):
        yield f"{misfit} ({place_of(subject.block, 'gradients')})"


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
    both = subject.back("both", subject.saved(), subject.ones())
    if not isinstance(both, tuple) or len(both) != 2:
        yield f"both must return what propagate and what gradients return; it returned {kind_of(both)}"
        return
    d_inputs, gradients = both
    if not _close(d_inputs, subject.answer("propagate", subject.saved(), subject.ones())):
        yield "both gives other errors than propagate"
    alone = subject.back("gradients", subject.saved(), subject.ones())
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
        except MethodFailed as error:
            yield f"propagate must take None in place of any part of d_output ({error})"
            return
        if not _equal(answer, subject.answer("propagate", subject.saved(), zero)):
            yield f"propagate treats None for output {i} in another way than zeros"


Check = Callable[[Subject], Iterator[str]]
LISTED: tuple[Check, ...] = (listed_names_are_tensors,)
"""What all others rest on."""
KEEPS: tuple[Check, ...] = (settings_can_be_saved, tensors_are_named)
"""What a block has on itself: methods are called only where these find nothing."""
RETURNS: tuple[Check, ...] = (
    forward_returns_numbers,
    propagate_returns_d_inputs,
    gradients_returns_d_parameters,
)
"""What the others rest on: they are made only where these find nothing."""
BEHAVES: tuple[Check, ...] = (
    forward_keeps_inputs,
    forward_repeats,
    backward_keeps_d_output,
    backward_repeats,
    backward_needs_saved_alone,
    backward_keeps_inputs,
    both_agrees,
    missing_errors_are_zeros,
)
CHECKS: tuple[Check, ...] = (*LISTED, *KEEPS, *RETURNS, *BEHAVES)
"""All. Each has a block in tests/engine/test_contract.py in which it finds a fault."""


def faults_of(subject: Subject, stages: Sequence[Sequence[Check]] = (KEEPS, RETURNS, BEHAVES)) -> tuple[str, ...]:
    """What the checks find, each fault with its check's name."""
    return next((faults for stage in stages if (faults := tuple(_faults(subject, stage)))), ())


def _faults(subject: Subject, checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        try:
            for fault in check(subject):
                yield f"{fault} ({check.__name__})"
        except MethodFailed as error:
            yield f"{error} ({check.__name__})"
            return


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
