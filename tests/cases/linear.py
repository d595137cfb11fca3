"""Rows of linear maps and tables of rows."""

import torch
import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
    Case(lambda: blocks.Linear(4, 3), ((5, 4),), lambda b, x: F.linear(x, b.weight, b.bias), wrong=((5, 3),)),
    Case(lambda: blocks.Linear(4, 3, with_bias=False), ((5, 4),), lambda b, x: F.linear(x, b.weight)),
    Case(lambda: blocks.Linear(4, 3), ((2, 5, 4),), lambda b, x: F.linear(x, b.weight, b.bias), title="Linear, 3 axes"),
    Case(
        lambda: blocks.Embedding(5, 3),
        lambda generator: (torch.randint(0, 5, (4, 3), generator=generator),),
        lambda b, x: F.embedding(x, b.weight),
        wrong=((4, 3),),
    ),
    Case(
        lambda: blocks.Embedding(5, 3, padding=2),
        lambda _: (torch.tensor([[0, 1], [4, 3], [4, 4]]),),
        lambda b, x: F.embedding(x, b.weight, padding_idx=2),
        wrong=((4, 3),),
    ),
]
