"""Handlers of linear maps, tables and convolutions."""

from typing import Any

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.table import exports


@exports(blocks.Linear)
def linear(call: Call, block: blocks.Linear, x: Value) -> Any:
    weight = call.weight("weight")
    bias = [] if block.bias is None else [call.weight("bias")]
    if x.axes == 2:
        return call.add("Gemm", x, weight, *bias, transB=1)
    y = call.main = call.add("MatMul", x, call.add("Transpose", weight, perm=[1, 0]))
    return call.add("Add", y, *bias) if bias else y


@exports(blocks.Embedding)
def embedding(call: Call, block: blocks.Embedding, x: Value) -> Any:
    index = x if x.dtype in (torch.int32, torch.int64) else call.cast(x, torch.int64)
    return call.add("Gather", call.weight("weight"), index, axis=0)


@exports(blocks.Conv1d, blocks.Conv2d, blocks.Conv3d)
def convolution(call: Call, block: Any, x: Value) -> Any:
    return call.add("Conv", x, *_weights(call, block), **_windows(block))


@exports(blocks.ConvTranspose1d, blocks.ConvTranspose2d, blocks.ConvTranspose3d)
def transposed_convolution(call: Call, block: Any, x: Value) -> Any:
    extra, options = block._output_padding, _windows(block)
    if all(e < s for e, s in zip(extra, block._stride, strict=True)):
        return call.add("ConvTranspose", x, *_weights(call, block), **options, output_padding=list(extra))
    # More than onnxruntime takes: less padding behind, and zeros behind x to make it enough.
    places = list(zip(extra, block._padding, block._stride, strict=True))
    zeros = [-(-max(e - p, 0) // s) for e, p, s in places]
    behind = [p - e + zero * s for zero, (e, p, s) in zip(zeros, places, strict=True)]
    given = call.add("Pad", x, call.whole(*[0] * (block.axes + 4), *zeros)) if any(zeros) else x
    options["pads"] = [*block._padding, *behind]
    return call.add("ConvTranspose", given, *_weights(call, block), **options)


def _weights(call: Call, block: Any) -> list[str]:
    return [call.weight("weight"), *([] if block.bias is None else [call.weight("bias")])]


def _windows(block: Any) -> dict[str, Any]:
    return {
        "kernel_shape": list(block._kernel),
        "strides": list(block._stride),
        "pads": list(block._padding) * 2,
        "dilations": list(block._dilation),
        "group": block.groups,
    }
