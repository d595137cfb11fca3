"""Handlers of blocks that take elements from places that another input names, or put them there."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing


def _index(writing: Writing, index: Operand) -> OperatorInput:
    return index if index.dtype in (torch.int32, torch.int64) else writing.cast(index, torch.int64)


@exports(blocks.Gather, blocks.GatherElements)
def gather(writing: Writing, block: blocks.Gather | blocks.GatherElements, x: Operand, index: Operand) -> Any:
    return writing.add(type(block).__name__, x, _index(writing, index), axis=block.axis)


@exports(blocks.GatherND)
def gather_nd(writing: Writing, block: blocks.GatherND, x: Operand, index: Operand) -> Any:
    return writing.add("GatherND", x, writing.cast(index, torch.int64), batch_dims=block.batch_axes)


@exports(blocks.ScatterElements)
def scatter_elements(
    writing: Writing, block: blocks.ScatterElements, x: Operand, index: Operand, updates: Operand
) -> Any:
    options: dict[str, Any] = {"axis": block.axis, "reduction": block.reduction}
    return writing.add("ScatterElements", x, _index(writing, index), updates, **options)


@exports(blocks.ScatterND)
def scatter_nd(writing: Writing, block: blocks.ScatterND, x: Operand, index: Operand, updates: Operand) -> Any:
    return writing.add("ScatterND", x, writing.cast(index, torch.int64), updates, reduction=block.reduction)


@exports(blocks.Select)
def select(writing: Writing, block: blocks.Select, x: Operand) -> Any:
    return writing.add("Gather", x, writing.number(block.index, torch.int64), axis=block.axis)
