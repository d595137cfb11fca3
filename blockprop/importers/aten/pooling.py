"""Handlers of operators that pool."""

from typing import Any

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.sizes import batched, each_axis, one_or_all
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call
from blockprop.importers.graph import Value
from blockprop.importers.symbols import Symbol, same_size

_MAX: dict[int, Any] = {1: blocks.MaxPool1d, 2: blocks.MaxPool2d, 3: blocks.MaxPool3d}
_AVERAGE: dict[int, Any] = {1: blocks.AvgPool1d, 2: blocks.AvgPool2d, 3: blocks.AvgPool3d}
_ADAPTIVE: dict[str, Any] = {
    "adaptive_avg_pool1d": blocks.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": blocks.AdaptiveAvgPool2d,
    "_adaptive_avg_pool2d": blocks.AdaptiveAvgPool2d,
    "adaptive_avg_pool3d": blocks.AdaptiveAvgPool3d,
    "adaptive_max_pool1d": blocks.AdaptiveMaxPool1d,
    "adaptive_max_pool2d": blocks.AdaptiveMaxPool2d,
    "adaptive_max_pool3d": blocks.AdaptiveMaxPool3d,
}


@aten("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool1d_with_indices")
def max_pool(
    call: Call, self: Value, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Any:
    axes = _axes_named(call)
    kernel = each_axis(kernel_size, axes)
    if _is_whole(kernel, self, stride, padding):
        y = batched(call, _ADAPTIVE[f"adaptive_max_pool{axes}d"](1), self, axes + 2)
        return (y, None) if "indices" in call.operator else y
    block = _MAX[axes](
        one_or_all(kernel),
        one_or_all(each_axis(stride, axes)) if stride else None,
        one_or_all(each_axis(padding, axes)),
        one_or_all(each_axis(dilation, axes)),
        ceil_mode,
    )
    y = batched(call, block, self, axes + 2)
    return (y, None) if "indices" in call.operator else y


@aten("avg_pool1d", "avg_pool2d", "avg_pool3d")
def average_pool(
    call: Call,
    self: Value,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Value:
    axes = _axes_named(call)
    if divisor_override is None and _is_whole(kernel_size, self, stride, padding):
        return batched(call, _ADAPTIVE[f"adaptive_avg_pool{axes}d"](1), self, axes + 2)
    settings: dict[str, Any] = {} if divisor_override is None else {"divisor": divisor_override}
    block = _AVERAGE[axes](
        one_or_all(each_axis(kernel_size, axes)),
        one_or_all(each_axis(stride, axes)) if stride else None,
        one_or_all(each_axis(padding, axes)),
        ceil_mode,
        count_include_pad,
        **settings,
    )
    return batched(call, block, self, axes + 2)


@aten(*_ADAPTIVE)
def adaptive_pool(call: Call, self: Value, output_size: Any) -> Any:
    name = call.operator.split(".")[1]
    axes = _axes_named(call)
    whole = self.shape[-axes:]
    wanted = [whole[i] if size is None else size for i, size in enumerate(each_axis(output_size, axes))]
    sizes = [size for size in wanted if isinstance(size, int)]
    if len(sizes) < axes:
        raise UnsupportedError("adaptive pooling to a free size")
    y = batched(call, _ADAPTIVE[name](one_or_all(sizes)), self, axes + 2)
    return (y, None) if "max" in name else y


def _is_whole(kernel: Any, x: Value, stride: Any, padding: Any) -> bool:
    """Whether the only window is the whole picture, of free size: x.shape[2:]."""
    window = [*kernel] if isinstance(kernel, list | tuple) else [kernel]
    if not any(isinstance(size, Symbol) for size in window):
        return False
    if not all(same_size(a, b) for a, b in zip(window, x.shape[-len(window) :], strict=True)) or any(
        padding if isinstance(padding, list | tuple) else [padding]
    ):
        raise UnsupportedError("a window of free size that is not the whole picture")
    return True


def _axes_named(call: Call) -> int:
    name = call.operator.split(".")[1]
    return int(name[name.index("d", name.index("pool")) - 1])
