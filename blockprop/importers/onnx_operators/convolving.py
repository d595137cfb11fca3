"""Handlers of convolutions, and what they share with pooling: windows, paddings and output sizes as ONNX has them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers import exact_sizes
from blockprop.importers.exact_sizes import FreeSizeError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.table import operator
from blockprop.importers.symbols import AxisSize

CONVOLUTIONS: dict[int, Any] = {1: blocks.Conv1d, 2: blocks.Conv2d, 3: blocks.Conv3d}
TRANSPOSED: dict[int, Any] = {1: blocks.ConvTranspose1d, 2: blocks.ConvTranspose2d, 3: blocks.ConvTranspose3d}


class OnnxWindows(NamedTuple):
    """Windows along all axes of places. before, after: paddings, which may follow a free size."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[AxisSize, ...]
    after: tuple[AxisSize, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """From the first to the last element of a window."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def is_even(self) -> bool:
        """Whether the paddings are plain numbers, the same before and after."""
        return all(isinstance(size, int) and size >= 0 for size in self.before) and self.before == self.after


def windows(
    call: OnnxCall,
    x: Input,
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    pads: Sequence[int] | None,
    dilations: Sequence[int] | None,
    auto_pad: str,
) -> OnnxWindows:
    """The windows that an operator's attributes say. GraphError if there are not as many of each as axes."""
    axes = len(kernel)
    stride, dilation = list(strides or [1] * axes), list(dilations or [1] * axes)
    pads = list(pads or [0] * 2 * axes)
    if not axes == len(stride) == len(dilation) == len(pads) / 2 == x.axes - 2 or min(*kernel, *stride, *dilation) < 1:
        raise GraphError(
            f"kernel_shape {list(kernel)}, strides {stride}, dilations {dilation} and pads {pads} do not fit an input "
            f"of {x.axes} axes"
        )
    if max(map(abs, (*kernel, *stride, *dilation, *pads))) >= 2**31:
        raise GraphError(f"{max(map(abs, (*kernel, *stride, *dilation, *pads)))} as a size of windows")
    before: list[AxisSize] = list(pads[:axes])
    after: list[AxisSize] = list(pads[axes:])
    if auto_pad == "VALID":
        before, after = [0] * axes, [0] * axes
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        for i, size in enumerate(x.shape[2:]):
            total = _same_total(size, stride[i], dilation[i] * (kernel[i] - 1) + 1)
            half = total // 2
            before[i], after[i] = (half, total - half) if auto_pad == "SAME_UPPER" else (total - half, half)
    elif auto_pad != "NOTSET":
        raise GraphError(f"auto_pad {auto_pad!r}")
    return OnnxWindows(tuple(kernel), tuple(stride), tuple(dilation), tuple(before), tuple(after))


def _same_total(size: AxisSize, stride: int, reach: int) -> AxisSize:
    """The padding that makes ⌈size / stride⌉ windows: max((⌈size / stride⌉ − 1) stride + reach − size, 0).

    The difference is reach − 1 − (size − 1) % stride. It is negative only if windows leave gaps, but not below −stride:
    then (difference + stride) // stride is 0 where it is negative, and 1 elsewhere.
    """
    difference = -((size - 1) % stride) + (reach - 1)
    return difference if reach >= stride else difference * ((difference + stride) // stride)


def padded(call: OnnxCall, x: Input, w: OnnxWindows, value: float = 0.0) -> Any:
    """x with a border of its own, which a block cannot make by itself."""
    pads = [size for pair in zip(w.before[::-1], w.after[::-1], strict=True) for size in pair]
    sizes, others = call.formulas(pads, x)
    return call.add(blocks.Pad(sizes, "constant", value), x, *others, part="pad")


def plain(sizes: Sequence[Any]) -> Any:
    """One number if all are the same, as blocks like to show it."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


@operator("Conv", 1, 11, 22)
def conv(
    call: OnnxCall,
    x: Input,
    w: Input,
    b: Input | None = None,
    *,
    kernel_shape: list[int] | None = None,
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
) -> Any:
    if any(map(call.is_computed, (w, b))):
        return _by_computed_kernel(
            call, x, w, b, windows(call, x, _kernel(w), strides, pads, dilations, auto_pad), group
        )
    weight, bias = _weights(call, w, b, kernel_shape)
    seen = windows(call, x, weight.shape[2:], strides, pads, dilations, auto_pad)
    settings = {
        "channels_in": weight.shape[1] * group,
        "channels_out": weight.shape[0],
        "kernel": plain(seen.kernel),
        "stride": plain(seen.stride),
        "dilation": plain(seen.dilation),
        "groups": group,
        "with_bias": bias is not None,
    }
    padding: tuple[int, ...] = (0,) * len(seen.kernel)
    if seen.is_even:
        padding = tuple(size for size in seen.before if isinstance(size, int))
    else:
        x = padded(call, x, seen)
    block = call.block(CONVOLUTIONS[len(seen.kernel)], settings | {"padding": plain(padding)}, weight=weight, bias=bias)
    return call.add(block, x)


def _kernel(w: Input) -> tuple[int, ...]:
    """The size of a kernel that is computed."""
    if w.axes - 2 not in CONVOLUTIONS:
        raise UnsupportedError(f"a kernel of {w.axes} axes")
    return tuple(exact_sizes.whole(w.shape[2:]))


def _by_computed_kernel(
    call: OnnxCall, x: Input, w: Input, b: Input | None, seen: OnnxWindows, group: int, **transposed: Any
) -> Any:
    """The convolution with a kernel that the network computes."""
    if seen.is_even:
        padding = tuple(size for size in seen.before if isinstance(size, int))
    else:
        x, padding = padded(call, x, seen), (0,) * len(seen.kernel)
    block = blocks.Convolve(plain(seen.stride), plain(padding), plain(seen.dilation), group, **transposed)
    return call.add(block, x, w, *(() if b is None else (b,)))


def _weights(call: OnnxCall, w: Input, b: Input | None, kernel_shape: list[int] | None) -> tuple[Known, Known | None]:
    weight, bias = call.held(w), None if b is None else call.held(b)
    axes = weight.axes - 2
    if axes not in CONVOLUTIONS:
        raise UnsupportedError(f"a kernel of {axes} axes")
    if kernel_shape is not None and tuple(kernel_shape) != weight.shape[2:]:
        raise GraphError(f"kernel_shape is {kernel_shape}, but the weight {weight.shape}")
    return weight, bias


@operator("ConvTranspose", 1, 11, 22)
def conv_transpose(
    call: OnnxCall,
    x: Input,
    w: Input,
    b: Input | None = None,
    *,
    kernel_shape: list[int] | None = None,
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
) -> Any:
    if any(map(call.is_computed, (w, b))):
        seen = windows(call, x, _kernel(w), strides, pads, dilations, auto_pad)
        if output_shape is not None or not seen.is_even or auto_pad not in ("NOTSET", "VALID"):
            raise UnsupportedError("a computed kernel with an output_shape, or uneven padding")
        more = {"transposed": True, "output_padding": plain(output_padding or [0] * len(seen.kernel))}
        return _by_computed_kernel(call, x, w, b, seen, group, **more)
    weight, bias = _weights(call, w, b, kernel_shape)
    seen = windows(call, x, weight.shape[2:], strides, pads, dilations, "NOTSET")
    extra = tuple(output_padding or [0] * len(seen.kernel))
    if len(extra) != len(seen.kernel):
        raise GraphError(f"output_padding {extra} for {len(seen.kernel)} axes")
    before, after = _cut(call, x, seen, extra, output_shape, auto_pad)
    settings = {
        "channels_in": weight.shape[0],
        "channels_out": weight.shape[1] * group,
        "kernel": plain(seen.kernel),
        "stride": plain(seen.stride),
        "dilation": plain(seen.dilation),
        "groups": group,
        "with_bias": bias is not None,
    }
    kind = TRANSPOSED[len(seen.kernel)]
    small = all(e < max(s, d) for e, s, d in zip(extra, seen.stride, seen.dilation, strict=True))
    if before == after and small and min(before) >= 0:
        settings |= {"padding": plain(before), "output_padding": plain(extra)}
        return call.add(call.block(kind, settings, weight=weight, bias=bias), x)
    # The block cuts alike on both sides: here all is made, and then cut, or filled up with the bias.
    whole = call.add(call.block(kind, settings | {"with_bias": False}, weight=weight, bias=None), x, part="whole")
    pads_around = [
        size
        for first, last, more in zip(before[::-1], after[::-1], extra[::-1], strict=True)
        for size in (-first, more - last)
    ]
    if bias is None:
        return call.add(blocks.Pad(pads_around), whole)
    cut = call.add(blocks.Pad(pads_around), whole, part="cut")
    shaped = call.add(blocks.Reshape((-1, *(1,) * len(seen.kernel)), 0), bias, part="bias")
    return call.add(blocks.Add(), cut, shaped)


def _cut(
    call: OnnxCall,
    x: Input,
    seen: OnnxWindows,
    extra: tuple[int, ...],
    output_shape: list[int] | None,
    auto_pad: str,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How much is cut from both sides of the whole output."""
    if output_shape is None and auto_pad == "NOTSET":
        before = tuple(size for size in seen.before if isinstance(size, int))
        return before, tuple(size for size in seen.after if isinstance(size, int))
    if auto_pad == "VALID" and output_shape is None:
        return (0,) * len(extra), (0,) * len(extra)
    wanted: list[Any] = list(output_shape or [])[-len(extra) :]
    cuts = []
    for i, size in enumerate(x.shape[2:]):
        if output_shape is None:  # SAME: the output is the input times the stride
            cuts.append(extra[i] + seen.reach[i] - seen.stride[i])
        elif isinstance(size, int):
            cuts.append((size - 1) * seen.stride[i] + extra[i] + seen.reach[i] - wanted[i])
        else:
            raise FreeSizeError("the padding that makes an output_shape")
    halves = [cut // 2 for cut in cuts]
    rests = [cut - half for cut, half in zip(cuts, halves, strict=True)]
    return (tuple(halves), tuple(rests)) if auto_pad == "SAME_UPPER" else (tuple(rests), tuple(halves))
