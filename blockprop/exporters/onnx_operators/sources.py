"""Handlers of blocks that make numbers instead of taking them."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.blocks.sources import dtype_named
from blockprop.exporters.onnx_operators.call import Call, Value, as_proto
from blockprop.exporters.onnx_operators.table import exports


@exports(blocks.Parameter)
def parameter(call: Call, block: blocks.Parameter, *inputs: Value) -> Any:
    tensors = call.writer.tensors
    if call.owner == call.name and call.name not in call.writer.outputs:
        tensors[call.name] = block.value  # is the node itself
        return call.name
    return call.add("Identity", call.owner if call.owner in tensors else call.weight("value"))


@exports(blocks.Constant)
def constant(call: Call, block: blocks.Constant, *inputs: Value) -> Any:
    return call.constant(block.value)


@exports(blocks.Filled)
def filled(call: Call, block: blocks.Filled, *inputs: Value) -> Any:
    value = torch.tensor([block.value], dtype=dtype_named(block.dtype))
    return call.add("ConstantOfShape", call.sizes(block.shape), value=as_proto("", value))


@exports(blocks.Range)
def numbers_in_a_row(call: Call, block: blocks.Range, *inputs: Value) -> Any:
    ends = [call.single(each) for each in (block.start, block.stop, block.step)]
    return call.cast(call.add("Range", *ends), call.dtype, torch.int64)
