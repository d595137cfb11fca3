"""Pictures read along a grid of computed places."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.resampling import one_of
from blockprop.blocks.sizes import Size, checked, sizes_of
from blockprop.engine.block import Block
from blockprop.engine.precision import all_finite, shares, wide
from blockprop.errors import SettingError, ShapeError


class _Tap(NamedTuple):
    """One of the places along one axis that a sample takes a part of; all tensors are (n, samples)."""

    place: Tensor
    weight: Tensor
    slope: Tensor
    """The derivative of the weight by the coordinate."""


class GridSample(Block):
    """x read at the places that a grid names:  y[n, c, p] = Σ_k w_k x[n, c, k],  w = weights around u(grid[n, p]).

    d_x[n, c, k] = Σ_p w_k d_y[n, c, p]
    d_grid[n, p] = Σ_c d_y[n, c, p] Σ_k ∂w_k/∂grid x[n, c, k]

    The grid goes from −1 to 1: from the outer edges of the first and last element, u = ((g + 1) size − 1) / 2, or with
    align_corners from their middles, u = (g + 1) (size − 1) / 2. Its last axis counts from the last axis of x: (x, y).
    mode: "bilinear" has two places along each axis, of weights 1 − |distance|, "bicubic" four, of Keys's polynomials
    with a = −0.75, "nearest" one of weight 1 (halves go to the even place), so that its d_grid is 0.
    padding_mode: places outside of x are 0 ("zeros"), the nearest end of x ("border"), or x mirrored at its edges
    ("reflection"); where a place is moved to the border, d_grid is 0. At kinks the derivative is that to the right.
    Infinity has no mirror image: it and NaN stand for the first place, or with depth for the last, as in torch.

    x: (n, c, h, w), grid: (n, h', w', 2), y: (n, c, h', w'), or all of them with depth: (n, c, d, h, w) and 3 numbers
    Raises ShapeError for other shapes, and for depth with "bicubic"; SettingError for other modes.
    Source: Jaderberg et al. 2015, eqs. 3 to 7; the settings are those of torch's grid_sample.
    """

    kind = "image"

    def __init__(self, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False):
        one_of("mode", mode, ("bilinear", "nearest", "bicubic"))
        one_of("padding_mode", padding_mode, ("zeros", "border", "reflection"))
        self.mode, self.padding_mode, self.align_corners = mode, padding_mode, align_corners

    def forward(self, x: Tensor, grid: Tensor) -> tuple[Tensor, Any]:
        axes = x.dim() - 2
        if axes not in (2, 3) or grid.dim() != x.dim() or len(grid) != len(x) or grid.shape[-1] != axes:
            raise ShapeError(f"expected (n, c, h, w) and (n, h', w', 2), came {tuple(x.shape)} and {tuple(grid.shape)}")
        if min(x.shape[1:]) < 1 or (axes == 3 and self.mode == "bicubic"):
            raise ShapeError(f"expected some places, and two axes of them for 'bicubic', came {tuple(x.shape)}")
        # in half precision torch rounds places by whole elements, and gives NaN in pictures of 200
        y = F.grid_sample(wide(x), wide(grid), self.mode, self.padding_mode, self.align_corners)
        return y.to(x.dtype), (x, grid)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        x, grid = saved
        sizes = x.shape[2:]
        pixels, d, coordinates = wide(x).flatten(2), wide(d_y).flatten(2), wide(grid).flatten(1, -2)
        nowhere = [0 if len(sizes) == 2 else size - 1 for size in sizes]
        taps = [self._taps(coordinates[..., -1 - i], size, nowhere[i]) for i, size in enumerate(sizes)]
        d_x, d_grid = torch.zeros_like(pixels), torch.zeros_like(coordinates)
        slopes = [torch.zeros_like(d) for _ in sizes if self.mode != "nearest"]  # of y by each coordinate
        times = torch.mul if all_finite(d) and all_finite(pixels) else shares
        for corner in itertools.product(*taps):
            place = corner[0].place
            for tap, size in zip(corner[1:], sizes[1:], strict=True):
                place = place * size + tap.place
            places = place.unsqueeze(1).expand(d.shape)
            weights = [tap.weight for tap in corner]
            weight = math.prod(weights[1:], start=weights[0]).unsqueeze(1)
            d_x.scatter_add_(2, places, times(weight, d))
            if not slopes:
                continue
            read = pixels.gather(2, places)
            for axis, tap in enumerate(corner):
                others = [*weights[:axis], *weights[axis + 1 :]]
                slopes[axis] += times(math.prod(others, start=tap.slope).unsqueeze(1), read)
        for axis, slope in enumerate(slopes):
            d_grid[..., -1 - axis] = times(slope, d).sum(1)
        return d_x.view(x.shape).to(x.dtype), d_grid.view(grid.shape).to(grid.dtype)

    def _taps(self, g: Tensor, size: int, nowhere: int) -> list[_Tap]:
        """The places along one axis, their weights, and these weights' derivatives by g. nowhere: see _moved."""
        reach = (size - 1) / 2 if self.align_corners else size / 2
        u = (g + 1) * reach - (0.0 if self.align_corners else 0.5)
        if self.mode == "bicubic":  # moves the four places into x, not the coordinate between them
            first = u.floor()
            places = [self._moved(first + k, size, nowhere)[0] for k in (-1, 0, 1, 2)]
            weights = _keys(u - first)
            return [
                self._tap(p, weight, slope * reach, size) for p, (weight, slope) in zip(places, weights, strict=True)
            ]
        u, direction = self._moved(u, size, nowhere)
        if self.mode == "nearest":
            return [self._tap(u.round(), torch.ones_like(u), torch.zeros_like(u), size)]
        first, slope = u.floor(), direction * reach
        part = u - first
        return [self._tap(first, 1 - part, -slope, size), self._tap(first + 1, part, slope, size)]

    def _moved(self, u: Tensor, size: int, nowhere: int) -> tuple[Tensor, Tensor]:
        """The coordinate that stands for u by the padding mode, and its derivative by u.

        nowhere: what stands for NaN, which is also what is left of infinity when it is mirrored.
        """
        direction = torch.ones_like(u)
        if self.padding_mode == "zeros":
            return u, direction
        if self.padding_mode == "reflection":
            low = 0.0 if self.align_corners else -0.5
            span = size - 1 + (0.0 if self.align_corners else 1.0)
            if not span:
                return torch.zeros_like(u), torch.zeros_like(u)
            away = u - low
            turns = (away.abs() / span).floor()
            rest, odd = away.abs() - turns * span, turns % 2
            direction = torch.where(odd > 0, -1.0, 1.0) * torch.where(away < 0, -1.0, 1.0)
            u = torch.where(odd > 0, span - rest, rest) + low
        inside = (u > 0) & (u < size - 1)
        return u.clamp(0, size - 1).nan_to_num_(nowhere), direction * inside

    def _tap(self, place: Tensor, weight: Tensor, slope: Tensor, size: int) -> _Tap:
        outside = ~((place >= 0) & (place <= size - 1))
        places = place.long().clamp(0, size - 1)
        return _Tap(places, weight.masked_fill(outside, 0), slope.masked_fill(outside, 0))


