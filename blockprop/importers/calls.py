"""What a handler of an operator gets: the call, with the graph to add nodes to; and questions about its arguments."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from blockprop.engine.block import Block
from blockprop.errors import UnsupportedError
from blockprop.importers.graph import Flow, Graph, Known, Value
from blockprop.importers.symbols import AxisSize

Handler = Callable[..., Any]


class Call:
    """One call of an operator in the model that is being imported.

    name: for its node   operator: as the model calls it   where: the source line or the place in the file
    training: whether the model is imported as it is in training
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        operator: str,
        where: str = "",
        known: Tensor | None = None,
        training: bool = False,
    ):
        self.graph, self.name, self.operator, self.where = graph, name, operator, where
        self.known, self.training = known, training

    def add(self, block: Block, *operands: Value, part: str = "") -> Any:
        """A node for the call; `part` names one of several."""
        name = f"{self.name}.{part}" if part else self.name
        return self.graph.add(name, block, *operands, known=None if part else self.known)

    def block(self, kind: Callable[..., Block], settings: dict[str, Any], **tensors: Known | Tensor | None) -> Block:
        """A block with these weights, shared with other calls that have the same."""
        return self.graph.block(kind, settings, **tensors)

    def sizes(self, wanted: Sequence[AxisSize], *operands: Value) -> tuple[tuple[int | str, ...], tuple[Flow, ...]]:
        """Sizes as blocks take them, and the further operands that they need."""
        return self.graph.sizes(wanted, *operands)

    def weight(self, value: Value | None) -> Known | None:
        """A weight that a block must hold itself; worked out now if it is computed from weights alone."""
        if value is None or isinstance(value, Known):
            return value
        if value.known is None:
            raise UnsupportedError("its weight is computed from the network's input")
        return Known(value.known, value.key, trained=True)

    def constant(self, value: Value) -> Tensor:
        """A tensor that must be known at import, such as an index."""
        tensor = value.tensor if isinstance(value, Known) else value.known
        if tensor is None:
            raise UnsupportedError("an operand that must be constant depends on the network's input")
        return tensor


def number(value: Any) -> int | float | None:
    """The number that an operand stands for, if it is one and not trained; a bool counts as 0 or 1."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Known) and not value.trained and value.tensor.numel() == 1 and value.axes == 0:
        item: Any = value.tensor.item()
        return item if isinstance(item, bool | int | float) else None
    return None


def is_zero(value: Any) -> bool:
    """Whether an operand is known to be 0 everywhere, and not trained."""
    if isinstance(value, Known):
        return not value.trained and not bool(value.tensor.any())
    if isinstance(value, Flow):
        return value.filled == 0
    return value == 0 if isinstance(value, int | float) else False


def axis_from_start(axis: int, axes: int) -> int:
    """The axis counted from the start."""
    return axis % axes if axes else 0


def axes_of(chosen: int | Sequence[int] | None, axes: int) -> tuple[int, ...]:
    """Axes counted from the start; None and () stand for all."""
    if isinstance(chosen, int):
        return (axis_from_start(chosen, axes),)
    return tuple(axis_from_start(axis, axes) for axis in chosen) if chosen else tuple(range(axes))
