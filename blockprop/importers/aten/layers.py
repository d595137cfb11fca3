"""Handlers of operators with weights."""

from collections.abc import Sequence
from typing import Any

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.elementwise import scaled
from blockprop.importers.aten.sizes import batched, each_axis, one_or_all
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call
from blockprop.importers.graph import Flow, Known, Value


def is_weight(*values: Value | None) -> bool:
    """Whether a block can hold these itself: they are weights, and nobody else's."""
    return all(value is None or (isinstance(value, Known) and not value.tied) for value in values)


@aten("linear")
def linear(call: Call, input: Value, weight: Value, bias: Value | None = None) -> Value:
    if is_weight(weight, bias):
        assert isinstance(weight, Known)
        features_out, features_in = weight.shape
        settings = {"features_in": features_in, "features_out": features_out, "with_bias": bias is not None}
        return call.add(call.block(blocks.Linear, settings, weight=weight, bias=bias), input)  # type: ignore[arg-type]
    turned = call.add(blocks.Transpose((1, 0)), weight, part="transpose")
    y = call.add(blocks.MatMul(), input, turned, part="" if bias is None else "product")
    return y if bias is None else call.add(blocks.Add(), y, bias)


@aten("addmm", "baddbmm")
def addmm(call: Call, self: Value, beta: float = 1, alpha: float = 1, **matrices: Value) -> Value:
    a, b = matrices.values()
    y = call.add(blocks.MatMul(), a, b, part="product")
    return call.add(blocks.Add(), scaled(call, self, beta), scaled(call, y, alpha))


@aten("addbmm")
def addbmm(call: Call, self: Value, batch1: Value, batch2: Value, beta: float = 1, alpha: float = 1) -> Value:
    y = call.add(blocks.Einsum("bnk,bkm->nm"), batch1, batch2, part="product")
    return call.add(blocks.Add(), scaled(call, self, beta), scaled(call, y, alpha))


@aten("matmul", "mm", "bmm", "mv", "dot")
def matmul(call: Call, **operands: Value) -> Value:
    a, b = operands.values()
    equation = {(1, 1): "k,k->", (1, 2): "k,km->m", (2, 1): "nk,k->n"}.get((a.axes, b.axes))
    if equation is None and 1 in (a.axes, b.axes):
        equation = "k,...km->...m" if a.axes == 1 else "...nk,k->...n"
    return call.add(blocks.Einsum(equation) if equation else blocks.MatMul(), a, b)


@aten("outer", "ger")
def outer(call: Call, self: Value, vec2: Value) -> Value:
    return call.add(blocks.Einsum("n,m->nm"), self, vec2)


@aten("einsum")
def einsum(call: Call, equation: str, tensors: Sequence[Value], path: Any = None) -> Value:
    return call.add(blocks.Einsum(equation), *tensors)


@aten("embedding")
def embedding(
    call: Call, weight: Value, indices: Value, padding_idx: int = -1, scale_grad_by_freq: bool = False
) -> Value:
    if scale_grad_by_freq:
        raise UnsupportedError("derivatives divided by how often a row was looked up")
    if is_weight(weight):
        settings = {"rows": weight.shape[0], "features": weight.shape[1]}
        padding = {} if padding_idx < 0 else {"padding": padding_idx}
        return call.add(call.block(blocks.Embedding, settings | padding, weight=weight), indices)  # type: ignore[arg-type]
    if padding_idx >= 0:
        raise UnsupportedError("a row for padding in a table that has other uses")
    return call.add(blocks.Gather(0), weight, indices)


_CONVOLUTIONS: dict[int, Any] = {1: blocks.Conv1d, 2: blocks.Conv2d, 3: blocks.Conv3d}
_TRANSPOSED: dict[int, Any] = {1: blocks.ConvTranspose1d, 2: blocks.ConvTranspose2d, 3: blocks.ConvTranspose3d}


