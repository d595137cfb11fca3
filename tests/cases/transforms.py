"""Rows of random changes of pictures.

training=True stands by all of them: the common checks then know that another block draws other numbers. What they
skip for it, tests/blocks/test_transforms.py checks.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, rows


def jittered(block: blocks.Jitter, x: Tensor) -> Tensor:
    if block.mode == "wrap":
        return torch.stack([e.roll(shift, (1, 2)) for e, shift in zip(x, block.draw(x), strict=True)])
    whole = torch.stack([e.roll(shift, (1, 2)) for e, shift in zip(x, block.draw(x), strict=True)])
    return F.pad(whole, [-block.reach] * 4)


def cropped(block: blocks.RandomCrop, x: Tensor) -> Tensor:
    h, w = (block.size, block.size) if isinstance(block.size, int) else block.size
    corners = block.draw(x)
    return torch.stack([e.roll((-i, -j), (1, 2))[:, :h, :w] for e, (i, j) in zip(x, corners, strict=True)])


def moved(block: blocks.RandomAffine, x: Tensor) -> Tensor:
    """By the matrices of torch's affine_grid."""
    h, w = x.shape[2:]
    maps = []
    for angle, scale, down, right in block.draw(x).tolist():
        cos, sin = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
        turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=x.dtype)  # of (column, row) in elements
        shift = -turn @ torch.tensor([right, down], dtype=x.dtype)
        elements = torch.tensor([w / 2, h / 2], dtype=x.dtype)
        maps.append(torch.cat([turn * elements / elements[:, None], (shift / elements)[:, None]], 1))
    grid = F.affine_grid(torch.stack(maps), list(x.shape), align_corners=False)
    if block.border == "replicate":
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    covered = F.grid_sample(torch.ones_like(x), grid, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False) + (1 - covered) * block.border


def noisy(block: blocks.Noise, x: Tensor) -> Tensor:
    return x + block.draw(x)


CASES: list[Case] = [
    *rows(
        blocks.Jitter,
        [{"reach": 0}, {"reach": 1}, {"reach": 2, "mode": "crop"}],
        (3, 2, 5, 6),
        jittered,
        wrong=((3, 5, 6),),
        training=True,
    ),
    Case(
        lambda: blocks.Jitter(2), ((1, 2, 5, 6),), jittered, wrong=((1, 2, 4, 6),), training=True, title="Jitter, one"
    ),
    *rows(
        blocks.Jitter,
        [{"reach": reach, "mode": "wrap"} for reach in (0, 1, 9)],
        (3, 2, 4, 5),
        jittered,
        wrong=((3, 2, 0, 5),),
        training=True,
    ),
    *rows(
        blocks.RandomCrop,
        [{"size": size} for size in (1, 4, (3, 5), [4, 2])],
        (3, 2, 4, 5),
        cropped,
        wrong=((3, 2, 4, 0),),
        training=True,
    ),
    *rows(
        blocks.RandomAffine,
        [
            {},
            {"degrees": 180.0},
            {"scales": (0.6, 1.7)},
            {"shift": 2.5},
            {"degrees": 20, "scales": [0.8, 1.2], "shift": 1, "border": 0},
            {"degrees": 30, "scales": (0.5, 0.9), "shift": 1.5, "border": "replicate"},
        ],
        (3, 2, 4, 5),
        moved,
        wrong=((3, 4, 5),),
        training=True,
    ),
    Case(lambda: blocks.RandomAffine(50, (0.9, 1.1), 2, -1.5), ((2, 3, 1, 7),), moved, training=True),
    *rows(blocks.Noise, [{"deviation": 0.0}, {"deviation": 0.3}], (2, 2, 2, 4), noisy, training=True),
]
