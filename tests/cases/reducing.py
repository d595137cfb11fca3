"""Rows of many numbers made one."""

import functools

import torch
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, spread


def product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """torch has the product over one axis only."""
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def first(name: str, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """The extreme over some axes as the one along a single axis, which is that of the first place at a tie."""
    axes = tuple(sorted(axis % x.dim() for axis in axes))
    rows = x.movedim(axes, tuple(range(-len(axes), 0))).flatten(-len(axes))
    y = getattr(rows, name)(-1).values
    return y.view([1 if axis in axes else n for axis, n in enumerate(x.shape)]) if keep else y


def with_zeros(generator: torch.Generator) -> tuple[Tensor, ...]:
    """Rows with no zero, one, two, and nothing but zeros."""
    x = spread((4, 5), generator)
    x[1, 2] = x[2, 1] = x[2, 4] = 0
    x[3] = 0
    return (x,)


def running_sums(x: Tensor, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    """A product with a triangle of ones: row i says which elements make sum i."""
    size = x.shape[axis]
    lower = torch.ones(size, size, dtype=x.dtype).tril(-1 if exclusive else 0)
    return (x.movedim(axis, -1) @ (lower if reverse else lower.t())).movedim(-1, axis)


CASES: list[Case] = [
    *[
        Case(
            lambda block=block, given=given: block(*given),
            ((2, 3, 4, 2),),
            lambda b, x, reference=reference: reference(x, b._axes, b.keep),
            wrong=((),),
        )
        for block, reference in (
            (blocks.MaxOver, functools.partial(first, "max")),
            (blocks.MinOver, functools.partial(first, "min")),
            (functools.partial(blocks.MaxOver, ties="shared"), torch.amax),
            (functools.partial(blocks.MinOver, ties="shared"), torch.amin),
            (blocks.Product, product),
            (blocks.LogSumExp, torch.logsumexp),
            (blocks.Variance, lambda x, axes, keep: x.var(axes, keepdim=keep)),
            (blocks.StandardDeviation, lambda x, axes, keep: x.std(axes, keepdim=keep)),
            (blocks.Norm, lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
        )
        for given in ((1,), (-1,), ((1, 2),), ((3, 1),), ([1, -1, 2],))
    ],
    *[
        Case(
            lambda block=block: block((1, -1), keep=True),
            ((2, 3, 4),),
            lambda b, x, reference=reference: reference(x, b._axes, True),
            wrong=((),),
        )
        for block, reference in (
            (blocks.MaxOver, functools.partial(first, "max")),
            (blocks.MinOver, functools.partial(first, "min")),
            (functools.partial(blocks.MaxOver, ties="shared"), torch.amax),
            (functools.partial(blocks.MinOver, ties="shared"), torch.amin),
            (blocks.Product, product),
            (blocks.LogSumExp, torch.logsumexp),
            (blocks.Variance, lambda x, axes, keep: x.var(axes, keepdim=keep)),
            (blocks.StandardDeviation, lambda x, axes, keep: x.std(axes, keepdim=keep)),
            (blocks.Norm, lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
        )
    ],
    *[
        Case(lambda block=block: block(0), ((4, 3),), lambda _, x, reference=reference: reference(x), batch=None)
        for block, reference in (
            (blocks.MaxOver, lambda x: x.max(0).values),
            (blocks.MinOver, lambda x: x.min(0).values),
            (blocks.Product, lambda x: x.prod(0)),
            (blocks.LogSumExp, lambda x: x.logsumexp(0)),
            (blocks.Variance, lambda x: x.var(0)),
            (blocks.StandardDeviation, lambda x: x.std(0)),
            (blocks.Norm, lambda x: x.norm(dim=0)),
        )
    ],
    Case(
        lambda: blocks.MaxOver(1),
        ((2, 3),),
        lambda _, x: x.max(1).values,
        wrong=((2, 0),),
        title="MaxOver, no elements",
    ),
    Case(lambda: blocks.Product(1), with_zeros, lambda _, x: x.prod(1), title="Product, zeros"),
    Case(
        lambda: blocks.Variance((1, 2), 0), ((2, 3, 4),), lambda _, x: x.var((1, 2), correction=0), wrong=((2, 0, 4),)
    ),
    Case(
        lambda: blocks.Variance(-1, 2, True),
        ((2, 4),),
        lambda _, x: x.var(1, correction=2, keepdim=True),
        wrong=((3, 2),),
    ),
    Case(
        lambda: blocks.StandardDeviation((1, 2), 0),
        ((2, 3, 4),),
        lambda _, x: x.std((1, 2), correction=0),
        wrong=((2, 0, 4),),
    ),
    Case(lambda: blocks.Norm(1, order=1), ((2, 3, 4),), lambda _, x: x.abs().sum(1), wrong=((2,),)),
    Case(lambda: blocks.Norm((2, 1), True, 1), ((2, 3, 4),), lambda _, x: x.abs().sum((1, 2), keepdim=True)),
    *[
        Case(
            lambda axis=axis, exclusive=exclusive, reverse=reverse: blocks.CumSum(axis, exclusive, reverse),
            ((2, 4, 3),),
            lambda b, x: running_sums(x, b.axis, b.exclusive, b.reverse),
            wrong=((),),
        )
        for axis in (1, -1)
        for exclusive in (False, True)
        for reverse in (False, True)
    ],
    Case(lambda: blocks.CumSum(0), ((4, 3),), lambda _, x: x.cumsum(0), batch=None),
]
