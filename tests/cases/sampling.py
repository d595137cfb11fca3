"""Rows of resampling, sampling along grids and regions of interest."""

import functools
import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, of_x, spread


def by_onnx(block: blocks.Resample, x: Tensor) -> Tensor:
    """Resampling along the last axes by the map that ONNX's reference implementation is for these settings."""
    axes = len(block.axes)
    factor, shift = _onnx_map(tuple(block.settings.items()), x.shape[-axes:])
    y = x.flatten(-axes) @ factor.to(x.dtype).flatten(1) + shift.to(x.dtype).flatten()
    return y.unflatten(-1, shift.shape)


@functools.cache
def _onnx_map(settings: tuple[tuple[str, Any], ...], shape: torch.Size) -> tuple[Tensor, Tensor]:
    """(factor, shift), read off the unit vectors and 0."""
    block = blocks.Resample(**dict(settings))
    units = torch.eye(shape.numel(), dtype=torch.float64).view(-1, *shape)
    shift = onnx_resize(block, torch.zeros(1, *shape, dtype=torch.float64))[0]
    return onnx_resize(block, units) - shift, shift


def onnx_resize(block: blocks.Resample, x: Tensor) -> Tensor:
    """x: (n, ...) with all other axes resampled, by ONNX's reference implementation.

    Its evaluator would round the settings to float32; called so, it keeps them.
    """
    from onnx.reference.ops.op_resize import Resize

    def each(values: Any) -> list[Any] | None:
        return None if values is None else [*values] if isinstance(values, tuple) else [values] * len(block.axes)

    (y,) = Resize._run(
        None,
        x.numpy(),
        block.roi,
        each(block.scales),
        each(block.sizes),
        axes=[*range(1, x.dim())],
        mode=block.mode,
        coordinate_transformation_mode=block.coordinates,
        nearest_mode=block.nearest_mode,
        cubic_coeff_a=block.cubic_coefficient,
        exclude_outside=int(block.exclude_outside),
        antialias=int(block.antialias),
        keep_aspect_ratio_policy=block.keep_aspect_ratio,
        extrapolation_value=block.extrapolation_value,
    )
    return torch.from_numpy(y)


def interpolate(block: blocks.Resample, x: Tensor, mode: str, **settings: Any) -> Tensor:
    """F.interpolate to the block's size."""
    return F.interpolate(x, block.sizes, block.scales, mode, **settings)


CORNERS = {"coordinates": "align_corners"}
ANTIALIASED = {"antialias": True, "exclude_outside": True}


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
            pooled.append(reads.amax((0, 1)) if block.mode == "max" else reads.sum(1).mean(0))
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


