"""Handlers of pictures in other sizes, and of those read at computed places."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.exporters.onnx_operators.products import along
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing

_NAMES = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}
"""What the modes of GridSample are called from opset 20 on."""


@exports(blocks.Resize)
def resize(writing: Writing, block: blocks.Resize, x: Operand, *others: Operand) -> Any:
    axes = tuple(range(2, x.axes))
    given = block.given(len(axes))
    if block.mode.startswith("nearest"):
        places = _nearest_places(block, x, writing.outputs[0])
        if places is not None:
            y: OperatorInput = x
            for axis, row in zip(axes, places, strict=True):
                y = writing.add("Gather", y, writing.whole(*row), axis=axis)
            return y
    whole = block.scale is None or all(float(scale).is_integer() for scale in given)
    plain = not block.antialias and block.mode != "bicubic"
    if block.antialias and (block.align_corners or writing.opset < 18):
        return _by_own_matrices(writing, block, x, writing.outputs[0])
    options = _options(block)
    if block.size is not None:
        return _resized(writing, x, axes, given, None, options)
    if not whole and (block.align_corners or not plain):  # which is by the ratio of sizes, and these are rounded
        if not plain:
            return _by_own_matrices(writing, block, x, writing.outputs[0])
        sizes = [x.known_size(axis, "a size by a fraction") for axis in axes]
        rounded = [math.floor(n * scale) for n, scale in zip(sizes, given, strict=True)]
        return _resized(writing, x, axes, rounded, None, options)
    return _resized(writing, x, axes, None, given, options)


def _options(block: blocks.Resize) -> dict[str, Any]:
    """The settings of ONNX's Resize that are torch's mode."""
    if block.mode == "nearest":
        return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if block.mode == "nearest-exact":
        return {
            "mode": "nearest",
            "coordinate_transformation_mode": "half_pixel",
            "nearest_mode": "round_prefer_ceil",
        }
    coordinates = "align_corners" if block.align_corners else "half_pixel"
    options: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": coordinates}
    if block.mode == "bicubic":
        options |= {"mode": "cubic", "cubic_coeff_a": -0.5 if block.antialias else -0.75}
    if block.antialias:
        options |= {"antialias": 1, "exclude_outside": 1}
    return options


def _by_own_matrices(writing: Writing, block: blocks.Resize, x: Operand, y: Operand) -> OperatorInput:
    """Axis by axis, for what ONNX has no settings; for that the sizes must be known."""
    product: OperatorInput = x
    for i, axis in enumerate(range(2, x.axes)):
        size = x.known_size(axis, "a Resize that ONNX lacks")
        extent = y.known_size(axis, "a Resize that ONNX lacks") if block.scale is None else block.given(x.axes - 2)[i]
        matrix = block.matrix(size, extent, torch.empty((0,) * x.axes, dtype=x.dtype))
        product = along(writing, matrix.dense().to(x.dtype), product, axis, x.axes)
    return product


def _resized(
    writing: Writing,
    x: Operand,
    axes: Sequence[int],
    sizes: Sequence[Any] | None,
    scales: Sequence[float] | None,
    options: dict[str, Any],
    roi: Sequence[float] | None = None,
) -> str:
    if writing.opset >= 18:
        options = {**options, "axes": list(axes)}
        wanted: Any = sizes if scales is None else scales
    else:
        whole: dict[int, Any] = dict(zip(axes, sizes if scales is None else scales, strict=True))  # type: ignore[arg-type]
        wanted = [whole.get(axis, 1.0 if sizes is None else f"a{axis}") for axis in range(x.axes)]
        if roi is not None:
            ends = [{a: roi[i + j * len(axes)] for i, a in enumerate(axes)} for j in range(2)]
            roi = [ends[j].get(axis, float(j)) for j in range(2) for axis in range(x.axes)]
    part = "" if roi is None else writing.constant(torch.tensor(roi, dtype=torch.float32))
    if scales is None:
        return writing.add("Resize", x, part, "", writing.sizes(wanted), **options)
    return writing.add("Resize", x, part, writing.constant(torch.tensor(wanted, dtype=torch.float32)), **options)


def _nearest_places(block: blocks.Resize, x: Operand, y: Operand) -> list[list[int]] | None:
    """Of which old places the new ones are copies, if the sizes are known, and ONNX rounds to others than torch."""
    places, differ = [], False
    for i, axis in enumerate(range(2, x.axes)):
        size, outputs = x.sizes[axis], y.sizes[axis]
        if size is None or outputs is None:
            return None
        extent = outputs if block.scale is None else block.given(x.axes - 2)[i]
        ours = block.sources(size, extent, torch.empty((0,) * x.axes))
        scale = np.float32(outputs) / np.float32(size)
        scale = scale if block.scale is None else np.float32(block.given(x.axes - 2)[i])
        half = np.float32(0.5 if block.mode == "nearest-exact" else 0)
        theirs = np.floor((np.arange(outputs, dtype=np.float32) + half) / scale).clip(0, size - 1).astype(int).tolist()
        places.append(ours)
        differ = differ or ours != theirs
    return places if differ else None


@exports(blocks.Resample)
def resample(writing: Writing, block: blocks.Resample, x: Operand, *others: Operand) -> Any:
    axes = [axis % x.axes for axis in block.axes]
    if writing.opset < _version_for(block) or not _usual(block, x):
        return _by_matrices(writing, block, x, others)
    options: dict[str, Any] = {"mode": block.mode, "coordinate_transformation_mode": block.coordinates}
    if block.mode == "nearest":
        options["nearest_mode"] = block.nearest_mode
    else:
        options["exclude_outside"] = int(block.exclude_outside)
    if block.mode == "cubic":
        options["cubic_coeff_a"] = float(block.cubic_coefficient)
    if block.antialias and block.mode != "nearest":
        options["antialias"] = 1
    if block.keep_aspect_ratio != "stretch" and block.scales is None:
        options["keep_aspect_ratio_policy"] = block.keep_aspect_ratio
    if block.coordinates == "tf_crop_and_resize":
        options["extrapolation_value"] = float(block.extrapolation_value)
    wanted = (block._given, None) if block.scales is None else (None, block._given)
    order = sorted(range(len(axes)), key=axes.__getitem__)
    sizes, scales = (None if numbers is None else [numbers[i] for i in order] for numbers in wanted)
    roi = None
    if block.coordinates == "tf_crop_and_resize":
        roi = [ends[i] for ends in (block._starts, block._ends) for i in order]
    return _resized(writing, x, [axes[i] for i in order], sizes, scales, options, roi)


def _version_for(block: blocks.Resample) -> int:
    if block.coordinates == "half_pixel_symmetric":
        return 19
    if block.coordinates == "tf_half_pixel_for_nn":
        return 99  # which ONNX had in opsets 11 and 12 only
    return 18 if block.antialias or block.keep_aspect_ratio != "stretch" else 17


def _usual(block: blocks.Resample, x: Operand) -> bool:
    """Whether onnxruntime has the operator with these settings and axes, and means the same by them."""
    if block.mode == "cubic" and (x.axes not in (2, 4) or min(axis % x.axes for axis in block.axes) < x.axes - 2):
        return False
    by_length = block.coordinates in ("align_corners", "tf_crop_and_resize") and block.scales is not None
    return not by_length or all(float(scale).is_integer() for scale in block._given)


def _by_matrices(writing: Writing, block: blocks.Resample, x: Operand, others: Sequence[Operand]) -> OperatorInput:
    """The block's own matrices, axis by axis; for that the sizes must be known."""
    for axis in block.axes:
        x.known_size(axis, "a Resize that ONNX lacks at this opset")
    lines = block._lines(x.trials[0], tuple(other.trials[0] for other in others))
    y: OperatorInput = x
    for axis, line in lines:
        step = block._step(axis, line)
        y = along(writing, step.matrix.dense().to(x.dtype), y, axis, x.axes)
        if step.outside is not None:
            row = torch.zeros(line.outputs, dtype=torch.bool)
            row[step.outside] = True
            row = row.view(-1, *[1] * (x.axes - 1 - axis))
            y = writing.add("Where", writing.constant(row), writing.number(block.extrapolation_value), y)
    return y


