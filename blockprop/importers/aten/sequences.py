"""Handlers of attention and of recurrent layers."""

from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, is_zero
from blockprop.importers.graph import Known, Value


@aten("scaled_dot_product_attention")
def attention(
    call: Call,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    if dropout_p:
        if is_causal or enable_gqa:
            raise UnsupportedError("causal attention with dropout in training; import the model in evaluation mode")
        return attention_with_dropout(call, (query, key, value), attn_mask, dropout_p, scale)
    block = blocks.Attention(scale, is_causal, **({"grouped": True} if enable_gqa else {}))
    return call.add(block, query, key, value, *([] if attn_mask is None else [attn_mask]))


def attention_with_dropout(
    call: Call, operands: tuple[Value, Value, Value], mask: Value | None, p: float, scale: float | None
) -> Value:
    """softmax(q kᵀ scale + mask), some of it dropped, times v; mask may be of booleans: where to look."""
    query, key, value = operands
    width = query.shape[-1]
    if not isinstance(width, int):
        raise UnsupportedError("attention over a free number of features")
    order = (*range(key.axes - 2), key.axes - 1, key.axes - 2)
    turned = call.add(blocks.Transpose(order), key, part="transpose")
    scores = call.add(blocks.MatMul(), query, turned, part="product")
    scores = call.add(blocks.Affine(width**-0.5 if scale is None else scale), scores, part="scores")
    if mask is not None and mask.dtype == torch.bool:
        never = Known(torch.tensor(-torch.inf, dtype=scores.dtype))
        scores = call.add(blocks.Where(), mask, scores, never, part="masked")
    elif mask is not None:
        scores = call.add(blocks.Add(), scores, mask, part="masked")
    weights = call.add(blocks.Dropout(p), call.add(blocks.Softmax(-1), scores, part="softmax"), part="dropout")
    return call.add(blocks.MatMul(), weights, value)


@aten("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(
    call: Call,
    input: Value,
    hx: Any,
    params: Sequence[Value],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    name = call.operator.split(".")[1]
    weights = [call.weight(value) for value in params]
    features = weights[1].shape[1]  # type: ignore[union-attr]
    states = list(hx) if isinstance(hx, list | tuple) else [hx]
    settings: dict[str, Any] = {
        "features_in": weights[0].shape[1],  # type: ignore[union-attr]
        "features": weights[1].shape[0] // {"lstm": 4, "gru": 3}.get(name, 1),  # type: ignore[union-attr]
        "layers": num_layers,
        "bidirectional": bidirectional,
        "with_bias": has_biases,
        "batch_first": batch_first,
        "dropout": dropout,
    }
    if name == "lstm" and features != settings["features"]:
        settings["projection"] = features
    if name.startswith("rnn"):
        settings["nonlinearity"] = name.removeprefix("rnn_")
    kind: Any = {"lstm": blocks.LSTM, "gru": blocks.GRU}.get(name, blocks.RNN)
    sizes = {key: 1 if key.startswith(("features", "proj")) else value for key, value in settings.items()}
    with torch.device("meta"):
        titles = kind(**sizes).parameter_names
    block = call.block(kind, settings, **dict(zip(titles, weights, strict=True)))
    if all(is_zero(state) for state in states):
        states = []
    unbatched = input.axes == 2
    if unbatched:
        batch = 0 if batch_first else 1
        input = call.add(blocks.Unsqueeze((batch,)), input, part="batch")
        states = [call.add(blocks.Unsqueeze((1,)), state, part="batch") for state in states]
    y, *ends = call.add(block, input, *states)
    if unbatched:
        y = call.add(blocks.Squeeze((batch,)), y, part="single")
        ends = [call.add(blocks.Squeeze((1,)), end, part="single") for end in ends]
    return (y, *ends)
