"""Handlers of operators that take elements from places, put them there, or look for them."""

from typing import Any

import numpy as np
import torch

from blockprop import blocks
from blockprop.blocks.gathering import REDUCTIONS
from blockprop.errors import UnsupportedError
from blockprop.importers.graph import Flow, Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.activations import cast_to
from blockprop.importers.onnx_operators.table import operator
from blockprop.importers.symbols import AxisSize

MOST_BOXES = 2**31 - 1
"""Files write the largest number that there is for "all"."""


@operator("Gather", 1, 11, 13)
def gather(call: OnnxCall, x: Input, indices: Input, *, axis: int) -> Any:
    if isinstance(indices, Known) and isinstance(x, Flow):
        if indices.axes == 0:
            return call.add(blocks.Select(axis, int(indices.tensor)), x)
        order = indices.tensor.tolist()
        if axis % x.axes == indices.axes == 1 and sorted(order) == list(range(len(order))) and x.shape[1] == len(order):
            return call.add(blocks.ChannelOrder(order), x)
    table = call.own_weight(x) if axis == 0 and x.axes == 2 and isinstance(indices, Flow) else None
    if table is not None and table.trained:
        settings = {"rows": table.shape[0], "features": table.shape[1]}
        return call.add(call.block(blocks.Embedding, settings, weight=table), indices)
    return call.add(blocks.Gather(axis), x, indices)


@operator("GatherElements", 11, 13)
def gather_elements(call: OnnxCall, x: Input, indices: Input, *, axis: int) -> Any:
    return call.add(blocks.GatherElements(axis), x, indices)


@operator("GatherND", 11, 12, 13)
def gather_nd(call: OnnxCall, x: Input, indices: Input, *, batch_dims: int = 0) -> Any:
    return call.add(blocks.GatherND(batch_dims), x, indices)


@operator("Scatter", 9)
@operator("ScatterElements", 11, 13, 16, 18)
def scatter_elements(
    call: OnnxCall, x: Input, indices: Input, updates: Input, *, axis: int, reduction: str = "none"
) -> Any:
    _check(call, reduction)
    return call.add(blocks.ScatterElements(axis, reduction), x, indices, updates)


@operator("ScatterND", 11, 13, 16, 18)
def scatter_nd(call: OnnxCall, x: Input, indices: Input, updates: Input, *, reduction: str = "none") -> Any:
    _check(call, reduction)
    return call.add(blocks.ScatterND(reduction), x, indices, updates)


def _check(call: OnnxCall, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise UnsupportedError(f"the reduction {reduction!r}")


@operator("Compress", 9, 11, 28)
def compress(call: OnnxCall, x: Input, condition: Input, *, axis: int | None = None) -> Any:
    found = call.add_counted(blocks.NonZero(), condition, shape=lambda count: (1, count), part="found")
    places = call.add(blocks.Select(0, 0), found, part="places")
    if axis is None:
        x, axis = call.add(blocks.Flatten(0), x, part="flat"), 0
    return call.add(blocks.Gather(axis), x, places)


@operator("NonZero", 9, 13)
def non_zero(call: OnnxCall, x: Input) -> Any:
    return call.add_counted(blocks.NonZero(), x, shape=lambda count: (x.axes, count))


def _decimal(number: float) -> float:
    """The shortest decimal that rounds to the file's float32: 0.4, where that is 0.4000000059604645."""
    return float(str(np.float32(number)))


@operator("NonMaxSuppression", 10, 11)
def non_max_suppression(
    call: OnnxCall,
    boxes: Input,
    scores: Input,
    most: Input | None = None,
    overlap: Input | None = None,
    least: Input | None = None,
    *,
    center_point_box: int,
) -> Any:
    call.note("forward only: it gives numbers of boxes, so that nothing goes back through it")
    limit = None if least is None else _decimal(call.number_in(least))
    count = min(int(call.number_in(most, 0)), MOST_BOXES)
    block = blocks.NonMaxSuppression(count, _decimal(call.number_in(overlap, 0.0)), limit, bool(center_point_box))
    return call.add_counted(block, boxes, scores, shape=lambda count: (count, 3))


def _arg(name: str, kind: Any) -> None:
    @operator(name, 1, 11, 12, 13)
    def handle(call: OnnxCall, x: Input, *, axis: int, keepdims: int, select_last_index: int = 0) -> Any:
        return call.add(kind(axis, bool(keepdims), bool(select_last_index)), x)


_arg("ArgMax", blocks.ArgMax)
_arg("ArgMin", blocks.ArgMin)


@operator("TopK", 1)
def top_k_by_attribute(call: OnnxCall, x: Input, *, k: int, axis: int) -> Any:
    return _first(call, x, k, axis, largest=True)


@operator("TopK", 10, 11, 24)
def top_k(call: OnnxCall, x: Input, k: Input, *, axis: int, largest: int = 1, sorted: int = 1) -> Any:
    (count,) = call.sizes_in(k)
    return _first(call, x, count, axis, bool(largest))


def _first(call: OnnxCall, x: Input, count: AxisSize, axis: int, largest: bool) -> Any:
    """The first of all in order: of equal elements ONNX takes those in front, while torch's topk takes any."""
    values, places = call.add(blocks.Sort(axis, largest), x, part="sorted")
    (stop,), others = call.formulas([count], values)
    cut = blocks.Slice(axis, 0, stop)
    return call.add(cut, values, *others), call.add(cut, places, *others, part="places")


@operator("OneHot", 9, 11, 28)
def one_hot(call: OnnxCall, indices: Input, depth: Input, values: Input, *, axis: int) -> Any:
    off, on = call.known_tensor(values).flatten().tolist()
    places = indices if not indices.dtype.is_floating_point else cast_to(call, indices, torch.int64)
    count = int(call.number_in(depth))
    wanted = values.dtype
    y = call.add(
        blocks.OneHot(count, axis, float(on), float(off)), places, part="" if wanted == torch.float32 else "one_hot"
    )
    return cast_to(call, y, wanted)


@operator("CumSum", 11, 14)
def cum_sum(call: OnnxCall, x: Input, axis: Input, *, exclusive: int, reverse: int) -> Any:
    y = call.add(
        blocks.CumSum(int(call.number_in(axis)), bool(exclusive), bool(reverse)),
        x,
        part="wide" if x.dtype in (torch.int32, torch.int16, torch.int8) else "",
    )
    return cast_to(call, y, x.dtype)


@operator("ReverseSequence", 10, 28)
def reverse_sequence(call: OnnxCall, x: Input, lengths: Input, *, time_axis: int, batch_axis: int) -> Any:
    known_lengths, whole = call.known_tensor(lengths), x.shape[time_axis]
    if not isinstance(whole, int) or not bool((known_lengths == whole).all()):
        raise UnsupportedError("sequences of different lengths")
    return call.add(blocks.Flip((time_axis,)), x)
