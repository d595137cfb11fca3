"""Rows of what makes pictures, and of their random changes.

training=True stands by all random rows: the common checks then know that another block draws other numbers. What they
skip for it, tests/test_transforms.py checks.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case


def from_spectrum(block: blocks.Spectrum, x: Tensor) -> Tensor:
    """As lucid writes it."""
    fy = torch.fft.fftfreq(block.height, dtype=torch.float64)[:, None]
    fx = torch.fft.rfftfreq(block.width, dtype=torch.float64)
    largest = max(block.height, block.width)
    scale = 1 / (fx**2 + fy**2).sqrt().clamp(min=1 / largest) ** block.decay
    y = torch.fft.irfft2(torch.complex(x[..., 0], x[..., 1]) * scale.to(x), (block.height, block.width), norm="ortho")
    return y / 4


def mixed(block: blocks.ColorMix, x: Tensor) -> Tensor:
    """As lucid writes it."""
    rows = block.matrix or [[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]]
    matrix = torch.tensor(rows, dtype=torch.float64)
    if block.matrix is None:
        matrix = matrix / matrix.norm(dim=0).max()
    return F.conv2d(x, matrix.to(x)[:, :, None, None])


def blurred(block: blocks.Blur, x: Tensor) -> Tensor:
    """By a convolution of x and one of ones."""
    radius = int(4 * block.sigma + 0.5) if block.radius is None else block.radius
    line = torch.exp(-(torch.arange(-radius, radius + 1, dtype=x.dtype) ** 2) / (2 * block.sigma**2))
    kernel = torch.outer(line, line)[None, None]
    spread, ones = (F.conv2d(t.flatten(0, 1)[:, None], kernel, padding=radius) for t in (x, torch.ones_like(x)))
    return (spread / ones).view(x.shape)


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


def rows(
    make: Callable[..., Any], settings: list[dict[str, Any]], shape: tuple[int, ...], reference: Any, **more: Any
) -> list[Case]:
    """One row for each settings."""
    return [Case(lambda given=given: make(**given), (shape,), reference, **more) for given in settings]


RANDOM = [
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

CASES = [
    *[
        Case(
            lambda size=size, decay=decay: blocks.Spectrum(*size, decay),
            ((2, 3, size[0], size[1] // 2 + 1, 2),),
            from_spectrum,
            wrong=((2, 3, size[0], size[1] // 2 + 2, 2),),
        )
        for size, decay in [
            *itertools.product(((4, 6), (5, 6), (4, 7), (3, 5)), (1.0,)),
            ((6, 4), 0.0),
            ((7, 3), 1.5),
            ((1, 4), 1.0),
            ((1, 1), 2.0),
            ((2, 1), 1.0),
        ]
    ],
    *rows(
        blocks.ColorMix,
        [{}, {"matrix": [[1, 0, 0], [0.2, 2, 0], [0, 0, -1]]}],
        (2, 3, 4, 5),
        mixed,
        wrong=((2, 4, 4, 5),),
    ),
    *rows(blocks.ColorMix, [{"matrix": ((1, 0.5), (-0.5, 1))}], (2, 2, 1, 3), mixed, wrong=((2, 3, 1, 3),)),
    *rows(
        blocks.Blur,
        [{"sigma": 0.3}, {"sigma": 1.0}, {"sigma": 1, "radius": 0}, {"sigma": 2.2, "radius": 3}, {"sigma": 40.0}],
        (2, 3, 5, 6),
        blurred,
        wrong=((2, 3, 0, 6),),
    ),
    *rows(blocks.Blur, [{"sigma": 0.8}], (2, 1, 1, 4), blurred, wrong=((2, 1, 4),)),
    *RANDOM,
]
