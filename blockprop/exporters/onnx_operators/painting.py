"""Handlers of what stands in front of a network that is looked into: pictures from other numbers."""

import math
from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.products import along
from blockprop.exporters.onnx_operators.table import exports, without_form
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing

without_form("it draws at random each time", blocks.Jitter, blocks.Noise, blocks.RandomAffine, blocks.RandomCrop)


@exports(blocks.ColorMix)
def color_mix(writing: Writing, block: blocks.ColorMix, x: Operand) -> Any:
    return writing.add("Conv", x, writing.constant(block._matrix.to(x.dtype)[:, :, None, None]), kernel_shape=[1, 1])


@exports(blocks.Blur)
def blur(writing: Writing, block: blocks.Blur, x: Operand) -> Any:
    y: OperatorInput = x
    for axis in (3, 2):
        size = x.known_size(axis, "what a blurred place is divided by")
        spread = block._spread(torch.eye(size, dtype=torch.float64)[None, None], 3)[0, 0]
        y = along(writing, (spread / spread.sum(1, keepdim=True)).to(x.dtype), y, axis, 4)
    return y


@exports(blocks.Spectrum)
def spectrum(writing: Writing, block: blocks.Spectrum, x: Operand) -> Any:
    """The two transforms as products with matrices of cosines and sines, of which the second gives real numbers."""
    scaled = writing.add("Mul", x, writing.constant(block._scales()[0].to(x.dtype)[..., None]))
    re, im = (writing.add("Gather", scaled, writing.number(part, torch.int64), axis=4) for part in (0, 1))
    cos, sin = (writing.constant(matrix) for matrix in _waves(block.height, block.height, x.dtype))
    between_re = writing.add("Sub", writing.add("MatMul", cos, re), writing.add("MatMul", sin, im))
    between_im = writing.add("Add", writing.add("MatMul", cos, im), writing.add("MatMul", sin, re))
    columns = block.width // 2 + 1
    once = (torch.arange(columns) == 0) | (2 * torch.arange(columns) == block.width)
    twice = torch.where(once, 1.0, 2.0)[:, None].to(x.dtype)
    cos, sin = (writing.constant(matrix * twice) for matrix in _waves(columns, block.width, x.dtype))
    return writing.add("Sub", writing.add("MatMul", between_re, cos), writing.add("MatMul", between_im, sin))


def _waves(rows: int, size: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """(cosines, sines) of so many frequencies at all places, orthonormal."""
    turns = torch.outer(torch.arange(rows), torch.arange(size)) % size
    angles = turns.double() * (2 * math.pi / size)
    return (angles.cos() / math.sqrt(size)).to(dtype), (angles.sin() / math.sqrt(size)).to(dtype)
