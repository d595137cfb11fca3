"""Recurrent blocks: one step of each kind, forward and back (GRU in gru.py). through_time.py walks along the steps."""

import torch
from torch import Tensor

from blockprop.blocks.kernels import (
    sigmoid_backward_into,
    tanh_backward,
    tanh_backward_into,
    threshold_backward_into,
)
from blockprop.blocks.products import product
from blockprop.blocks.through_time import Recurrent
from blockprop.blocks.walks import (
    StepBack,
    StepForward,
    Walk,
    WalkBack,
    add_product_,
    over_steps,
    steps,
)
from blockprop.errors import SettingError


class LSTM(Recurrent):
    """Long short-term memory: a state c that gates write, keep and read. At each step, with h₋ and c₋ from before it,

        [i f g o] = x weight_ihᵀ + bias_ih + h₋ weight_hhᵀ + bias_hh, then σ(i), σ(f), tanh(g), σ(o)
        c = f ∘ c₋ + i ∘ g     h = o ∘ tanh(c), with a projection h = (o ∘ tanh(c)) weight_hrᵀ

    d_c = (d_c from the step after) + d_h ∘ o ∘ (1 − tanh²(c))     d_c₋ = d_c ∘ f
    d_gates = [d_c ∘ g ∘ i (1 − i), d_c ∘ c₋ ∘ f (1 − f), d_c ∘ i ∘ (1 − g²), d_h ∘ tanh(c) ∘ o (1 − o)]
    d_h₋ = (d_y at the step before) + d_gates weight_hh     d_x = d_gates weight_ih
    d_weight_ih = Σ d_gatesᵀ x     d_weight_hh = Σ d_gatesᵀ h₋     d_bias_ih = d_bias_hh = Σ d_gates
    where sums are over steps and rows. With a projection d_weight_hr = Σ d_hᵀ (o ∘ tanh(c)), and d_h weight_hr takes
    the place of d_h above.

    Inputs x, and the first states h and c if they are not 0. Outputs y, and the last states h and c.
    x: (l, n, features_in), or (n, l, features_in) if batch_first; y alike, with directions · features_out
    h: (layers · directions, n, features_out)   c: (layers · directions, n, features)
    features_out: the projection, or features if it is 0   directions: 2 if bidirectional (side by side in y), else 1
    Parameters as torch.nn.LSTM's, with "_l0", "_l0_reverse", "_l1" … behind their names: weight_ih, weight_hh, bias_ih,
    bias_hh, weight_hr; they start uniform within ± 1 / √features. Layers after the first take the y of the one before,
    in training through Dropout(dropout).
    Raises ShapeError for inputs that do not fit, SettingError for nonsense settings.
    Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000 for f; Sak et al. 2014 for the projection.
    """

    gate = "holds its gates inside"
    gate_count = 4
    output_count = 3

    def __init__(
        self,
        features_in: int,
        features: int,
        layers: int = 1,
        bidirectional: bool = False,
        with_bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        projection: int = 0,
    ):
        self.projection = projection
        super().__init__(features_in, features, layers, bidirectional, with_bias, batch_first, dropout, projection)

    def stepper(self, walk: Walk) -> StepForward:
        c, c_before = walk.after(walk.states[1]), walk.before(walk.states[1])
        walk.more = torch.empty_like(c)  # tanh(c)
        weight, weight_hr = self.weight("weight_hh", walk.suffix).t(), self._projection(walk)
        gates, i_f, h_before, h = steps(walk.gates, walk.gates[..., : 2 * self.features], walk.h_before, walk.h)
        i, f, g, o = steps(*walk.gates.chunk(4, -1))
        cs, cs_before, tanh_c = steps(c, c_before, walk.more)

        def step(t: int) -> None:
            add_product_(gates[t], h_before[t], weight)
            i_f[t].sigmoid_()
            g[t].tanh_()
            o[t].sigmoid_()
            torch.mul(f[t], cs_before[t], out=cs[t]).addcmul_(i[t], g[t])
            torch.tanh(cs[t], out=tanh_c[t])
            if weight_hr is None:
                torch.mul(o[t], tanh_c[t], out=h[t])
            else:
                torch.mm(o[t] * tanh_c[t], weight_hr.t(), out=h[t])

        return step

    def back_stepper(self, walk: Walk, back: WalkBack) -> StepBack:
        (i, f, g, o), tanh_c = walk.gates.chunk(4, -1), walk.more
        d_i, d_f, d_g, d_o = back.d_gates.chunk(4, -1)
        sigmoid_backward_into(g, i, grad_input=d_i)
        sigmoid_backward_into(walk.before(walk.states[1]), f, grad_input=d_f)
        tanh_backward_into(i, g, grad_input=d_g)
        sigmoid_backward_into(tanh_c, o, grad_input=d_o)
        by_c = back.d_gates.unflatten(-1, (4, -1))[:, :, :3]
        by_cs, by_h, read, keep, d_gates = steps(by_c, d_o, tanh_backward(o, tanh_c), f, back.d_gates)
        weight, weight_hr = self.weight("weight_hh", walk.suffix), self._projection(walk)
        d_hs = back.more = [walk.h[0]] * len(keep)

        def step_back(t: int, d_h: Tensor, d_c: Tensor) -> tuple[Tensor, Tensor]:
            if weight_hr is not None:
                d_hs[t] = d_h
                d_h = product(d_h, weight_hr)
            d_c = torch.addcmul(d_c, d_h, read[t])
            by_cs[t].mul_(d_c.unsqueeze(1))
            by_h[t].mul_(d_h)
            return product(d_gates[t], weight), d_c * keep[t]

        return step_back

    def _projection(self, walk: Walk) -> Tensor | None:
        return self.weight("weight_hr", walk.suffix) if self.projection else None

    def further_gradients(self, walk: Walk, back: WalkBack) -> dict[str, Tensor]:
        if not self.projection:
            return {}
        o = walk.gates[..., 3 * self.features :]
        return {"weight_hr": over_steps(torch.stack(back.more), o * walk.more)}


