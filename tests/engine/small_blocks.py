"""Blocks and a network whose derivatives can be worked out in the head."""

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node


class Double(Block):
    """y = 2 x, d_x = 2 d_y."""

    def forward(self, x: Tensor) -> tuple:
        return 2 * x, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return (2 * d_y,)


class Plus(Block):
    """y = a + b, d_a = d_b = d_y."""

    def forward(self, a: Tensor, b: Tensor) -> tuple:
        return a + b, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return d_y, d_y


class Scale(Block):
    """y = weight x, d_x = weight d_y, d_weight = sum of x d_y."""

    parameter_names = ("weight",)

    def __init__(self, start: float = 3.0) -> None:
        self.start = start
        self.weight = torch.tensor(start)

    def forward(self, x: Tensor) -> tuple:
        return self.weight * x, x

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        return (self.weight * d_y,)

    def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
        return {"weight": (saved * d_y).sum()}


class Halves(Block):
    """(first, second) half of the last axis."""

    output_count = 2

    def forward(self, x: Tensor) -> tuple:
        return x.chunk(2, -1), x.shape

    def propagate(self, shape: torch.Size, d_y: tuple) -> tuple:
        half = torch.Size([*shape[:-1], shape[-1] // 2])
        return (torch.cat([torch.zeros(half) if d is None else d for d in d_y], -1),)


def counted(block: Block) -> dict[str, int]:
    """Count the calls of the three methods."""
    calls = {"forward": 0, "propagate": 0, "gradients": 0}

    def wrap(name: str) -> None:
        method = getattr(block, name)

        def wrapped(*args: object, **kwargs: object) -> object:
            calls[name] += 1
            return method(*args, **kwargs)

        setattr(block, name, wrapped)

    for name in calls:
        wrap(name)
    return calls


def diamond() -> Network:
    """y = w (2x + x), by hand: dy/dx = 3 w, dy/dw = 3 x."""
    return Network(
        [Node("scale", Scale(), ("plus",)), Node("plus", Plus(), ("double", "x")), Node("double", Double(), ("x",))]
    )
