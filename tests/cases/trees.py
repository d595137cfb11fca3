"""Rows of decision trees."""

import torch
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case

TREES: tuple[tuple[int, float, str, int, int], ...] = (
    # feature, threshold, what leads to yes ("<=" and, with n, NaN), yes, no; the roots are 0, 2 and the last leaf
    (0, 0.1, "<=", 1, -1),
    (2, -0.3, ">n", -2, -3),
    (1, 0.5, "<n", -4, 3),
    (3, 0.0, "<>", -5, -6),
)
ROOTS = (0, 2, -7)


def ensemble(outputs: int, aggregate: str = "sum") -> blocks.Trees:
    """Three trees of two levels, one level and none."""
    block = blocks.Trees(len(TREES), 7, outputs, len(ROOTS), 2, aggregate)
    feature, threshold, ways, yes, no = zip(*TREES, strict=True)
    block.feature, block.yes, block.no = (torch.tensor(numbers) for numbers in (feature, yes, no))
    block.threshold, block.roots = torch.tensor(threshold), torch.tensor(ROOTS)
    for sign, name in (("<", "below"), ("=", "equal"), (">", "above"), ("n", "missing")):
        setattr(block, name, torch.tensor([sign in way for way in ways]))
    block.values = torch.linspace(-1, 2, 7 * outputs).view(7, outputs)
    return block


def leaf_of(row: list[float], at: int, thresholds: list[float]) -> int:
    """One row through one tree, step by step."""
    while at >= 0:
        (feature, _, ways, yes, no), threshold = TREES[at], thresholds[at]
        x = row[feature]
        way = "n" if x != x else "<" if x < threshold else "=" if x == threshold else ">"
        at = yes if way in ways else no
    return -1 - at


def by_walking(block: blocks.Trees, x: Tensor) -> Tensor:
    thresholds = block.threshold.tolist()
    ends = [[leaf_of(row, root, thresholds) for root in ROOTS] for row in x.tolist()]
    leaves = torch.tensor(ends, dtype=torch.int64)
    values = block.values[leaves.view(len(x), len(ROOTS))]
    reduce = {"sum": Tensor.sum, "mean": Tensor.mean, "min": Tensor.amin, "max": Tensor.amax}
    return reduce[block.aggregate](values, 1)


def with_gaps(generator: torch.Generator) -> tuple[Tensor, ...]:
    x = torch.randn(40, 4, generator=generator)
    x[torch.rand(40, 4, generator=generator) < 0.2] = torch.nan
    return (x,)


CASES: list[Case] = [
    *[
        Case(
            lambda outputs=outputs, aggregate=aggregate: ensemble(outputs, aggregate),
            ((30, 4),),
            by_walking,
            wrong=((3, 3),),
            title=f"Trees, {aggregate} of {outputs}",
        )
        for outputs, aggregate in ((1, "sum"), (3, "sum"), (2, "mean"), (2, "min"), (2, "max"))
    ],
    Case(lambda: ensemble(2), with_gaps, by_walking, differentiable=False, title="Trees, with NaN"),
    Case(
        lambda: ensemble(2),
        lambda generator: (torch.randint(-2, 3, (20, 4), generator=generator),),
        by_walking,
        title="Trees, of integers",
    ),
]
