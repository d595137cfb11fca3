"""What a row of the tables is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block


@dataclass(frozen=True)
class Case:
    """make() -> block; inputs: shapes, or a function that makes them; reference(block, *inputs) by torch.

    wrong: shapes that the block must refuse with a ShapeError.
    training: run forward with training=True.
    differentiable: False if nothing goes back on purpose, or there is nothing to go back to.
    batch: axis of the batch in every input; None if the inputs have none (then no empty batch, no batch of one).
    """

    make: Callable[[], Block]
    inputs: tuple[tuple[int, ...], ...] | Callable[[torch.Generator], tuple[Tensor, ...]]
    reference: Callable[..., Any]
    wrong: tuple[tuple[int, ...], ...] | None = None
    training: bool = False
    batch: int | None = 0
    differentiable: bool = True
    title: str = ""

    def __str__(self) -> str:
        return self.title or repr(self.make())

    def tensors(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, ...]:
        """The inputs: kept apart from each other and from 0, so that none sits at a tie or a kink."""
        generator = torch.Generator().manual_seed(seed)
        if callable(self.inputs):
            made = self.inputs(generator)
            return tuple(x.to(dtype) if x.is_floating_point() else x for x in made)
        return tuple(spread(shape, generator).to(dtype) for shape in self.inputs)


def spread(shape: tuple[int, ...], generator: torch.Generator, low: float = -2.0, high: float = 2.0) -> Tensor:
    """Different numbers in random order, evenly spread over low…high and none of them 0."""
    count = 1
    for n in shape:
        count *= n
    values = torch.linspace(low, high, count + 2 + count % 2, dtype=torch.float64)[1:-1][:count]
    return values[torch.randperm(count, generator=generator)].view(shape)


def positive(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """One input of positive numbers, 0.2…3."""
    return lambda generator: (spread(shape, generator, 0.2, 3.0),)


def of_x(function: Callable[..., Tensor], *settings: Any, **more: Any) -> Callable[..., Tensor]:
    """A reference that needs nothing of the block: function(x, *settings)."""
    return lambda _block, x: function(x, *settings, **more)


def rows(
    make: Callable[..., Any], settings: list[dict[str, Any]], shape: tuple[int, ...], reference: Any, **more: Any
) -> list[Case]:
    """One row for each settings."""
    return [Case(lambda given=given: make(**given), (shape,), reference, **more) for given in settings]
