"""Blocks of two or more inputs."""

import functools
import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.products import product
from blockprop.engine.block import Block, Shape
from blockprop.errors import SettingError, ShapeError


class Concat(Block):
    """All inputs one after the other along one axis.

    d_x of each input = its part of d_y

    x: any number of tensors, of equal shapes but for that axis   Raises ShapeError if they are not.
    """

    kind = "joining"

    def __init__(self, axis: int = 1):
        self.axis = axis

    def at_most(self, *shapes: Shape) -> Shape | None:
        if len({len(shape) for shape in shapes}) != 1 or not -len(shapes[0]) <= self.axis < len(shapes[0]):
            return None
        axis, sizes = self.axis % len(shapes[0]), list(zip(*shapes, strict=True))
        return (*map(max, sizes[:axis]), sum(sizes[axis]), *map(max, sizes[axis + 1 :]))

    def forward(self, *x: Tensor) -> tuple[Tensor, Any]:
        first = x[0].shape
        if not -len(first) <= self.axis < len(first):
            raise ShapeError(f"expected an axis {self.axis}, came {tuple(first)}")
        axis = self.axis % len(first)
        if any(a.shape[:axis] != first[:axis] or a.shape[axis + 1 :] != first[axis + 1 :] for a in x):
            raise ShapeError(f"expected equal shapes but for axis {self.axis}, came {_shapes(x)}")
        return torch.cat(x, axis), [a.shape[axis] for a in x]

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, ...]:
        return d_y.split(saved, self.axis)


class _Broadcasting(Block):
    """What the blocks share that compute each element from one of each input."""

    kind = "joining"

    def at_most(self, *shapes: Shape) -> Shape | None:
        return joined(shapes)


class Add(_Broadcasting):
    """The sum of two or more inputs:  y = a + b + …, with broadcasting.

    d_a = d_b = d_y, summed over the axes along which the input was repeated

    Raises ShapeError if the shapes cannot be broadcast.
    """

    def forward(self, *x: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(*x)
        return functools.reduce(torch.add, x), [a.shape for a in x]

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, ...]:
        return tuple([unbroadcast(d_y, shape) for shape in saved])


