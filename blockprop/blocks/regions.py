"""Regions of pictures, read on grids of one size."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.blocks.bands import along
from blockprop.blocks.convolution import Sizes, per_axis, untouched
from blockprop.blocks.resampling import one_of
from blockprop.engine.block import Block
from blockprop.engine.precision import all_finite, shares, wide
from blockprop.errors import SettingError, ShapeError


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
        # in half precision places would be rounded, and those at the border fall out of the picture
        corners = wide(rois.to(x.dtype)) * self.scale - (0.5 if self.coordinates == "half_pixel" else 0.0)
        lines = [
            self._bins(corners[:, 1 - axis], corners[:, 3 - axis], self._output_size[axis], x.shape[2 + axis])
            for axis in (0, 1)
        ]
        y = x.new_empty(len(rois), x.shape[1], *self._output_size)
        if self.mode == "avg":
            times = _product if all_finite(x) else _product_of_parts
            parts = [bins.averages() for bins in lines]
            for k, (n, (rows, a), (columns, b)) in enumerate(zip(pictures, *parts, strict=True)):
                y[k] = times(a, wide(x[n, :, rows, columns]), b.t()).to(x.dtype)
            return y, (x.shape, pictures, *parts)
        places, weights = torch.zeros_like(y, dtype=torch.long), torch.zeros_like(y)
        for k, n in enumerate(pictures):
            y[k], places[k], weights[k] = _largest(x[n], lines[0].of(k), lines[1].of(k))
        return y, (x.shape, pictures, places, weights)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, None, None]:
        shape, pictures, *parts = saved
        d_x = d_y.new_zeros(shape)
        if self.mode == "avg":
            times = _product if all_finite(d_y) else _product_of_parts
            for n, d, (rows, a), (columns, b) in zip(pictures, d_y, *parts, strict=True):
                d_x[n, :, rows, columns] += times(a.t(), wide(d), b).to(d.dtype)
            return d_x, None, None
        for n, d, places, weights in zip(pictures, d_y, *parts, strict=True):
            d_x[n].flatten(1).scatter_add_(1, places.flatten(1), shares(weights, d).flatten(1))
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


def _product(a: Tensor, x: Tensor, b: Tensor) -> Tensor:
    """a x b for each channel"""
    return a @ x @ b


def _product_of_parts(a: Tensor, x: Tensor, b: Tensor) -> Tensor:
    """The same, where zeros take nothing of infinities."""
    return along(b.t(), along(a, x, 1), 2)


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
