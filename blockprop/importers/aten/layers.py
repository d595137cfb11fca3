"""Handlers of operators with weights, of pooling and of resizing."""

from collections.abc import Sequence
from typing import Any

from blockprop import blocks
from blockprop.importers.aten.elementwise import scaled
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call
from blockprop.importers.graph import Known, Value
from blockprop.importers.symbols import Symbol

# Linear maps ----------------------------------------------------------------------------------------------------------


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


@aten("addmm", "baddbmm", "addbmm")
def addmm(call: Call, self: Value, beta: float = 1, alpha: float = 1, **matrices: Value) -> Value:
    a, b = matrices.values()
    y = call.add(blocks.MatMul(), a, b, part="product")
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
def embedding(call: Call, weight: Value, indices: Value, **_: Any) -> Value:
    if is_weight(weight):
        settings = {"rows": weight.shape[0], "features": weight.shape[1]}
        return call.add(call.block(blocks.Embedding, settings, weight=weight), indices)  # type: ignore[arg-type]
    return call.add(blocks.Gather(0), weight, indices)


# Convolution ----------------------------------------------------------------------------------------------------------

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
    held, offset = call.weight(weight), call.weight(bias)
    assert held is not None
    axes = held.axes - 2
    stride, dilation = _each(stride, axes), _each(dilation, axes)
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, held.shape[2:], strict=True)]
        if any(total % 2 for total in totals):
            pads = [pad for total in reversed(totals) for pad in (total // 2, total - total // 2)]
            input, padding = call.add(blocks.Pad(pads), input, part="pad"), 0
        else:
            padding = [total // 2 for total in totals]
    settings = {
        "channels_in": held.shape[1] * groups,
        "channels_out": held.shape[0],
        "kernel": _sizes(held.shape[2:]),
        "stride": _sizes(stride),
        "padding": _sizes(_each(padding, axes)),
        "dilation": _sizes(dilation),
        "groups": groups,
        "with_bias": offset is not None,
    }
    return batched(call, call.block(_CONVOLUTIONS[axes], settings, weight=held, bias=offset), input, axes + 2)


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
    held, offset = call.weight(weight), call.weight(bias)
    assert held is not None
    axes = held.axes - 2
    settings = {
        "channels_in": held.shape[0],
        "channels_out": held.shape[1] * groups,
        "kernel": _sizes(held.shape[2:]),
        "stride": _sizes(_each(stride, axes)),
        "padding": _sizes(_each(padding, axes)),
        "output_padding": _sizes(_each(output_padding, axes)),
        "groups": groups,
        "with_bias": offset is not None,
        "dilation": _sizes(_each(dilation, axes)),
    }
    return batched(call, call.block(_TRANSPOSED[axes], settings, weight=held, bias=offset), input, axes + 2)


# Normalization --------------------------------------------------------------------------------------------------------


@aten("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm", "_batch_norm_impl_index")
def batch_norm(
    call: Call,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    **_: Any,
) -> Value:
    if running_mean is None or running_var is None:
        raise call.refuse("batch normalization without running statistics works on the batch alone")
    mean, variance = call.weight(running_mean), call.weight(running_var)
    assert mean is not None
    scale, shift = affine_pair(call, weight, bias)
    kind: Any = {4: blocks.BatchNorm2d, 5: blocks.BatchNorm3d}.get(input.axes, blocks.BatchNorm1d)
    settings = {"channels": mean.shape[0], "epsilon": eps, "momentum": momentum, "affine": scale is not None}
    block = call.block(kind, settings, weight=scale, bias=shift, running_mean=mean, running_variance=variance)
    return call.add(block, input)


@aten("instance_norm")
def instance_norm(
    call: Call,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    **_: Any,
) -> Value:
    if not use_input_stats:
        return batch_norm(call, input, weight, bias, running_mean, running_var, False, momentum, eps)
    channels = input.shape[1]
    scale, shift = affine_pair(call, weight, bias)
    settings = {"channels": channels, "epsilon": eps, "affine": scale is not None}
    return call.add(call.block(blocks.InstanceNorm, settings, weight=scale, bias=shift), input)


@aten("group_norm", "native_group_norm")
def group_norm(
    call: Call, input: Value, num_groups: int, weight: Value | None, bias: Value | None, eps: float, **_: Any
) -> Value:
    scale, shift = affine_pair(call, weight, bias)
    settings = {"groups": num_groups, "channels": input.shape[1], "epsilon": eps, "affine": scale is not None}
    return call.add(call.block(blocks.GroupNorm, settings, weight=scale, bias=shift), input)


@aten("layer_norm", "native_layer_norm")
def layer_norm(
    call: Call,
    input: Value,
    normalized_shape: Sequence[int],
    weight: Value | None,
    bias: Value | None,
    eps: float,
    **_: Any,
) -> Value:
    shape = tuple(normalized_shape)
    if weight is not None and bias is None:
        bias = Known(call.constant(weight).new_zeros(shape))
    scale, shift = affine_pair(call, weight, bias)
    settings = {"shape": shape, "epsilon": eps, "affine": scale is not None}
    return call.add(call.block(blocks.LayerNorm, settings, weight=scale, bias=shift), input)


@aten("rms_norm")
def rms_norm(
    call: Call, input: Value, normalized_shape: Sequence[int], weight: Value | None = None, eps: float | None = None
) -> Value:
    import torch

    epsilon = torch.finfo(input.dtype).eps if eps is None else eps
    settings = {"shape": tuple(normalized_shape), "epsilon": epsilon, "affine": weight is not None}
    return call.add(call.block(blocks.RMSNorm, settings, weight=call.weight(weight)), input)


def affine_pair(call: Call, weight: Value | None, bias: Value | None) -> tuple[Known | None, Known | None]:
    """Scale and shift, both or none of them."""
    scale, shift = call.weight(weight), call.weight(bias)
    if scale is not None and shift is None:
        shift = Known(scale.tensor.new_zeros(scale.shape))
    if shift is not None and scale is None:
        scale = Known(shift.tensor.new_ones(shift.shape))
    return scale, shift


# Pooling --------------------------------------------------------------------------------------------------------------

_MAX: dict[int, Any] = {1: blocks.MaxPool1d, 2: blocks.MaxPool2d, 3: blocks.MaxPool3d}
_AVERAGE: dict[int, Any] = {1: blocks.AvgPool1d, 2: blocks.AvgPool2d, 3: blocks.AvgPool3d}
_ADAPTIVE: dict[str, Any] = {
    "adaptive_avg_pool1d": blocks.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": blocks.AdaptiveAvgPool2d,
    "_adaptive_avg_pool2d": blocks.AdaptiveAvgPool2d,
    "adaptive_avg_pool3d": blocks.AdaptiveAvgPool3d,
    "adaptive_max_pool1d": blocks.AdaptiveMaxPool1d,
    "adaptive_max_pool2d": blocks.AdaptiveMaxPool2d,
}


@aten("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool1d_with_indices")
def max_pool(
    call: Call, self: Value, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Any:
    axes = _axes_named(call)
    kernel = _each(kernel_size, axes)
    block = _MAX[axes](
        _sizes(kernel),
        _sizes(_each(stride, axes)) if stride else None,
        _sizes(_each(padding, axes)),
        _sizes(_each(dilation, axes)),
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
    settings: dict[str, Any] = {} if divisor_override is None else {"divisor": divisor_override}
    block = _AVERAGE[axes](
        _sizes(_each(kernel_size, axes)),
        _sizes(_each(stride, axes)) if stride else None,
        _sizes(_each(padding, axes)),
        ceil_mode,
        count_include_pad,
        **settings,
    )
    return batched(call, block, self, axes + 2)


@aten(*_ADAPTIVE)
def adaptive_pool(call: Call, self: Value, output_size: Any) -> Any:
    name = call.operator.split(".")[1]
    axes = _axes_named(call)
    own = self.shape[-axes:]
    wanted = [own[i] if size is None else size for i, size in enumerate(_each(output_size, axes))]
    if any(isinstance(size, Symbol) for size in wanted):
        raise call.refuse("adaptive pooling to a free size")
    y = batched(call, _ADAPTIVE[name](_sizes(wanted)), self, axes + 2)
    return (y, None) if "max" in name else y


# Resizing -------------------------------------------------------------------------------------------------------------


@aten("upsample_nearest2d", "upsample_bilinear2d")
def upsample(
    call: Call,
    output_size: Any = None,
    align_corners: bool = False,
    scale_factors: Any = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
    **operand: Value,
) -> Value:
    (x,) = operand.values()
    mode = "bilinear" if "bilinear" in call.operator else "nearest"
    if output_size is None:
        return call.add(blocks.Resize(scale=tuple(scale_factors), mode=mode, align_corners=align_corners), x)
    sizes, others = call.sizes([0, 0, *output_size], x)
    return call.add(blocks.Resize(sizes[2:], mode=mode, align_corners=align_corners), x, *others)


@aten(
    "upsample_nearest1d", "upsample_linear1d", "upsample_nearest3d", "upsample_trilinear3d", "upsample_bicubic2d",
    "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d",
)  # fmt: skip
def resample(
    call: Call,
    output_size: Any = None,
    align_corners: bool = False,
    scale_factors: Any = None,
    **operand: Any,
) -> Value:
    x = operand.get("input", operand.get("self"))
    name = call.operator.split(".")[1]
    axes = tuple(range(2, x.axes))
    settings: dict[str, Any] = {"mode": "nearest" if "nearest" in name else "cubic" if "cubic" in name else "linear"}
    settings["coordinates"] = "align_corners" if align_corners else "half_pixel"
    if "nearest" in name:
        exact = "exact" in name
        settings["nearest"] = "round_prefer_ceil" if exact else "floor"
        settings["coordinates"] = "half_pixel" if exact else "asymmetric"
    if output_size is not None:
        if any(isinstance(size, Symbol) for size in output_size):
            raise call.refuse("resizing of this kind to a free size")
        settings["sizes"] = tuple(output_size)
    else:
        settings["scales"] = tuple(scale_factors)
    if name.endswith("_aa"):
        settings["antialias"] = True
    if "cubic" in name:
        settings["cubic_coefficient"] = -0.5 if name.endswith("_aa") else -0.75
    return call.add(blocks.Resample(axes=axes, **settings), x)


@aten("grid_sampler", "grid_sampler_2d")
def grid_sample(
    call: Call, input: Value, grid: Value, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Value:
    mode, border = (
        ("bilinear", "nearest", "bicubic")[interpolation_mode],
        ("zeros", "border", "reflection")[padding_mode],
    )
    return call.add(blocks.GridSample(mode, border, align_corners), input, grid)


# Sequences ------------------------------------------------------------------------------------------------------------


@aten("scaled_dot_product_attention")
def attention(
    call: Call,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    if dropout_p:
        raise call.refuse("attention with dropout in training; import the model in evaluation mode")
    block = blocks.Attention(scale, is_causal, **({"grouped": True} if enable_gqa else {}))
    return call.add(block, query, key, value, *([] if attn_mask is None else [attn_mask]))


@aten("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(
    call: Call,
    input: Value,
    hx: Any,
    params: Sequence[Value],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    name = call.operator.split(".")[1]
    weights = [call.weight(value) for value in params]
    features = weights[1].shape[1]  # type: ignore[union-attr]
    states = list(hx) if isinstance(hx, list | tuple) else [hx]
    settings: dict[str, Any] = {
        "features_in": weights[0].shape[1],  # type: ignore[union-attr]
        "features": weights[1].shape[0] // {"lstm": 4, "gru": 3}.get(name, 1),  # type: ignore[union-attr]
        "layers": num_layers,
        "bidirectional": bidirectional,
        "with_bias": has_biases,
        "batch_first": batch_first,
        "dropout": dropout,
    }
    if name == "lstm" and features != settings["features"]:
        settings["projection"] = features
    if name.startswith("rnn"):
        settings["nonlinearity"] = name.removeprefix("rnn_")
    kind: Any = {"lstm": blocks.LSTM, "gru": blocks.GRU}.get(name, blocks.RNN)
    titles = kind(
        **{key: 1 if key.startswith(("features", "proj")) else v for key, v in settings.items()}
    ).parameter_names
    block = call.block(kind, settings, **dict(zip(titles, weights, strict=True)))
    if all(is_filled_with_zeros(state) for state in states):
        states = []
    unbatched = input.axes == 2
    if unbatched:
        batch = 0 if batch_first else 1
        input = call.add(blocks.Unsqueeze((batch,)), input, part="batch")
        states = [call.add(blocks.Unsqueeze((1,)), state, part="batch") for state in states]
    y, *ends = call.add(block, input, *states)
    if unbatched:
        y = call.add(blocks.Squeeze((batch,)), y, part="single")
        ends = [call.add(blocks.Squeeze((1,)), end, part="single") for end in ends]
    return (y, *ends)


def is_filled_with_zeros(value: Value) -> bool:
    """Whether a value is 0 wherever it stands: a constant, or made for a free batch."""
    if isinstance(value, Known):
        return not value.trained and not bool(value.tensor.any())
    return value.filled == 0


# Helpers --------------------------------------------------------------------------------------------------------------


def batched(call: Call, block: Any, x: Value, axes: int) -> Value:
    """The block on x; a single example without a batch axis gets one for it."""
    if x.axes == axes:
        return call.add(block, x)
    wide = call.add(blocks.Unsqueeze((0,)), x, part="batch")
    return call.add(blocks.Squeeze((0,)), call.add(block, wide, part="of_one"))


def _axes_named(call: Call) -> int:
    name = call.operator.split(".")[1]
    return int(name[name.index("d", name.index("pool")) - 1])


def _each(given: Any, axes: int) -> list[Any]:
    if isinstance(given, list | tuple):
        return list(given) * axes if len(given) == 1 else list(given)
    return [given] * axes


def _sizes(given: Sequence[int]) -> int | tuple[int, ...]:
    """One number where all are equal."""
    return given[0] if len(set(given)) == 1 else tuple(given)
