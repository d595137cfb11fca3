"""A block that is tried by itself: what it is tried on, and the form of what its methods must return."""

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.briefly import brief_repr
from blockprop.engine.failures import MethodFailed, failed, place_of
from blockprop.engine.network import require_tensors
from blockprop.errors import BlockpropError, SettingError, shape

Derivatives = dict[str, tuple[Tensor, Tensor | None]]
"""By name: a tensor, and its derivative; None stands for zeros."""


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

    def __repr__(self) -> str:
        return brief_repr(self)

    def run(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Any]:
        """The outputs of one forward call, as a tuple even if there is one, and what it saved."""
        if hasattr(self.block, "generator"):
            self.block.generator.manual_seed(self.seed)
        mode = {"training": self.training} if self.block.has_training_mode else {}
        returned = forward(self.block, inputs, mode)
        return (returned[0] if self.block.output_count > 1 else returned[:1]), returned[1]

    def back(self, method: str, saved: Any, d_outputs: tuple[Tensor | None, ...]) -> Any:
        """What a backward method returns, whatever that is; MethodFailed if it raises an error."""
        try:
            return getattr(self.block, method)(saved, self.d_output(d_outputs))
        except (Exception, SystemExit) as error:  # whatever people's own code raises
            raise failed(self.block, method, error) from error

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
        returned = self.back(method, saved, d_outputs)
        tensors = returned.values() if isinstance(returned, dict) else returned
        return [None if d is None else d.clone() for d in tensors]

    def takes_error(self, output: int) -> bool:
        """Whether an error comes back to this output; none does to integers and booleans."""
        return self.outputs[output].is_floating_point()

    def derivatives(self, inputs: Sequence[Tensor], saved: Any, errors: tuple[Tensor | None, ...]) -> Derivatives:
        """What goes back to all inputs and parameters, as the two backward methods say."""
        d_inputs, gradients = self.back("propagate", saved, errors), self.back("gradients", saved, errors)
        derivatives = {f"input {i}": (x, d) for i, (x, d) in enumerate(zip(inputs, d_inputs, strict=True))}
        return derivatives | {name: (tensor, gradients[name]) for name, tensor in self.block.parameters.items()}


def forward(block: Block, inputs: Sequence[Tensor], mode: Mapping[str, bool]) -> tuple[Any, Any]:
    """What the block's forward returns; MethodFailed if that is not what it must be, or an error that nobody meant."""
    try:
        returned: Any = block.forward(*inputs, **mode)
    except BlockpropError:  # the block refuses these inputs, and says why
        raise
    except (Exception, SystemExit) as error:  # whatever people's own code raises
        raise failed(block, "forward", error) from error
    wrong = _not_outputs(returned, block.output_count)
    if wrong:
        raise MethodFailed(f"forward must return {wrong} ({place_of(block, 'forward')})")
    for y in returned[0] if block.output_count > 1 else returned[:1]:
        if misfit := _misfit_of_output(y, [*inputs, *block.parameters.values()]):
            raise MethodFailed(f"forward returns {misfit} ({place_of(block, 'forward')})")
    return returned


def require_count(block: Block, count: int, hint: str) -> None:
    """SettingError, with what to do, if the block's forward takes another number of inputs."""
    taken = inspect.signature(block.forward)
    inputs = [p for p in taken.parameters.values() if not (block.has_training_mode and p.name == "training")]
    try:
        taken.replace(parameters=inputs).bind(*range(count))
    except TypeError:
        names = f"the inputs {', '.join(p.name for p in inputs)}" if inputs else "no inputs"
        raise SettingError(f"{type(block).__name__} takes {names}, and {count} came: {hint}") from None


def float64_subject(block: Block, inputs: Sequence[Tensor], training: bool, seed: int) -> Subject:
    """A copy of the block, and of the inputs, with float64 in place of other real numbers."""
    block = copy.deepcopy(block)
    for name, tensor in (block.parameters | block.buffers).items():
        setattr(block, name, float64(tensor))
    make_float64(block)
    if hasattr(block, "generator"):
        block.generator = torch.Generator().manual_seed(seed)
    return Subject(block, tuple([float64(x) for x in inputs]), training, seed)


def make_float64(block: Block) -> None:
    """If it makes real numbers of a type of its own (Cast), let it make those of float64."""
    if str(getattr(block, "dtype", "")).startswith(("float", "bfloat")):
        setattr(block, "dtype", "float64")  # noqa: B010, of some blocks alone