@exports(blocks.GridSample)
def grid_sample(writing: Writing, block: blocks.GridSample, x: Operand, grid: Operand) -> Any:
    if x.axes == 5 and writing.opset < 20:
        raise UnsupportedError("volumes need opset 20")
    mode = _NAMES[block.mode] if writing.opset >= 20 else block.mode
    options: dict[str, Any] = {
        "mode": mode,
        "padding_mode": block.padding_mode,
        "align_corners": int(block.align_corners),
    }
    return writing.add("GridSample", x, grid, **options)


@exports(blocks.AffineGrid)
def affine_grid(writing: Writing, block: blocks.AffineGrid, x: Operand, *others: Operand) -> Any:
    sides = [side for side in block.size if isinstance(side, int)]
    if len(sides) < len(block.size):
        raise UnsupportedError(f"AffineGrid with sizes that follow the input, {block.size}, has no ONNX operator")
    places = writing.constant(block._places(sides, torch.empty((0,) * x.axes, dtype=x.dtype)))
    y = writing.add("MatMul", places, writing.add("Transpose", x, perm=[0, 2, 1]))
    return writing.reshape(y, ["a0", *block.size, len(block.size)], copies=1)


@exports(blocks.RoiAlign)
def roi_align(writing: Writing, block: blocks.RoiAlign, x: Operand, rois: Operand, batch_index: Operand) -> Any:
    height, width = block._output_size
    return writing.add(
        "RoiAlign",
        x,
        writing.cast(rois, x.dtype),
        writing.cast(batch_index, torch.int64),
        output_height=height,
        output_width=width,
        spatial_scale=float(block.scale),
        sampling_ratio=block.sampling_ratio,
        mode=block.mode,
        coordinate_transformation_mode=block.coordinates,
    )
