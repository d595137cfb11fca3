"""Handlers of blocks that take elements from places that another input names, or put them there."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.table import exports


def _index(call: Call, index: Value) -> str:
    return index if index.dtype in (torch.int32, torch.int64) else call.cast(index, torch.int64)


@exports(blocks.Gather, blocks.GatherElements)
def gather(call: Call, block: blocks.Gather | blocks.GatherElements, x: Value, index: Value) -> Any:
    return call.add(type(block).__name__, x, _index(call, index), axis=block.axis)


@exports(blocks.GatherND)
def gather_nd(call: Call, block: blocks.GatherND, x: Value, index: Value) -> Any:
    return call.add("GatherND", x, call.cast(index, torch.int64), batch_dims=block.batch_axes)


@exports(blocks.ScatterElements)
def scatter_elements(call: Call, block: blocks.ScatterElements, x: Value, index: Value, updates: Value) -> Any:
    options: dict[str, Any] = {"axis": block.axis, "reduction": block.reduction}
    return call.add("ScatterElements", x, _index(call, index), updates, **options)


@exports(blocks.ScatterND)
def scatter_nd(call: Call, block: blocks.ScatterND, x: Value, index: Value, updates: Value) -> Any:
    return call.add("ScatterND", x, call.cast(index, torch.int64), updates, reduction=block.reduction)


@exports(blocks.Select)
def select(call: Call, block: blocks.Select, x: Value) -> Any:
    return call.add("Gather", x, call.number(block.index, torch.int64), axis=block.axis)
