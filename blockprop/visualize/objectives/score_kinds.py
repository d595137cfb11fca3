"""Scores: the kinds of things in a network that can be looked at, each a number for every example.

Each is linear in the output of its node, so that its seed says all: S = Σ seed · y. Values are sums over the examples:
each picture of a batch has the gradient that it would have alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blockprop.engine.objectives import OfNode
from blockprop.errors import SettingError, ShapeError, shape


class Score(OfNode):
    """A number for each example that is linear in the output of one node:  S = Σ seed · y, summed over the examples.

    d_y = seed
    """

    adds_up = True
    node: str
    title: str

    def seed(self, y: Tensor) -> Tensor:
        """∂S/∂y."""
        raise NotImplementedError(f"{type(self).__name__} has no seed")

    def of(self, y: Tensor, target: None = None) -> tuple[Tensor, Tensor]:
        seed = self.seed(y)
        return products(seed, y).sum(), seed

    def values(self, y: Tensor) -> Tensor:
        """(n,): that of each example."""
        return products(self.seed(y), y).flatten(1).sum(1)

    def channels(self) -> Collection[int] | None:
        """Which of the node's channels, along axis 1, it reads; None for all, or if that is not known."""
        return None

    def fixed(self, y: Tensor) -> "Score":
        """The same score with nothing left to decide: what was "top" becomes the classes that are best in this y."""
        return self

    def titles(self, count: int) -> list[str]:
        """What is looked at in each of `count` examples, in words."""
        return [self.title] * count

    def __repr__(self) -> str:
        return f"score({self.title!r})"


@dataclass(frozen=True, eq=False, repr=False)
class ClassScore(Score):
    """The score of a class, or the sum of several: one number for all examples, or (n, k) numbers.

    names: of all classes, if they have any.
    """

    node: str
    title: str
    numbers: int | Tensor
    names: Sequence[str] = ()

    @property
    def number(self) -> int | None:
        """Which class it is the score of, if it is one and the same for all examples."""
        return self.numbers if isinstance(self.numbers, int) else None

    def channels(self) -> Collection[int] | None:
        return [self.numbers] if isinstance(self.numbers, int) else self.numbers.flatten().tolist()

    def seed(self, y: Tensor) -> Tensor:
        seed = torch.zeros_like(y)
        classes = by_class(seed)
        count = classes.shape[1]
        if isinstance(self.numbers, Tensor) and len(self.numbers) != len(y):
            raise ShapeError(f"expected a class for each of {len(y)} pictures, came {len(self.numbers)}")
        numbers = [self.numbers] if isinstance(self.numbers, int) else self.numbers.flatten().tolist()
        for number in numbers:
            if not 0 <= number < count:
                raise SettingError(f"{self.node!r} has {count} classes, so there is no class {number}")
        if self.names and len(self.names) != count:
            raise SettingError(
                f"{self.node!r} gives {count} numbers, which are none of the network's {len(self.names)} "
                f"classes; for one of them say '{self.node}:{numbers[0]}'"
            )
        share = count * len(y) / max(y.numel(), 1)
        if isinstance(self.numbers, int):
            classes[:, self.numbers] = share
        else:
            classes[torch.arange(len(y), device=y.device).unsqueeze(1), self.numbers.to(y.device)] = share
        return seed

    def titles(self, count: int) -> list[str]:
        if isinstance(self.numbers, int):
            return [self._name(self.numbers)] * count
        return [" + ".join(map(self._name, row)) for row in self.numbers.tolist()]

    def _name(self, number: int) -> str:
        return (self.names[number] if number < len(self.names) else "") or str(number)


@dataclass(frozen=True, eq=False, repr=False)
class TopScore(Score):
    """The score of each example's best class, or the sum of its `count` best ones."""

    node: str
    title: str
    count: int
    names: Sequence[str] = ()

    def seed(self, y: Tensor) -> Tensor:
        return self.fixed(y).seed(y)

    def fixed(self, y: Tensor) -> Score:
        scores = by_class(y)
        scores = scores.flatten(2).mean(2) if scores.dim() > 2 else scores
        if self.count > scores.shape[1]:
            raise SettingError(f"{self!r} needs {self.count} classes; {self.node!r} has {scores.shape[1]}")
        return ClassScore(self.node, self.title, scores.topk(self.count, 1).indices, self.names)


@dataclass(frozen=True, eq=False, repr=False)
class UnitScore(Score):
    """The mean of a node's output, of one channel of it, or one unit, the channel at one place.

    channel: along axis 1; None for all.   place: along the axes after it; None for all.
    """

    node: str
    title: str
    channel: int | None = None
    place: tuple[int, ...] | None = None

    def channels(self) -> Collection[int] | None:
        return None if self.channel is None else [self.channel]

    def seed(self, y: Tensor) -> Tensor:
        seed = torch.zeros_like(y)
        part = seed
        if self.channel is not None:
            channels = y.shape[1] if y.dim() > 1 else 0
            if not 0 <= self.channel < channels:
                raise SettingError(f"{self.node!r} has {channels} channels; there is no channel {self.channel}")
            part = seed[:, self.channel]
        if self.place is not None:
            sizes = tuple(part.shape[1:])
            if len(sizes) != len(self.place) or not all(0 <= i < n for i, n in zip(self.place, sizes, strict=True)):
                places = " x ".join(map(str, sizes)) or "no"
                raise SettingError(f"{self.node!r} has {places} places in a channel; there is no place {self.place}")
            for i in self.place:
                part = part[:, i]
        part.fill_(len(y) / max(part.numel(), 1))
        return seed


@dataclass(frozen=True, eq=False, repr=False)
class Direction(Score):
    """How far a node's output points in a direction: the mean over all places of Σ_c direction_c y_c.

    direction: (c,), or the shape of one example's output; then Σ direction · y.
    """

    node: str
    title: str
    direction: Tensor

    def seed(self, y: Tensor) -> Tensor:
        direction = self.direction.to(y)
        if direction.shape == y.shape[1:]:
            return direction.expand_as(y).contiguous()
        if y.dim() < 2 or direction.shape != y.shape[1:2]:
            raise SettingError(
                f"{self.node!r} gives {shape(y[0])} for an example; a direction of {shape(self.direction)} does not fit"
            )
        places = y[0, 0].numel() if len(y) else 1
        return (direction / places).view(-1, *[1] * (y.dim() - 2)).expand_as(y).contiguous()


def by_class(y: Tensor) -> Tensor:
    """y as (n, classes, …), a view: the class axis is the only one longer than 1, or axis 1."""
    if y.dim() < 2:
        raise ShapeError(f"expected scores of classes for each example, came {shape(y)}")
    long = [axis for axis in range(1, y.dim()) if y.shape[axis] > 1]
    return y.movedim(long[0] if len(long) == 1 else 1, 1)


def products(seed: Tensor, y: Tensor) -> Tensor:
    """seed · y, and 0 where the seed is 0, whatever y is there."""
    return (seed * y).masked_fill_(seed == 0, 0)
