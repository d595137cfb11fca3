"""What support vector machines are made of, beside matrix products: distances, and shares from decisions of pairs."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.precision import all_finite, shares, wide
from blockprop.errors import SettingError, ShapeError


class SquaredDistances(Block):
    """The squared distance of each row of a from each row of b:  y_ij = Σ_k (a_ik − b_jk)².

    d_a_i = 2 Σ_j d_y_ij (a_i − b_j)     d_b_j = 2 Σ_i d_y_ij (b_j − a_i)

    a: (n, features)   b: (m, features)   y: (n, m)
    Raises ShapeError for rows of different sizes.
    """

    kind = "joining"

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1]:
            raise ShapeError(f"expected (n, features) and (m, features), came {tuple(a.shape)} and {tuple(b.shape)}")
        # |a|² − 2 a b + |b|² would be a product of matrices, and lose half of the digits where rows are close.
        y = torch.cdist(wide(a), wide(b), compute_mode="donot_use_mm_for_euclid_dist").square()
        return y.to(a.dtype), (a, b)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        a, b, d = wide(saved[0]), wide(saved[1]), wide(d_y)
        if len(b):  # seen from the first of them: far away from 0 no digits are lost
            a, b = a - b[0], b - b[0]
        return _pulled(a, b, d).to(d_y.dtype), _pulled(b, a, d.t()).to(d_y.dtype)


def _pulled(a: Tensor, b: Tensor, d: Tensor) -> Tensor:
    """2 Σ_j d_ij (a_i − b_j)"""
    d_a = (d.sum(1, keepdim=True) * a).sub_(d @ b).mul_(2)
    if all_finite(d_a):
        return d_a
    rows = [shares(one - b, of.unsqueeze(1)).sum(0) for one, of in zip(a, d, strict=True)]  # no infinities cancel
    return torch.stack(rows).mul_(2)


class PairwiseCoupling(Block):
    """Shares of k classes from the share of the first of each two:  min over y of ½ yᵀ Q y with Σ y = 1.

    Q_tt = Σ_j r_jt²,  Q_tj = −r_jt r_tj  with r_ij = x of the pair (i, j), r_ji = 1 − r_ij; so that with some λ
    [Q e; eᵀ 0] [y; λ] = [0; 1]
    With w of the same system for [d_y; 0], and D = ∂L/∂Q = −w yᵀ:
    d_r_jt = 2 r_jt D_tt − r_tj (D_tj + D_jt),  d_x_ij = d_r_ij − d_r_ji

    With a tolerance y is approached as libsvm does it, from y = 1 / k on: class after class,
    δ = (yᵀ Q y − (Q y)_t) / Q_tt,  y ← (y + δ e_t) / (1 + δ),  at most 100 times (or k), until no (Q y)_t differs from
    yᵀ Q y by the tolerance or more; and backward D is gathered step by step.

    x: (n, k (k − 1) / 2), each in 0…1, in the order (0, 1), (0, 2), …, (1, 2), …   y: (n, k)
    Raises ShapeError for another number of pairs, SettingError for fewer than two classes or a negative tolerance.
    Source: Wu, Lin and Weng 2004, the second method and its algorithm 2.
    """

    kind = "joining"

    def __init__(self, classes: int, tolerance: float = 0.0):
        if classes < 2 or not tolerance >= 0:
            raise SettingError(f"expected two classes or more and a tolerance from 0 on, came {classes}, {tolerance}")
        self.classes, self.tolerance = classes, tolerance

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        k = self.classes
        if x.dim() != 2 or x.shape[1] != k * (k - 1) // 2:
            raise ShapeError(f"expected (n, {k * (k - 1) // 2}), came {tuple(x.shape)}")
        if x.is_meta:
            return x.new_empty(len(x), k), None
        first, second = torch.triu_indices(k, k, 1, device=x.device)
        kind, x = x.dtype, wide(x)
        r = x.new_zeros(len(x), k, k)
        r[:, first, second], r[:, second, first] = x, 1 - x
        q = torch.diag_embed(r.square().sum(1)) - r * r.mT
        y, way = self._approached(q) if self.tolerance else self._solved(q)
        return y.to(kind), (r, q, y, way)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        r, q, y, way = saved
        d = wide(d_y)
        d_q = self._d_approached(q, way, d) if self.tolerance else self._d_solved(way, y, d)
        d_r = 2 * r * d_q.diagonal(dim1=1, dim2=2).unsqueeze(1) - r.mT * (d_q + d_q.mT)
        first, second = torch.triu_indices(self.classes, self.classes, 1, device=r.device)
        return ((d_r[:, first, second] - d_r[:, second, first]).to(d_y.dtype),)

    def _solved(self, q: Tensor) -> tuple[Tensor, Tensor]:
        k = self.classes
        system = F.pad(q, (0, 1, 0, 1), value=1.0)
        system[:, k, k] = 0
        wanted = F.one_hot(torch.tensor(k, device=q.device), k + 1).to(q.dtype)
        return torch.linalg.solve(system, wanted.expand(len(q), -1))[:, :k], system

    def _d_solved(self, system: Tensor, y: Tensor, d_y: Tensor) -> Tensor:
        w = torch.linalg.solve(system, F.pad(d_y, (0, 1)))[:, : self.classes]
        return -w.unsqueeze(2) * y.unsqueeze(1)

    def _approached(self, q: Tensor) -> tuple[Tensor, list[tuple[int, Tensor, Tensor]]]:
        """(y, the class, y before and δ of each step; δ is 0 in rows that have arrived)"""
        k, way = self.classes, []
        y = q.new_full(q.shape[:2], 1 / k)
        for _ in range(max(100, k)):
            qy = (q @ y.unsqueeze(2)).squeeze(2)
            going = (qy - (y * qy).sum(1, keepdim=True)).abs().amax(1) >= self.tolerance
            if not going.any():
                break
            for t in range(k):
                qy = (q @ y.unsqueeze(2)).squeeze(2)
                step = ((y * qy).sum(1) - qy[:, t]) / q[:, t, t] * going
                way.append((t, y, step))
                y = y.clone()
                y[:, t] += step
                y /= (1 + step).unsqueeze(1)
        return y, way

    def _d_approached(self, q: Tensor, way: list[tuple[int, Tensor, Tensor]], d_y: Tensor) -> Tensor:
        d_q = torch.zeros_like(q)
        for t, y, step in reversed(way):
            after, moves = 1 + step, step != 0
            d_sum = d_y / after.unsqueeze(1)  # of y + δ e_t
            next_y = y.clone()
            next_y[:, t] += step
            d_step = (d_sum[:, t] - (d_sum * next_y).sum(1) / after) * moves
            d_above = d_step / q[:, t, t]  # of yᵀ Q y − (Q y)_t
            d_y = d_sum + d_above.unsqueeze(1) * (2 * (q @ y.unsqueeze(2)).squeeze(2) - q[:, t])
            d_q += d_above[:, None, None] * y.unsqueeze(2) * y.unsqueeze(1)
            d_q[:, t] -= d_above.unsqueeze(1) * y
            d_q[:, t, t] -= d_above * step
        return d_q
