"""Rows of what support vector machines are made of."""

import itertools

import torch
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, spread


def shares_of_first(block: blocks.PairwiseCoupling, x: Tensor) -> list[list[Tensor]]:
    """r[i][j]: the share of i in the pair of i and j, each of all rows."""
    k = block.classes
    r = [[x.new_zeros(len(x))] * k for _ in range(k)]
    for column, (i, j) in zip(x.unbind(1), itertools.combinations(range(k), 2), strict=True):
        r[i][j], r[j][i] = column, 1 - column
    return r


def by_elimination(block: blocks.PairwiseCoupling, x: Tensor) -> Tensor:
    """Q entry by entry; the last share is 1 minus the others, and the rest of the equations are Q's differences."""
    k, r = block.classes, shares_of_first(block, x)

    def q(t: int, j: int) -> Tensor:
        return sum(r[i][t] ** 2 for i in range(k)) if t == j else -r[j][t] * r[t][j]  # type: ignore[return-value]

    rows = [torch.stack([q(t, j) - q(k - 1, j) for j in range(k)], 1) for t in range(k - 1)]
    whole = torch.stack([*rows, torch.ones(len(x), k, dtype=x.dtype)], 1)
    return torch.linalg.inv(whole)[:, :, -1]


def in_steps(block: blocks.PairwiseCoupling, x: Tensor) -> Tensor:
    """libsvm's multiclass_probability, line by line, row by row."""
    k, rows = block.classes, []
    for row in x:
        r = [[share[0] for share in shares] for shares in shares_of_first(block, row.unsqueeze(0))]
        q = [[-r[j][t] * r[t][j] for j in range(k)] for t in range(k)]
        for t in range(k):
            q[t][t] = sum(r[j][t] ** 2 for j in range(k) if j != t)  # type: ignore[call-overload]
        p = [row.new_tensor(1 / k)] * k
        for _ in range(max(100, k)):
            qp = [sum(a * b for a, b in zip(line, p, strict=True)) for line in q]
            pqp = sum(a * b for a, b in zip(p, qp, strict=True))
            if max(abs(float((a - pqp).detach())) for a in qp) < block.tolerance:
                break
            for t in range(k):
                diff = (pqp - qp[t]) / q[t][t]
                p[t] = p[t] + diff
                pqp = (pqp + diff * (diff * q[t][t] + 2 * qp[t])) / (1 + diff) ** 2
                qp = [(qp[j] + diff * q[t][j]) / (1 + diff) for j in range(k)]
                p = [one / (1 + diff) for one in p]
        rows.append(torch.stack(p))
    return torch.stack(rows) if rows else x.new_zeros(0, k)


CASES: list[Case] = [
    *[
        Case(
            blocks.SquaredDistances,
            shapes,
            lambda _, a, b: (a.unsqueeze(1) - b).square().sum(2),
            wrong=((3, 4), (5, 3)),
            batch=None,
            title=f"SquaredDistances, {shapes}",
        )
        for shapes in (((3, 4), (5, 4)), ((1, 2), (6, 2)))
    ],
    *[
        Case(
            lambda k=k: blocks.PairwiseCoupling(k),
            lambda generator, k=k: (spread((3, k * (k - 1) // 2), generator, 0.1, 0.9),),
            by_elimination,
            wrong=((3, 2),),
        )
        for k in (2, 3, 4)
    ],
    *[
        Case(
            lambda k=k, tolerance=tolerance: blocks.PairwiseCoupling(k, tolerance),
            lambda generator, k=k: (spread((4, k * (k - 1) // 2), generator, 0.1, 0.9),),
            in_steps,
            wrong=((3, 2),),
        )
        for k, tolerance in ((2, 0.0025), (3, 0.002), (4, 1e-9))
    ],
]
