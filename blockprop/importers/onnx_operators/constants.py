"""Handlers of operators that make numbers of nothing, or of a shape."""

import math
from typing import Any

import torch
from onnx import TensorProto

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.errors import GraphError
from blockprop.importers.exact_sizes import FreeSizeError, Numbers
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import LARGEST_FOLD, Input, OnnxCall
from blockprop.importers.onnx_operators.table import operator
from blockprop.importers.onnx_tensors import dtype_of, tensor_of


@operator("Constant", 1, 9, 11, 12, 13, 19, 21, 23, 24, 25)
def constant(
    call: OnnxCall,
    *,
    value: TensorProto | None = None,
    value_float: float | None = None,
    value_floats: list[float] | None = None,
    value_int: int | None = None,
    value_ints: list[int] | None = None,
) -> Any:
    if value is not None:
        return Known(tensor_of(value, call.state.folder), call.name)
    for numbers, dtype in (
        (value_float, torch.float32),
        (value_floats, torch.float32),
        (value_int, torch.int64),
        (value_ints, torch.int64),
    ):
        if numbers is not None:
            return Known(torch.tensor(numbers, dtype=dtype), call.name)
    raise GraphError("a constant without a value")


@operator("ConstantOfShape", 9, 20, 21, 23, 24, 25)
def constant_of_shape(call: OnnxCall, shape: Input, *, value: TensorProto | None = None) -> Any:
    filling = torch.zeros(1) if value is None else tensor_of(value, call.state.folder)
    if filling.numel() != 1:
        raise GraphError(f"a value of {filling.numel()} elements")
    wanted = call.sizes_in(shape)
    sizes, others = call.formulas(wanted)
    return call.add(blocks.Filled(sizes, filling.item(), name_of(filling.dtype)), *others)


@operator("Range", 11, 27)
def numbers_in_a_row(call: OnnxCall, start: Input, limit: Input, delta: Input, *, stash_type: int = 1) -> Any:
    if any(isinstance(value, Numbers) for value in (start, limit, delta)):
        ends = [call.sizes_in(value)[0] for value in (start, limit, delta)]
        (begin, end, by), others = call.formulas(ends)
        return call.add(blocks.Range(begin, end, by, name_of(start.dtype)), *others)
    first, last, step = (call.number_in(value) for value in (start, limit, delta))
    if step == 0 or abs(last - first) / abs(step) > LARGEST_FOLD:
        raise GraphError(f"numbers from {first} to {last} in steps of {step}")
    count = max(math.ceil((last - first) / step), 0)
    return Known(torch.arange(count, dtype=start.dtype) * step + first)


@operator("EyeLike", 9, 22)
def eye_like(call: OnnxCall, x: Input, *, dtype: int | None = None, k: int) -> Any:
    rows, columns = x.shape
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise FreeSizeError("the size of the matrix")
    if rows * columns > LARGEST_FOLD:
        raise GraphError(f"a matrix of {rows} x {columns}")
    places = torch.arange(columns) - torch.arange(rows)[:, None]
    return Known((places == k).to(x.dtype if dtype is None else dtype_of(dtype)))
