"""Infinite and NaN slopes at the outputs of every block, beside torch's autograd.

Where torch has a number, infinite or not, the block must have one, too: the same, if it is infinite. Where torch has
NaN anything goes, as when a slope of 0 meets an infinite d_y.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from tests.blocks.running import back, by_autograd, made, run, seeds_for
from tests.cases import Case

OTHERWISE = {
    "Einsum, ab,bc,cd,db->a, (2, 3) (3, 2) (2, 2) (2, 3)": "a product of more than three multiplies in another order, "
    "by which infinities of both signs meet",
    "Attention, bool mask (2, 1, 1, 4)": "infinities of both signs meet in the sums over a row, which torch multiplies "
    "with what is masked in another order",
}
"""The rows that give NaN where torch gives a number, and why; docs/numerics.md states it. None may be added."""


def slopes(outputs: tuple[Tensor, ...]) -> Iterator[tuple[str, tuple[Tensor | None, ...]]]:
    """(title, d_outputs): of each output in turn all numbers ∞, one of them −∞, or one of them NaN."""
    usual = seeds_for(outputs)
    for i, d in enumerate(usual):
        if d is None or not d.numel():
            continue
        given = {"all ∞": torch.full_like(d, math.inf)}
        for name, value in (("−∞", -math.inf), ("NaN", math.nan)):
            given[f"one {name}"] = d.clone()
            given[f"one {name}"].view(-1)[d.numel() // 2] = value
        for name, one in given.items():
            yield f"{name} at output {i}", tuple(one if j == i else other for j, other in enumerate(usual))


def departures(case: Case, dtype: torch.dtype = torch.float32) -> Iterator[str]:
    """Where the row's block has no number and torch has one, or another infinity, in words."""
    block, inputs = made(case, dtype), case.tensors(dtype)
    for title, d_outputs in slopes(run(block, case, *inputs)[0]):
        _, saved = run(block, case, *inputs)
        d_inputs, gradients = back(block, saved, d_outputs)
        _, _, _, their_d_inputs, their_gradients = by_autograd(block, case, inputs, d_outputs)
        pairs = {f"d_input {i}": pair for i, pair in enumerate(zip(d_inputs, their_d_inputs, strict=True))}
        pairs |= {f"d_{name}": (d, their_gradients[name]) for name, d in gradients.items()}
        for name, (mine, theirs) in pairs.items():
            if mine is not None and theirs is not None:
                right = theirs.isnan() | (mine == theirs) | (mine.isfinite() & theirs.isfinite())
                if not right.all():
                    numbers = [one[~right].flatten()[:3].tolist() for one in (mine, theirs)]
                    yield f"{case}, {title}: {name} is {numbers[0]}, torch's {numbers[1]}"
