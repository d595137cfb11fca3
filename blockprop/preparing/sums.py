"""Rectifiers, alone and behind sums, and outputs of which a few numbers are looked at."""

import functools
import math
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.joining import joined, require_broadcast, unbroadcast
from blockprop.engine.block import Block, Shape
from blockprop.preparing.gates import gate_of, through


class FixedReLU(Block):
    """ReLU, or a clamp between 0 and high, that keeps where it was open, and nothing else:  y = min(max(x, 0), high).

    d_x = d_y where 0 < y < high, else 0
    """

    kind = "activation"
    gate = "cuts off the negative side"
    makes_new_errors = True
    may_take_over = True

    def __init__(self, high: float | None = None):
        self.high = high

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        y = x.relu() if self.high is None else x.clamp(0, self.high)
        return y, gate_of(y, self.high)

    def propagate(self, saved: Any, d_y: Tensor, over: bool = False) -> tuple[Tensor]:
        return (through(saved, d_y, over),)


class RectifiedSum(Block):
    """The sum of two or more inputs, and its ReLU in the same memory:  y = max(a + b + …, 0), with broadcasting.

    d_a = d_b = d_y where y > 0, else 0, summed over the axes along which the input was repeated
    """

    kind = "joining"
    may_take_over = True

    def at_most(self, *shapes: Shape) -> Shape | None:
        return joined(shapes)

    def forward(self, *x: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(*x)
        y = functools.reduce(torch.add, x).relu_() if len(x) > 1 else x[0].relu()
        return y, (gate_of(y), [a.shape for a in x])

    def propagate(self, saved: Any, d_y: Tensor, over: bool = False) -> tuple[Tensor, ...]:
        gate, shapes = saved
        d = through(gate, d_y, over)
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
