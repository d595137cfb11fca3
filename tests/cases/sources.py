"""Rows of numbers that come from nowhere."""

import torch

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
    Case(lambda: blocks.Parameter((2, 3)), (), lambda b: b.value + 0, batch=None),
    Case(lambda: blocks.Constant([2, 3]), (), lambda b: b.value, batch=None, differentiable=False),
    Case(
        lambda: blocks.Filled(("a0", 3), 0.5, "float64"),
        ((2, 4),),
        lambda *_: torch.full((2, 3), 0.5, dtype=torch.float64),
        batch=None,
    ),
    Case(lambda: blocks.Range(1, "a0*a1", 2), ((2, 4),), lambda *_: torch.arange(1, 8, 2), batch=None),
]
