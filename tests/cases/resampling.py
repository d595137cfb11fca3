"""Rows of other sizes by all rules."""

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, of_x


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


ANTIALIASED = {"antialias": True, "exclude_outside": True}


CASES: list[Case] = [
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
]
