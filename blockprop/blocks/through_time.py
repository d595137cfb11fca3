"""Recurrent blocks, which walk along a sequence x_1 … x_l and carry a state h: LSTM, GRU, RNN.

At each step all gates of a direction are one sum of two products,

    gates_t = x_t weight_ihᵀ + bias_ih + h_{t−1} weight_hhᵀ + bias_hh

of which the first is formed for all steps at once; only the second waits for the step before. Then come the gates'
nonlinearities and the new state: `stepper` of each block. Back-propagation through time walks the other way. A step
turns d_h_t into d_gates_t, and hands to the step before it (`back_stepper` of each block)

    d_h_{t−1} = d_y_{t−1} + d_gates_t weight_hh + what goes past the gates

The slopes of the nonlinearities need nothing from above, so they are formed for all steps before the walk, and the walk
multiplies them in place. What does not wait for another step is one product over all steps after it:

    d_x = d_gates weight_ih     d_weight_ih = Σ_t d_gates_tᵀ x_t     d_weight_hh = Σ_t d_gates_tᵀ h_{t−1}
    d_bias_ih = d_bias_hh = Σ_t d_gates_t

Source: Werbos 1990 for back-propagation through time.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.dropout import Dropout
from blockprop.blocks.products import LARGE, affine, product
from blockprop.blocks.walks import StepBack, StepForward, Walk, WalkBack, over_steps
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

MOST_LAYERS = 1000


@dataclass(slots=True)
class _Saved:
    walks: list[Walk]
    """layer by layer, in each the direction forward first"""
    masks: list[Any]
    """of dropout, below each layer but the first"""
    inputs: int


class Recurrent(Block):
    """What all recurrent blocks share: layers, directions, steps in time, and the products over all steps."""

    kind = "weights"
    has_training_mode = True
    generator: torch.Generator | None = None
    """Draws the masks of dropout; None stands for torch's global generator."""
    gate_count: ClassVar[int]

    def __init__(
        self,
        features_in: int,
        features: int,
        layers: int,
        bidirectional: bool,
        with_bias: bool,
        batch_first: bool,
        dropout: float,
        projection: int = 0,
    ):
        if min(features_in, features, layers) < 1 or not 0 <= projection < features or layers > MOST_LAYERS:
            sizes = f"features_in {features_in}, features {features}, layers {layers}, projection {projection}"
            raise SettingError(
                f"expected at least one feature, 1…{MOST_LAYERS} layers, and a projection below features; came {sizes}"
            )
        Dropout(dropout)  # checks the probability
        self.features_in, self.features, self.layers, self.bidirectional = features_in, features, layers, bidirectional
        self.with_bias, self.batch_first, self.dropout = with_bias, batch_first, dropout
        self.features_out, self.directions = projection or features, 2 if bidirectional else 1
        names = []
        for layer in range(layers):
            for suffix in self._suffixes(layer):
                for kind, shape in self._shapes(self.directions * self.features_out if layer else features_in).items():
                    names.append(kind + suffix)
                    setattr(self, names[-1], torch.empty(shape).uniform_(-1, 1).div_(math.sqrt(features)))
        self.parameter_names = tuple(names)  # type: ignore[misc]

    def _shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        gates = self.gate_count * self.features
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, inputs), "weight_hh": (gates, self.features_out)}
        if self.with_bias:
            shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
        return shapes | ({"weight_hr": (self.features_out, self.features)} if self.features_out < self.features else {})

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]

    def forward(self, x: Tensor, *states: Tensor, training: bool = False) -> tuple[Any, Any]:
        starts = self._starts(x, states)
        saved = _Saved([], [], 1 + len(states))
        x, dropout = self._swapped(x), self._dropout()
        for layer in range(self.layers):
            if layer:
                x, mask = dropout.forward(x, training)
                saved.masks.append(mask)
            for suffix in self._suffixes(layer):
                saved.walks.append(self._walk(x, suffix, [start[len(saved.walks)] for start in starts]))
            outputs = [walk.h for walk in saved.walks[-self.directions :]]
            x = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
        last = [torch.stack([walk.last(walk.states[i]) for walk in saved.walks]) for i in range(len(starts))]
        return (self._swapped(x), *last), saved

    def _walk(self, x: Tensor, suffix: str, starts: list[Tensor]) -> Walk:
        weight = self.weight("weight_ih", suffix)
        bias = self.joint_bias(suffix) if self.with_bias else None
        gates = affine(x, weight, bias) if x.numel() * len(weight) > LARGE else F.linear(x, weight, bias)
        states = tuple([start.new_empty(len(x) + 1, *start.shape) for start in starts])
        walk = Walk(suffix, x, gates, states)
        for state, start in zip(states, starts, strict=True):
            state[-1 if walk.reverse else 0] = start
        if not x.is_meta:  # where there are no numbers, the shapes are all there is to know
            step = self.stepper(walk)
            for t in walk.order:
                step(t)
        return walk

    def weight(self, kind: str, suffix: str) -> Tensor:
        tensor: Tensor = getattr(self, kind + suffix)
        return tensor

    def joint_bias(self, suffix: str) -> Tensor:
        """What of both biases can be added before the walk."""
        return self.weight("bias_ih", suffix) + self.weight("bias_hh", suffix)

    def stepper(self, walk: Walk) -> StepForward:
        """The function that takes step t forward: from gates[t] without h to gates[t] and states after[t]."""
        raise NotImplementedError

    def _starts(self, x: Tensor, states: tuple[Tensor, ...]) -> list[Tensor]:
        """h, and c if there is one, before the first step: (layers · directions, n, …). Checks all inputs."""
        rows = "(n, l, {0})" if self.batch_first else "(l, n, {0})"
        if x.dim() != 3 or x.shape[-1] != self.features_in or not x.shape[1 if self.batch_first else 0]:
            raise ShapeError(f"expected {rows.format(self.features_in)} with l at least 1, came {tuple(x.shape)}")
        n, count = x.shape[0 if self.batch_first else 1], self.layers * self.directions
        shapes = [(count, n, self.features_out), (count, n, self.features)][: self.output_count - 1]
        came = [tuple(state.shape) for state in states]
        if came != shapes[: len(came)]:
            raise ShapeError(f"expected first states {' and '.join(map(str, shapes))}, came {came}")
        return [*states, *(x.new_zeros(shape) for shape in shapes[len(came) :])]

    def _swapped(self, x: Tensor) -> Tensor:
        """From the axes of the input to time first, and back."""
        return x.transpose(0, 1) if self.batch_first else x

    def _dropout(self) -> Dropout:
        dropout = Dropout(self.dropout)
        dropout.generator = self.generator
        return dropout

    def propagate(self, saved: Any, d_output: Any) -> tuple[Tensor, ...]:
        return self._d_inputs(saved, self._back(saved, d_output))

    def gradients(self, saved: Any, d_output: Any) -> dict[str, Tensor]:
        return self._all_gradients(saved, self._back(saved, d_output))

    def both(self, saved: Any, d_output: Any) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        backs = self._back(saved, d_output)
        return self._d_inputs(saved, backs), self._all_gradients(saved, backs)

    def _d_inputs(self, saved: _Saved, backs: list[WalkBack]) -> tuple[Tensor, ...]:
        d_x = self._d_x(saved.walks, backs[: self.directions])
        d_starts = [torch.stack(d) for d in zip(*(back.d_starts for back in backs), strict=True)]
        return (self._swapped(d_x), *d_starts[: saved.inputs - 1])

    def _all_gradients(self, saved: _Saved, backs: list[WalkBack]) -> dict[str, Tensor]:
        pairs = zip(saved.walks, backs, strict=True)
        return {kind + walk.suffix: d for walk, back in pairs for kind, d in self._gradients(walk, back)}

    def _back(self, saved: Any, d_output: Any) -> list[WalkBack]:
        """The way back through all layers, down to the gates of the lowest."""
        d_y, *d_last = d_output
        backs: list[WalkBack] = []
        d_parts = [None] * self.directions if d_y is None else self._swapped(d_y).chunk(self.directions, -1)
        for layer in reversed(range(self.layers)):
            first = layer * self.directions
            walks = saved.walks[first : first + self.directions]
            backs[:0] = [
                self.walk_back(walk, d_part, [None if d is None else d[first + i] for d in d_last])
                for i, (walk, d_part) in enumerate(zip(walks, d_parts, strict=True))
            ]
            if layer:
                (d_x,) = self._dropout().propagate(saved.masks[layer - 1], self._d_x(walks, backs[: self.directions]))
                d_parts = d_x.chunk(self.directions, -1)
        return backs

    def walk_back(self, walk: Walk, d_y: Tensor | None, d_last: Sequence[Tensor | None]) -> WalkBack:
        d_gates = torch.empty_like(walk.gates)
        back = WalkBack(d_gates, d_gates)
        step_back = self.back_stepper(walk, back)
        d_h, *d_rest = [
            torch.zeros_like(walk.last(state)) if d is None else d for state, d in zip(walk.states, d_last, strict=True)
        ]
        d_steps = None if d_y is None else d_y.unbind()
        for t in reversed(walk.order):
            d_h, *d_rest = step_back(t, d_h if d_steps is None else d_h + d_steps[t], *d_rest)
        back.d_starts = (d_h, *d_rest)
        return back

    def back_stepper(self, walk: Walk, back: WalkBack) -> StepBack:
        """The function that takes step t back: from the d of the states after it to those before it.

        It leaves d_gates[t] behind, where the slopes of the nonlinearities are put first.
        """
        raise NotImplementedError

    def _d_x(self, walks: Sequence[Walk], backs: Sequence[WalkBack]) -> Tensor:
        """By the input of a layer, to which its directions add up."""
        parts = [
            product(back.d_inputs.flatten(0, 1), self.weight("weight_ih", walk.suffix))
            for walk, back in zip(walks, backs, strict=False)
        ]
        return functools.reduce(Tensor.add_, parts).view(walks[0].x.shape)

    def _gradients(self, walk: Walk, back: WalkBack) -> Iterator[tuple[str, Tensor]]:
        yield "weight_ih", over_steps(back.d_inputs, walk.x)
        yield "weight_hh", self.d_weight_hh(walk, back)
        if self.with_bias:
            d_bias = back.d_gates.sum((0, 1))
            yield "bias_hh", d_bias
            yield "bias_ih", d_bias.clone() if back.d_inputs is back.d_gates else back.d_inputs.sum((0, 1))
        yield from self.further_gradients(walk, back).items()

    def d_weight_hh(self, walk: Walk, back: WalkBack) -> Tensor:
        return over_steps(back.d_gates, walk.h_before)

    def further_gradients(self, walk: Walk, back: WalkBack) -> dict[str, Tensor]:
        return {}
