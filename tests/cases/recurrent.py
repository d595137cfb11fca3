"""Rows of LSTM and the plain recurrent layer."""

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blockprop import blocks
from blockprop.engine.block import Block
from tests.cases.case import Case


def recurrent(block: Any, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
    """torch's, with all layers in one call."""
    weights, first = list(block.parameters.values()), first_states(block, x, states)
    options = (block.with_bias, block.layers, 0.0, False, block.bidirectional, block.batch_first)
    if isinstance(block, blocks.LSTM):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections")  # it says that oneDNN has none
            return torch.lstm(x, first, weights, *options)
    if isinstance(block, blocks.GRU):
        return torch.gru(x, first[0], weights, *options)
    return {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}[block.nonlinearity](x, first[0], weights, *options)


def recurrent_with_dropout(block: Any, x: Tensor) -> tuple[Tensor, ...]:
    """torch's, layer by layer, with the block's own masks between them."""
    dropout, last = blocks.Dropout(block.dropout), []
    dropout.generator = block.generator
    for layer in range(block.layers):
        single = type(block)(x.shape[-1], block.features, bidirectional=block.bidirectional)
        for name in single.parameter_names:
            setattr(single, name, getattr(block, name.replace("_l0", f"_l{layer}")))
        x, *states = recurrent(single, x * dropout.mask(x) if layer else x)
        last.append(states)
    return x, *(torch.cat(states) for states in zip(*last, strict=True))


def first_states(block: Any, x: Tensor, states: tuple[Tensor, ...]) -> list[Tensor]:
    n, count = x.shape[0 if block.batch_first else 1], block.layers * (1 + block.bidirectional)
    sizes = [getattr(block, "projection", 0) or block.features, block.features][: block.output_count - 1]
    return [*states, *(x.new_zeros(count, n, size) for size in sizes[len(states) :])]


def of_each_kind(block: type[Block]) -> list[Case]:
    return [
        *[
            Case(
                partial(block, 3, 2, **settings),
                shapes,
                recurrent,
                wrong=wrong,
                batch=None if settings.get("batch_first") else 1,
                title=f"{block(3, 2, **settings)!r}, {' '.join(map(str, shapes))}",
            )
            for settings, shapes, wrong in (
                ({}, ((4, 2, 3),), ((4, 2, 2),)),
                ({}, ((4, 2, 3), (1, 2, 2)), ((4, 2, 3), (2, 2, 2))),
                ({}, ((1, 2, 3),), ((0, 2, 3),)),
                ({"with_bias": False}, ((4, 2, 3), (1, 2, 2)), ((4, 3),)),
                ({"batch_first": True}, ((3, 2, 3), (1, 3, 2)), ((2, 3, 3), (1, 3, 2))),
                ({"bidirectional": True}, ((4, 2, 3), (2, 2, 2)), ((4, 2, 3), (1, 2, 2))),
                ({"layers": 2, "bidirectional": True, "dropout": 0.5}, ((3, 2, 3), (4, 2, 2)), ((3, 2, 3), (4, 1, 2))),
                (
                    {"layers": 2, "bidirectional": True, "with_bias": False, "batch_first": True},
                    ((3, 2, 3),),
                    ((3, 0, 3),),
                ),
            )
        ],
        *[
            Case(
                partial(block, 2, 3, 3, bidirectional, dropout=0.4),
                ((3, 2, 2),),
                recurrent_with_dropout,
                training=True,
                title=f"{block.__name__}, dropout in training{', both directions' * bidirectional}",
            )
            for bidirectional in (False, True)
        ],
    ]


CASES: list[Case] = [
    *of_each_kind(blocks.LSTM),
    *of_each_kind(blocks.RNN),
    *[
        Case(partial(blocks.LSTM, 3, 3, **settings), shapes, recurrent, wrong=wrong, batch=1, title=title)
        for title, settings, shapes, wrong in (
            ("LSTM, all inputs", {}, ((4, 2, 3), (1, 2, 3), (1, 2, 3)), ((4, 2, 3), (1, 2, 3), (1, 2, 2))),
            (
                "LSTM, all inputs and directions",
                {"layers": 2, "bidirectional": True},
                ((3, 2, 3), (4, 2, 3), (4, 2, 3)),
                None,
            ),
            ("LSTM, projection", {"projection": 2}, ((4, 2, 3), (1, 2, 2), (1, 2, 3)), ((4, 2, 3), (1, 2, 3))),
            (
                "LSTM, projection, all directions",
                {"projection": 2, "layers": 2, "bidirectional": True, "with_bias": False},
                ((3, 2, 3),),
                None,
            ),
        )
    ],
    Case(lambda: blocks.RNN(3, 4, nonlinearity="relu"), ((4, 2, 3), (1, 2, 4)), recurrent, batch=1),
    Case(lambda: blocks.RNN(3, 2, 2, True, nonlinearity="relu"), ((4, 2, 3),), recurrent, batch=1),
]
