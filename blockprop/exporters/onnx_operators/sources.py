"""Handlers of blocks that make numbers instead of taking them."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.blocks.sources import dtype_named
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand
from blockprop.exporters.writer import as_proto
from blockprop.exporters.writing import Writing


@exports(blocks.Parameter)
def parameter(writing: Writing, block: blocks.Parameter, *inputs: Operand) -> Any:
    tensors = writing.writer.tensors
    if writing.owner == writing.name and writing.name not in writing.writer.outputs:
        tensors[writing.name] = block.value  # is the node itself
        return writing.name
    return writing.add("Identity", writing.owner if writing.owner in tensors else writing.weight("value"))


@exports(blocks.Constant)
def constant(writing: Writing, block: blocks.Constant, *inputs: Operand) -> Any:
    return writing.constant(block.value)


@exports(blocks.Filled)
def filled(writing: Writing, block: blocks.Filled, *inputs: Operand) -> Any:
    value = torch.tensor([block.value], dtype=dtype_named(block.dtype))
    return writing.add("ConstantOfShape", writing.sizes(block.shape), value=as_proto("", value))


@exports(blocks.Range)
def numbers_in_a_row(writing: Writing, block: blocks.Range, *inputs: Operand) -> Any:
    ends = [writing.single(number) for number in (block.start, block.stop, block.step)]
    return writing.cast(writing.add("Range", *ends), writing.dtype, torch.int64)
