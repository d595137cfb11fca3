"""Handlers of pooling in windows that follow the size of the picture."""

from typing import Any

from blockprop import blocks
from blockprop.blocks.adaptive import _averages
from blockprop.exporters.onnx_operators.call import Call, Value
from blockprop.exporters.onnx_operators.products import along
from blockprop.exporters.onnx_operators.table import exports


@exports(blocks.GlobalAvgPool)
def global_avg_pool(call: Call, block: blocks.GlobalAvgPool, x: Value) -> Any:
    return call.reduce("ReduceMean", x, range(2, x.axes), False)


@exports(blocks.GlobalMaxPool)
def global_max_pool(call: Call, block: blocks.GlobalMaxPool, x: Value) -> Any:
    return call.reduce("ReduceMax", x, range(2, x.axes), False)


@exports(blocks.AdaptiveAvgPool1d, blocks.AdaptiveAvgPool2d, blocks.AdaptiveAvgPool3d)
def adaptive_avg_pool(call: Call, block: Any, x: Value) -> Any:
    if found := _simple(call, block, x, "Average"):
        return found
    y: str = x
    for axis, outputs in zip(range(2, x.axes), block._output_size, strict=True):
        if outputs == 1:
            y = call.reduce("ReduceMean", y, [axis], True)
        elif outputs != x.sizes[axis]:
            size = x.known_size(axis, f"an output size of {outputs}")
            y = along(call, _averages(size, outputs, x.trials[0].new_empty(0, device="cpu")), y, axis, x.axes)
    return y


@exports(blocks.AdaptiveMaxPool1d, blocks.AdaptiveMaxPool2d, blocks.AdaptiveMaxPool3d)
def adaptive_max_pool(call: Call, block: Any, x: Value) -> Any:
    if found := _simple(call, block, x, "Max"):
        return found
    y: str = x
    for axis, outputs in zip(range(2, x.axes), block._output_size, strict=True):
        if outputs == 1:
            y = call.reduce("ReduceMax", y, [axis], True)
        elif outputs != x.sizes[axis]:
            size = x.known_size(axis, f"an output size of {outputs}")
            ends = [(p * size // outputs, -(-(p + 1) * size // outputs)) for p in range(outputs)]
            maxima = [call.reduce("ReduceMax", call.part(y, axis, *end), [axis], True) for end in ends]
            y = call.add("Concat", *maxima, axis=axis)
    return y


def _simple(call: Call, block: Any, x: Value, kind: str) -> str | None:
    """One operator, if there is one: for a single window, and for windows that divide the picture evenly."""
    wanted, sizes = block._output_size, x.sizes[2:]
    if all(outputs == 1 for outputs in wanted):
        return call.add(f"Global{kind}Pool", x)
    if any(size is None or size % outputs for size, outputs in zip(sizes, wanted, strict=True)):
        return None
    steps = [(size or 0) // outputs for size, outputs in zip(sizes, wanted, strict=True)]
    return call.add(f"{kind}Pool", x, kernel_shape=steps, strides=steps)