def rounding(subject: Subject) -> str | None:
    """That forward gives no more digits than float32 has, though it is given more; None if it gives more."""
    outputs = [y for y in moved(subject).outputs if y.is_floating_point()]
    few = all(torch.equal(y, y.float().double()) for y in outputs)
    if not few or all(torch.equal(y, y.bfloat16().double()) for y in outputs):  # 0 and 1 may be all there is
        return None
    place = place_of(subject.block, "forward")
    return (
        f"forward gives no more digits than torch.float32 has: the check runs in {torch.float64}, keep to it ({place})"
    )


def moved(subject: Subject) -> Subject:
    """The subject a thousandth beside its inputs and weights, off whatever kinks they lie on."""
    block, inputs = copy.deepcopy(subject.block), tuple(subject.copies())
    move([*inputs, *block.parameters.values()])
    return replace(subject, block=block, inputs=inputs)


def move(tensors: Sequence[Tensor]) -> None:
    """Shift every element by about a thousandth of its tensor's size."""
    generator = torch.Generator().manual_seed(1)
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            sizes = tensor.abs()
            size = sizes[sizes.isfinite()].mean().clamp_min(1e-2)
            tensor.add_(
                1e-3 * size * torch.randn(tensor.shape, dtype=tensor.dtype, generator=generator).to(tensor.device)
            )


def float64(tensor: Tensor) -> Tensor:
    """A copy, in float64 if it holds real numbers. ShapeError for what is no tensor."""
    require_tensors([tensor])
    return tensor.detach().clone().double() if tensor.is_floating_point() else tensor.detach().clone()


def misfits_of_d_inputs(d_inputs: Any, inputs: Sequence[Tensor], any_dtype: bool = False) -> Iterator[str]:
    """What is wrong with the form of what `propagate` has returned."""
    if not isinstance(d_inputs, tuple | list):
        yield f"propagate must return a tuple with a derivative for each input; it returned {kind_of(d_inputs)}"
        return
    if len(d_inputs) != len(inputs):
        yield f"propagate returns {len(d_inputs)} derivatives for {len(inputs)} inputs"
        return
    for i, (x, d) in enumerate(zip(inputs, d_inputs, strict=True)):
        if d is not None:
            yield from _misfit(f"input {i}", x, d, any_dtype)


def misfits_of_gradients(gradients: Any, parameters: Mapping[str, Tensor]) -> Iterator[str]:
    """What is wrong with the form of what `gradients` has returned."""
    if not isinstance(gradients, dict) or set(gradients) != set(parameters):
        came = sorted(map(str, gradients)) if isinstance(gradients, dict) else kind_of(gradients)
        yield f"gradients returns {came}, but the parameters (parameter_names) are {sorted(parameters)}"
        return
    for name, parameter in parameters.items():
        yield from _misfit(name, parameter, gradients[name])


def _not_outputs(returned: Any, count: int) -> str | None:
    """What forward must return and did not; None if it did."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        return f"(output, saved); it returned {kind_of(returned)}"
    output = returned[0]
    if count > 1:
        if not isinstance(output, tuple) or len(output) != count or not all(isinstance(y, Tensor) for y in output):
            return f"a tuple of {count} tensors as its output (output_count); it returned {kind_of(output)}"
    elif not isinstance(output, Tensor):
        return f"a tensor as its output; it returned {kind_of(output)}"
    return None


def _misfit_of_output(y: Tensor, given: Sequence[Tensor]) -> str | None:
    """What is wrong with the type or the place of an output, for the inputs and weights that it was computed from."""
    devices = {x.device for x in given}
    if devices and y.device not in devices:
        return f"a tensor on {y.device} for those on {', '.join(map(str, devices))}: leave it where its input is"
    if any(x.dtype == torch.float64 for x in given) and y.is_floating_point() and y.dtype != torch.float64:
        return f"{y.dtype} for {torch.float64}, in which the check runs: make new tensors in the dtype of the input"
    return None


def _misfit(name: str, tensor: Tensor, d: Any, any_dtype: bool = False) -> Iterator[str]:
    if not isinstance(d, Tensor):
        yield f"the derivative of {name} is {kind_of(d)}, and no tensor"
    elif d.shape != tensor.shape or (d.dtype != tensor.dtype and tensor.is_floating_point() and not any_dtype):
        yield f"the derivative of {name} is {shape(d)} {d.dtype}, but it is {shape(tensor)} {tensor.dtype}"


def kind_of(value: Any) -> str:
    if value is None:
        return "None"
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"
