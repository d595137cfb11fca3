"""Rows of elements taken from places, or put there."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, spread


def x_and_index(x: tuple[int, ...], index: tuple[int, ...], size: int, low: int = 0) -> Callable[..., Any]:
    """Numbers, and integers low…size − 1 that may repeat."""
    return lambda g: (spread(x, g), torch.randint(low, size, index, generator=g))


def distinct(x: tuple[int, ...], index: tuple[int, ...], axis: int) -> Callable[..., Any]:
    """Numbers, an index that names no place of an axis twice, and updates."""
    return lambda g: (
        spread(x, g),
        torch.rand(x, generator=g).argsort(axis)[tuple(slice(size) for size in index)],
        spread(index, g),
    )


def some_rows(x: tuple[int, ...], updates: tuple[int, ...]) -> Callable[..., Any]:
    """Numbers, pairs of numbers of the first two axes of which none is there twice, and updates."""

    def make(g: torch.Generator) -> tuple[Tensor, ...]:
        flat = torch.randperm(x[0] * x[1], generator=g)[: updates[0] * updates[1]].view(updates[:2])
        return spread(x, g), torch.stack([flat // x[1], flat % x[1]], -1), spread(updates, g)

    return make


def gathered(x: Tensor, axis: int, index: Tensor) -> Tensor:
    """x[..., index, ...] by torch's own indexing."""
    return x[(*(slice(None),) * (axis % x.dim()), index)]


CASES: list[Case] = [
    *[
        Case(
            lambda axis=axis: blocks.Gather(axis),
            x_and_index(x, index, x[axis], low),
            lambda b, x, index: gathered(x, b.axis, index),
            wrong=(x, (2,)),
            batch=None,
            title=f"Gather({axis}), {x} at {index} from {low}",
        )
        for axis, x, index, low in (
            (0, (5, 3), (4,), 0),
            (0, (5, 3), (2, 4), -5),
            (1, (2, 4, 3), (5,), 0),
            (-1, (2, 3, 4), (2, 3), -4),
            (1, (2, 3, 2), (), -3),
            (0, (4,), (2, 2), 0),
        )
    ],
    *[
        Case(
            lambda axis=axis: blocks.GatherElements(axis),
            x_and_index(x, index, x[axis], low),
            lambda b, x, index: x.gather(b.axis, index % x.shape[b.axis]),
            wrong=(x, index),
            batch=0 if axis else None,
            title=f"GatherElements({axis}), {x} at {index} from {low}",
        )
        for axis, x, index, low in (
            (1, (3, 4), (3, 2), 0),
            (1, (3, 4), (3, 6), -4),
            (-1, (3, 2, 4), (3, 1, 3), 0),
            (0, (3, 4), (5, 2), -3),
        )
    ],
    *[
        Case(
            lambda axis=axis: blocks.ScatterElements(axis),
            distinct(x, index, axis),
            lambda b, x, index, updates: x.scatter(b.axis, index, updates),
            wrong=(x, index, index),
            batch=0 if axis else None,
            title=f"ScatterElements({axis}), {x} at {index}",
        )
        for axis, x, index in ((1, (3, 4), (3, 2)), (-1, (3, 2, 4), (3, 1, 3)), (0, (4, 3), (2, 2)))
    ],
    *[
        Case(
            lambda axis=axis: blocks.ScatterElements(axis, "add"),
            lambda g, axis=axis, x=x, index=index: (*x_and_index(x, index, x[axis], -2)(g), spread(index, g)),
            lambda b, x, index, updates: x.scatter_add(b.axis, index % x.shape[b.axis], updates),
            wrong=(x, index, index),
            batch=0 if axis else None,
            title=f"ScatterElements({axis}, 'add'), {x} at {index}",
        )
        for axis, x, index in ((1, (3, 4), (3, 6)), (2, (3, 2, 4), (3, 1, 3)), (0, (4, 3), (7, 2)))
    ],
    Case(
        blocks.GatherND,
        x_and_index((3, 3, 2), (4, 2), 3, -3),
        lambda _, x, index: x[index[:, 0], index[:, 1]],
        wrong=((3, 3), (4, 3)),
        batch=None,
    ),
    Case(
        blocks.GatherND,
        x_and_index((3, 4), (2, 5, 1), 3),
        lambda _, x, index: x[index[..., 0]],
        wrong=((3,), ()),
        batch=None,
        title="GatherND, of rows",
    ),
    Case(
        blocks.GatherND,
        x_and_index((3, 3), (4, 2), 3),
        lambda _, x, index: x[index[:, 0], index[:, 1]],
        batch=None,
        title="GatherND, of elements",
    ),
    Case(
        lambda: blocks.GatherND(1),
        x_and_index((3, 4, 2), (3, 5, 1), 4),
        lambda _, x, index: x[torch.arange(len(x))[:, None], index[..., 0]],
        wrong=((3, 4, 2), (2, 5, 1)),
    ),
    Case(
        lambda: blocks.GatherND(2),
        x_and_index((2, 3, 4), (2, 3, 1), 4, -4),
        lambda _, x, index: x.gather(2, index % 4)[..., 0],
        wrong=((2, 3), (2, 3, 1)),
    ),
    Case(
        blocks.ScatterND,
        some_rows((4, 4, 2), (2, 3, 2)),
        lambda _, x, index, updates: x.index_put(tuple(index.unbind(-1)), updates),
        wrong=((4, 4, 2), (2, 3, 2), (2, 3)),
        batch=None,
    ),
    Case(
        blocks.ScatterND,
        lambda g: (spread((4, 3), g), torch.tensor([[3], [-4]]), spread((2, 3), g)),
        lambda _, x, index, updates: x.index_put((index[:, 0],), updates),
        batch=None,
        title="ScatterND, of rows",
    ),
    Case(
        lambda: blocks.ScatterND("add"),
        lambda g: (*x_and_index((3, 3, 2), (5, 2), 3, -3)(g), spread((5, 2), g)),
        lambda _, x, index, updates: x.index_put(tuple(index.unbind(-1)), updates, accumulate=True),
        wrong=((3, 3, 2), (5, 2), (5, 3)),
        batch=None,
    ),
    Case(lambda: blocks.Select(1, 2), ((2, 4, 3),), lambda _, x: x[:, 2], wrong=((2, 2),)),
    Case(lambda: blocks.Select(-1, -3), ((2, 4, 3),), lambda _, x: x[..., -3], wrong=((3, 2),)),
    Case(lambda: blocks.Select(0, 1), ((2, 4),), lambda _, x: x[1], wrong=((),), batch=None),
]
