"""Handlers of sequences of tensors and of optional ones, as far as their lengths follow from the file."""

from typing import Any

import torch
from onnx import TypeProto

from blockprop import blocks
from blockprop.errors import GraphError
from blockprop.importers.exact_sizes import FreeSizeError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall, Several
from blockprop.importers.onnx_operators.table import operator


@operator("SequenceConstruct", 11)
def sequence_construct(call: OnnxCall, *x: Input) -> Any:
    return Several(x)


@operator("SequenceEmpty", 11)
def sequence_empty(call: OnnxCall, *, dtype: int = 1) -> Any:
    return Several()


def _place(call: OnnxCall, sequence: Several, position: Input, behind: int = 0) -> int:
    place = int(call.number_in(position))
    if not -len(sequence) <= place < len(sequence) + behind:
        raise GraphError(f"the place {place} in a sequence of {len(sequence)}")
    return place


@operator("SequenceAt", 11)
def sequence_at(call: OnnxCall, sequence: Several, position: Input) -> Any:
    return sequence[_place(call, sequence, position)]


@operator("SequenceInsert", 11)
def sequence_insert(call: OnnxCall, sequence: Several, x: Input, position: Input | None = None) -> Any:
    longer = Several(sequence)
    longer.insert(len(sequence) if position is None else _place(call, sequence, position, behind=1), x)
    return longer


@operator("SequenceErase", 11)
def sequence_erase(call: OnnxCall, sequence: Several, position: Input | None = None) -> Any:
    shorter = Several(sequence)
    del shorter[-1 if position is None else _place(call, sequence, position)]
    return shorter


@operator("SequenceLength", 11)
def sequence_length(call: OnnxCall, sequence: Several) -> Any:
    return Known(torch.tensor(len(sequence)))


@operator("SplitToSequence", 11, 24)
def split_to_sequence(call: OnnxCall, x: Input, split: Input | None = None, *, axis: int, keepdims: int) -> Any:
    whole = x.shape[axis]
    if not isinstance(whole, int):
        raise FreeSizeError("how many parts there are")
    if split is None:
        sizes = [1] * whole
    elif split.axes:
        sizes = call.whole_in(split)
    else:
        (part,) = call.whole_in(split)
        sizes = [min(part, whole - start) for start in range(0, whole, part)]
    parts = (x,) if len(sizes) == 1 else call.add(blocks.Split(tuple(sizes), axis), x)
    if split is None and not keepdims:
        parts = tuple(call.add(blocks.Squeeze((axis,)), part, part="part") for part in parts)
    return Several(parts)


@operator("ConcatFromSequence", 11)
def concat_from_sequence(call: OnnxCall, sequence: Several, *, axis: int, new_axis: int = 0) -> Any:
    if not sequence:
        raise GraphError("nothing to put together: the sequence is empty")
    parts = list(sequence)
    if new_axis:
        axis = axis % (parts[0].axes + 1)
        parts = [call.add(blocks.Unsqueeze((axis,)), x, part="row") for x in parts]
    return parts[0] if len(parts) == 1 else call.add(blocks.Concat(axis), *parts)


@operator("Optional", 15, 28)
def optional(call: OnnxCall, x: Any = None, *, type: TypeProto | None = None) -> Any:
    return Several() if x is None else x


@operator("OptionalHasElement", 15, 18, 28)
def optional_has_element(call: OnnxCall, x: Any = None) -> Any:
    return Known(torch.tensor(x is not None and (not isinstance(x, Several) or len(x) > 0)))


@operator("OptionalGetElement", 15, 18, 28)
def optional_get_element(call: OnnxCall, x: Any) -> Any:
    return x
