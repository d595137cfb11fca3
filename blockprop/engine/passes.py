"""The two passes over a network: forward through its blocks, and back. Read this page second, after block.py.

Which blocks are called, in which order, and what each is asked for stands in a plan (plan.py): a list of steps, one for
each node that is needed, going back the last one first. A pass calls them one after the other, carries what they hand
on by name, and says at which node something went wrong.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.failures import line_of
from blockprop.engine.plan import BackwardStep, ForwardStep, Node
from blockprop.errors import BlockpropError, GraphError, ShapeError, shape

Caller = Callable[[ForwardStep, list[Tensor]], tuple[Any, Any]]
OF_TENSORS = (RuntimeError, IndexError, TypeError, ValueError)
"""What torch raises for tensors that do not fit."""


def run_forward(
    plan: Iterable[ForwardStep],
    values: dict[str, Tensor],
    saved: dict[str, Any] | None = None,
    call: Caller | None = None,
) -> dict[str, Tensor]:
    """Go forward once: add each node's output to `values`, which begins with the inputs, and return it.

    saved: takes what each block needs to go back, by node.   call: calls the block in the step's place.
    Whatever a block raises becomes a BlockpropError that names its node.
    """
    for step in plan:
        try:
            if step.source and call is None:  # the common case, made quick
                returned: Any = step.block.forward(values[step.source])
            else:
                inputs = [values[source] for source in step.node.inputs]
                returned = (call or called)(step, inputs)
            if not isinstance(returned, tuple):  # a tensor of two rows would be taken for a pair
                raise GraphError(f"forward must return (output, saved), came a {type(returned).__name__}")
            output, kept = returned
            if step.key:
                values[step.key] = output
            else:
                values.update(zip(step.node.keys, output, strict=True))
        except Exception as error:  # whatever people's own code raises
            raise located(error, step.node, "forward", [values[source] for source in step.node.inputs]) from error
        if saved is not None:
            saved[step.name] = kept
        for key in step.dead:
            del values[key]
        inputs, returned, output, kept = [], None, None, None  # only the values and what is saved live on
    return values


def called(step: ForwardStep, inputs: list[Tensor]) -> tuple[Any, Any]:
    """What the step's block gives for these inputs, and what it saves."""
    return step.block.forward(*inputs, training=True) if step.in_training else step.block.forward(*inputs)


def run_backward(
    plan: Iterable[BackwardStep], take: Callable[[str], Any], d: dict[str, Tensor], inputs: Iterable[str]
) -> Iterator[tuple[str, Tensor]]:
    """Go back once: yield (name, derivative) of each wanted thing as soon as it is complete.

    take(node): what its block saved, KeyError if nothing.
    d: ∂L/∂(output) by name, the seeds at first.   inputs: those of the network that are wanted; they come last.
    """
    sums: dict[int, dict[str, Tensor] | None] = {}
    for step in plan:
        try:
            saved = take(step.name)
        except KeyError:
            raise nothing_saved(step.name) from None
        d_output: Any = d.pop(step.key, None) if step.key else _taken(d, step.node.keys)
        gradients: dict[str, Tensor] | None = None
        method, kinds = "", []
        try:
            if d_output is not None:
                if step.outputs_wanted:
                    yield from _shown(step, d_output)
                d_inputs: Any
                d_inputs, gradients = step.back(saved, d_output)
                if isinstance(d_inputs, Tensor) or len(d_inputs) != len(step.targets):
                    count = "a tensor" if isinstance(d_inputs, Tensor) else len(d_inputs)
                    raise GraphError(
                        f"expected {len(step.targets)} errors, one for each input, in a tuple; came {count}"
                    )
                for target, d_input in zip(step.targets, d_inputs):  # noqa: B905, a fraction of the time without strict
                    if target and d_input is not None:  # where paths meet, errors add up
                        d[target] = d[target] + d_input if target in d else d_input
                if step.gradients_wanted and gradients is None:
                    method, kinds = "gradients", [(d.shape, d.dtype) for d in _several(step, d_output)]
                    held = [d_output]
                    d_output = d_inputs = d_input = None  # the block alone holds d_output then, and may free it early
                    gradients = step.block.gradients(saved, held.pop())
                if lacking := [name for name, _ in step.gradients_wanted if name not in (gradients or ())]:
                    asked = method or step.answering
                    raise GraphError(
                        f"expected a derivative of each parameter from {asked}; {', '.join(lacking)} lacking"
                    )
        except Exception as error:  # whatever people's own code raises
            came = [torch.empty(size, dtype=dtype, device="meta") for size, dtype in kinds]
            raise located(error, step.node, method or step.answering, came or _several(step, d_output)) from error
        if step.is_shared:
            gradients = _sum(sums.pop(id(step.block), None), gradients)
        if not step.is_last_use:
            sums[id(step.block)] = gradients
        elif gradients:
            for name, title in step.gradients_wanted:
                yield title, gradients.pop(name)
    yield from ((name, d[name]) for name in inputs if name in d)


def _shown(step: BackwardStep, d_output: Any) -> Iterator[tuple[str, Tensor]]:
    for key in step.outputs_wanted:
        d = d_output if step.key else d_output[step.node.keys.index(key)]
        if d is not None:
            yield key, d


def _several(step: BackwardStep, d_output: Any) -> list[Tensor]:
    """The errors that came."""
    return [d for d in ((d_output,) if step.key else d_output or ()) if d is not None]


def _taken(d: dict[str, Tensor], keys: tuple[str, ...]) -> tuple[Tensor | None, ...] | None:
    """The errors at the outputs of a block that has several, None where there is none; just None if all are."""
    errors = tuple(d.pop(key, None) for key in keys)
    return None if all(error is None for error in errors) else errors


def _sum(a: dict[str, Tensor] | None, b: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
    return {name: a[name] + b[name] for name in a} if a and b else a or b


def nothing_saved(node: str) -> GraphError:
    return GraphError(
        f"the trace has nothing saved at {node!r}: the forward pass did not reach it, or an earlier backward "
        "pass used it up (keep_trace=True keeps it)"
    )


def located(error: Exception, node: Node, method: str, tensors: Iterable[Tensor | None]) -> Exception:
    """The same error with the node's name in front; any other than ours says what the method was given, too.

    Errors as torch raises them for tensors that do not fit become a ShapeError. What is no fault of the block stays
    what it is: memory that is lacking, and the signals that torch sends through people's code (those of checkpointing).
    """
    is_signal = type(error).__module__.startswith("torch.") and not isinstance(error, OF_TENSORS)
    if is_signal or isinstance(error, torch.OutOfMemoryError):
        return error
    if isinstance(error, BlockpropError):
        return type(error)(f"node {node.name!r}: {error}")
    kinds = [f"{shape(t)} {t.dtype}" if isinstance(t, Tensor) else type(t).__name__ for t in tensors if t is not None]
    reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
    line = line_of(error)
    return (ShapeError if isinstance(error, OF_TENSORS) else BlockpropError)(
        f"node {node.name!r}: {node.block!r} cannot use {', '.join(kinds) or 'what came'} in {method} "
        f"({reason}{f', in {line}' if line else ''})"
    )
