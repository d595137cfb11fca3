"""Random functions of a matrix, written with blocks and, for autograd, with torch's own functions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks import Exp, Function, Max, Sigmoid, Softmax, Tanh

Pair = tuple[Callable[[Any], Any], Callable[[Tensor], Tensor]]
SIZE = 3


def random_function(seed: int) -> Pair:
    """A function of a (3, 3) matrix with a result of the same shape: by blocks, and by torch."""
    generator = torch.Generator().manual_seed(seed)

    def numbers() -> Tensor:
        return torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)

    a, b, c = numbers(), numbers(), numbers()
    steps: list[Pair] = [
        (lambda v: a @ v, lambda v: a @ v),
        (lambda v: v @ b + c, lambda v: v @ b + c),
        (lambda v: v * v.T - 2 / (1 + v**2), lambda v: v * v.T - 2 / (1 + v**2)),
        (lambda v: Tanh()(v) / 3, lambda v: torch.tanh(v) / 3),
        (lambda v: Sigmoid()(v - a), lambda v: torch.sigmoid(v - a)),
        (lambda v: Function("sin")(v) * b, lambda v: torch.sin(v) * b),
        (lambda v: Softmax(1)(v), lambda v: v.softmax(1)),
        (lambda v: Max()(v, c), lambda v: torch.maximum(v, c)),
        (lambda v: v + v.trace() * v.mean() - v[0].sum(), lambda v: v + v.trace() * v.mean() - v[0].sum()),
        (lambda v: Exp()(-abs(v)), lambda v: torch.exp(-abs(v))),
        (lambda v: (v[1:, ::2] @ c[:2]).sum() - v, lambda v: (v[1:, ::2] @ c[:2]).sum() - v),
    ]
    chosen = [steps[int(torch.randint(len(steps), (1,), generator=generator))] for _ in range(5)]

    def ours(v: Any) -> Any:
        for step, _ in chosen:
            v = step(v)
        return v

    def theirs(v: Tensor) -> Tensor:
        for _, step in chosen:
            v = step(v)
        return v

    return ours, theirs
