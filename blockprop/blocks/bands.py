"""Matrices that have a few elements in each row only, times a tensor along one of its axes."""

from typing import NamedTuple

import torch
from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.precision import all_finite


def along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """matrix: (rows, size) times x along one of its axes, counted from the front. Its zeros take nothing of x."""
    last = axis == x.dim() - 1
    y = x @ matrix.t() if last else (matrix @ x.flatten(axis + 1)).unflatten(-1, x.shape[axis + 1 :])
    return y if all_finite(y) else _row_by_row(matrix, x, axis)


def _row_by_row(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """The same for infinities, of which 0 times makes NaN: each row of its own elements alone."""
    last = x.movedim(axis, -1)
    places = [row.nonzero()[:, 0] for row in matrix]
    return torch.stack([last[..., of] @ row[of] for row, of in zip(matrix, places, strict=True)], axis)


class Band(NamedTuple):
    """The matrix (rows, size) that has weights[r, k] at columns[r, k] of its row r, and 0 elsewhere; on the CPU."""

    columns: Tensor
    weights: Tensor
    size: int

    def __repr__(self) -> str:
        return brief_repr(self)

    @classmethod
    def of(cls, rows: Tensor, columns: Tensor, weights: Tensor, shape: tuple[int, int]) -> "Band":
        """From its elements, in any order. Those that stand at the same place are added up, and zeros left out."""
        some = weights != 0
        keys, group = torch.unique(rows[some] * shape[1] + columns[some], return_inverse=True)
        sums = weights.new_zeros(len(keys)).index_add_(0, group, weights[some])
        rows, columns = keys // shape[1], keys % shape[1]
        counts = torch.bincount(rows, minlength=shape[0])
        starts = counts.cumsum(0) - counts
        width = max(1, int(counts.max()))
        # Rows of fewer elements are filled up with weights of 0 at one of their places.
        packed = columns[starts.clamp(max=len(columns) - 1)][:, None].repeat(1, width)
        nth = torch.arange(len(keys)) - starts[rows]
        packed[rows, nth] = columns
        return cls(packed, weights.new_zeros(shape[0], width).index_put_((rows, nth), sums), shape[1])

    def transposed(self) -> "Band":
        """(size, rows)"""
        rows = torch.arange(len(self.columns))[:, None].expand_as(self.columns)
        return Band.of(self.columns, rows, self.weights, (self.size, len(self.columns)))

    def dense(self) -> Tensor:
        """The matrix itself."""
        return self.weights.new_zeros(len(self.columns), self.size).scatter_add_(1, self.columns, self.weights)

    def times(self, x: Tensor, axis: int) -> Tensor:
        """The matrix times x along an axis counted from the front: as a sum of weighted copies where that is faster.

        On one core, a weighted copy costs as much as some 32 products, and a mere copy as 8.
        """
        width, only_copies = self.columns.shape[1], bool((self.weights == 1).all())
        if self.size <= (8 if only_copies else 32) * width and not (only_copies and width == 1):
            return along(self.dense().to(x), x, axis)
        columns = self.columns.to(x.device)
        weights = self.weights.to(x).view(*self.weights.shape, *(1,) * (x.dim() - 1 - axis))
        rows = x.flatten(0, axis - 1) if axis else x[None]  # index_select is several times faster with few axes
        y = rows.index_select(1, columns[:, 0])
        y = y if only_copies else y.mul_(weights[:, 0])
        for k in range(1, width):
            copy = rows.index_select(1, columns[:, k])
            y = y.add_(copy) if only_copies else y.addcmul_(copy, weights[:, k])
        y = y.view(*x.shape[:axis], *y.shape[1:])
        return y if only_copies or all_finite(y) else _row_by_row(self.dense().to(x), x, axis)
