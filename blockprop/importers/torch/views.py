"""In-place operators and views: a module may write into a tensor, or into a part of it; a network of blocks never does.

So each tensor of the module is a `Cell`, whose value is exchanged when the module writes. A view follows its base:
written to, it puts its new value back into the base; read after the base has changed, it is taken anew.
"""

from collections.abc import Callable, Mapping
from typing import Any

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.arranging import permute, reshape_to
from blockprop.importers.aten.joining import slice_of
from blockprop.importers.calls import Call, axis_from_start
from blockprop.importers.graph import Value

Put = Callable[[Call, Value, Value, Mapping[str, Any]], Value]
"""put(call, base, new value of the view, the view's arguments) -> new value of the base"""


class Cell:
    """A tensor of the module: what it is now."""

    def __init__(self, value: Any, base: "Cell | None" = None, take: Any = None, put: Any = None):
        self._value, self._base, self._take, self._put = value, base, take, put
        self._writes = 0
        self._seen = self.root._writes

    @property
    def root(self) -> "Cell":
        """What it is a view of, or it itself."""
        return self if self._base is None else self._base.root

    @property
    def is_written(self) -> bool:
        """Whether anything has been written into it, or into what shares its memory."""
        return self.root._writes > 0

    def read(self) -> Any:
        """The value now."""
        if self._base is not None and self._seen != self.root._writes:
            self._value, self._seen = self._take(self._base.read()), self.root._writes
        return self._value

    def write(self, value: Any) -> None:
        """Exchange the value, here and in what this is a view of."""
        if self._base is None:
            self._writes += 1
        else:
            self._base.write(self._put(self._base.read(), value))
        self._value, self._seen = value, self.root._writes


def _into_slice(call: Call, base: Value, new: Value, given: Mapping[str, Any]) -> Value:
    if given.get("step", 1) != 1:
        raise UnsupportedError("writing into every n-th element")
    axis, start = axis_from_start(given.get("dim", 0), base.axes), given.get("start") or 0
    whole = base.shape[axis]
    if isinstance(start, int) and start < 0:
        start = whole + start
    stop = start + new.shape[axis]
    before = [] if isinstance(start, int) and start == 0 else [slice_of(call, base, axis, 0, start, part="before")]
    after = [] if stop == whole else [slice_of(call, base, axis, stop, None, part="after")]
    return call.add(blocks.Concat(axis), *before, new, *after, part="written") if before or after else new


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
