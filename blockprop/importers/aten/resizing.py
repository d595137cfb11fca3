"""Handlers of operators that resize, sample, pad and rearrange pictures."""

from collections.abc import Sequence
from typing import Any

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call
from blockprop.importers.graph import Value
from blockprop.importers.symbols import AxisSize


@aten(
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_trilinear3d", "upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
)  # fmt: skip
def upsample(
    call: Call,
    output_size: Any = None,
    align_corners: bool = False,
    scale_factors: Any = None,
    scales: float | None = None,
    scales_d: float | None = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
    **operand: Value,
) -> Value:
    (x,) = operand.values()
    name = call.operator.split(".")[1].removeprefix("_upsample_").removeprefix("upsample_")
    settings: dict[str, Any] = {
        "mode": name.split("1")[0].split("2")[0].split("3")[0].replace("_", "-"),
        "align_corners": align_corners,
        "antialias": name.endswith("_aa"),
    }
    if any(scale is not None for scale in (scales, scales_d, scales_h, scales_w)):
        raise UnsupportedError("a size together with scales")
    if output_size is None:
        return call.add(blocks.Resize(scale=tuple(scale_factors), **settings), x)
    sizes, others = call.sizes([0, 0, *output_size], x)
    return call.add(blocks.Resize(sizes[2:], **settings), x, *others)


@aten("grid_sampler", "grid_sampler_2d")
def grid_sample(
    call: Call, input: Value, grid: Value, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Value:
    mode, border = (
        ("bilinear", "nearest", "bicubic")[interpolation_mode],
        ("zeros", "border", "reflection")[padding_mode],
    )
    return call.add(blocks.GridSample(mode, border, align_corners), input, grid)


@aten("affine_grid_generator")
def affine_grid(call: Call, theta: Value, size: Sequence[AxisSize], align_corners: bool) -> Value:
    sides, others = call.graph.formulas(size[2:], theta)
    return call.add(blocks.AffineGrid(sides, align_corners), theta, *others)
