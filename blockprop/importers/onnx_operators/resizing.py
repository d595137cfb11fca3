"""Handlers of pictures in other sizes."""

from collections.abc import Sequence
from typing import Any

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers import exact_sizes
from blockprop.importers.exact_sizes import Numbers, Quotient, ratio
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.convolving import plain
from blockprop.importers.onnx_operators.table import operator
from blockprop.importers.symbols import AxisSize, Symbol

MOST_ENTRIES = 2**26
"""Old places times new ones along one axis: Resample makes a matrix of them."""


@operator("Upsample", 7)
def upsample_by_attribute(call: OnnxCall, x: Input, *, scales: list[float], mode: str) -> Any:
    return _resized(call, x, list(scales), None, mode, "asymmetric", "floor")


@operator("Upsample", 9)
def upsample(call: OnnxCall, x: Input, scales: Input, *, mode: str) -> Any:
    return _resized(call, x, _scales(call, scales), None, mode, "asymmetric", "floor")


@operator("Resize", 10)
def resize_asymmetric(call: OnnxCall, x: Input, scales: Input, *, mode: str) -> Any:
    """How the nearest is found was left open in this version; onnxruntime rounds up along the axes that shrink."""
    factors = _scales(call, scales)
    shrinking = [min(exact_sizes.trials_of(scale)) < 1 for scale in factors]
    if mode == "linear" or not any(shrinking):
        return _resized(call, x, factors, None, mode, "asymmetric", "floor")
    if not all(small or scale == 1 for small, scale in zip(shrinking, factors, strict=True)):
        raise UnsupportedError("one axis that shrinks and one that grows")
    return _resized(call, x, factors, None, mode, "asymmetric", "ceil")


@operator("Resize", 11, 13, 18, 19)
def resize(
    call: OnnxCall,
    x: Input,
    roi: Input | None = None,
    scales: Input | None = None,
    sizes: Input | None = None,
    *,
    mode: str,
    coordinate_transformation_mode: str,
    nearest_mode: str,
    cubic_coeff_a: float,
    exclude_outside: int,
    extrapolation_value: float,
    axes: list[int] | None = None,
    antialias: int = 0,
    keep_aspect_ratio_policy: str = "stretch",
) -> Any:
    by = None if scales is None or 0 in scales.shape else _scales(call, scales)
    to = None if sizes is None or 0 in sizes.shape else call.sizes_in(sizes)
    if (by is None) == (to is None):
        raise GraphError("it needs either scales or sizes")
    coordinates = coordinate_transformation_mode
    if coordinates == "tf_half_pixel_for_nn":
        raise UnsupportedError("the coordinates tf_half_pixel_for_nn")
    more: dict[str, Any] = {}
    if coordinates == "tf_crop_and_resize":
        if roi is None:
            raise GraphError("tf_crop_and_resize needs a roi")
        more = {"roi": call.known_tensor(roi).flatten().tolist(), "extrapolation_value": extrapolation_value}
    if mode == "cubic":
        more["cubic_coefficient"] = cubic_coeff_a
    if mode != "nearest":
        more |= {"exclude_outside": bool(exclude_outside), "antialias": bool(antialias)}
    if to is not None:
        more["keep_aspect_ratio"] = keep_aspect_ratio_policy
    return _resized(call, x, by, to, mode, coordinates, nearest_mode, axes, more)


def _scales(call: OnnxCall, scales: Input) -> list[Any]:
    """Each scale: a number, or a Quotient of sizes."""
    if isinstance(scales, Numbers):
        return [ratio(v) if isinstance(v, Symbol | Quotient) else float(v) for v in scales.array.reshape(-1)]
    return call.known_tensor(scales).double().flatten().tolist()


