"""Rows of regions of pictures."""

import itertools

import torch
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, spread


def roi_align(block: blocks.RoiAlign, x: Tensor, rois: Tensor, batch_index: Tensor) -> Tensor:
    """By the operator's definition, bin by bin and place by place."""
    offset = 0.5 if block.coordinates == "half_pixel" else 0.0
    outputs = block.output_size if isinstance(block.output_size, tuple) else (block.output_size,) * 2
    pooled = []
    for n, roi in zip(batch_index.tolist(), rois.tolist(), strict=True):
        left, top, right, bottom = (corner * block.scale - offset for corner in roi)
        extents = [bottom - top, right - left]
        if offset == 0:
            extents = [max(extent, 1.0) for extent in extents]
        bins = [extent / output for extent, output in zip(extents, outputs, strict=True)]
        counts = [block.sampling_ratio or int(-(-size // 1)) for size in bins]
        for p in itertools.product(*map(range, outputs)):
            starts = [start + place * size for start, place, size in zip((top, left), p, bins, strict=True)]
            rows, columns = (
                [start + (k + 0.5) / count * size for k in range(count)]
                for start, size, count in zip(starts, bins, counts, strict=True)
            )
            reads = torch.stack([_around(x[n], v, u) for v in rows for u in columns])  # (reads, 4, c)
            pooled.append(reads.flatten(0, 1).max(0).values if block.mode == "max" else reads.sum(1).mean(0))
    return torch.stack(pooled).view(len(rois), *outputs, -1).permute(0, 3, 1, 2)


def _around(x: Tensor, v: float, u: float) -> Tensor:
    """The four weighted elements of x: (c, h, w) around row v and column u."""
    _, h, w = x.shape
    if not (-1 <= v <= h and -1 <= u <= w):
        return 0 * x[:, 0, 0].expand(4, -1)
    v, u = min(max(v, 0.0), h - 1.0), min(max(u, 0.0), w - 1.0)
    top, left = int(v), int(u)
    return torch.stack(
        [
            x[:, min(top + i, h - 1), min(left + j, w - 1)]
            * ((v - top if i else 1 - v + top) * (u - left if j else 1 - u + left))
            for i, j in itertools.product((0, 1), repeat=2)
        ]
    )


def regions(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Two pictures and regions of them: whole numbers, as what has no derivative, but not so after scaling."""
    rois = torch.tensor([[1, 2, 11, 9], [-4, -3, 3, 4], [6, 1, 17, 14], [3, 3, 4, 4]])
    return spread((2, 2, 4, 5), generator), rois, torch.tensor([0, 1, 0, 1])


CASES: list[Case] = [
    *[
        Case(
            lambda given=given: blocks.RoiAlign(**given),
            regions,
            roi_align,
            wrong=((2, 2, 4, 5), (3, 5), (3,)),
            batch=None,
        )
        for given in (
            {},
            {"output_size": 2, "scale": 0.33},
            {"output_size": [3, 2], "scale": 0.29, "sampling_ratio": 2},
            {"output_size": (1, 4), "scale": 0.33, "coordinates": "output_half_pixel"},
            {"output_size": 2, "scale": 0.37, "sampling_ratio": 2, "mode": "max"},
            {"output_size": (2, 3), "scale": 0.37, "mode": "max", "coordinates": "output_half_pixel"},
        )
    ],
]
