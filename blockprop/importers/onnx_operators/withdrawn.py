"""Handlers of operators that have left the standard, but stand in old files (OnnxMLTools wrote them)."""

from typing import Any

from blockprop import blocks
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.table import operator


@operator("ImageScaler", 1, withdrawn=True)
def image_scaler(call: OnnxCall, x: Input, *, scale: float = 1.0, bias: list[float] | None = None) -> Any:
    """scale · x + bias, channel by channel."""
    return call.add(blocks.Affine(scale, tuple(bias) if bias else 0.0), x)


@operator("Affine", 1, withdrawn=True)
def affine(call: OnnxCall, x: Input, *, alpha: float = 1.0, beta: float = 0.0) -> Any:
    """alpha · x + beta."""
    return call.add(blocks.Affine(alpha, beta), x)


@operator("Crop", 1, withdrawn=True)
def crop(call: OnnxCall, x: Input, *, border: list[int], scale: list[int] | None = None) -> Any:
    """The picture without its border (left, top, right, bottom); with scale, so many rows and columns of it."""
    left, top, right, bottom = border
    if scale:
        height, width = scale
        rows = call.add(blocks.Slice(2, top, top + height), x, part="rows")
        return call.add(blocks.Slice(3, left, left + width), rows)
    return call.add(blocks.Pad((-left, -right, -top, -bottom)), x)
