"""Pooling with channels beside each other."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import MaxPool2d
from blockprop.blocks.kernels import max_pool_backward
from blockprop.blocks.max_pooling import narrow
from blockprop.engine.block import Block, Shape
from blockprop.preparing.layout import empty, laid_out


class FixedMaxPool2d(Block):
    """MaxPool2d that keeps where the maxima stood, and nothing else.

    d_x = d_y at the place of each window's first maximum, added up where windows overlap
    """

    kind = "pooling"
    pools = True

    def __init__(self, pool: MaxPool2d):
        self.pool = pool

    def at_most(self, *shapes: Shape) -> Shape | None:
        return self.pool.at_most(*shapes)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self.pool._require_fit(x)
        y, winners = F.max_pool2d_with_indices(laid_out(x), *self.pool._windows)
        return y, (narrow(winners, x), x.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        winners, shape = saved
        return (max_pool_backward(laid_out(d_y), empty(shape, d_y), *self.pool._windows, winners.long()),)
