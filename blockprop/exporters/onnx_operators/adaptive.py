"""Handlers of pooling in windows that follow the size of the picture."""

from typing import Any

from blockprop import blocks
from blockprop.blocks.adaptive import _averages
from blockprop.exporters.onnx_operators.products import along
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing


@exports(blocks.GlobalAvgPool)
def global_avg_pool(writing: Writing, block: blocks.GlobalAvgPool, x: Operand) -> Any:
    return writing.reduce("ReduceMean", x, range(2, x.axes), False)


@exports(blocks.GlobalMaxPool)
def global_max_pool(writing: Writing, block: blocks.GlobalMaxPool, x: Operand) -> Any:
    return writing.reduce("ReduceMax", x, range(2, x.axes), False)


@exports(blocks.AdaptiveAvgPool1d, blocks.AdaptiveAvgPool2d, blocks.AdaptiveAvgPool3d)
def adaptive_avg_pool(writing: Writing, block: Any, x: Operand) -> Any:
    if simple := _simple(writing, block, x, "Average"):
        return simple
    y: OperatorInput = x
    for axis, outputs in zip(range(2, x.axes), block._output_size, strict=True):
        if outputs == 1:
            y = writing.reduce("ReduceMean", y, [axis], True)
        elif outputs != x.sizes[axis]:
            size = x.known_size(axis, f"an output size of {outputs}")
            y = along(writing, _averages(size, outputs, x.trials[0].new_empty(0, device="cpu")), y, axis, x.axes)
    return y


@exports(blocks.AdaptiveMaxPool1d, blocks.AdaptiveMaxPool2d, blocks.AdaptiveMaxPool3d)
def adaptive_max_pool(writing: Writing, block: Any, x: Operand) -> Any:
    if simple := _simple(writing, block, x, "Max"):
        return simple
    y: OperatorInput = x
    for axis, outputs in zip(range(2, x.axes), block._output_size, strict=True):
        if outputs == 1:
            y = writing.reduce("ReduceMax", y, [axis], True)
        elif outputs != x.sizes[axis]:
            size = x.known_size(axis, f"an output size of {outputs}")
            ends = [(p * size // outputs, -(-(p + 1) * size // outputs)) for p in range(outputs)]
            maxima = [writing.reduce("ReduceMax", writing.part(y, axis, *end), [axis], True) for end in ends]
            y = writing.add("Concat", *maxima, axis=axis)
    return y


def _simple(writing: Writing, block: Any, x: Operand, kind: str) -> str | None:
    """One operator, if there is one: for a single window, and for windows that divide the picture evenly."""
    wanted, sizes = block._output_size, x.sizes[2:]
    if all(outputs == 1 for outputs in wanted):
        return writing.add(f"Global{kind}Pool", x)
    if any(size is None or size % outputs for size, outputs in zip(sizes, wanted, strict=True)):
        return None
    steps = [(size or 0) // outputs for size, outputs in zip(sizes, wanted, strict=True)]
    return writing.add(f"{kind}Pool", x, kernel_shape=steps, strides=steps)
