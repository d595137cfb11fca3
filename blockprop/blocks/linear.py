"""Linear maps of rows, and tables of rows."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.products import LARGE, affine, product
from blockprop.engine.block import Block, Shape
from blockprop.errors import SettingError, ShapeError


class Linear(Block):
    """Affine map of each row:  y = x weightᵀ + bias.

    d_x = d_y weight     d_weight = d_yᵀ x     d_bias = sum of d_y over the rows

    x: (..., features_in)   y: (..., features_out)
    weight: (features_out, features_in)   bias: (features_out,), or None without bias
    The weights start uniform with variance 2 / features_in, for ReLU networks (He et al. 2015, eq. 10), the bias at 0.
    Raises ShapeError if x's last axis is not features_in.
    """

    kind = "weights"
    parameter_names = ("weight", "bias")

    def __init__(self, features_in: int, features_out: int, with_bias: bool = True):
        self.features_in, self.features_out, self.with_bias = features_in, features_out, with_bias
        self.weight = he_uniform((features_out, features_in), features_in)
        self.bias = torch.zeros(features_out) if with_bias else None

    def at_most(self, *shapes: Shape) -> Shape | None:
        return (*shapes[0][:-1], self.features_out)

    # Small products are called by their torch names: one more function call would be a fiftieth of a small step.

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        try:
            if x.numel() * self.features_out > LARGE:
                return affine(x, self.weight, self.bias), x
            return F.linear(x, self.weight, self.bias), x
        except RuntimeError:
            if x.size(-1) == self.features_in:
                raise
            raise ShapeError(f"expected rows of {self.features_in} numbers, came {tuple(x.shape)}") from None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        rows = d_y if d_y.dim() == 2 else d_y.reshape(-1, self.features_out)
        d_x = product(rows, self.weight) if saved.numel() * self.features_out > LARGE else rows.mm(self.weight)
        return (d_x if d_y.dim() == 2 else d_x.view(saved.shape),)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        x = saved
        if d_y.dim() != 2:
            x, d_y = x.reshape(-1, self.features_in), d_y.reshape(-1, self.features_out)
        d_parameters = {} if self.bias is None else {"bias": d_y.sum(0)}
        if x.numel() * self.features_out > LARGE:
            transposed = d_y.t().contiguous()  # oneDNN would make this copy; made here, it can take the place of d_y
            del d_y
            return d_parameters | {"weight": product(transposed, x)}
        return d_parameters | {"weight": d_y.t().mm(x)}


class Embedding(Block):
    """A table of rows, looked up by number:  y = weight[x].

    d_weight[i] = sum of d_y where x = i     x is of integers, so nothing propagates to it

    x: (...) int64, 0…rows − 1   y: (..., features)   weight: (rows, features), from N(0, 1)
    padding: a row that stands for no word: its derivative is 0
    Raises ShapeError for a number outside the table or x not of integers.
    """

    kind = "weights"
    parameter_names = ("weight",)

    def __init__(self, rows: int, features: int, padding: int | None = None):
        if padding is not None and not 0 <= padding < rows:
            raise SettingError(f"padding must be a row, 0…{rows - 1}, or None, came {padding}")
        self.rows, self.features, self.padding = rows, features, padding
        self.weight = torch.randn(rows, features)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.is_floating_point() or (x.numel() and not x.is_meta and not 0 <= int(x.min()) <= int(x.max()) < self.rows):
            raise ShapeError(f"expected integers 0…{self.rows - 1}, came {x.dtype} with some number outside")
        return self.weight[x.long()], x.long()

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[None]:
        return (None,)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        d_weight = torch.zeros_like(self.weight)
        d_weight.index_add_(0, saved.flatten(), d_y.reshape(-1, self.features))
        if self.padding is not None:
            d_weight[self.padding] = 0
        return {"weight": d_weight}


def he_uniform(shape: tuple[int, ...], inputs: int) -> Tensor:
    """Uniform numbers of variance 2 / inputs, by torch's global generator."""
    if min(*shape, inputs) < 1:
        raise SettingError(f"every size must be at least 1, came {shape}")
    bound = math.sqrt(6 / inputs)
    return torch.empty(shape).uniform_(-bound, bound)
