"""Rows of attention."""

from collections.abc import Callable
from functools import partial

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


CASES: list[Case] = [
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
]
