"""Block: the contract of everything a network is made of. Read this page first.

A block computes y = f(x; W). With an objective L above it and d_y = ∂L/∂y coming down, it has two jobs:

    propagate    d_x = ∂L/∂x     error propagation, from d_y, W and what forward saved
    gradients    d_W = ∂L/∂W     weight gradients, from d_y and what forward saved

They are two methods because neither is ever computed for nothing: with fixed weights only the first runs, and
for the lowest block in training only the second. A derivative always has the shape of the thing it belongs to.
"""

import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor

from blockprop.engine.briefly import brief
from blockprop.errors import SettingError

Saved = Any
Shape = tuple[int, ...]
LONG = 400
"""Characters; a setting that takes more is shown in brief."""


class StandIn:
    """What stands for a tensor while a function is written down as a network: it takes over the calls of blocks.

    `blockprop.calculus` has the one there is.
    """

    def called(self, what: Any, inputs: tuple[Any, ...]) -> Any:
        """What a block or a network gives for these inputs, this one among them."""
        raise NotImplementedError(f"{type(self).__name__} has no called")


class Block:
    """One function of tensors, with its forward pass and its two backward passes.

    All three methods are functions of their arguments and of the parameters: nothing is kept on the block between
    calls, so that one block may stand at several places of a graph and be used by several threads.

    A subclass keeps every argument of its constructor under the same attribute name (`settings` reads them back for
    `repr` and for saving), lists its weights in `parameter_names`, and what else must be saved in `buffer_names`.
    Other tensors that it keeps follow from its settings, and have an underscore in front.
    """

    parameter_names: ClassVar[tuple[str, ...]] = ()
    buffer_names: ClassVar[tuple[str, ...]] = ()
    has_training_mode: ClassVar[bool] = False
    """True if forward takes `training=True` and then does something else (dropout, batch normalization)."""
    makes_new_errors: ClassVar[bool] = False
    """True if every error that propagate returns is in memory of its own, of which nobody else knows."""
    may_take_over: ClassVar[bool] = False
    """True if propagate takes `over=True`, and may then write over d_output. A network says so where d_output is a new
    error that nobody else looks at."""
    output_count: int = 1
    """More than 1 if forward returns a tuple; d_output is then a tuple, too, with None where nothing came back."""

    kind: ClassVar[str] = "other"
    """What sort of block it is, and the color of its box in a diagram: "weights", "activation", "pooling",
    "normalization", "joining", "reshaping", "image", or "other"."""
    gate: str | None = None
    """Why it rectifies or gates though no rule can take it for max(x, 0), or "" if it does not; None: not said. An
    activation says so in its own class, or the coverage of a rule counts it as unknown."""
    arranges: ClassVar[bool] = False
    """True if it leaves every number as it is, and in its order: only the shape changes."""
    from_file: bool = False
    """True if a file says what it does: a network with such a block looks at what it asks for before it runs
    (engine/room.py)."""
    from_trusted_file: bool = False
    """True if whoever loaded that file said that its source is trusted."""
    pools: ClassVar[bool] = False
    """True if it shows no more than what stands before it, only coarser (pooling) or less of it (dropout)."""

    def forward(self, *inputs: Any, **mode: Any) -> tuple[Any, Saved]:
        """Return the output (a tuple if output_count > 1) and whatever the two backward methods need.

        Never changes its inputs. Raises ShapeError for inputs that do not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def propagate(self, saved: Saved, d_output: Any) -> tuple[Tensor | None, ...]:
        """Return ∂L/∂input for each input; None where the output does not depend on it differentiably."""
        raise NotImplementedError(f"{type(self).__name__} has no propagate")

    def gradients(self, saved: Saved, d_output: Any) -> dict[str, Tensor]:
        """Return ∂L/∂parameter by parameter name. Blocks without parameters inherit this empty answer."""
        return {}

    def both(self, saved: Saved, d_output: Any) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor]]:
        """What `propagate` and what `gradients` return. A block that finds them together, with less work, says so here.

        A network calls it where both are wanted, unless one of the two was replaced (`finds_both`).
        """
        return self.propagate(saved, d_output), self.gradients(saved, d_output)

    @property
    def finds_both(self) -> bool:
        """Whether its `both` is more than one after the other, and stands for the `propagate` and `gradients` it has.

        So it is unless a subclass, a mixin or the block itself replaced one of them without the other.
        """
        places = {name: _distance(self, name) for name in ("both", "propagate", "gradients")}
        return type(self).both is not Block.both and places["both"] == min(places.values())

    def says(self, name: str) -> bool:
        """Whether this attribute is true, and said of the `propagate` that it has: no subclass replaced that alone."""
        return bool(getattr(self, name)) and _distance(self, name) <= _distance(self, "propagate")

    def at_most(self, *shapes: Shape) -> Shape | None:
        """A shape that the only output does not exceed, for inputs that do not exceed these; None if nobody knows.

        What has an answer need not be looked at before it runs (engine/room.py).
        """
        return shapes[0] if self.kind in ("activation", "normalization") else None

    def inner_numbers(self, *shapes: Shape) -> int:
        """How many numbers it makes at most beside its output, if that is more than a few times as many (at_most)."""
        return 0

    def remember(self, saved: Saved) -> None:
        """Take over what one training step has seen (running statistics). Training calls it after forward."""

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The weights by name, as the tensors themselves: changing one in place changes the block."""
        return dict(self._tensors(self.parameter_names))

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Tensors that are saved with the weights but not trained."""
        return dict(self._tensors(self.buffer_names))

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, read back from the attributes of the same names. SettingError if one is none."""
        for name in arguments_of(type(self)):
            if not hasattr(self, name):
                kind = type(self).__name__
                raise SettingError(f"{kind} does not keep its constructor's argument {name!r} as self.{name}")
        return {name: getattr(self, name) for name in arguments_of(type(self))}

    def __call__(self, *inputs: Any) -> Any:
        for x in inputs:
            if isinstance(x, StandIn):
                return x.called(self, inputs)
        return self.forward(*inputs)[0]

    def __repr__(self) -> str:
        defaults = arguments_of(type(self))
        shown = [
            _shown(value) if defaults[name] is inspect.Parameter.empty else f"{name}={_shown(value)}"
            for name, value in ((name, getattr(self, name)) for name in defaults if hasattr(self, name))
            if value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _tensors(self, names: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
        for name in names:
            tensor = getattr(self, name)
            if tensor is not None:
                yield name, tensor


def arguments_of(kind: type[Block]) -> dict[str, Any]:
    """The constructor's arguments and their defaults."""
    if kind.__init__ is object.__init__:
        return {}
    return {name: argument.default for name, argument in inspect.signature(kind).parameters.items()}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONG else brief(value)


def _distance(block: Block, name: str) -> int:
    """How far up the classes a method is found: 0 on the block itself, 1 in its own class, …"""
    return next(i for i, place in enumerate((block, *type(block).__mro__)) if name in vars(place))
