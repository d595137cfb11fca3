"""Rows of conditions, comparisons, types of number and orders."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, of_x, spread

Made = Callable[[torch.Generator], tuple[Tensor, ...]]


def whole(*shapes: tuple[int, ...], low: int = 0, high: int = 5) -> Made:
    """Integers low…high − 1."""
    return lambda generator: tuple(torch.randint(low, high, shape, generator=generator) for shape in shapes)


def booleans(*shapes: tuple[int, ...]) -> Made:
    return lambda generator: tuple(torch.rand(shape, generator=generator) < 0.5 for shape in shapes)


def condition_and(condition: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> Made:
    return lambda generator: (
        torch.rand(condition, generator=generator) < 0.5,
        spread(a, generator),
        spread(b, generator),
    )


COMPARISONS = {
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "equal": torch.eq,
    "not_equal": torch.ne,
}


LOGIC = {"and": torch.bitwise_and, "or": torch.bitwise_or, "xor": torch.bitwise_xor}


def place(argument: Callable[..., Tensor], block: Any, x: Tensor) -> Tensor:
    """torch.argmax or argmin, which name the first of equal elements; from the other end it is the last."""
    if not block.last:
        return argument(x, block.axis, block.keep)
    return x.shape[block.axis] - 1 - argument(x.flip(block.axis), block.axis, block.keep)


CASES: list[Case] = [
    *[
        Case(
            blocks.Where,
            condition_and(*shapes),
            lambda _, condition, a, b: torch.where(condition, a, b),
            wrong=((3, 4), (3, 4), (3, 4)),
            batch=0
            if len({len(shape) for shape in shapes}) == 1 and len({shape[0] for shape in shapes}) == 1
            else None,
            title=f"Where, {', '.join(map(str, shapes))}",
        )
        for shapes in (
            ((3, 4), (3, 4), (3, 4)),
            ((3, 1), (3, 4), (3, 4)),
            ((4,), (2, 3, 4), (2, 1, 1)),
            ((2, 3, 4), (), (3, 1)),
            ((2, 1, 3, 2), (2, 4, 1, 2), (2, 4, 3, 1)),
        )
    ],
    Case(
        blocks.Where,
        lambda g: (*booleans((3, 4))(g), *whole((3, 4), (3, 4))(g)),
        lambda _, condition, a, b: torch.where(condition, a, b),
        title="Where, of integers",
    ),
    Case(
        blocks.Where,
        lambda g: (*booleans((3, 4))(g), *whole((3, 4))(g), spread((3, 4), g)),
        lambda _, condition, a, b: torch.where(condition, a, b),
        title="Where, of integers and numbers",
    ),
    *[
        Case(
            lambda name=name: blocks.Compare(name),
            ((3, 4), (3, 4)),
            lambda _, a, b, reference=reference: reference(a, b),
            wrong=((3, 4), (3, 5)),
        )
        for name, reference in COMPARISONS.items()
    ],
    *[
        Case(
            lambda name=name: blocks.Compare(name, value=2),
            whole((3, 4)),
            lambda _, x, reference=reference: reference(x, 2),
            wrong=((3,), (3,)),
        )
        for name, reference in COMPARISONS.items()
    ],
    Case(
        lambda: blocks.Compare("less"), ((2, 3, 1), (4,)), lambda _, a, b: a < b, batch=None, title="Compare, broadcast"
    ),
    Case(lambda: blocks.Compare("greater", 0.5), ((3, 4),), lambda _, x: x > 0.5, wrong=((3,), (3,))),
    *[
        Case(
            lambda name=name: blocks.Logic(name),
            made,
            lambda _, a, b, reference=reference: reference(a, b),
            wrong=((3, 4), (3, 4)),
            title=f"Logic({name!r}), {of}",
        )
        for name, reference in LOGIC.items()
        for of, made in (("booleans", booleans((3, 4), (3, 4))), ("integers", whole((3, 4), (3, 4), high=200)))
    ],
    Case(lambda: blocks.Logic("not"), booleans((3, 4)), lambda _, x: ~x, wrong=((3,),)),
    Case(lambda: blocks.Logic("not"), whole((3, 4)), lambda _, x: ~x, title="Logic('not') of integers"),
    # float32 in float64's place is no row: finite differences would measure its rounding.
    Case(lambda: blocks.Cast("float64"), ((3, 4),), of_x(Tensor.double)),
    Case(lambda: blocks.Cast("int64"), ((3, 4),), of_x(Tensor.long)),
    Case(lambda: blocks.Cast("bool"), whole((3, 4), high=2), of_x(Tensor.bool)),
    Case(lambda: blocks.Cast("float32"), whole((3, 4)), of_x(Tensor.float)),
    *[
        Case(
            lambda settings=settings: blocks.TopK(*settings),
            ((3, 4, 5),),
            lambda _, x, settings=settings: tuple(x.topk(*settings)),
            wrong=((3, 0, 0),),
        )
        for settings in ((2,), (3, 1), (2, -1, False), (1, 1, True, False), (5, 2))
    ],
    Case(lambda: blocks.TopK(2, 0), ((4, 3),), lambda _, x: tuple(x.topk(2, 0)), wrong=((1, 3),), batch=None),
    *[
        Case(
            lambda axis=axis, descending=descending: blocks.Sort(axis, descending),
            ((3, 4, 5),),
            lambda _, x, axis=axis, descending=descending: tuple(x.sort(axis, descending)),
            wrong=((),),
        )
        for axis in (-1, 1)
        for descending in (False, True)
    ],
    *[
        Case(
            lambda block=block, settings=settings: block(*settings),
            ((3, 4, 5),),
            functools.partial(place, reference),
            wrong=((3, 0, 0),),
        )
        for block, reference in ((blocks.ArgMax, torch.argmax), (blocks.ArgMin, torch.argmin))
        for settings in ((1,), (-1, True), (2, False, True), (1, True, True))
    ],
    Case(lambda: blocks.OneHot(5), whole((3, 4)), lambda _, x: F.one_hot(x, 5).float(), wrong=((3, 4),)),
    Case(lambda: blocks.OneHot(5, 1), whole((3, 4)), lambda _, x: F.one_hot(x, 5).float().movedim(-1, 1)),
    Case(lambda: blocks.OneHot(5, -2), whole((3, 4), low=-5), lambda _, x: F.one_hot(x % 5, 5).float().movedim(-1, -2)),
    Case(
        lambda: blocks.OneHot(3, on=0.9, off=0.05),
        whole((4,), high=3),
        lambda _, x: torch.where(F.one_hot(x, 3) == 1, 0.9, 0.05),
    ),
]
