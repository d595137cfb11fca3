"""Rows of ReLU and its kin."""

import torch
import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case, of_x

CASES: list[Case] = [
    Case(blocks.ReLU, ((3, 4),), of_x(F.relu)),
    Case(blocks.ReLU, ((2, 3, 2, 2),), of_x(F.relu), title="ReLU, 4 axes"),
    Case(blocks.LeakyReLU, ((3, 4),), of_x(F.leaky_relu, 0.01)),
    Case(lambda: blocks.LeakyReLU(0.2), ((2, 3, 2, 2),), of_x(F.leaky_relu, 0.2)),
    Case(blocks.PReLU, ((3, 4),), lambda b, x: F.prelu(x, b.weight)),
    Case(lambda: blocks.PReLU(3), ((4, 3),), lambda b, x: F.prelu(x, b.weight), wrong=((4, 2),)),
    Case(
        lambda: blocks.PReLU(3),
        ((2, 3, 2, 2),),
        lambda b, x: F.prelu(x, b.weight),
        wrong=((2, 2, 3, 3),),
        title="PReLU(3), 4 axes",
    ),
    *[
        Case(
            lambda shape=shape: blocks.PReLU(shape=shape),
            ((3, 2, 4),),
            lambda b, x: torch.where(x > 0, x, b.weight * x),
            wrong=((3, 2, 5, 3),),
            batch=None if shape == (3, 1, 1) else 0,
        )
        for shape in ((2, 1), [1, 2, 4], (3, 1, 1))
    ],
    Case(lambda: blocks.PReLU(shape=()), ((3, 2),), lambda b, x: F.prelu(x, b.weight.view(1)), title="PReLU, no axis"),
    Case(blocks.ELU, ((3, 4),), of_x(F.elu)),
    Case(lambda: blocks.ELU(0.5), ((2, 3, 2, 2),), of_x(F.elu, 0.5)),
    Case(blocks.CELU, ((3, 4),), of_x(F.celu)),
    Case(  # torch's own F.celu is no oracle in float64: its backward rounds 1 / alpha to float32
        lambda: blocks.CELU(0.4), ((2, 3, 2, 2),), of_x(lambda x: torch.where(x > 0, x, 0.4 * torch.expm1(x / 0.4)))
    ),
    Case(blocks.SELU, ((3, 4),), of_x(F.selu)),
    Case(lambda: blocks.SELU(0.5, 2.0), ((3, 4),), of_x(lambda x: 2 * F.elu(x, 0.5))),
]
