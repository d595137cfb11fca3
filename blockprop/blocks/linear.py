"""Linear maps of rows, and tables of rows."""

from typing import Any

import torch
from torch import Tensor

from blockprop.block import Block
from blockprop.errors import ShapeError
from blockprop.products import affine, product


class Linear(Block):
    """Affine map of each row:  y = x weightᵀ + bias.

    d_x = d_y weight     d_weight = d_yᵀ x     d_bias = sum of d_y over the rows

    x: (..., features_in)   y: (..., features_out)
    weight: (features_out, features_in)   bias: (features_out,), or None with bias=False
    Starts from He's uniform distribution for ReLU networks (He et al. 2015, eq. 10), bias 0.
    Raises ShapeError if x's last axis is not features_in.
    """

    parameter_names = ("weight", "bias")

    def __init__(self, features_in: int, features_out: int, with_bias: bool = True):
        self.features_in, self.features_out, self.with_bias = features_in, features_out, with_bias
        self.weight = torch.empty(features_out, features_in)
        self.bias = torch.zeros(features_out) if with_bias else None

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.shape[-1] != self.features_in:
            raise ShapeError(f"expected rows of {self.features_in}")
        return affine(x, self.weight, self.bias), x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (product(d_y, self.weight),)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        x = saved
        if self.bias is None:
            return {"weight": product(d_y.t(), x)}
        return {"weight": product(d_y.t(), x), "bias": d_y.sum(0)}
