"""Rows of blocks for sequences: attention, recurrent blocks, Einstein's notation."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, spread


def attention(block: blocks.Attention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """torch's, which takes a mask or causal, but not both."""
    causal = block.causal
    if causal and mask is not None:
        allowed = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
        mask = mask & allowed if mask.dtype == torch.bool else mask.masked_fill(~allowed, -torch.inf)
        causal = False
    return F.scaled_dot_product_attention(q, k, v, mask, 0.0, causal, scale=block.scale, enable_gqa=block.grouped)


def with_mask(*shapes: tuple[int, ...], kind: type = bool) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """q, k, v and a mask; if of booleans, one that lets its first row look at nothing."""

    def make(generator: torch.Generator) -> tuple[Tensor, ...]:
        *inputs, mask = (spread(shape, generator) for shape in shapes)
        if kind is bool:
            mask = mask > -0.5
            mask.view(-1, mask.shape[-1])[0] = False
        return *inputs, mask

    return make


def recurrent(block: Any, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
    """torch's, with all layers in one call."""
    weights, first = list(block.parameters.values()), _first_states(block, x, states)
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


def gru_of_2014(block: blocks.GRU, x: Tensor, *states: Tensor) -> tuple[Tensor, Tensor]:
    """Cho et al. 2014, eqs. 5 to 8, written out for one step after the other."""
    (first,), last = _first_states(block, x, states), []
    for layer in range(block.layers):
        outputs = []
        for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: 1 + block.bidirectional]:
            w, u = getattr(block, f"weight_ih{suffix}").chunk(3), getattr(block, f"weight_hh{suffix}").chunk(3)
            b = (getattr(block, f"bias_ih{suffix}") + getattr(block, f"bias_hh{suffix}")).chunk(3)
            h, found = first[len(last)], []
            for row in reversed(x) if suffix.endswith("reverse") else x:
                r = (row @ w[0].T + h @ u[0].T + b[0]).sigmoid()
                z = (row @ w[1].T + h @ u[1].T + b[1]).sigmoid()
                candidate = (row @ w[2].T + (r * h) @ u[2].T + b[2]).tanh()
                h = z * h + (1 - z) * candidate
                found.append(h)
            last.append(h)
            outputs.append(torch.stack(found[::-1] if suffix.endswith("reverse") else found))
        x = torch.cat(outputs, -1)
    return x, torch.stack(last)


def _first_states(block: Any, x: Tensor, states: tuple[Tensor, ...]) -> list[Tensor]:
    n, count = x.shape[0 if block.batch_first else 1], block.layers * (1 + block.bidirectional)
    sizes = [getattr(block, "projection", 0) or block.features, block.features][: block.output_count - 1]
    return [*states, *(x.new_zeros(count, n, size) for size in sizes[len(states) :])]


