"""Rows of pictures read along grids."""

import itertools

import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case, spread

CASES: list[Case] = [
    *[
        Case(
            lambda given=given: blocks.GridSample(*given),
            lambda g: (spread((2, 2, 4, 5), g), spread((2, 3, 2, 2), g, -1.67, 1.52)),
            lambda b, x, grid: F.grid_sample(x, grid, b.mode, b.padding_mode, b.align_corners),
            wrong=((2, 2, 4, 5), (2, 3, 2, 3)),
        )
        for given in itertools.product(
            ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)
        )
    ],
    *[
        Case(
            lambda given=given: blocks.GridSample(*given),
            lambda g: (spread((2, 2, 3, 2, 4), g), spread((2, 1, 2, 2, 3), g, -1.67, 1.52)),
            lambda b, x, grid: F.grid_sample(x, grid, b.mode, b.padding_mode, b.align_corners),
            wrong=((2, 2, 3, 2, 4), (2, 2, 2, 3)),
            title=f"GridSample{given}, 3 axes",
        )
        for given in (("bilinear", "zeros", False), ("bilinear", "reflection", True), ("nearest", "border", False))
    ],
    *[
        Case(
            lambda size=size, corners=corners: blocks.AffineGrid(size, corners),
            ((2, len(size), len(size) + 1),),
            lambda b, theta: F.affine_grid(theta, [len(theta), 1, *b.size], b.align_corners),
            wrong=((2, 2, 2),),
        )
        for size in ((3, 4), [2, 3, 2])
        for corners in (False, True)
    ],
]