class Sub(_Broadcasting):
    """The difference:  y = a − b, with broadcasting.

    d_a = d_y     d_b = −d_y     each summed over the axes along which the input was repeated

    Raises ShapeError if the shapes cannot be broadcast.
    """

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(a, b)
        return a - b, (a.shape, b.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        return unbroadcast(d_y, saved[0]), -unbroadcast(d_y, saved[1])


class Mul(_Broadcasting):
    """The product of elements:  y = a b, with broadcasting.

    d_a = d_y b     d_b = d_y a     each summed over the axes along which the input was repeated

    Raises ShapeError if the shapes cannot be broadcast.
    """

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(a, b)
        return a * b, (a, b)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        a, b = saved
        return unbroadcast(d_y * b, a.shape), unbroadcast(d_y * a, b.shape)


class Div(_Broadcasting):
    """The quotient of elements:  y = a / b, with broadcasting.

    d_a = d_y / b     d_b = −d_y y / b     each summed over the axes along which the input was repeated

    Raises ShapeError if the shapes cannot be broadcast.
    """

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(a, b)
        y = a / b
        return y, (b, y, a.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        b, y, shape = saved
        return unbroadcast(d_y / b, shape), -unbroadcast((y / b).mul_(d_y), b.shape)


class Max(_Broadcasting):
    """The larger element:  y = max(a, b), with broadcasting.

    d_a = d_y where a ≥ b, else 0     d_b = d_y where a < b, else 0     each summed over the axes of repetition

    ties: "first" gives the whole derivative to a where a = b; "shared" gives each a half, as torch's maximum.
    NaN counts as larger than any number.
    Raises ShapeError if the shapes cannot be broadcast, SettingError for other ties.
    """

    def __init__(self, ties: str = "first"):
        require_ties(ties)
        self.ties = ties

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(a, b)
        return torch.maximum(a, b), _chosen(self.ties, a, b, a >= b)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        return _to_chosen(d_y, *saved)


class Min(_Broadcasting):
    """The smaller element:  y = min(a, b), with broadcasting.

    d_a = d_y where a ≤ b, else 0     d_b = d_y where a > b, else 0     each summed over the axes of repetition

    ties: "first" gives the whole derivative to a where a = b; "shared" gives each a half, as torch's minimum.
    NaN counts as smaller than any number.
    Raises ShapeError if the shapes cannot be broadcast, SettingError for other ties.
    """

    def __init__(self, ties: str = "first"):
        require_ties(ties)
        self.ties = ties

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        require_broadcast(a, b)
        return torch.minimum(a, b), _chosen(self.ties, a, b, a <= b)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        return _to_chosen(d_y, *saved)


class MatMul(Block):
    """The matrix product of the last two axes:  y = a b, with broadcasting of the axes before them.

    d_a = d_y bᵀ     d_b = aᵀ d_y     each summed over the axes along which the input was repeated

    a: (..., n, k)   b: (..., k, m)   y: (..., n, m)
    Raises ShapeError for fewer than 2 axes, different k, or other axes that cannot be broadcast.
    """

    kind = "joining"

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        if a.dim() < 2 or b.dim() < 2 or a.shape[-1] != b.shape[-2]:
            raise ShapeError(f"expected (..., n, k) and (..., k, m), came {_shapes((a, b))}")
        if a.dim() == b.dim() == 2:
            return product(a, b), (a, b)
        if a.shape[:-2] != b.shape[:-2]:
            require_broadcast(a.new_empty(a.shape[:-2]), b.new_empty(b.shape[:-2]))
        return a @ b, (a, b)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        a, b = saved
        if d_y.dim() == 2:
            return product(d_y, b.t()), product(a.t(), d_y)
        d_a = unbroadcast(d_y @ b.mT, a.shape)
        if b.dim() == 2:  # one product over all rows, rather than the sum of one product for each example
            return d_a, product(a.flatten(0, -2).t(), d_y.flatten(0, -2))
        return d_a, unbroadcast(a.mT @ d_y, b.shape)


def unbroadcast(d: Tensor, shape: torch.Size) -> Tensor:
    """d summed over the axes along which an input of this shape was repeated: what broadcasting is backward."""
    if d.shape == shape:
        return d
    added = d.dim() - len(shape)
    repeated = [added + i for i, size in enumerate(shape) if size == 1 and d.shape[added + i] != 1]
    return d.sum((*range(added), *repeated), keepdim=True).reshape(shape)


def _chosen(ties: str, a: Tensor, b: Tensor, first: Tensor) -> tuple[Tensor, Tensor | None, torch.Size, torch.Size]:
    """What goes back to a, where both get a half, and both shapes."""
    return first.logical_or_(a.isnan()), (a == b) if ties == "shared" else None, a.shape, b.shape


def _to_chosen(
    d_y: Tensor, chosen: Tensor, halved: Tensor | None, shape_a: torch.Size, shape_b: torch.Size
) -> tuple[Tensor, Tensor]:
    d_a, d_b = d_y.masked_fill(~chosen, 0), d_y.masked_fill(chosen, 0)
    if halved is not None:
        half = (d_y / 2).masked_fill_(~halved, 0)
        d_a, d_b = d_a - half, d_b + half
    return unbroadcast(d_a, shape_a), unbroadcast(d_b, shape_b)


def require_ties(ties: str) -> None:
    """Raise SettingError for what is not a rule of ties."""
    if ties not in ("first", "shared"):
        raise SettingError(f"ties must be first or shared, came {ties!r}")


def require_broadcast(*x: Tensor) -> None:
    """ShapeError unless the shapes can be broadcast to one."""
    if not x:
        raise ShapeError("expected at least one input")
    if any(a.shape != x[0].shape for a in x):
        try:
            torch.broadcast_shapes(*(a.shape for a in x))
        except RuntimeError as error:
            raise ShapeError(f"expected shapes that can be broadcast to one, came {_shapes(x)}") from error


def _shapes(x: tuple[Tensor, ...]) -> str:
    return " and ".join(str(tuple(a.shape)) for a in x)


def joined(shapes: Iterable[Shape]) -> Shape:
    """The shape that broadcasting does not exceed."""
    turned = [shape[::-1] for shape in shapes]
    return tuple(max(sizes) for sizes in itertools.zip_longest(*turned, fillvalue=1))[::-1]
