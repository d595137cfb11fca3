"""Rows of dropout."""

import torch

from blockprop import blocks
from tests.cases.case import Case, of_x

CASES: list[Case] = [
    Case(blocks.Dropout, ((3, 4),), of_x(torch.clone), title="Dropout, evaluation"),
    Case(blocks.Dropout, ((3, 5),), lambda b, x: x * b.mask(x), training=True, title="Dropout, training"),
    Case(lambda: blocks.Dropout(0.2), ((2, 3, 2, 2),), lambda b, x: x * b.mask(x), training=True),
    Case(
        lambda: blocks.Dropout(0.4, channels=True),
        ((3, 4, 2, 2),),
        lambda b, x: x * b.mask(x).expand_as(x),
        wrong=((3,),),
        training=True,
    ),
    Case(lambda: blocks.Dropout(0.0), ((3, 4),), of_x(torch.clone), training=True),
    Case(lambda: blocks.Dropout(1.0), ((3, 4),), of_x(torch.mul, 0), training=True),
]
