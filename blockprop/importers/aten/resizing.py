"""Handlers of operators that resize, sample, pad and rearrange pictures."""

from typing import Any

from blockprop import blocks
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call
from blockprop.importers.graph import Value


@aten("upsample_nearest2d", "upsample_bilinear2d")
def upsample(
    call: Call,
    output_size: Any = None,
    align_corners: bool = False,
    scale_factors: Any = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
    **operand: Value,
) -> Value:
    (x,) = operand.values()
    mode = "bilinear" if "bilinear" in call.operator else "nearest"
    if output_size is None:
        return call.add(blocks.Resize(scale=tuple(scale_factors), mode=mode, align_corners=align_corners), x)
    sizes, others = call.sizes([0, 0, *output_size], x)
    return call.add(blocks.Resize(sizes[2:], mode=mode, align_corners=align_corners), x, *others)


@aten(
    "upsample_nearest1d", "upsample_linear1d", "upsample_nearest3d", "upsample_trilinear3d", "upsample_bicubic2d",
    "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d",
)  # fmt: skip
def resample(
    call: Call,
    output_size: Any = None,
    align_corners: bool = False,
    scale_factors: Any = None,
    **operand: Value,
) -> Value:
    (x,) = operand.values()
    name = call.operator.split(".")[1]
    axes = tuple(range(2, x.axes))
    settings: dict[str, Any] = {"mode": "nearest" if "nearest" in name else "cubic" if "cubic" in name else "linear"}
    settings["coordinates"] = "align_corners" if align_corners else "half_pixel"
    if "nearest" in name:
        exact = "exact" in name
        settings["nearest_mode"] = "round_prefer_ceil" if exact else "floor"
        settings["coordinates"] = "half_pixel" if exact else "asymmetric"
    others: tuple[Value, ...] = ()
    if output_size is not None:
        settings["sizes"], others = call.graph.formulas(output_size, x)
    else:
        settings["scales"] = tuple(scale_factors)
    if name.endswith("_aa"):
        settings |= {"antialias": True, "exclude_outside": True}
    if "cubic" in name:
        settings["cubic_coefficient"] = -0.5 if name.endswith("_aa") else -0.75
    return call.add(blocks.Resample(axes=axes, **settings), x, *others)


@aten("grid_sampler", "grid_sampler_2d")
def grid_sample(
    call: Call, input: Value, grid: Value, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Value:
    mode, border = (
        ("bilinear", "nearest", "bicubic")[interpolation_mode],
        ("zeros", "border", "reflection")[padding_mode],
    )
    return call.add(blocks.GridSample(mode, border, align_corners), input, grid)
