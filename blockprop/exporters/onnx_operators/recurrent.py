"""Handlers of recurrent blocks: one operator for each layer, with the gates in ONNX' order."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing

_ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where ONNX' gates i o f c, z r h are among the blocks' i f g o, r z n."""


@exports(blocks.LSTM, blocks.GRU, blocks.RNN)
def recurrent(writing: Writing, block: Any, x: Operand, *states: Operand) -> Any:
    """The weights of both directions, "weight_ih_l0" and "weight_ih_l0_reverse", are one tensor: "weight_ih_l0"."""
    if isinstance(block, blocks.LSTM) and block.projection:
        raise UnsupportedError("ONNX' LSTM has no projection")
    y = writing.add("Transpose", x, perm=[1, 0, 2]) if block.batch_first else x
    starts = [_by_layer(writing, block, state) for state in states]
    last = []
    for layer in range(block.layers):
        y, *ends = _layer(writing, block, layer, y, [start[layer] for start in starts])
        last.append(ends)
    if block.batch_first:
        y = writing.add("Transpose", y, perm=[1, 0, 2])
    whole = [ends[0] if len(ends) == 1 else writing.add("Concat", *ends, axis=0) for ends in zip(*last, strict=True)]
    return y, *whole


def _by_layer(writing: Writing, block: Any, state: Operand) -> Sequence[OperatorInput]:
    if block.layers == 1:
        return [state]
    return writing.add("Split", state, writing.whole(*[block.directions] * block.layers), count=block.layers, axis=0)


def _layer(writing: Writing, block: Any, layer: int, x: OperatorInput, starts: Sequence[OperatorInput]) -> list[str]:
    operator, directions = type(block).__name__, block.directions
    kinds = ("weight_ih", "weight_hh")
    weights = [writing.weight(f"{kind}_l{layer}", _stacked(block, [kind], layer)) for kind in kinds]
    bias = writing.weight(f"bias_l{layer}", _stacked(block, ["bias_ih", "bias_hh"], layer)) if block.with_bias else ""
    options: dict[str, Any] = {"hidden_size": block.features}
    if directions == 2:
        options["direction"] = "bidirectional"
    if isinstance(block, blocks.GRU):
        options["linear_before_reset"] = int(block.reset_after)
    if isinstance(block, blocks.RNN):
        options["activations"] = [block.nonlinearity.capitalize()] * directions
    inputs = [x, *weights, bias, *(["", *starts] if starts else [])]
    y, *ends = writing.add(operator, *inputs, count=block.output_count, **options)
    writing.main = writing.main or y
    if directions == 1:
        return [writing.add("Squeeze", y, writing.whole(1)), *ends]
    y = writing.add("Transpose", y, perm=[0, 2, 1, 3])  # (l, n, directions, features)
    return [writing.add("Reshape", y, writing.whole(0, 0, 2 * block.features)), *ends]


def _stacked(block: Any, kinds: Sequence[str], layer: int) -> Tensor:
    """(directions, gates · features of each kind, …)"""
    order = _ORDERS[type(block).__name__]
    rows = []
    for suffix in block._suffixes(layer):
        parts = [block.weight(kind, suffix).unflatten(0, (len(order), -1)) for kind in kinds]
        rows.append(torch.cat([part[list(order)].flatten(0, 1) for part in parts]))
    return torch.stack(rows)
