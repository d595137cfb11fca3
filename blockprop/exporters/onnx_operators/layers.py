"""Handlers of linear maps, tables and convolutions."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand
from blockprop.exporters.writing import Writing


@exports(blocks.Linear)
def linear(writing: Writing, block: blocks.Linear, x: Operand) -> Any:
    weight = writing.weight("weight")
    bias = [] if block.bias is None else [writing.weight("bias")]
    if x.axes == 2:
        return writing.add("Gemm", x, weight, *bias, transB=1)
    y = writing.main = writing.add("MatMul", x, writing.add("Transpose", weight, perm=[1, 0]))
    return writing.add("Add", y, *bias) if bias else y


@exports(blocks.Embedding)
def embedding(writing: Writing, block: blocks.Embedding, x: Operand) -> Any:
    index = x if x.dtype in (torch.int32, torch.int64) else writing.cast(x, torch.int64)
    return writing.add("Gather", writing.weight("weight"), index, axis=0)


@exports(blocks.Conv1d, blocks.Conv2d, blocks.Conv3d)
def convolution(writing: Writing, block: Any, x: Operand) -> Any:
    return writing.add("Conv", x, *_weights(writing, block), **_windows(block))


@exports(blocks.ConvTranspose1d, blocks.ConvTranspose2d, blocks.ConvTranspose3d)
def transposed_convolution(writing: Writing, block: Any, x: Operand) -> Any:
    extra, options = block._output_padding, _windows(block)
    if all(e < s for e, s in zip(extra, block._stride, strict=True)):
        return writing.add("ConvTranspose", x, *_weights(writing, block), **options, output_padding=list(extra))
    # More than onnxruntime takes: less padding behind, and zeros behind x to make it enough.
    places = list(zip(extra, block._padding, block._stride, strict=True))
    zeros = [-(-max(e - p, 0) // s) for e, p, s in places]
    behind = [p - e + zero * s for zero, (e, p, s) in zip(zeros, places, strict=True)]
    longer = writing.add("Pad", x, writing.whole(*[0] * (block.axes + 4), *zeros)) if any(zeros) else x
    options["pads"] = [*block._padding, *behind]
    return writing.add("ConvTranspose", longer, *_weights(writing, block), **options)


@exports(blocks.Convolve)
def computed_convolution(writing: Writing, block: blocks.Convolve, x: Operand, kernel: Operand, *bias: Operand) -> Any:
    stride, padding, dilation, transposed, extra = block._windows(x.axes - 2)
    options: dict[str, Any] = {"strides": list(stride), "pads": list(padding) * 2, "dilations": list(dilation)}
    if not transposed:
        return writing.add("Conv", x, kernel, *bias, **options, group=block.groups)
    if any(e >= s for e, s in zip(extra, stride, strict=True)):
        raise UnsupportedError(f"an output padding of {extra} with a stride of {stride}")
    return writing.add("ConvTranspose", x, kernel, *bias, **options, group=block.groups, output_padding=list(extra))


def _weights(writing: Writing, block: Any) -> list[str]:
    return [writing.weight("weight"), *([] if block.bias is None else [writing.weight("bias")])]


def _windows(block: Any) -> dict[str, Any]:
    return {
        "kernel_shape": list(block._kernel),
        "strides": list(block._stride),
        "pads": list(block._padding) * 2,
        "dilations": list(block._dilation),
        "group": block.groups,
    }
