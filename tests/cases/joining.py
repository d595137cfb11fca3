"""Rows of blocks of several inputs."""

import functools

import torch

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
    Case(blocks.Concat, ((2, 3, 2), (2, 1, 2), (2, 2, 2)), lambda _, *x: torch.cat(x, 1), wrong=((2, 3, 2), (2, 1, 3))),
    Case(lambda: blocks.Concat(-1), ((2, 3), (2, 4)), lambda _, *x: torch.cat(x, -1), wrong=((2, 3), (3, 3))),
    Case(lambda: blocks.Concat(0), ((2, 3), (1, 3)), lambda _, *x: torch.cat(x), wrong=((2, 3), (2,)), batch=None),
    Case(blocks.Concat, ((2, 3),), lambda _, x: x, wrong=((2,),), title="Concat of one"),
    *[
        Case(
            block,
            (a, b),
            lambda _, *x, reference=reference: reference(*x),
            wrong=((2, 3), (2, 4)),
            batch=0 if len(a) == len(b) and a[0] == b[0] else None,
            title=f"{block()!r}, {a} and {b}".replace("()", "", 1),
        )
        for block, reference in (
            (blocks.Add, torch.add),
            (blocks.Sub, torch.sub),
            (blocks.Mul, torch.mul),
            (blocks.Div, torch.div),
            (functools.partial(blocks.Max, "shared"), torch.maximum),
            (functools.partial(blocks.Min, "shared"), torch.minimum),
            (blocks.Max, lambda a, b: torch.where(a >= b, a, b)),
            (blocks.Min, lambda a, b: torch.where(a <= b, a, b)),
        )
        for a, b in (
            ((3, 4), (3, 4)),
            ((2, 3, 4), (2, 3, 1)),
            ((2, 1, 4), (2, 3, 1)),
            ((4,), (2, 3, 4)),
            ((3, 1), (2, 1, 4)),
            ((2, 3), ()),
            ((1,), (1, 1, 3)),
        )
    ],
    Case(
        blocks.Add, ((2, 3), (2, 3), (2, 3)), lambda _, *x: sum(x), wrong=((2, 3), (2, 3), (4,)), title="Add of three"
    ),
    Case(blocks.Add, ((2, 1), (2, 3), (1, 2, 1)), lambda _, *x: sum(x), title="Add of three, broadcast", batch=None),
    *[
        Case(
            blocks.MatMul,
            (a, b),
            lambda _, a, b: a @ b,
            wrong=((3, 4), (3, 4)),
            batch=0 if len(a) == len(b) > 2 and a[0] == b[0] else None,
            title=f"MatMul, {a} and {b}",
        )
        for a, b in (
            ((3, 4), (4, 2)),
            ((2, 3, 4), (2, 4, 2)),
            ((2, 3, 4), (4, 2)),
            ((3, 4), (2, 4, 2)),
            ((2, 3, 4), (1, 4, 2)),
            ((1, 3, 4), (2, 4, 2)),
            ((2, 1, 3, 2), (2, 3, 2, 4)),
            ((3, 3, 2), (2, 1, 2, 4)),
        )
    ],
    Case(
        blocks.MatMul,
        ((2, 3, 4), (2, 4, 2)),
        lambda _, x, y: x @ y,
        wrong=((2, 3, 4), (3, 4, 2)),
        title="MatMul, batches",
    ),
    Case(blocks.MatMul, ((2, 3, 4), (2, 4, 2)), lambda _, x, y: x @ y, wrong=((4,), (4, 2)), title="MatMul, a vector"),
]