class AffineGrid(Block):
    """The grid of an affine map, for GridSample:  y[n, p] = x[n] (p, 1)ᵀ, for places p from −1 to 1.

    d_x[n] = Σ_p d_y[n, p]ᵀ (p, 1)

    x: (n, 2, 3), y: (n, h, w, 2) with size = (h, w); or x: (n, 3, 4), y: (n, d, h, w, 3) with size = (d, h, w)
    size: numbers, or formulas (see sizes.py) of x and of what further inputs there are for their sizes alone
    −1 and 1 are the outer edges of the picture, or with align_corners the middles of its first and last elements.
    Raises ShapeError for another x, SettingError for another number of sizes or sizes below 1.
    Source: Jaderberg et al. 2015, eq. 1; torch's affine_grid.
    """

    kind = "image"

    def __init__(self, size: Sequence[Size], align_corners: bool = False):
        self.size, self.align_corners = tuple(checked(side) for side in size), align_corners
        if len(self.size) not in (2, 3) or any(isinstance(side, int) and side < 1 for side in self.size):
            raise SettingError(f"size must be two or three numbers of at least 1, came {self.size}")

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, Any]:
        axes = len(self.size)
        if x.dim() != 3 or x.shape[1:] != (axes, axes + 1):
            raise ShapeError(f"expected (n, {axes}, {axes + 1}), came {tuple(x.shape)}")
        sides = sizes_of(self.size, (x, *others))
        places = self._places(sides, wide(x))
        return (places @ wide(x).transpose(1, 2)).unflatten(1, sides).to(x.dtype), (places, len(others))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        places, others = saved
        return ((wide(d_y).flatten(1, -2).transpose(1, 2) @ places).to(d_y.dtype), *(None,) * others)

    def _places(self, sides: Sequence[int], like: Tensor) -> Tensor:
        """(p, 1) for all places p: (places, axes + 1)."""
        lines = []
        for size in sides:
            edge = float(size > 1) if self.align_corners else (size - 1) / size
            lines.append(torch.linspace(-edge, edge, size, dtype=like.dtype, device=like.device))
        columns = [*reversed(torch.meshgrid(*lines, indexing="ij"))]
        return torch.stack([*columns, torch.ones_like(columns[0])], -1).flatten(0, -2)


def _keys(part: Tensor, a: float = -0.75) -> list[tuple[Tensor, Tensor]]:
    """(weight, its slope) of the places at −1, 0, 1 and 2, seen from a coordinate that is `part` behind 0."""
    pairs: list[tuple[Tensor, Tensor]] = []
    for distance, toward in ((part + 1, 1.0), (part, 1.0), (1 - part, -1.0), (2 - part, -1.0)):
        if len(pairs) in (1, 2):
            weight = ((a + 2) * distance - (a + 3)) * distance * distance + 1
            slope = (3 * (a + 2) * distance - 2 * (a + 3)) * distance
        else:
            weight = ((distance - 5) * distance + 8) * distance * a - 4 * a
            slope = ((3 * distance - 10) * distance + 8) * a
        pairs.append((weight, slope * toward))
    return pairs
