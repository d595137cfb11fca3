"""Handlers of pooling."""

import math
from typing import Any

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.exact_sizes import FreeSizeError
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.convolving import OnnxWindows, padded, plain, windows
from blockprop.importers.onnx_operators.table import operator

_MAXIMA: dict[int, Any] = {1: blocks.MaxPool1d, 2: blocks.MaxPool2d, 3: blocks.MaxPool3d}
_AVERAGES: dict[int, Any] = {1: blocks.AvgPool1d, 2: blocks.AvgPool2d, 3: blocks.AvgPool3d}
_NORMS: dict[int, Any] = {1: blocks.LpPool1d, 2: blocks.LpPool2d, 3: blocks.LpPool3d}


@operator("MaxPool", 1, 8, 10, 11, 12, 22)
def max_pool(
    call: OnnxCall,
    x: Input,
    *,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    ceil_mode: int = 0,
    auto_pad: str = "NOTSET",
    storage_order: int = 0,
) -> Any:
    seen = _seen(call, x, _MAXIMA, kernel_shape, strides, pads, dilations, auto_pad)
    rounds_up = bool(ceil_mode)
    padding, has_places = _numbers(seen), len(call.outputs) > 1 and bool(call.outputs[1])
    if not _fits(seen):
        if has_places:
            raise UnsupportedError("the places of the maxima as an output, with uneven padding")
        seen, rounds_up = _without_rounding(call, x, seen) if rounds_up else seen, False
        x, padding = padded(call, x, seen, -math.inf), (0,) * len(kernel_shape)
    windows_of = plain(seen.kernel), plain(seen.stride), plain(padding), plain(seen.dilation), rounds_up
    y = call.add(_MAXIMA[len(kernel_shape)](*windows_of), x)
    return (y, call.add(blocks.MaxPlaces(*windows_of, bool(storage_order)), x, part="places")) if has_places else y


def _seen(call: OnnxCall, x: Input, kinds: dict[int, Any], *given: Any) -> OnnxWindows:
    if len(given[0]) not in kinds:
        raise UnsupportedError(f"windows along {len(given[0])} axes")
    return windows(call, x, *given)


def _fits(seen: OnnxWindows) -> bool:
    """Whether the blocks can pad so: the same on both sides, and at most half a window."""
    return seen.is_even and all(2 * p <= r for p, r in zip(_numbers(seen), seen.reach, strict=True))


def _numbers(seen: OnnxWindows) -> tuple[int, ...]:
    return tuple(size for size in seen.before if isinstance(size, int))


