"""Attention: rows that look at other rows."""

import math
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.functions import Softmax
from blockprop.blocks.joining import unbroadcast
from blockprop.engine.block import Block
from blockprop.engine.precision import all_finite, shares, wide
from blockprop.errors import SettingError, ShapeError

_softmax = Softmax(axis=-1)


class Attention(Block):
    """For each row of q a mean of the rows of v, weighted by how well their rows of k fit:  y = a v,

        a = softmax(s) over the last axis     s = scale · q kᵀ + mask

    d_v = aᵀ d_y     d_a = d_y vᵀ     d_s = a ∘ (d_a − Σ_j d_a_j a_j)
    d_q = scale · d_s k     d_k = scale · d_sᵀ q     d_mask = d_s     each summed over the axes of repetition

    q: (..., l, d)   k: (..., m, d)   v: (..., m, e)   y: (..., l, e); the axes in front are broadcast
    mask: optional, (..., l, m) or what broadcasts to it. Of true and false, it says where row i of q may look at row j
    of k; of real numbers, it is added. A row that may look at nothing gives 0, and nothing propagates through it.
    scale: by default 1 / √d   causal: row i looks at the rows 0…i only (besides what the mask says)
    grouped: axis −3 are heads, and several heads of q, one after the other, share one of k and v.
    Half precision is computed in float32, as q kᵀ soon leaves its range.
    Raises ShapeError for shapes that do not fit, SettingError if the scale is not finite.
    Source: Vaswani et al. 2017, eq. 1; grouped: Ainslie et al. 2023.
    """

    kind = "weights"

    def __init__(self, scale: float | None = None, causal: bool = False, grouped: bool = False):
        if scale is not None and not math.isfinite(scale):
            raise SettingError(f"scale must be finite, came {scale}")
        self.scale, self.causal, self.grouped = scale, causal, grouped

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Any]:
        heads = self._checked_heads(q, k, v)
        kind, (q, k, v) = q.dtype, (wide(x) for x in (q, k, v))
        s = _apart((_together(q, heads) * self._scale(q)) @ k.mT, heads)
        if self.causal:
            s += s.new_full(s.shape[-2:], -math.inf).triu_(1)
        if mask is not None:
            s += _to_add(mask, s)
        a = torch.ops.aten._safe_softmax(s, -1)  # 0 where all of the row is −∞, rather than NaN
        y = _apart(_together(a, heads) @ v, heads)
        return y.to(kind), (q, k, v, a, mask, heads)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, a, mask, heads = saved
        kind = d_y.dtype
        d_y, rows = _together(wide(d_y), heads), _together(a, heads)
        d_v = unbroadcast(rows.mT @ d_y, v.shape)
        d_a = unbroadcast(d_y @ v.mT, rows.shape)
        (d_s,) = _softmax.propagate(rows, d_a)
        if not all_finite(d_s):  # what is not looked at has no part
            d_s = shares(rows, d_a - shares(rows, d_a).sum(-1, keepdim=True))
        d_q = unbroadcast(d_s @ k, _together(q, heads).shape).mul_(self._scale(q))
        d_k = unbroadcast(d_s.mT @ _together(q, heads), k.shape).mul_(self._scale(q))
        d_inputs = d_q.view(q.shape).to(kind), d_k.to(kind), d_v.to(kind)
        if mask is None:
            return d_inputs
        real = mask.is_floating_point()
        return *d_inputs, unbroadcast(_apart(d_s, heads), mask.shape).to(mask.dtype) if real else None

    def _scale(self, q: Tensor) -> float:
        return 1 / math.sqrt(q.shape[-1]) if self.scale is None else self.scale

    def _checked_heads(self, q: Tensor, k: Tensor, v: Tensor) -> int:
        """How many heads of q share one of k."""
        axes = 3 if self.grouped else 2
        fit = min(q.dim(), k.dim(), v.dim()) >= axes and q.shape[-1] == k.shape[-1] > 0 and k.shape[-2] == v.shape[-2]
        heads = 1
        if fit and self.grouped:
            of_q, of_k = q.shape[-3], k.shape[-3]
            fit = of_k == v.shape[-3] > 0 and of_q > 0 and of_q % of_k == 0
            heads = of_q // max(of_k, 1)
        if not fit or _broadcast(q.shape[:-axes], k.shape[:-axes], v.shape[:-axes]) is None:
            wanted = "(..., g·h, l, d), (..., h, m, d)" if self.grouped else "(..., l, d), (..., m, d)"
            wanted += " and (..., h, m, e)" if self.grouped else " and (..., m, e)"
            came = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
            raise ShapeError(f"expected {wanted}, came {came}")
        return heads


def _to_add(mask: Tensor, scores: Tensor) -> Tensor:
    """The mask as numbers to add: that is much faster than to select by booleans."""
    if _broadcast(scores.shape, mask.shape) != scores.shape:
        raise ShapeError(f"expected a mask that broadcasts to {tuple(scores.shape)}, came {tuple(mask.shape)}")
    if mask.dtype == torch.bool:
        return scores.new_zeros(mask.shape).masked_fill_(~mask, -math.inf)
    if not mask.is_floating_point():
        raise ShapeError(f"expected a mask of booleans or real numbers, came {mask.dtype}")
    return mask


def _together(x: Tensor, heads: int) -> Tensor:
    """The rows of so many neighboring heads in one matrix: (..., heads · h, n, m) → (..., h, heads · n, m)."""
    if heads == 1:
        return x
    return x.reshape(*x.shape[:-3], x.shape[-3] // heads, heads * x.shape[-2], x.shape[-1])


def _apart(x: Tensor, heads: int) -> Tensor:
    """Back from `_together`."""
    if heads == 1:
        return x
    return x.reshape(*x.shape[:-3], x.shape[-3] * heads, x.shape[-2] // heads, x.shape[-1])


def _broadcast(*shapes: torch.Size) -> torch.Size | None:
    try:
        return torch.broadcast_shapes(*shapes)
    except RuntimeError:
        return None
