"""Handlers of operators that join tensors and cut them."""

import itertools
from collections.abc import Sequence
from typing import Any

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, axis_from_start
from blockprop.importers.graph import Value
from blockprop.importers.symbols import AxisSize, Symbol

END = 2**63 - 1
"""How torch writes "to the end" of an axis."""


@aten("cat", "concat", "concatenate")
def cat(call: Call, tensors: Sequence[Value], dim: int = 0) -> Value:
    parts = [x for x in tensors if not (x.axes == 1 and x.shape == (0,))]
    return parts[0] if len(parts) == 1 else call.add(blocks.Concat(dim), *parts)


@aten("hstack", "vstack", "row_stack", "dstack")
def joined(call: Call, tensors: Sequence[Value]) -> Value:
    if any(x.axes < 3 for x in tensors):
        raise UnsupportedError("joining vectors as rows or columns")
    axis = {"h": 1, "v": 0, "r": 0, "d": 2}[call.operator.split(".")[1][0]]
    return call.add(blocks.Concat(axis), *tensors)


@aten("stack")
def stack(call: Call, tensors: Sequence[Value], dim: int = 0) -> Value:
    axis = axis_from_start(dim, tensors[0].axes + 1)
    parts = [call.add(blocks.Unsqueeze((axis,)), x, part="part") for x in tensors]
    return call.add(blocks.Concat(axis), *parts)


@aten(
    "split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk"
)  # fmt: skip
def split(
    call: Call,
    self: Value,
    split_size: Any = None,
    split_sizes: Any = None,
    chunks: Any = None,
    dim: int = 0,
    sections: Any = None,
    indices: Any = None,
) -> Any:
    axis = axis_from_start(dim, self.axes)
    whole = self.shape[axis]
    if indices is not None:
        return tuple(_between(call, self, axis, [0, *indices, None]))
    if sections is not None:
        short = [(whole + sections - 1 - i) // sections for i in range(sections)]
        return tuple(_slices(call, self, axis, short)) if isinstance(whole, Symbol) else _split(call, self, axis, short)
    sizes = split_sizes if split_sizes is not None else split_size
    if isinstance(sizes, list | tuple):
        parts = list(sizes)
    elif isinstance(whole, Symbol):
        return _chunks(call, self, axis, whole, chunks)
    else:
        step = sizes if sizes is not None else -(-whole // chunks)
        parts = [min(step, whole - start) for start in range(0, whole, step)] if step else [whole]
    if any(isinstance(size, Symbol) for size in parts):
        return tuple(_slices(call, self, axis, parts))
    return _split(call, self, axis, parts)


def _split(call: Call, x: Value, axis: int, parts: Sequence[Any]) -> Any:
    outputs = call.add(blocks.Split(tuple(parts), axis), x)
    return outputs if len(parts) > 1 else (outputs,)


def _chunks(call: Call, x: Value, axis: int, whole: Symbol, count: int | None) -> Any:
    """As many equal parts of a free axis, where there are as many: chunk(4) gives 3 of 6 elements."""
    if count is None or any(-(-size // -(-size // count)) != count for size in whole.trials):
        raise UnsupportedError("splitting a free axis into parts that are as many as they happen to be")
    step = (whole + (count - 1)) // count
    return tuple(_between(call, x, axis, [*(step * i for i in range(count)), None]))


def _between(call: Call, x: Value, axis: int, places: Sequence[Any]) -> list[Value]:
    """The parts from each place to the next."""
    return [
        slice_of(call, x, axis, start, stop, part=f"part{i}")
        for i, (start, stop) in enumerate(itertools.pairwise(places))
    ]


def _slices(call: Call, x: Value, axis: int, parts: Sequence[AxisSize]) -> list[Value]:
    slices, start = [], 0
    for i, size in enumerate(parts):
        slices.append(slice_of(call, x, axis, start, start + size, part=f"part{i}"))
        start = start + size
    return slices


@aten("unbind")
def unbind(call: Call, self: Value, dim: int = 0) -> Any:
    count = self.shape[dim]
    if not isinstance(count, int):
        raise UnsupportedError("taking a free axis apart")
    return tuple(call.add(blocks.Select(dim, i), self, part=f"part{i}") for i in range(count))


@aten("select")
def select(call: Call, self: Value, dim: int, index: Any) -> Value:
    if isinstance(index, Symbol):
        wide = slice_of(call, self, axis_from_start(dim, self.axes), index, index + 1, part="slice")
        return call.add(blocks.Squeeze((axis_from_start(dim, self.axes),)), wide)
    return call.add(blocks.Select(dim, index), self)


@aten("slice", "narrow")
def slice_(
    call: Call, self: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1, length: Any = None
) -> Value:
    return slice_of(
        call, self, axis_from_start(dim, self.axes), start or 0, start + length if length is not None else end, step
    )


def slice_of(
    call: Call, x: Value, axis: int, start: AxisSize, stop: AxisSize | None, step: int = 1, part: str = ""
) -> Value:
    """A Slice node, or x itself if nothing is cut off."""
    whole = x.shape[axis]
    if stop is not None and (stop == whole or (isinstance(stop, int) and stop >= END)):
        stop = None
    if isinstance(stop, int) and isinstance(whole, int) and stop >= whole:
        stop = None
    if isinstance(start, int) and start == 0 and stop is None and step == 1:
        return x
    # Python's own rules for what lies beyond the end hold for the block, too.
    (first, last), others = call.graph.formulas([start, 0 if stop is None else stop], x)
    return call.add(blocks.Slice(axis, first, None if stop is None else last, step), x, *others, part=part)
