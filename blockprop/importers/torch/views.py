"""In-place operators and views: a module may write into a tensor, or into a part of it; a network of blocks never does.

So each tensor of the module is a `Cell`, whose value is exchanged when the module writes. A `View` follows its base:
written to, it puts its new value back into the base; read after the base has changed, it is taken anew.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor, fx

from blockprop import blocks
from blockprop.importers.aten.arranging import permute, reshape_to
from blockprop.importers.aten.joining import slice_of
from blockprop.importers.aten.reducing import arange
from blockprop.importers.calls import Call, axis_from_start
from blockprop.importers.graph import Value
from blockprop.importers.torch.naming import operator_name

Put = Callable[[Call, Value, Value, Mapping[str, Any]], Value]
"""put(call, base, new value of the view, the view's arguments) -> new value of the base"""


class Cell:
    """A tensor of the module: what it is now."""

    def __init__(self, value: Any):
        self._value, self._writes = value, 0

    @property
    def root(self) -> "Cell":
        """What it is a view of, or it itself."""
        return self

    @property
    def is_written(self) -> bool:
        """Whether anything has been written into it, or into what shares its memory."""
        return self.root._writes > 0

    def read(self) -> Any:
        """The value now."""
        return self._value

    def write(self, value: Any) -> None:
        """Exchange the value, here and in what this is a view of."""
        self._value = value
        self._writes += 1


class View(Cell):
    """A tensor that shares its elements with another one, its base.

    take: the base's value -> the view's   put: (the base's value, the view's new one) -> the base's new one
    """

    def __init__(self, value: Any, base: Cell, take: Callable[[Any], Any], put: Callable[[Any, Any], Any]):
        super().__init__(value)
        self._base, self._take, self._put = base, take, put
        self._seen = self.root._writes

    @property
    def root(self) -> Cell:
        return self._base.root

    def read(self) -> Any:
        if self._seen != self.root._writes:
            self._value, self._seen = self._take(self._base.read()), self.root._writes
        return self._value

    def write(self, value: Any) -> None:
        self._base.write(self._put(self._base.read(), value))
        self._value, self._seen = value, self.root._writes


class Memory:
    """Which tensor of the module was the first to have each piece of memory, as torch's export notes it."""

    def __init__(self) -> None:
        self._owners: dict[int, Cell] = {}

    def owner(self, node: fx.Node, cell: Cell) -> Cell:
        """The first tensor with the memory of the node's output; if there is none yet, that of `cell`."""
        example = node.meta.get("val")
        if not isinstance(example, Tensor):
            return cell.root
        return self._owners.setdefault(_storage(example), cell.root)


def shares_memory(node: fx.Node, other: fx.Node) -> bool:
    """Whether the outputs of two nodes are in the same memory."""
    a, b = node.meta.get("val"), other.meta.get("val")
    return isinstance(a, Tensor) and isinstance(b, Tensor) and _storage(a) == _storage(b)


def _storage(tensor: Tensor) -> int:
    with suppress(NotImplementedError):  # torch.vmap's tensors have none
        return tensor.untyped_storage()._cdata
    return id(tensor)


def is_harmless(name: str, written: fx.Node) -> bool:
    """Whether nobody sees what is written into a part of another tensor: torch's own unsafe_split promises that."""
    source: Any = written
    while isinstance(source, fx.Node) and source.args and operator_name(source).endswith(("_", "getitem")):
        source = source.args[0]
    return name == "detach_" or (isinstance(source, fx.Node) and operator_name(source).startswith("unsafe_"))


def _into_slice(call: Call, base: Value, new: Value, given: Mapping[str, Any]) -> Value:
    axis, start = axis_from_start(given.get("dim", 0), base.axes), given.get("start") or 0
    whole = base.shape[axis]
    if isinstance(start, int) and start < 0:
        start = whole + start
    if (step := given.get("step", 1)) != 1:
        return _into_every(call, base, new, axis, start, step)
    stop = start + new.shape[axis]
    before = [] if isinstance(start, int) and start == 0 else [slice_of(call, base, axis, 0, start, part="before")]
    after = [] if stop == whole else [slice_of(call, base, axis, stop, None, part="after")]
    return call.add(blocks.Concat(axis), *before, new, *after, part="written") if before or after else new


def _into_every(call: Call, base: Value, new: Value, axis: int, start: Any, step: int) -> Value:
    """Written at start, start + step, …: as many places as there are new values."""
    order = [axis, *(other for other in range(base.axes) if other != axis)]
    places = arange(call, start + step * new.shape[axis], start, step)
    places = call.add(blocks.Unsqueeze((1,)), places, part="places")
    rows = call.add(
        blocks.ScatterND("none"), permute(call, base, order), places, permute(call, new, order), part="written"
    )
    return permute(call, rows, [order.index(other) for other in range(base.axes)])


def _into_selected(call: Call, base: Value, new: Value, given: Mapping[str, Any]) -> Value:
    axis = axis_from_start(given["dim"], base.axes)
    wide = call.add(blocks.Unsqueeze((axis,)), new, part="unsqueeze")
    return _into_slice(call, base, wide, {"dim": axis, "start": given["index"]})


def _into_order(call: Call, base: Value, new: Value, given: Mapping[str, Any]) -> Value:
    order = list(range(base.axes))
    if "dims" in given:
        order = [axis_from_start(axis, base.axes) for axis in given["dims"]]
        order = [order.index(axis) for axis in range(base.axes)]
    else:
        a, b = (axis_from_start(given.get(name, i), base.axes) for i, name in enumerate(("dim0", "dim1")))
        order[a], order[b] = b, a
    return permute(call, new, order)


def _into_shape(call: Call, base: Value, new: Value, given: Mapping[str, Any]) -> Value:
    return reshape_to(call, new, base.shape, part="written")


def _whole(call: Call, base: Value, new: Value, given: Mapping[str, Any]) -> Value:
    return new


VIEWS: dict[str, Put] = {
    "slice": _into_slice,
    "narrow": _into_slice,
    "select": _into_selected,
    "transpose": _into_order,
    "t": _into_order,
    "permute": _into_order,
    **dict.fromkeys(
        ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as"), _into_shape
    ),
    **dict.fromkeys(("contiguous", "alias", "to", "expand_as", "type_as", "dropout", "feature_dropout"), _whole),
}
"""Operators whose result shares its elements with their first argument, and how to write through it.

Whether contiguous, reshape and the like really share is seen from the memory that torch's export notes.
"""