def _without_rounding(call: OnnxCall, x: Input, seen: OnnxWindows) -> OnnxWindows:
    """Windows padded so far that rounding down gives as many as rounding up; the last must begin before the end."""
    after = []
    for i, size in enumerate(x.shape[2:]):
        before, more = seen.before[i], seen.after[i]
        if not (isinstance(size, int) and isinstance(before, int) and isinstance(more, int)):
            raise FreeSizeError("the number of windows, rounded up,")
        count = -(-(size + before + more - seen.reach[i]) // seen.stride[i]) + 1
        if (count - 1) * seen.stride[i] >= size + before:
            count -= 1
        after.append((count - 1) * seen.stride[i] + seen.reach[i] - size - before)
    return seen._replace(after=tuple(after))


@operator("AveragePool", 7, 10, 11, 19, 22)
def average_pool(
    call: OnnxCall,
    x: Input,
    *,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    ceil_mode: int = 0,
    auto_pad: str = "NOTSET",
    count_include_pad: int = 0,
) -> Any:
    seen = _seen(call, x, _AVERAGES, kernel_shape, strides, pads, dilations, auto_pad)
    if max(seen.dilation) > 1:
        raise UnsupportedError("averages of windows with dilation")
    kind = _AVERAGES[len(kernel_shape)]
    shape = plain(seen.kernel), plain(seen.stride)
    if _fits(seen):
        padding = _numbers(seen)
        return call.add(kind(*shape, plain(padding), bool(ceil_mode), bool(count_include_pad) or not any(padding)), x)
    # Sums of the padded input, over sums of ones where an element counts.
    wide = _without_rounding(call, x, seen) if ceil_mode else seen
    inner = seen if count_include_pad else None
    bordered = padded(call, x, wide)
    sums = call.add(kind(*shape, divisor=1), bordered, part="sums")
    ones = _ones(call, x, wide, inner)
    return call.add(blocks.Div(), sums, call.add(kind(*shape, divisor=1), ones, part="counts"))


def _ones(call: OnnxCall, x: Input, wide: OnnxWindows, inner: OnnxWindows | None) -> Any:
    """(1, 1, ...) with 1 at the places of x, and of the padding `inner`, and 0 at the rest of the padding `wide`."""
    around = list(zip(inner.before, inner.after, strict=True)) if inner else [(0, 0)] * len(wide.kernel)
    wanted = [size + before + after for size, (before, after) in zip(x.shape[2:], around, strict=True)]
    sizes, others = call.formulas((1, 1, *wanted), x)
    ones = call.add(blocks.Filled(sizes, 1.0, name_of(x.dtype)), x, *others, part="ones")
    left = [
        size
        for (b, a), before, after in zip(around[::-1], wide.before[::-1], wide.after[::-1], strict=True)
        for size in (before - b, after - a)
    ]
    formulas, more = call.formulas(left, ones)
    return call.add(blocks.Pad(formulas), ones, *more, part="places")


@operator("LpPool", 2, 11, 18, 22)
def lp_pool(
    call: OnnxCall,
    x: Input,
    *,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    ceil_mode: int = 0,
    auto_pad: str = "NOTSET",
    p: int = 2,
) -> Any:
    seen = _seen(call, x, _NORMS, kernel_shape, strides, pads, dilations, auto_pad)
    if max(seen.dilation) > 1:
        raise UnsupportedError("norms of windows with dilation")
    padding, rounds_up = _numbers(seen), bool(ceil_mode)
    if not _fits(seen):
        seen, rounds_up = _without_rounding(call, x, seen) if rounds_up else seen, False
        x, padding = padded(call, x, seen), (0,) * len(kernel_shape)
    kind = _NORMS[len(kernel_shape)]
    return call.add(kind(p, plain(seen.kernel), plain(seen.stride), plain(padding), rounds_up), x)


@operator("GlobalAveragePool", 1, 22)
def global_average_pool(call: OnnxCall, x: Input) -> Any:
    return call.add(blocks.AdaptiveAvgPool2d(1) if x.axes == 4 else blocks.Mean(_places(call, x), keep=True), x)


@operator("GlobalMaxPool", 1, 22)
def global_max_pool(call: OnnxCall, x: Input) -> Any:
    return call.add(blocks.AdaptiveMaxPool2d(1) if x.axes == 4 else blocks.MaxOver(_places(call, x), keep=True), x)


@operator("GlobalLpPool", 2, 22)
def global_lp_pool(call: OnnxCall, x: Input, *, p: int) -> Any:
    axes = _places(call, x)
    if p in (1, 2):
        return call.add(blocks.Norm(axes, keep=True, order=p), x)
    powers = call.add(blocks.Pow(p), call.add(blocks.Abs(), x, part="abs"), part="powers")
    return call.add(blocks.Pow(1 / p), call.add(blocks.Sum(axes, keep=True), powers, part="sum"))


def _places(call: OnnxCall, x: Input) -> tuple[int, ...]:
    if x.axes < 3:
        raise GraphError(f"an input of {x.axes} axes has no places to pool")
    return tuple(range(2, x.axes))


@operator("RoiAlign", 10, 16, 22)
def roi_align(
    call: OnnxCall,
    x: Input,
    rois: Input,
    batch_index: Input,
    *,
    output_height: int,
    output_width: int,
    sampling_ratio: int,
    spatial_scale: float,
    mode: str,
    coordinate_transformation_mode: str = "output_half_pixel",
) -> Any:
    size = plain((output_height, output_width))
    block = blocks.RoiAlign(size, spatial_scale, sampling_ratio, mode, coordinate_transformation_mode)
    return call.add(block, x, rois, batch_index)