def _resized(
    call: OnnxCall,
    x: Input,
    scales: list[Any] | None,
    sizes: Sequence[AxisSize] | None,
    mode: str,
    coordinates: str,
    rounding: str,
    axes: Sequence[int] | None = None,
    more: dict[str, Any] | None = None,
) -> Any:
    more = more or {}
    along = list(range(x.axes)) if axes is None else [axis % x.axes for axis in axes]
    if len(sizes if scales is None else scales) != len(along):  # type: ignore[arg-type]
        raise GraphError(f"{len(along)} axes and {len(scales or sizes or ())} scales or sizes do not fit")
    if scales is not None and any(isinstance(scale, Quotient) for scale in scales):
        sizes, scales = [_scaled(x.shape[axis], scale) for axis, scale in zip(along, scales, strict=True)], None
    if scales is not None:
        scales = [_simple(scale) for scale in scales]
    stays = [
        scales[i] == 1 if scales is not None else _same(x.shape[axis], sizes[i])  # type: ignore[index]
        for i, axis in enumerate(along)
    ]
    if "roi" not in more and more.get("keep_aspect_ratio", "stretch") == "stretch":
        if all(stays):
            return x
        kept = [i for i, same in enumerate(stays) if not same or (x.axes == 4 and along[i] >= 2)]
        along = [along[i] for i in kept]
        scales = scales and [scales[i] for i in kept]
        sizes = sizes and [sizes[i] for i in kept]
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    _bound(call, x, along, scales, sizes)
    formulas, others = (None, ()) if sizes is None else call.formulas(sizes, x)
    simple = _as_resize(x, along, scales, formulas, mode, coordinates, rounding, more)
    if simple is not None:
        return call.add(simple, x, *others)
    block = blocks.Resample(
        formulas, None if scales is None else tuple(scales), mode, coordinates, along, rounding, **more
    )
    return call.add(block, x, *others)


def _as_resize(
    x: Input,
    along: list[int],
    scales: list[float] | None,
    sizes: Any,
    mode: str,
    coordinates: str,
    rounding: str,
    more: dict[str, Any],
) -> Any:
    """The faster block for the usual settings, or None."""
    if x.axes != 4 or along != [2, 3] or any(more.get(k) for k in ("roi", "exclude_outside", "antialias")):
        return None
    if more.get("keep_aspect_ratio", "stretch") != "stretch" or mode == "cubic":
        return None
    scale: Any = None if scales is None else plain(scales)
    if mode == "nearest":
        whole = scales is not None and all(float(s).is_integer() for s in scales)
        if (coordinates, rounding) == ("asymmetric", "floor") or (
            whole and coordinates in ("half_pixel", "pytorch_half_pixel") and rounding == "round_prefer_floor"
        ):
            return blocks.Resize(sizes, scale, "nearest")
        return None
    if coordinates == "half_pixel":
        return blocks.Resize(sizes, scale, "bilinear")
    if coordinates == "align_corners" and sizes is not None:
        return blocks.Resize(sizes, scale, "bilinear", align_corners=True)
    return None


def _simple(scale: float) -> float:
    """The float64 next to the fraction that a float32 stands for: 1.3 for 1.2999999523."""
    quotient = ratio(float(scale))
    return quotient.top / quotient.bottom  # type: ignore[operator]


def _scaled(size: AxisSize, scale: Any) -> AxisSize:
    return (ratio(size) * scale).floor()


def _same(a: AxisSize, b: AxisSize) -> bool:
    return a == b or (isinstance(a, Symbol) and isinstance(b, Symbol) and a.trials == b.trials)


def _bound(
    call: OnnxCall, x: Input, along: list[int], scales: list[float] | None, sizes: Sequence[AxisSize] | None
) -> None:
    for i, axis in enumerate(along):
        for trial, old in enumerate(exact_sizes.trials_of(x.shape[axis])):
            new = old * scales[i] if scales is not None else exact_sizes.trials_of(sizes[i])[trial]  # type: ignore[index]
            if not new > 0 or not old * new <= MOST_ENTRIES:
                raise GraphError(f"{old} places along axis {axis} are to become {new}")
