"""Handlers of padding, and of pictures in other sizes or read at other places."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.exact_sizes import FreeSizeError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.convolving import plain
from blockprop.importers.onnx_operators.shaping import reshaped
from blockprop.importers.onnx_operators.table import operator
from blockprop.importers.symbols import AxisSize

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Pad", 2)
def pad_by_attributes(call: OnnxCall, x: Input, *, pads: list[int], mode: str, value: float) -> Any:
    return _padded(call, x, pads, None, mode, value)


@operator("Pad", 11, 13, 18, 19, 21, 23, 24, 25)
def pad(
    call: OnnxCall,
    x: Input,
    pads: Input,
    value: Input | None = None,
    axes: Input | None = None,
    *,
    mode: str,
) -> Any:
    along = None if axes is None else call.whole_in(axes)
    return _padded(call, x, call.sizes_in(pads), along, mode, call.number_in(value, 0.0))


def _padded(
    call: OnnxCall, x: Input, pads: Sequence[AxisSize], axes: Sequence[int] | None, mode: str, value: float
) -> Any:
    along = list(range(x.axes)) if axes is None else [axis % x.axes for axis in axes]
    if len(pads) != 2 * len(along) or mode not in _MODES:
        raise GraphError(f"pads {list(pads)} with mode {mode!r} for the axes {along}")
    pairs: list[tuple[AxisSize, AxisSize]] = [(0, 0)] * x.axes
    for i, axis in enumerate(along):
        pairs[axis] = pads[i], pads[i + len(along)]
    while pairs and pairs[0] == (0, 0):
        pairs.pop(0)
    if not pairs:
        return x
    cuts = [isinstance(size, int) and size < 0 for pair in pairs for size in pair]
    if mode != "constant" and any(cuts):  # a border of its own elements is made of what is left
        x = call.add(
            blocks.Pad(_in_order([tuple(min(s, 0) if isinstance(s, int) else 0 for s in p) for p in pairs])),
            x,
            part="cut",
        )
        pairs = [(_positive(before), _positive(after)) for before, after in pairs]
    sizes, others = call.formulas(_in_order(pairs), x)
    return call.add(blocks.Pad(sizes, _MODES[mode], value), x, *others)


def _positive(size: AxisSize) -> AxisSize:
    return max(size, 0) if isinstance(size, int) else size


def _in_order(pairs: Sequence[Any]) -> list[Any]:
    """As the block takes them: (before, after) of the last axis first."""
    return [size for pair in reversed(pairs) for size in pair]


@operator("CenterCropPad", 18)
def center_crop_pad(call: OnnxCall, x: Input, shape: Input, *, axes: list[int] | None = None) -> Any:
    along = list(range(x.axes)) if axes is None else [axis % x.axes for axis in axes]
    pads: dict[int, tuple[int, int]] = {}
    for axis, wanted in zip(along, call.whole_in(shape), strict=True):
        size = x.shape[axis]
        if not isinstance(size, int):
            raise FreeSizeError("the border")
        more = wanted - size  # negative: the middle is cut out, one more at the end
        before = more // 2 if more >= 0 else -(-more // 2)
        pads[axis] = before, more - before
    pairs = [pads.get(axis, (0, 0)) for axis in range(x.axes)]
    return x if not any(map(any, pairs)) else call.add(blocks.Pad(_in_order(pairs)), x)


@operator("Col2Im", 18)
def col2im(
    call: OnnxCall,
    x: Input,
    image_shape: Input,
    block_shape: Input,
    *,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    size, kernel = call.whole_in(image_shape), call.whole_in(block_shape)
    pads = pads or [0] * 2 * len(size)
    if len(size) != 2 or pads[:2] != pads[2:]:
        raise UnsupportedError("pictures of other than two axes, or uneven padding")
    settings = (dilations or [1, 1], pads[:2], strides or [1, 1])
    return call.add(blocks.Fold(plain(size), plain(kernel), *map(plain, settings)), x)


@operator("GridSample", 16, 20, 22)
def grid_sample(call: OnnxCall, x: Input, grid: Input, *, mode: str, padding_mode: str, align_corners: int) -> Any:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    return call.add(blocks.GridSample(mode, padding_mode, bool(align_corners)), x, grid)


@operator("AffineGrid", 20)
def affine_grid(call: OnnxCall, theta: Input, size: Input, *, align_corners: int) -> Any:
    sizes = call.whole_in(size)
    places = sizes[2:]
    if len(places) not in (2, 3) or math.prod(places) > 2**26:
        raise UnsupportedError(f"a grid of the sizes {places}")
    lines = [_line(n, bool(align_corners)) for n in places]
    grid = torch.meshgrid(*lines, indexing="ij")[::-1]
    points = torch.stack([*(g.flatten() for g in grid), torch.ones(math.prod(places))], -1)
    turned = call.add(blocks.Transpose((0, 2, 1)), theta, part="transpose")
    y = call.add(blocks.MatMul(), Known(points.to(theta.dtype)), turned, part="product")
    return reshaped(call, y, (y.shape[0], *places, len(places)))


def _line(n: int, align_corners: bool) -> torch.Tensor:
    if align_corners:
        return torch.linspace(-1, 1, n)
    return (torch.arange(n) * 2 + 1) / n - 1
