"""A function at one point: the network of blocks that it is there, and its trace to go back from."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blockprop.calculus.traced import Tape, Traced, as_real
from blockprop.engine.asked import text, whole
from blockprop.engine.block import Block
from blockprop.engine.briefly import brief
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.trace import Trace, only
from blockprop.errors import NotFiniteError, SettingError, ShapeError, shape

Differentiable = Network | Block | Callable[..., Any]
"""What has derivatives here: a network, a block, or a Python function written with blocks and operators."""
Which = int | str
"""By what a derivative is: the number of an input, from 0 on, or the name of an input, parameter or node."""


class Recording:
    """A network at one point, or a function that was written down as one: what there is to go back from.

    network: of the blocks that were called.   trace: of its forward pass.   inputs: their names.
    """

    def __init__(self, network: Network, trace: Trace):
        self.network, self.trace, self.inputs = network, trace, network.inputs

    @property
    def output(self) -> str:
        """The name of its output; GraphError if it has several."""
        return only(self.network.outputs)

    @property
    def value(self) -> Tensor:
        """What the function gives."""
        return self.trace[self.output]

    @property
    def points(self) -> tuple[Tensor, ...]:
        """The inputs."""
        return tuple(self.trace[name] for name in self.inputs)

    def name_of(self, wrt: Which) -> str:
        """The name in the network of what a derivative is by."""
        if isinstance(wrt, str):
            return self.network.wanted((text("wrt", wrt, self.inputs[0]),))[0]
        return self.inputs[input_number(wrt, len(self.inputs))]

    def tensor(self, wrt: Which) -> Tensor:
        """The numbers that a derivative is by."""
        name = self.name_of(wrt)
        parameters = self.network.parameters
        return parameters[name] if name in parameters else self.trace[name]

    def back(self, seed: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Σ seed ∂y/∂(each of these), each in its own shape: one sweep, after which another one may follow.

        Raises NotFiniteError if a derivative is not finite.
        """
        found = self.network.backward(self.trace, {self.output: seed}, names, keep_trace=True)
        for name, d in found.items():
            if not torch.isfinite(d).all():
                raise NotFiniteError(f"the derivative by {name} is {_first(d)} at {_at(self.tensor(name))}")
        return found


def input_number(wrt: Any, count: int) -> int:
    """The number of one of so many inputs. SettingError for what is none."""
    try:
        return whole("wrt", wrt, 0, count - 1)
    except SettingError:
        inputs = "1 input" if count == 1 else f"{count} inputs"
        raise SettingError(f"wrt={brief(wrt)}: the function has {inputs}, numbered from 0 on") from None


@torch.no_grad()
def record(f: Differentiable, *x: Any) -> Recording:
    """Run a function on these inputs and write down which blocks it called: the network that it is at this point.

    f: a network with one output, a block with one, or a Python function that computes with the values that it is given
        (see Traced) and returns one of them.
    x: tensors; or numbers, which become float64, or what the weights of the network or block are.
    A function that decides by numbers (`if float(v) > 0`) is another network at another point.
    Raises SettingError if what it returns does not depend on x by blocks, NotFiniteError if it is not finite.
    """
    recording = _run(f, x)
    if not recording.value.is_floating_point():
        raise ShapeError(f"the function gives {recording.value.dtype}, which has no derivatives")
    if not torch.isfinite(recording.value).all():
        raise NotFiniteError(_not_finite(recording))
    return recording


@torch.no_grad()
def value_at(f: Differentiable, *x: Any) -> Tensor:
    """f(x), finite or not."""
    return _run(f, x).value


def _run(f: Differentiable, x: tuple[Any, ...]) -> Recording:
    weights = f.parameters.values() if isinstance(f, Network | Block) else ()
    dtype = next((weight.dtype for weight in weights if weight.is_floating_point()), torch.float64)
    inputs = tuple(as_real(one, dtype) for one in x)
    return Recording(f, f.forward(*inputs)) if isinstance(f, Network) else _of_function(f, inputs)


def _of_function(f: Any, inputs: tuple[Tensor, ...]) -> Recording:
    if not callable(f):
        raise SettingError(f"expected a network, a block or a function, came a {type(f).__name__}")
    if isinstance(f, Block):
        names = tuple(f"x{i + 1}" for i in range(len(inputs))) if len(inputs) > 1 else ("x",)
        network = Network([Node(type(f).__name__.lower(), f, names)], names)
        return Recording(network, network.forward(*inputs))
    tape = Tape(dict(zip(_names(f, len(inputs)), inputs, strict=True)))
    y = f(*(Traced(tape, name) for name in tape.inputs))
    if not isinstance(y, Traced):
        came = "several" if isinstance(y, tuple | list) else f"a {type(y).__name__}"
        raise SettingError(
            f"expected one value that blocks or operators made of the function's inputs, came {came}; nothing goes "
            "back from what is computed otherwise, or from a value's .tensor"
        )
    network = Network(tape.nodes, tape.inputs, (y.key,))
    return Recording(network, Trace(tape.values, tape.saved, network.outputs))


def _names(f: Any, count: int) -> tuple[str, ...]:
    """What the function calls its inputs; x1, x2, … if it does not say, or takes any number of them."""
    try:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        named = [name for name, one in inspect.signature(f).parameters.items() if one.kind in kinds]
    except (TypeError, ValueError):
        named = []
    if len(named) >= count and not {"inputs", "parameters"} & set(named[:count]):
        return tuple(named[:count])
    return tuple(f"x{i + 1}" for i in range(count)) if count > 1 else ("x",) * count


def _not_finite(recording: Recording) -> str:
    """Which block was the first to give no finite number, and of what."""
    trace = recording.trace
    for node in recording.network.nodes:
        if bad := [key for key in node.keys if not torch.isfinite(trace[key]).all()]:
            gives, of = _first(trace[bad[0]]), ", ".join(_at(trace[key]) for key in node.inputs)
            what = f"{node.block!r} (node {node.name!r}) gives {gives} for {of}" if of else f"{gives} stands in it"
            return f"the function is not finite here: {what}"
    return f"the function is not finite here: {_first(recording.value)}"


def _first(tensor: Tensor) -> str:
    """The first number that is not finite."""
    return f"{float(tensor[~torch.isfinite(tensor)].flatten()[0])}"


def _at(tensor: Tensor) -> str:
    """Numbers as a message shows them."""
    numbers = [f"{number:.6g}" for number in tensor.flatten()[:6].tolist()]
    if tensor.numel() == 1:
        return numbers[0]
    return f"({', '.join(numbers)}{', …' if tensor.numel() > 6 else ''})" + (
        f", {shape(tensor)}" if tensor.ndim > 1 else ""
    )
