"""Rows of blocks whose output has as many rows as the numbers in their input say."""

import torch
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case


def boxes(generator: torch.Generator) -> tuple[Tensor, ...]:
    corners = torch.rand(2, 12, 2, generator=generator)
    sizes = 0.3 + 0.4 * torch.rand(2, 12, 2, generator=generator)
    return torch.cat([corners, corners + sizes], 2), torch.rand(2, 3, 12, generator=generator)


def one_by_one(block: blocks.NonMaxSuppression, corners: Tensor, scores: Tensor) -> Tensor:
    """Every pair of boxes by itself, as the standard describes it."""
    rows, corners, scores = [], corners.detach(), scores.detach()
    for n in range(len(corners)):
        for kind in range(scores.shape[1]):
            chosen: list[int] = []
            for box in sorted(range(corners.shape[1]), key=lambda i: -float(scores[n, kind, i])):
                is_good = block.least is None or float(scores[n, kind, box]) > block.least
                overlaps = [overlap(*(span(corners[n, i].tolist(), block) for i in (box, other))) for other in chosen]
                if is_good and len(chosen) < block.most and all(o <= block.overlap for o in overlaps):
                    chosen.append(box)
            rows += [(n, kind, box) for box in chosen]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


def span(box: list[float], block: blocks.NonMaxSuppression) -> tuple[tuple[float, float], ...]:
    """Where it begins and ends along both axes."""
    if block.centered:
        return tuple((box[i] - box[i + 2] / 2, box[i] + box[i + 2] / 2) for i in (0, 1))
    return tuple((min(box[i], box[i + 2]), max(box[i], box[i + 2])) for i in (0, 1))


def overlap(a: tuple[tuple[float, float], ...], b: tuple[tuple[float, float], ...]) -> float:
    common = both = 1.0
    for (low, high), (other_low, other_high) in zip(a, b, strict=True):
        common *= max(min(high, other_high) - max(low, other_low), 0)
    areas = [(one[0][1] - one[0][0]) * (one[1][1] - one[1][0]) for one in (a, b)]
    both = sum(areas) - common
    return common / both if both else 0.0


CASES: list[Case] = [
    *[
        Case(
            lambda settings=settings: blocks.NonMaxSuppression(**settings),
            boxes,
            one_by_one,
            wrong=((2, 3, 4), (2, 3, 5)),
            batch=None,
            differentiable=False,
        )
        for settings in (
            {"most": 4, "overlap": 0.3},
            {"most": 12, "overlap": 0.5, "least": 0.4},
            {"most": 3, "overlap": 0.2, "centered": True},
            {"most": 0, "overlap": 0.2},
        )
    ],
    Case(
        blocks.NonZero,
        lambda generator: (torch.randint(0, 2, (3, 4), generator=generator),),
        lambda _, x: torch.stack(torch.where(x != 0)),
        batch=None,
    ),
    *[
        Case(
            lambda given=given: blocks.MaxPlaces(*given[0]),
            (given[1],),
            lambda b, x, pool=pool: pool(x, b.kernel, b.stride, b.padding, b.dilation, b.ceil_mode, True)[1],
            wrong=((2, 3),),
            batch=None,
            differentiable=False,
            title=f"MaxPlaces, {given}",
        )
        for pool, given in (
            (torch.nn.functional.max_pool2d, ((2,), (1, 1, 6, 5))),
            (torch.nn.functional.max_pool2d, ((3, 2, 1, 1, True), (1, 1, 6, 5))),
            (torch.nn.functional.max_pool1d, ((2, 1), (1, 1, 7))),
        )
    ],
]
