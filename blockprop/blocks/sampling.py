"""Pictures read at computed places: along a grid, or in regions of interest."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.convolution import Sizes, per_axis, untouched
from blockprop.blocks.resampling import one_of
from blockprop.engine.block import Block
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
    d_grid[n, p] = Σ_k ∂w_k/∂grid Σ_c x[n, c, k] d_y[n, c, p]

    The grid goes from −1 to 1: from the outer edges of the first and last element, u = ((g + 1) size − 1) / 2, or with
    align_corners from their middles, u = (g + 1) (size − 1) / 2. Its last axis counts from the last axis of x: (x, y).
    mode: "bilinear" has two places along each axis, of weights 1 − |distance|, "bicubic" four, of Keys's polynomials
    with a = −0.75, "nearest" one of weight 1 (halves go to the even place), so that its d_grid is 0.
    padding_mode: places outside of x are 0 ("zeros"), the nearest end of x ("border"), or x mirrored at its edges
    ("reflection"); where a place is moved to the border, d_grid is 0. At kinks the derivative is that to the right.

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
        return F.grid_sample(x, grid, self.mode, self.padding_mode, self.align_corners), (x, grid)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        x, grid = saved
        sizes = x.shape[2:]
        pixels, d, coordinates = x.flatten(2), d_y.flatten(2), grid.flatten(1, -2)
        taps = [self._taps(coordinates[..., -1 - axis], size) for axis, size in enumerate(sizes)]
        d_x, d_grid = torch.zeros_like(pixels), torch.zeros_like(coordinates)
        for corner in itertools.product(*taps):
            place = corner[0].place
            for tap, size in zip(corner[1:], sizes[1:], strict=True):
                place = place * size + tap.place
            places = place.unsqueeze(1).expand(d.shape)
            weights = [tap.weight for tap in corner]
            d_x.scatter_add_(2, places, math.prod(weights[1:], start=weights[0]).unsqueeze(1) * d)
            if self.mode == "nearest":
                continue
            felt = (pixels.gather(2, places) * d).sum(1)
            for axis, tap in enumerate(corner):
                others = [*weights[:axis], *weights[axis + 1 :]]
                d_grid[..., -1 - axis] += math.prod(others, start=tap.slope) * felt
        return d_x.view(x.shape), d_grid.view(grid.shape)

    def _taps(self, g: Tensor, size: int) -> list[_Tap]:
        """The places along one axis, their weights, and these weights' derivatives by g."""
        reach = (size - 1) / 2 if self.align_corners else size / 2
        u = (g + 1) * reach - (0.0 if self.align_corners else 0.5)
        if self.mode == "bicubic":  # moves the four places into x, not the coordinate between them
            first = u.floor()
            places = [self._moved(first + k, size)[0] for k in (-1, 0, 1, 2)]
            weights = _keys(u - first)
            return [
                self._tap(p, weight, slope * reach, size) for p, (weight, slope) in zip(places, weights, strict=True)
            ]
        u, direction = self._moved(u, size)
        if self.mode == "nearest":
            return [self._tap(u.round(), torch.ones_like(u), torch.zeros_like(u), size)]
        first, slope = u.floor(), direction * reach
        part = u - first
        return [self._tap(first, 1 - part, -slope, size), self._tap(first + 1, part, slope, size)]

    def _moved(self, u: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The coordinate that stands for u by the padding mode, and its derivative by u."""
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
        return u.clamp(0, size - 1), direction * inside

    def _tap(self, place: Tensor, weight: Tensor, slope: Tensor, size: int) -> _Tap:
        inside = (place >= 0) & (place <= size - 1)
        return _Tap(place.long().clamp(0, size - 1), weight * inside, slope * inside)


class AffineGrid(Block):
    """The grid of an affine map, for GridSample:  y[n, p] = x[n] (p, 1)ᵀ, for places p from −1 to 1.

    d_x[n] = Σ_p d_y[n, p]ᵀ (p, 1)

    x: (n, 2, 3), y: (n, h, w, 2) with size = (h, w); or x: (n, 3, 4), y: (n, d, h, w, 3) with size = (d, h, w)
    −1 and 1 are the outer edges of the picture, or with align_corners the middles of its first and last elements.
    Raises ShapeError for another x, SettingError for another number of sizes or sizes below 1.
    Source: Jaderberg et al. 2015, eq. 1; torch's affine_grid.
    """

    kind = "image"

    def __init__(self, size: Sequence[int], align_corners: bool = False):
        self.size, self.align_corners = tuple(size), align_corners
        if len(self.size) not in (2, 3) or min(self.size) < 1:
            raise SettingError(f"size must be two or three numbers of at least 1, came {self.size}")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        axes = len(self.size)
        if x.dim() != 3 or x.shape[1:] != (axes, axes + 1):
            raise ShapeError(f"expected (n, {axes}, {axes + 1}), came {tuple(x.shape)}")
        places = self._places(x)
        return (places @ x.transpose(1, 2)).unflatten(1, self.size), places

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y.flatten(1, -2).transpose(1, 2) @ saved,)

    def _places(self, like: Tensor) -> Tensor:
        """(p, 1) for all places p: (places, axes + 1)."""
        lines = []
        for size in self.size:
            edge = float(size > 1) if self.align_corners else (size - 1) / size
            lines.append(torch.linspace(-edge, edge, size, dtype=like.dtype, device=like.device))
        columns = [*reversed(torch.meshgrid(*lines, indexing="ij"))]
        return torch.stack([*columns, torch.ones_like(columns[0])], -1).flatten(0, -2)


class RoiAlign(Block):
    """Each region of interest as a picture of one size:  y[k, c] = A_k x[batch_index[k], c] B_kᵀ.

    d_x[n, c] = Σ A_kᵀ d_y[k, c] B_k over the regions k of picture n;   rois get no derivative

    A region is divided into bins, h' × w' of them, and read at sampling_ratio² places in each, evenly spread (at
    ⌈size of the bin⌉ places along each axis if sampling_ratio is 0). Between elements it is read linearly, 0 at more
    than one element outside of x. Row p of A_k averages the places of bin p. With mode="max", y is the largest of all
    weighted elements that the places of a bin read (as ONNX has it, not of their sums), and d_x its weight times d_y.

    x: (n, c, h, w)   rois: (k, 4) as (x, y, x, y) of two corners, times scale in places of x   batch_index: (k,)
    y: (k, c, *output_size)   coordinates: "half_pixel", where 0.5 is the middle of the first element;
    "output_half_pixel", where 0 is, and every region is at least 1 × 1
    Raises ShapeError for other shapes and pictures that x lacks; SettingError for settings that do not fit.
    Source: He et al. 2017, section 3; ONNX, operator RoiAlign, versions 10 and 16.
    """

    kind = "image"

    def __init__(
        self,
        output_size: Sizes = 1,
        scale: float = 1.0,
        sampling_ratio: int = 0,
        mode: str = "avg",
        coordinates: str = "half_pixel",
    ):
        one_of("mode", mode, ("avg", "max"))
        one_of("coordinates", coordinates, ("half_pixel", "output_half_pixel"))
        if sampling_ratio < 0:
            raise SettingError(f"sampling_ratio must be at least 0, came {sampling_ratio}")
        self.output_size, self.scale, self.sampling_ratio = untouched(output_size), scale, sampling_ratio
        self.mode, self.coordinates = mode, coordinates
        self._output_size = per_axis("output_size", output_size, 2, 1)

    def forward(self, x: Tensor, rois: Tensor, batch_index: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 4 or min(x.shape[1:]) < 1 or rois.shape != (len(batch_index), 4) or batch_index.dim() != 1:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (x, rois, batch_index))
            raise ShapeError(f"expected (n, c, h, w), (k, 4) and (k,), came {shapes}")
        if x.is_meta:
            return x.new_empty(len(rois), x.shape[1], *self._output_size), None
        pictures = batch_index.tolist()
        if pictures and not 0 <= min(pictures) <= max(pictures) < len(x):
            raise ShapeError(f"expected numbers of the {len(x)} pictures, came {pictures}")
        corners = rois.to(x.dtype) * self.scale - (0.5 if self.coordinates == "half_pixel" else 0.0)
        lines = [
            self._bins(corners[:, 1 - axis], corners[:, 3 - axis], self._output_size[axis], x.shape[2 + axis])
            for axis in (0, 1)
        ]
        y = x.new_empty(len(rois), x.shape[1], *self._output_size)
        if self.mode == "avg":
            parts = [bins.averages() for bins in lines]
            for k, (n, (rows, a), (columns, b)) in enumerate(zip(pictures, *parts, strict=True)):
                y[k] = a @ x[n, :, rows, columns] @ b.t()
            return y, (x.shape, pictures, *parts)
        places, weights = torch.zeros_like(y, dtype=torch.long), torch.zeros_like(y)
        for k, n in enumerate(pictures):
            y[k], places[k], weights[k] = _largest(x[n], lines[0].of(k), lines[1].of(k))
        return y, (x.shape, pictures, places, weights)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, None, None]:
        shape, pictures, *parts = saved
        d_x = d_y.new_zeros(shape)
        if self.mode == "avg":
            for n, d, (rows, a), (columns, b) in zip(pictures, d_y, *parts, strict=True):
                d_x[n, :, rows, columns] += a.t() @ d @ b
            return d_x, None, None
        for n, d, places, weights in zip(pictures, d_y, *parts, strict=True):
            d_x[n].flatten(1).scatter_add_(1, places.flatten(1), (weights * d).flatten(1))
        return d_x, None, None

    def _bins(self, start: Tensor, end: Tensor, outputs: int, size: int) -> "_Bins":
        """Where the bins of all regions read x along one axis."""
        length = end - start
        if self.coordinates == "output_half_pixel":
            length = length.clamp(min=1)
        bin_size = length / outputs
        counts = torch.full_like(length, self.sampling_ratio) if self.sampling_ratio else bin_size.ceil().clamp(min=0)
        reads = torch.arange(int(counts.max()) if len(counts) else 0, dtype=length.dtype, device=length.device)
        within = (reads + 0.5) / counts.clamp(min=1)[:, None]  # 0…1 of a bin
        bins = torch.arange(outputs, dtype=length.dtype, device=length.device)[:, None]
        u = start[:, None, None] + (bins + within[:, None]) * bin_size[:, None, None]
        inside = (u >= -1) & (u <= size)
        u = u.clamp(0, size - 1)
        low = u.floor()
        places = torch.stack([low, (low + 1).clamp(max=size - 1)], -1).long()
        weights = torch.stack([1 - u + low, u - low], -1) * inside[..., None]
        return _Bins(places, weights, counts.long())


class _Bins(NamedTuple):
    """What the bins of all regions read along one axis: (regions, bins, reads, 2), the 2 for the places around."""

    places: Tensor
    weights: Tensor
    counts: Tensor
    """How many reads of each region's bins are its own."""

    def averages(self) -> list[tuple[slice, Tensor]]:
        """(the part of the axis that the region reads, its averages' matrix over this part) for each region."""
        if not self.places.numel():
            return [(slice(0, 1), self.weights.new_zeros(self.places.shape[1], 1))] * len(self.places)
        reads = torch.arange(self.places.shape[2], device=self.counts.device) < self.counts[:, None]
        shares = self.weights * reads[:, None, :, None] / self.counts.clamp(min=1)[:, None, None, None]
        firsts, lasts = self.places.amin((1, 2, 3)), self.places.amax((1, 2, 3))
        sizes = (lasts - firsts + 1).tolist()
        rows = shares.new_zeros(*shares.shape[:2], max(sizes))
        rows.scatter_add_(2, (self.places - firsts[:, None, None, None]).flatten(2), shares.flatten(2))
        return [
            (slice(first, first + size), row[:, :size])
            for first, size, row in zip(firsts.tolist(), sizes, rows, strict=True)
        ]

    def of(self, k: int) -> tuple[Tensor, Tensor]:
        """(places, weights) of one region: (bins, reads · 2)."""
        count = int(self.counts[k])
        return self.places[k, :, :count].flatten(1), self.weights[k, :, :count].flatten(1)


def _largest(x: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """(the largest weighted element of each bin, its place, its weight) of x: (c, h, w)."""
    places = (rows[0][:, None, :, None] * x.shape[2] + columns[0][:, None]).flatten(2)
    weights = (rows[1][:, None, :, None] * columns[1][:, None]).flatten(2)
    if not places.shape[2]:  # a region without any extent
        nothing = x.new_zeros(len(x), *places.shape[:2])
        return nothing, nothing.long(), nothing
    y, winners = (x.flatten(1)[:, places] * weights).max(-1)
    places, weights = (t.expand(len(x), *t.shape).gather(3, winners[..., None])[..., 0] for t in (places, weights))
    return y, places, weights


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
