"""Rows of what makes pictures."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, rows


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


CASES: list[Case] = [
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
]