CASES = [
    # Resample: what torch has, too
    *[
        Case(
            lambda given=given: blocks.Resample(**given[0]),
            ((2, 2, 4, 6),),
            functools.partial(interpolate, **given[1]),
            wrong=((2, 2, 4, 0),),
        )
        for given in (
            ({"sizes": (8, 12)}, {"mode": "nearest-exact"}),
            ({"scales": 2, "coordinates": "asymmetric", "nearest_mode": "floor"}, {"mode": "nearest"}),
            ({"sizes": [3, 7], "nearest_mode": "round_prefer_ceil"}, {"mode": "nearest-exact"}),
            ({"scales": (0.5, 2.3), "nearest_mode": "round_prefer_ceil"}, {"mode": "nearest-exact"}),
            ({"sizes": (7, 4), "mode": "linear"}, {"mode": "bilinear"}),
            ({"scales": [1.7, 1], "mode": "linear"}, {"mode": "bilinear"}),
            (
                {"sizes": 5, "mode": "linear", "coordinates": "align_corners"},
                {"mode": "bilinear", "align_corners": True},
            ),
            ({"sizes": (1, 9), "mode": "cubic"}, {"mode": "bicubic"}),
            ({"scales": (1.6, 0.7), "mode": "cubic"}, {"mode": "bicubic"}),
            (
                {"sizes": (5, 3), "mode": "cubic", "coordinates": "align_corners"},
                {"mode": "bicubic", "align_corners": True},
            ),
            ({"sizes": (2, 9), "mode": "linear", **ANTIALIASED}, {"mode": "bilinear", "antialias": True}),
            ({"scales": 0.4, "mode": "linear", **ANTIALIASED}, {"mode": "bilinear", "antialias": True}),
            (
                {"sizes": (3, 4), "mode": "cubic", "cubic_coefficient": -0.5, **ANTIALIASED},
                {"mode": "bicubic", "antialias": True},
            ),
        )
    ],
    Case(
        lambda: blocks.Resample(7, mode="linear", axes=(2,)),
        ((2, 3, 5),),
        of_x(F.interpolate, 7, mode="linear"),
        wrong=((2, 3),),
    ),
    Case(
        lambda: blocks.Resample((3, 2, 5), mode="linear", axes=(2, 3, 4)),
        ((2, 1, 2, 3, 4),),
        of_x(F.interpolate, (3, 2, 5), mode="trilinear"),
        wrong=((2, 1, 2, 3),),
    ),
    Case(
        lambda: blocks.Resample(("b2", "b3*2"), mode="linear"),
        ((2, 2, 4, 6), (2, 1, 5, 4)),
        lambda _, x, _y: F.interpolate(x, (5, 8), mode="bilinear"),
    ),
    Case(lambda: blocks.Resample((4, 6)), ((2, 2, 4, 6),), of_x(torch.clone), title="Resample to the same size"),
    Case(
        lambda: blocks.Resample(scales=0.2),
        ((2, 2, 5, 5),),
        of_x(F.interpolate, scale_factor=0.2, mode="nearest-exact"),
        wrong=((2, 2, 4, 6),),
        title="Resample, nothing left",
    ),
    # Resample: what only ONNX has
    *[
        Case(lambda given=given: blocks.Resample(**given), ((2, 2, 4, 5),), by_onnx)
        for given in (
            *[{"sizes": (3, 9), "nearest_mode": mode} for mode in ("round_prefer_floor", "floor", "ceil")],
            {"scales": (2, 0.5), "coordinates": "asymmetric"},
            {"sizes": (6, 3), "coordinates": "align_corners", "nearest_mode": "ceil"},
            {"scales": (1.625, 0.6875), "mode": "linear", "coordinates": "align_corners"},
            {"scales": (1.625, 0.6875), "mode": "linear", "coordinates": "half_pixel_symmetric"},
            {"sizes": (1, 7), "mode": "linear", "coordinates": "pytorch_half_pixel"},
            {"scales": (1.625, 0.6875), "mode": "cubic", "coordinates": "asymmetric"},
            {"sizes": (6, 3), "mode": "cubic", "exclude_outside": True, "cubic_coefficient": -0.5},
            {"sizes": (2, 3), "mode": "linear", "antialias": True},
            {"scales": (0.625, 1.5), "mode": "cubic", "antialias": True},
            {"sizes": (6, 9), "mode": "linear", "keep_aspect_ratio": "not_larger"},
            {"sizes": (3, 3), "mode": "cubic", "keep_aspect_ratio": "not_smaller"},
            *[
                {
                    "sizes": (3, 6),
                    "mode": mode,
                    "coordinates": "tf_crop_and_resize",
                    "roi": roi,
                    "extrapolation_value": 1.5,
                }
                for mode, roi in (
                    ("linear", (0.13, 0.2, 0.91, 0.8)),
                    ("linear", (-0.3, 0.2, 0.6, 1.21)),
                    ("nearest", (-0.3, 0.9, 0.6, 0.12)),
                    ("cubic", (0.8, -0.1, 0.2, 1.15)),
                )
            ],
        )
    ],
    Case(
        lambda: blocks.Resample((3, 5), mode="cubic", axes=(0, -2)),
        ((2, 4, 3),),
        lambda _, x: F.interpolate(x.permute(2, 0, 1)[None], (3, 5), mode="bicubic")[0].permute(1, 2, 0),
        batch=None,
    ),
    # Grids
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
    # Regions
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
