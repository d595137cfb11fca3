"""Handlers of recurrent layers: ONNX' weights in the order of the blocks'."""

from typing import Any

from torch import Tensor

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.errors import UnsupportedError
from blockprop.importers import exact_sizes
from blockprop.importers.exact_sizes import FreeSizeError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.table import operator

MOST_STEPS = 2**14
"""Steps of a sequence: the blocks walk along them one by one, also while importing."""
_ORDERS = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where the blocks' gates i f g o, r z n are among ONNX' i o f c, z r h."""
_FUNCTIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@operator("LSTM", 7, 14, 22)
def lstm(
    call: OnnxCall,
    x: Input,
    w: Input,
    r: Input,
    b: Input | None = None,
    lengths: Input | None = None,
    h: Input | None = None,
    c: Input | None = None,
    p: Input | None = None,
    **settings: Any,
) -> Any:
    if p is not None and bool(call.known_tensor(p).any()):
        raise UnsupportedError("peepholes")
    if settings.pop("input_forget", 0):
        raise UnsupportedError("input_forget")
    return _recurrent(call, blocks.LSTM, {}, x, (w, r, b), lengths, (h, c), **settings)


@operator("GRU", 7, 14, 22)
def gru(
    call: OnnxCall,
    x: Input,
    w: Input,
    r: Input,
    b: Input | None = None,
    lengths: Input | None = None,
    h: Input | None = None,
    *,
    linear_before_reset: int = 0,
    **settings: Any,
) -> Any:
    more = {"reset_after": bool(linear_before_reset)}
    return _recurrent(call, blocks.GRU, more, x, (w, r, b), lengths, (h,), **settings)


@operator("RNN", 7, 14, 22)
def rnn(
    call: OnnxCall,
    x: Input,
    w: Input,
    r: Input,
    b: Input | None = None,
    lengths: Input | None = None,
    h: Input | None = None,
    **settings: Any,
) -> Any:
    functions = settings.pop("activations", None) or ["Tanh"]
    if set(functions) not in ({"Tanh"}, {"Relu"}):
        raise UnsupportedError(f"the activations {functions}")
    return _recurrent(call, blocks.RNN, {"nonlinearity": functions[0].lower()}, x, (w, r, b), lengths, (h,), **settings)


def _recurrent(
    call: OnnxCall,
    kind: Any,
    more: dict[str, Any],
    x: Any,
    weights: tuple[Input, Input, Input | None],
    lengths: Input | None,
    states: tuple[Input | None, ...],
    *,
    hidden_size: int | None = None,
    direction: str = "forward",
    layout: int = 0,
    clip: float | None = None,
    activations: list[str] | None = None,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    output_sequence: int = 0,
) -> Any:
    directions = 2 if direction == "bidirectional" else 1
    features = call.held(weights[1]).shape[-1] if hidden_size is None else hidden_size
    if clip is not None or activation_alpha or activation_beta:
        raise UnsupportedError("clip, or settings of activations")
    if activations and tuple(activations) != _FUNCTIONS[call.operator] * directions:
        raise UnsupportedError(f"the activations {activations}")
    if layout:
        x = call.add(blocks.Transpose((1, 0, 2)), x, part="steps_first")
        turn = blocks.Transpose((1, 0, 2))
        states = tuple(None if state is None else call.add(turn, state, part="state") for state in states)
    _check_steps(call, x, lengths)
    held = _held(call, weights, features, direction)
    settings = {
        "features_in": held["weight_ih_l0"].shape[1],
        "features": features,
        "bidirectional": directions == 2,
        "with_bias": weights[2] is not None,
        **more,
    }
    if direction == "reverse":
        x = call.add(blocks.Flip((0,)), x, part="flip")
    starts = _given_states(call, x, states, directions, features)
    outputs = call.add(call.block(kind, settings, **held), x, *starts, part="steps")
    y = outputs[0]
    if direction == "reverse":
        y = call.add(blocks.Flip((0,)), y, part="flip_back")
    return _as_onnx(call, y, outputs[1:], directions, features, layout)


def _check_steps(call: OnnxCall, x: Any, lengths: Input | None) -> None:
    if max(exact_sizes.trials_of(x.shape[0])) > MOST_STEPS:
        raise UnsupportedError(f"sequences of more than {MOST_STEPS} steps")
    if lengths is None:
        return
    steps = x.shape[0]
    if not isinstance(steps, int):
        raise FreeSizeError("the length of the sequences")
    if not bool((call.known_tensor(lengths) == steps).all()):
        raise UnsupportedError("sequences of different lengths")


def _held(call: OnnxCall, weights: Any, features: int, direction: str) -> dict[str, Known]:
    """The weights under the blocks' names, each with its gates in the blocks' order."""
    w, r, b = weights
    order, ordered = _ORDERS[call.operator], {}
    for i, suffix in enumerate(("_l0", "_l0_reverse") if direction == "bidirectional" else ("_l0",)):
        for name, weight in (("weight_ih", w), ("weight_hh", r)):
            ordered[name + suffix] = Known(_ordered(call.held(weight).tensor[i], order, features), trained=True)
        if b is not None:
            both = call.held(b).tensor[i].chunk(2)
            for name, part in zip(("bias_ih", "bias_hh"), both, strict=True):
                ordered[name + suffix] = Known(_ordered(part, order, features), trained=True)
    return ordered


def _ordered(tensor: Tensor, order: tuple[int, ...], features: int) -> Tensor:
    gates = tensor.unflatten(0, (len(order), features))
    return gates[list(order)].flatten(0, 1).contiguous()


def _given_states(
    call: OnnxCall, x: Any, states: tuple[Input | None, ...], directions: int, features: int
) -> tuple[Any, ...]:
    """The first states, all or none of them."""
    if all(state is None for state in states):
        return ()
    sizes, others = call.formulas((directions, x.shape[1], features), x)
    return tuple(
        call.add(blocks.Filled(sizes, 0.0, name_of(x.dtype)), x, *others, part="zeros") if state is None else state
        for state in states
    )


def _as_onnx(call: OnnxCall, y: Any, last: tuple[Any, ...], directions: int, features: int, layout: int) -> Any:
    """(steps, directions, n, features), as ONNX has it, or with layout 1 (n, steps, directions, features)."""
    wanted, others = call.sizes((*y.shape[:2], directions, features), y)
    apart = call.add(blocks.Reshape(wanted, 0), y, *others, part="directions")
    if layout:
        last = tuple(call.add(blocks.Transpose((1, 0, 2)), state, part="last") for state in last)
    turned = call.add(blocks.Transpose((1, 0, 2, 3) if layout else (0, 2, 1, 3)), apart)
    return (turned, *last)
