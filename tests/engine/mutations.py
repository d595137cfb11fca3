"""Ways in which a derivative can be wrong in a few of its elements, and blocks and an objective that are."""

from collections.abc import Callable

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.objectives import mean_squared_error

Mutation = Callable[[Tensor, int], None]
"""Changes a flat derivative in place, at an element."""


def scaled(factor: float) -> Mutation:
    def mutate(d: Tensor, at: int) -> None:
        d[at] *= factor

    return mutate


def swapped(d: Tensor, at: int) -> None:
    other = (at + 1) % len(d)
    d[at], d[other] = d[other].clone(), d[at].clone()


def cancelling(d: Tensor, at: int) -> None:
    """The sum stays what it was."""
    d[at] += 0.01
    d[(at + len(d) // 2) % len(d)] -= 0.01


def every_third(d: Tensor, at: int) -> None:
    d[at % 3 :: 3] *= 1.001


def last_tenth(d: Tensor, _at: int) -> None:
    d[-(len(d) // 10) :] = 0.0


def shifted(d: Tensor, _at: int) -> None:
    d += 1e-4


MUTATIONS: dict[str, Mutation] = {
    "zeroed": scaled(0.0),
    "halved": scaled(0.5),
    "off by 1 %": scaled(1.01),
    "sign": scaled(-1.0),
    "swapped": swapped,
    "cancelling": cancelling,
    "every third": every_third,
    "last tenth": last_tenth,
    "shifted": shifted,
}


class Gain(Block):
    """y = weight x, element by element;  d_x = weight d_y,  d_weight = x d_y: with one of the two mutated."""

    parameter_names = ("weight",)

    def __init__(self, size: int, method: str = "", mutation: str = "zeroed", at: int = 0) -> None:
        self.size, self.method, self.mutation, self.at = size, method, mutation, at
        self.weight = 1 + torch.rand(size, generator=torch.Generator().manual_seed(size))

    def forward(self, x: Tensor) -> tuple:
        return self.weight * x, x

    def propagate(self, x: Tensor, d_y: Tensor) -> tuple:
        return (self._mutated("propagate", self.weight * d_y),)

    def gradients(self, x: Tensor, d_y: Tensor) -> dict:
        return {"weight": self._mutated("gradients", x * d_y)}

    def _mutated(self, method: str, d: Tensor) -> Tensor:
        if method == self.method:
            MUTATIONS[self.mutation](d, self.at)
        return d


class MutatedError(mean_squared_error):
    """The mean squared error, with a mutated seed."""

    def __init__(self, mutation: str, at: int) -> None:
        super().__init__()
        self.mutation, self.at = mutation, at

    def of(self, y: Tensor, target: Tensor) -> tuple:
        value, seed = super().of(y, target)
        seed = seed.clone()
        MUTATIONS[self.mutation](seed.view(-1), self.at)
        return value, seed
