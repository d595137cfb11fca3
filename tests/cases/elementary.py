"""Rows of elementary functions by name, powers and remainders."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, of_x, spread


def between(low: float, high: float) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    return lambda generator: (spread((3, 4), generator, low, high),)


def base_and_exponent(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return spread((3, 4), generator, 0.2, 3.0), spread((3, 4), generator)


def any_sign_and_whole(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return spread((3, 4), generator), torch.randint(-2, 4, (3, 4), generator=generator)


CASES: list[Case] = [
    *[
        Case(lambda name=name: blocks.Function(name), between(low, high), of_x(function))
        for name, function, low, high in (
            ("sin", torch.sin, -4, 4),
            ("cos", torch.cos, -4, 4),
            ("tan", torch.tan, -1.4, 1.4),
            ("asin", torch.asin, -0.95, 0.95),
            ("acos", torch.acos, -0.95, 0.95),
            ("atan", torch.atan, -3, 3),
            ("sinh", torch.sinh, -2, 2),
            ("cosh", torch.cosh, -2, 2),
            ("asinh", torch.asinh, -3, 3),
            ("acosh", torch.acosh, 1.1, 4),
            ("atanh", torch.atanh, -0.9, 0.9),
            ("erf", torch.erf, -2, 2),
            ("exp2", torch.exp2, -2, 2),
            ("expm1", torch.expm1, -2, 2),
            ("log1p", torch.log1p, -0.9, 3),
            ("log2", torch.log2, 0.2, 3),
            ("log10", torch.log10, 0.2, 3),
            ("reciprocal", torch.reciprocal, -3, 3),
            ("rsqrt", torch.rsqrt, 0.2, 3),
            ("softsign", F.softsign, -3, 3),
            ("log_sigmoid", F.logsigmoid, -4, 4),
            ("mish", F.mish, -4, 4),
            ("neg", torch.neg, -2, 2),
            ("sign", torch.sign, -2, 2),
            ("floor", torch.floor, -2.9, 2.9),
            ("ceil", torch.ceil, -2.9, 2.9),
            ("round", torch.round, -2.9, 2.9),
            ("trunc", torch.trunc, -2.9, 2.9),
        )
    ],
    Case(lambda: blocks.Function("tan"), ((2, 3, 2, 2),), of_x(torch.tan), title="Function('tan'), 4 axes"),
    Case(
        lambda: blocks.Function("sin"),
        lambda generator: (torch.randint(-3, 4, (3, 4), generator=generator),),
        lambda _, x: x.sin(),
        title="Function('sin') of integers",
    ),
    Case(blocks.Power, base_and_exponent, lambda _, a, b: a.pow(b), wrong=((3, 4), (3, 5))),
    Case(blocks.Power, any_sign_and_whole, lambda _, a, b: a.pow(b), title="Power, to integers"),
    Case(
        blocks.Power,
        lambda g: (spread((2, 3, 1), g, 0.2, 3.0), spread((3, 4), g)),
        lambda _, a, b: a.pow(b),
        batch=None,
        title="Power, broadcast",
    ),
    Case(
        blocks.Power,
        lambda g: (torch.randint(1, 5, (3, 4), generator=g), spread((3, 4), g)),
        lambda _, a, b: a.double().pow(b) if b.dtype == torch.float64 else a.pow(b),
        title="Power, of integers",
    ),
    *[
        Case(
            lambda truncated=truncated: blocks.Remainder(truncated),
            lambda g, a=a, b=b: (spread(a, g, -7.0, 7.0), spread(b, g, -2.9, 2.9)),
            lambda _, a, b, reference=reference: reference(a, b),
            wrong=((3, 4), (3, 5)),
            batch=0 if len(a) == len(b) else None,
            title=f"Remainder({truncated=}), {a} and {b}",
        )
        for truncated, reference in ((False, torch.remainder), (True, torch.fmod))
        for a, b in (((3, 4), (3, 4)), ((2, 3, 4), (3, 1)))
    ],
    Case(
        blocks.Remainder,
        lambda g: (torch.randint(-9, 9, (3, 4), generator=g), torch.randint(1, 5, (3, 4), generator=g)),
        lambda _, a, b: a % b,
        title="Remainder of integers",
    ),
]