@aten("conv1d", "conv2d", "conv3d", "convolution", "_convolution")
def convolution(
    call: Call,
    input: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    transposed: bool = False,
    output_padding: Any = 0,
    **_: Any,
) -> Value:
    if transposed:
        return transposed_convolution(call, input, weight, bias, stride, padding, output_padding, groups, dilation)
    if is_computed(weight, bias):
        return convolve(call, (input, weight, bias), stride, padding, dilation, groups)
    held, offset = call.weight(weight), call.weight(bias)
    assert held is not None
    axes = held.axes - 2
    stride, dilation = each_axis(stride, axes), each_axis(dilation, axes)
    input, padding = padded(call, input, padding, held.shape[2:], dilation)
    settings = {
        "channels_in": held.shape[1] * groups,
        "channels_out": held.shape[0],
        "kernel": one_or_all(held.shape[2:]),
        "stride": one_or_all(stride),
        "padding": one_or_all(each_axis(padding, axes)),
        "dilation": one_or_all(dilation),
        "groups": groups,
        "with_bias": offset is not None,
    }
    return batched(call, call.block(_CONVOLUTIONS[axes], settings, weight=held, bias=offset), input, axes + 2)


def padded(call: Call, x: Value, padding: Any, kernel: Sequence[Any], dilation: Sequence[int]) -> tuple[Value, Any]:
    """(x, padding in numbers): "same" of an odd total pads x itself, since the two sides differ."""
    if padding == "valid":
        return x, 0
    if padding != "same":
        return x, padding
    totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if not any(total % 2 for total in totals):
        return x, [total // 2 for total in totals]
    pads = [pad for total in reversed(totals) for pad in (total // 2, total - total // 2)]
    return call.add(blocks.Pad(pads), x, part="pad"), 0


def is_computed(*values: Value | None) -> bool:
    """Whether one of these depends on the network's input, so that no block can hold it."""
    return any(isinstance(value, Flow) and value.known is None for value in values)


def convolve(
    call: Call,
    operands: tuple[Value, Value, Value | None],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    **transposed: Any,
) -> Value:
    """A convolution whose kernel is computed from the network's input, as in dynamic convolutions."""
    x, kernel, bias = operands
    axes = kernel.axes - 2
    if not isinstance(groups, int):
        raise UnsupportedError("a kernel for each example of a free batch: as many groups as there are examples")
    if x.axes != axes + 2:
        raise UnsupportedError("a single example without a batch, with a kernel that is computed")
    dilation = each_axis(dilation, axes)
    x, padding = padded(call, x, padding, kernel.shape[2:], dilation)
    settings = {"stride": each_axis(stride, axes), "padding": each_axis(padding, axes), "dilation": dilation}
    settings |= {name: each_axis(value, axes) for name, value in transposed.items() if name == "output_padding"}
    block = blocks.Convolve(
        groups=groups,
        transposed=transposed.get("transposed", False),
        **{name: one_or_all(numbers) for name, numbers in settings.items()},
    )
    return call.add(block, x, kernel, *([] if bias is None else [bias]))


@aten("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(
    call: Call,
    input: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    if is_computed(weight, bias):
        more = {"transposed": True, "output_padding": output_padding}
        return convolve(call, (input, weight, bias), stride, padding, dilation, groups, **more)
    held, offset = call.weight(weight), call.weight(bias)
    assert held is not None
    axes = held.axes - 2
    settings = {
        "channels_in": held.shape[0],
        "channels_out": held.shape[1] * groups,
        "kernel": one_or_all(held.shape[2:]),
        "stride": one_or_all(each_axis(stride, axes)),
        "padding": one_or_all(each_axis(padding, axes)),
        "output_padding": one_or_all(each_axis(output_padding, axes)),
        "groups": groups,
        "with_bias": offset is not None,
        "dilation": one_or_all(each_axis(dilation, axes)),
    }
    return batched(call, call.block(_TRANSPOSED[axes], settings, weight=held, bias=offset), input, axes + 2)