CASES = [
    # Attention
    *[
        Case(partial(blocks.Attention, **settings), shapes, attention, wrong=wrong, batch=batch, title=title)
        for title, settings, shapes, wrong, batch in (
            ("Attention", {}, ((2, 3, 4), (2, 5, 4), (2, 5, 2)), ((2, 3, 4), (2, 5, 3), (2, 5, 2)), 0),
            ("Attention, scaled", {"scale": 0.3}, ((2, 3, 4), (2, 5, 4), (2, 5, 2)), ((4,), (5, 4), (5, 2)), 0),
            ("Attention, matrices", {}, ((3, 2), (4, 2), (4, 3)), ((3, 2), (4, 2), (3, 3)), None),
            ("Attention, heads", {"causal": True}, ((2, 2, 3, 2), (2, 2, 3, 2), (2, 2, 3, 3)), None, 0),
            ("Attention, causal, l < s", {"causal": True}, ((2, 2, 3), (2, 4, 3), (2, 4, 2)), None, 0),
            ("Attention, causal, l > s", {"causal": True}, ((2, 4, 3), (2, 2, 3), (2, 2, 2)), None, 0),
            (
                "Attention, broadcast",
                {},
                ((2, 1, 3, 2), (3, 4, 2), (2, 1, 4, 3)),
                ((2, 2, 3, 2), (3, 4, 2), (3, 4, 2)),
                None,
            ),
            ("Attention, more values", {}, ((3, 2), (4, 2), (2, 4, 3)), None, None),
            (
                "Attention, grouped",
                {"grouped": True},
                ((2, 4, 3, 2), (2, 2, 5, 2), (2, 2, 5, 3)),
                ((2, 3, 3, 2), (2, 2, 5, 2), (2, 2, 5, 3)),
                0,
            ),
            (
                "Attention, grouped, causal",
                {"grouped": True, "causal": True, "scale": 1.0},
                ((3, 3, 2), (1, 3, 2), (1, 3, 2)),
                ((3, 2), (3, 2), (3, 2)),
                None,
            ),
            (
                "Attention, grouped, broadcast",
                {"grouped": True},
                ((4, 2, 3), (2, 2, 3, 3), (1, 2, 3, 2)),
                ((2, 4, 2, 3), (3, 2, 3, 3), (1, 2, 3, 2)),
                None,
            ),
        )
    ],
    *[
        Case(
            partial(blocks.Attention, **settings),
            with_mask(*shapes, kind=kind),
            attention,
            wrong=(*shapes[:3], (7,)),
            batch=batch,
            title=f"Attention, {kind.__name__} mask {shapes[3]}{''.join(f', {name}' for name in settings)}",
        )
        for kind in (bool, float)
        for settings, shapes, batch in (
            ({}, ((2, 3, 4), (2, 5, 4), (2, 5, 2), (2, 3, 5)), 0),
            ({"causal": True}, ((2, 3, 4), (2, 5, 4), (2, 5, 2), (2, 3, 1)), 0),
            ({}, ((2, 2, 3, 2), (2, 2, 4, 2), (2, 2, 4, 2), (2, 1, 1, 4)), 0),
            ({"causal": True, "scale": 2.0}, ((2, 2, 3, 2), (2, 2, 4, 2), (2, 2, 4, 2), (3, 4)), None),
            ({"grouped": True}, ((2, 4, 2, 3), (2, 2, 3, 3), (2, 2, 3, 2), (4, 1, 3)), None),
        )
    ],
    # Recurrent
    *[
        Case(
            partial(block, 3, 2, **settings),
            shapes,
            recurrent,
            wrong=wrong,
            batch=None if settings.get("batch_first") else 1,
            title=f"{block(3, 2, **settings)!r}, {' '.join(map(str, shapes))}",
        )
        for block in (blocks.LSTM, blocks.GRU, blocks.RNN)
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
    *[
        Case(
            partial(block, 2, 3, 3, bidirectional, dropout=0.4),
            ((3, 2, 2),),
            recurrent_with_dropout,
            training=True,
            title=f"{block.__name__}, dropout in training{', both directions' * bidirectional}",
        )
        for block in (blocks.LSTM, blocks.GRU, blocks.RNN)
        for bidirectional in (False, True)
    ],
    Case(lambda: blocks.GRU(3, 2, reset_after=False), ((4, 2, 3), (1, 2, 2)), gru_of_2014, ((4, 2),), batch=1),
    Case(
        lambda: blocks.GRU(3, 2, 2, True, reset_after=False), ((3, 2, 3),), gru_of_2014, ((3, 2, 3), (2, 2, 2)), batch=1
    ),
    # Einstein's notation
    *[
        Case(
            partial(blocks.Einsum, equation),
            shapes,
            lambda b, *x: torch.einsum(b.equation, *x),
            wrong=wrong,
            batch=batch,
            title=f"Einsum, {equation or 'nothing'}, {' '.join(map(str, shapes))}",
        )
        for equation, shapes, wrong, batch in (
            ("ij,jk->ik", ((2, 3), (3, 4)), ((2, 3), (4, 4)), None),
            ("ij, jk", ((2, 3), (3, 2)), ((2, 3),), None),
            ("nij,njk->nik", ((2, 3, 2), (2, 2, 3)), ((2, 3, 2), (3, 2, 3)), 0),
            ("nhqd,nhkd->nhqk", ((2, 2, 3, 2), (2, 2, 2, 2)), ((2, 2, 3), (2, 2, 2, 2)), 0),
            ("b...i,oi->b...o", ((2, 3, 2, 2), (3, 2)), ((2, 2), (3, 3)), None),
            ("...i,...i", ((2, 3, 2), (2, 1, 2)), ((2, 3, 2), (2, 2, 2)), 0),
            ("...ij,...jk->...ki", ((2, 2, 3), (3, 1, 3, 2)), ((2, 2, 3), (3, 3, 3, 2)), None),
            ("ba", ((2, 3),), ((2, 3, 1),), None),
            ("ni->n", ((2, 3),), ((2,),), 0),
            ("nij->nj", ((2, 3, 2),), None, 0),
            ("i...->", ((2, 3),), ((),), None),
            ("...->...", ((2, 3),), None, 0),
            ("...a->a...", ((2, 3, 2),), ((),), None),
            ("nii->ni", ((2, 3, 3),), ((2, 3, 2),), 0),
            ("ii", ((3, 3),), ((1, 3),), None),
            ("nii,ni->n", ((2, 3, 3), (2, 3)), ((2, 3, 3), (2, 4)), 0),
            ("iji,kj->ik", ((2, 3, 2), (2, 3)), None, None),
            ("iii,i->i", ((2, 2, 2), (2,)), None, None),
            ("iijj->ji", ((2, 2, 3, 3),), None, None),
            ("ij,ij->ij", ((2, 3), (1, 3)), ((2, 3), (3, 3)), None),
            ("ij,ij->", ((2, 1), (1, 3)), None, None),
            ("ni,nj,nk->nijk", ((2, 2), (2, 3), (2, 2)), ((2, 2), (2, 3)), 0),
            ("ij,kl,m->ik", ((2, 3), (2, 2), (3,)), None, None),
            ("ab,bc,cd,db->a", ((2, 3), (3, 2), (2, 2), (2, 3)), None, None),
            ("i,->i", ((3,), ()), ((3,), (1,)), None),
            ("aB->", ((2, 3),), None, None),
            ("i,i,i->", ((3,), (1,), (3,)), None, None),
            ("", ((),), ((1,),), None),
        )
    ],
]
