"""Sums with what follows them, and outputs of which a few numbers are looked at."""

import functools
import math
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.joining import joined, require_broadcast, unbroadcast
from blockprop.blocks.kernels import threshold_backward
from blockprop.engine.block import Block, Shape


class RectifiedSum(Block):
    """The sum of two or more inputs, and its ReLU in the same memory:  y = max(a + b + …, 0), with broadcasting.

    d_a = d_b = d_y where y > 0, else 0, summed over the axes along which the input was repeated
    """

    kind = "joining"

    def at_most(self, *shapes: Shape) -> Shape | None:
        return joined(shapes)

    def forward(self, *x: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(*x)
        y = functools.reduce(torch.add, x).relu_() if len(x) > 1 else x[0].relu()
        return y, (y, [a.shape for a in x])

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, ...]:
        y, shapes = saved
        d = threshold_backward(d_y, y, 0)
        return tuple([unbroadcast(d, shape) for shape in shapes])


class Spread(Block):
    """Some channels put into their places among all; NaN at the others, which nobody looks at.

    y[:, rows[i]] = x[:, i]     d_x[:, i] = d_y[:, rows[i]]     x: (n, rows, …)   y: (n, channels, …)
    """

    kind = "reshaping"

    def __init__(self, rows: tuple[int, ...], channels: int):
        self.rows, self.channels = rows, channels

    def at_most(self, *shapes: Shape) -> Shape | None:
        return (shapes[0][0], self.channels, *shapes[0][2:])

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x.new_full((len(x), self.channels, *x.shape[2:]), math.nan)
        y[:, list(self.rows)] = x
        return y, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y[:, list(self.rows)],)