class RNN(Recurrent):
    """The plain recurrent layer (Elman's). At each step, with h₋ from before it,

        h = φ(x weight_ihᵀ + bias_ih + h₋ weight_hhᵀ + bias_hh),  φ = tanh or ReLU

    d_gate = d_h ∘ (1 − h²), or for ReLU d_h where h > 0, else 0     d_x = d_gate weight_ih
    d_h₋ = (d_y at the step before) + d_gate weight_hh     over steps and rows d_weight_ih = Σ d_gateᵀ x,
    d_weight_hh = Σ d_gateᵀ h₋ and d_bias_ih = d_bias_hh = Σ d_gate

    nonlinearity: "tanh" or "relu"
    Inputs x, and the first state h if it is not 0. Outputs y, and the last state h.
    All else is as for LSTM (and torch.nn.RNN); there is no c and no projection.
    Raises ShapeError for inputs that do not fit, SettingError for nonsense settings.
    Source: Elman 1990.
    """

    gate = "holds its activations inside"
    gate_count = 1
    output_count = 2

    def __init__(
        self,
        features_in: int,
        features: int,
        layers: int = 1,
        bidirectional: bool = False,
        with_bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        nonlinearity: str = "tanh",
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise SettingError(f"nonlinearity must be one of tanh, relu; came {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(features_in, features, layers, bidirectional, with_bias, batch_first, dropout)

    def stepper(self, walk: Walk) -> StepForward:
        weight = self.weight("weight_hh", walk.suffix).t()
        gates, h_before, h = steps(walk.gates, walk.h_before, walk.h)
        walk.gates = walk.h  # what it is after the nonlinearity; so the sums are not kept

        def step(t: int) -> None:
            torch.tanh(add_product_(gates[t], h_before[t], weight), out=h[t])

        def relu_step(t: int) -> None:
            torch.clamp_min(add_product_(gates[t], h_before[t], weight), 0, out=h[t])

        return step if self.nonlinearity == "tanh" else relu_step

    def back_stepper(self, walk: Walk, back: WalkBack) -> StepBack:
        h, d_gates, weight = walk.h.unbind(), back.d_gates.unbind(), self.weight("weight_hh", walk.suffix)

        def step_back(t: int, d_h: Tensor) -> tuple[Tensor]:
            return (product(tanh_backward_into(d_h, h[t], grad_input=d_gates[t]), weight),)

        def relu_step_back(t: int, d_h: Tensor) -> tuple[Tensor]:
            return (product(threshold_backward_into(d_h, h[t], 0, grad_input=d_gates[t]), weight),)

        return step_back if self.nonlinearity == "tanh" else relu_step_back
