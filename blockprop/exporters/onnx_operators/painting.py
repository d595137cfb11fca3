"""Handlers of what stands in front of a network that is looked into: pictures from other numbers."""

import math
from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.products import along
from blockprop.exporters.onnx_operators.table import exports, without_form

without_form("it draws at random each time", blocks.Jitter, blocks.Noise, blocks.RandomAffine, blocks.RandomCrop)


@exports(blocks.ColorMix)
def color_mix(call: Call, block: blocks.ColorMix, x: Value) -> Any:
    return call.add("Conv", x, call.constant(block._matrix.to(x.dtype)[:, :, None, None]), kernel_shape=[1, 1])


@exports(blocks.Blur)
def blur(call: Call, block: blocks.Blur, x: Value) -> Any:
    y: str = x
    for axis in (3, 2):
        size = x.known_size(axis, "what a blurred place is divided by")
        spread = block._spread(torch.eye(size, dtype=torch.float64)[None, None], 3)[0, 0]
        y = along(call, (spread / spread.sum(1, keepdim=True)).to(x.dtype), y, axis, 4)
    return y


@exports(blocks.Spectrum)
def spectrum(call: Call, block: blocks.Spectrum, x: Value) -> Any:
    """The two transforms as products with matrices of cosines and sines, of which the second gives real numbers."""
    scaled = call.add("Mul", x, call.constant(block._scales()[0].to(x.dtype)[..., None]))
    re, im = (call.add("Gather", scaled, call.number(part, torch.int64), axis=4) for part in (0, 1))
    cos, sin = (call.constant(matrix) for matrix in _waves(block.height, block.height, x.dtype))
    between_re = call.add("Sub", call.add("MatMul", cos, re), call.add("MatMul", sin, im))
    between_im = call.add("Add", call.add("MatMul", cos, im), call.add("MatMul", sin, re))
    columns = block.width // 2 + 1
    once = (torch.arange(columns) == 0) | (2 * torch.arange(columns) == block.width)
    twice = torch.where(once, 1.0, 2.0)[:, None].to(x.dtype)
    cos, sin = (call.constant(matrix * twice) for matrix in _waves(columns, block.width, x.dtype))
    return call.add("Sub", call.add("MatMul", between_re, cos), call.add("MatMul", between_im, sin))


def _waves(rows: int, size: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """(cosines, sines) of so many frequencies at all places, orthonormal."""
    turns = torch.outer(torch.arange(rows), torch.arange(size)) % size
    angles = turns.double() * (2 * math.pi / size)
    return (angles.cos() / math.sqrt(size)).to(dtype), (angles.sin() / math.sqrt(size)).to(dtype)
