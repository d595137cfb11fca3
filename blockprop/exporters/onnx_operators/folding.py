"""Handlers of borders, of pixels as channels and windows as columns."""

import math
from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@exports(blocks.Pad)
def pad(writing: Writing, block: blocks.Pad, x: Operand, *others: Operand) -> Any:
    if block.mode == "circular" and writing.opset < 19:
        return _wrapped(writing, block, x)
    before, after = block.pads[::2][::-1], block.pads[1::2][::-1]
    rest = [0] * (x.axes - len(before))
    ends = writing.sizes([*rest, *before, *rest, *after])
    value = [writing.number(block.value, x.dtype)] if block.mode == "constant" and block.value else []
    return writing.add("Pad", x, ends, *value, mode=_MODES[block.mode])


def _wrapped(writing: Writing, block: blocks.Pad, x: Operand) -> OperatorInput:
    """The end of each axis in front of it, and its start behind."""
    y: OperatorInput = x
    for i in range(0, len(block.pads), 2):
        axis, before, after = x.axes - 1 - i // 2, block.pads[i], block.pads[i + 1]
        if (before, after) != (0, 0):
            front = writing.part(y, axis, f"a{axis}-({before})")
            y = writing.add("Concat", front, y, writing.part(y, axis, 0, after), axis=axis)
    return y


@exports(blocks.PixelShuffle)
def pixel_shuffle(writing: Writing, block: blocks.PixelShuffle, x: Operand) -> Any:
    return writing.add("DepthToSpace", x, blocksize=block.factor, mode=block.mode)


@exports(blocks.PixelUnshuffle)
def pixel_unshuffle(writing: Writing, block: blocks.PixelUnshuffle, x: Operand) -> Any:
    r = block.factor
    if block.mode == "DCR":
        return writing.add("SpaceToDepth", x, blocksize=r)
    parts = writing.reshape(x, ["a0", "a1", f"a2//{r}", r, f"a3//{r}", r], copies=2)
    parts = writing.add("Transpose", parts, perm=[0, 1, 3, 5, 2, 4])
    return writing.reshape(parts, ["a0", f"a1*{r * r}", f"a2//{r}", f"a3//{r}"], copies=1)


@exports(blocks.Unfold)
def unfold(writing: Writing, block: blocks.Unfold, x: Operand) -> Any:
    """A convolution whose kernels each see one place of the window."""
    channels = x.known_size(1, "the number of kernels")
    windows = writing.add("Conv", x, _one_place_each(writing, block, channels), **_options(block), group=channels)
    return writing.reshape(windows, ["a0", channels * _elements(block), -1], copies=1)


@exports(blocks.Fold)
def fold(writing: Writing, block: blocks.Fold, x: Operand) -> Any:
    """The transposed convolution with the same kernels."""
    channels = x.known_size(1, "the number of kernels") // _elements(block)
    counts, windows = block._counts(block._size), block._windows
    picture = writing.reshape(x, ["a0", channels * _elements(block), *counts], copies=1)
    made = [
        (count - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
        for count, kernel, dilation, padding, stride in zip(counts, *windows.values(), strict=True)
    ]
    extra = [size - whole for size, whole in zip(block._size, made, strict=True)]
    kernels = _one_place_each(writing, block, channels)
    return writing.add("ConvTranspose", picture, kernels, **_options(block), group=channels, output_padding=extra)


def _elements(block: Any) -> int:
    return math.prod(block._windows["kernel_size"])


def _one_place_each(writing: Writing, block: Any, channels: int) -> str:
    kernels = torch.eye(_elements(block), dtype=writing.dtype).view(-1, 1, *block._windows["kernel_size"])
    return writing.constant(kernels.repeat(channels, 1, 1, 1))


def _options(block: Any) -> dict[str, Any]:
    windows = block._windows
    return {
        "kernel_shape": list(windows["kernel_size"]),
        "dilations": list(windows["dilation"]),
        "pads": list(windows["padding"]) * 2,
        "strides": list(windows["stride"]),
    }
