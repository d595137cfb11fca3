"""Rows of normalization over rows and groups of channels."""

import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case, of_x

CASES: list[Case] = [
    Case(
        lambda: blocks.LayerNorm(4),
        ((3, 4),),
        lambda b, x: F.layer_norm(x, (4,), b.weight, b.bias),
        wrong=((4, 3),),
    ),
    Case(
        lambda: blocks.LayerNorm((3, 2, 4), epsilon=0.1),
        ((2, 3, 2, 4),),
        lambda b, x: F.layer_norm(x, (3, 2, 4), b.weight, b.bias, 0.1),
        wrong=((2, 4),),
    ),
    Case(lambda: blocks.LayerNorm([4], affine=False), ((2, 3, 4),), of_x(F.layer_norm, (4,))),
    Case(
        lambda: blocks.GroupNorm(2, 6),
        ((3, 6),),
        lambda b, x: F.group_norm(x, 2, b.weight, b.bias),
        wrong=((3, 4),),
    ),
    Case(
        lambda: blocks.GroupNorm(2, 4, epsilon=0.1),
        ((2, 4, 2, 3),),
        lambda b, x: F.group_norm(x, 2, b.weight, b.bias, 0.1),
        wrong=((2, 2, 2, 3),),
    ),
    Case(lambda: blocks.GroupNorm(1, 4, affine=False), ((3, 4, 2),), of_x(F.group_norm, 1)),
]
