"""Handlers of pooling in windows of one size."""

import math
from typing import Any, NamedTuple

import torch

from blockprop import blocks
from blockprop.exporters.onnx_operators.table import exports
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writing import Writing


class PoolWindows(NamedTuple):
    """What the windows of a block are along its own axes. after: how far the last may reach out of x, for ONNX.

    by_itself: whether ONNX' own ceil_mode gives as many windows; then `after` is just the padding.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    after: tuple[int, ...]
    by_itself: bool

    @property
    def elements(self) -> int:
        """Places in one window."""
        return math.prod(self.kernel)

    def ends(self) -> list[int]:
        """Places in front of each axis, then behind each."""
        return [*self.padding, *self.after]


def windows_of(writing: Writing, block: Any, x: Operand, explicit: bool = False) -> PoolWindows:
    """The windows. explicit: say what ceil_mode adds in numbers, for which the sizes of x must be known."""
    parts = (block._kernel, block._stride, block._padding, block._dilation)
    kernel, stride, padding, dilation = (part[-block.axes :] for part in parts)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    after = padding
    # ONNX lets a last window start in the padding behind x, which torch does not. Then nothing but numbers will do.
    safe = all(p + s <= r for p, s, r in zip(padding, stride, reach, strict=True))
    if block.ceil_mode and (explicit or not safe):
        sizes = [x.known_size(axis, "ceil_mode with these windows") for axis in range(-block.axes, 0)]
        counts = writing.outputs[0].trials[0].shape[-block.axes :]
        places = zip(counts, stride, reach, sizes, padding, strict=True)
        after = tuple(max((count - 1) * s + r - size - p, 0) for count, s, r, size, p in places)
        return PoolWindows(kernel, stride, padding, dilation, after, False)
    return PoolWindows(kernel, stride, padding, dilation, after, block.ceil_mode)


def padded(writing: Writing, x: Operand, windows: PoolWindows, value: float = 0.0) -> OperatorInput:
    """x with the windows' padding around it."""
    if not any(windows.ends()):
        return x
    ends = writing.whole(0, 0, *windows.padding, 0, 0, *windows.after)
    return writing.add("Pad", x, ends, *([writing.number(value)] if value else []))


@exports(blocks.MaxPool1d, blocks.MaxPool2d, blocks.MaxPool3d)
def max_pool(writing: Writing, block: Any, x: Operand) -> Any:
    windows = windows_of(writing, block, x)
    options: dict[str, Any] = {"kernel_shape": list(windows.kernel), "strides": list(windows.stride)}
    options |= {"dilations": list(windows.dilation), "ceil_mode": int(windows.by_itself)}
    if all(end < k for end, k in zip(windows.ends(), windows.kernel * 2, strict=True)):
        return writing.add("MaxPool", x, **options, pads=windows.ends())
    wide = padded(writing, x, windows, -math.inf)  # more than onnxruntime takes as pads
    return writing.add("MaxPool", wide, **options)


@exports(blocks.AvgPool1d, blocks.AvgPool2d, blocks.AvgPool3d)
def avg_pool(writing: Writing, block: Any, x: Operand) -> Any:
    windows = windows_of(writing, block, x)
    if (block.ceil_mode and block.divisor) or windows.after != windows.padding:
        return _counted_avg_pool(writing, block, x)
    inside = block.count_include_pad and any(windows.padding)
    options: dict[str, Any] = {"kernel_shape": list(windows.kernel), "strides": list(windows.stride)}
    if block.ceil_mode:  # in which ONNX and onnxruntime count differently, unless nothing outside is counted
        bordered = padded(writing, x, windows) if inside else x
        return writing.add("AveragePool", bordered, **options, ceil_mode=1, pads=None if inside else windows.ends())
    include = int(inside or block.divisor is not None)
    y = writing.add("AveragePool", x, **options, pads=windows.ends(), count_include_pad=include)
    return y if block.divisor is None else writing.add("Mul", y, writing.number(windows.elements / block.divisor))


def _counted_avg_pool(writing: Writing, block: Any, x: Operand) -> str:
    """Averages of whole windows, which reach out of x, times the share that counts."""
    windows = windows_of(writing, block, x, explicit=True)
    options: dict[str, Any] = {"kernel_shape": list(windows.kernel), "strides": list(windows.stride)}
    means = writing.add("AveragePool", padded(writing, x, windows), **options)
    counts: Any = block.divisor
    if counts is None:
        shape = tuple(x.trials[0].shape)
        counts = block._counts(shape if block.axes > 1 else (*shape[:2], 1, *shape[2:]), torch.empty((), dtype=x.dtype))
        counts = counts.view(counts.shape[-block.axes :]) if isinstance(counts, torch.Tensor) else counts
    shares = torch.as_tensor(windows.elements / counts, dtype=x.dtype)
    return writing.add("Mul", means, writing.constant(shares) if shares.dim() else writing.number(shares.item()))


@exports(blocks.LpPool1d, blocks.LpPool2d, blocks.LpPool3d)
def lp_pool(writing: Writing, block: Any, x: Operand) -> Any:
    windows = windows_of(writing, block, x, explicit=True)
    options: dict[str, Any] = {"kernel_shape": list(windows.kernel), "strides": list(windows.stride)}
    if block.order == int(block.order) and windows.after == windows.padding:
        return writing.add("LpPool", x, **options, pads=windows.ends(), p=int(block.order))
    powers = writing.add("Pow", writing.add("Abs", padded(writing, x, windows)), writing.number(block.order))
    total = writing.add("Mul", writing.add("AveragePool", powers, **options), writing.number(windows.elements))
    return writing.add("Pow", total, writing.number(1 / block.order))
