"""Pictures in another size; the middle of a picture, enlarged and turned; noise of all sizes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.precision import wide

NOISE = 0.1
"""Standard deviation of noise, on gray."""
FINEST = 4
"""Pixels of its finest grain."""


def scaled(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture in another size, bilinear, smoothed where it shrinks; itself if it has the size."""
    if picture.shape[2:] == (height, width):
        return picture
    return F.interpolate(wide(picture), (height, width), mode="bilinear", antialias=True).to(picture.dtype)


def with_longest(picture: Tensor, longest: int) -> Tensor:
    """A picture whose longer side has so many pixels, bicubic, smoothed where it shrinks; itself if it has."""
    if max(picture.shape[2:]) == longest:
        return picture
    height, width = (max(1, round(side * longest / max(picture.shape[2:]))) for side in picture.shape[2:])
    return F.interpolate(wide(picture), (height, width), mode="bicubic", antialias=True).clamp_(0, 1).to(picture.dtype)


def zoomed(picture: Tensor, factor: float, degrees: float = 0.0) -> Tensor:
    """What is in the middle of a picture, so much larger, turned counterclockwise; its edges mirror what is inside."""
    if factor == 1 and degrees == 0:
        return picture
    kind, picture = picture.dtype, wide(picture)  # for the places, as in GridSample
    n, _, height, width = picture.shape
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle) / factor, math.sin(angle) / factor
    rows = [[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]]
    matrix = torch.tensor(rows, dtype=picture.dtype, device=picture.device).expand(n, 2, 3)
    grid = F.affine_grid(matrix, list(picture.shape), align_corners=False)
    turned = F.grid_sample(picture, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return turned.clamp_(0, 1).to(kind)


def noise(channels: int, height: int, width: int, seed: int) -> Tensor:
    """Gray with noise, (1, channels, h, w): each size of grain, from a few pixels on, is as strong as any other."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, channels, height, width)
    rows, columns = max(1, height // FINEST), max(1, width // FINEST)
    while min(rows, columns) >= 1:
        total += scaled(torch.randn(1, channels, rows, columns, generator=generator), height, width)
        rows, columns = rows // 2, columns // 2
    return (0.5 + NOISE * total / total.std()).clamp_(0, 1)
