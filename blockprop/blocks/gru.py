"""The gated recurrent unit: one step of both its kinds, forward and back. through_time.py walks along the steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from blockprop.blocks.kernels import sigmoid_backward_into, tanh_backward_into
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


class GRU(Recurrent):
    """Gated recurrent unit: a state that moves towards a candidate n. At each step, with h₋ from before it,

        r = σ(x W_rᵀ + b_r + h₋ U_rᵀ + c_r)     z = σ(x W_zᵀ + b_z + h₋ U_zᵀ + c_z)     h = (1 − z) ∘ n + z ∘ h₋
        n = tanh(x W_nᵀ + b_n + r ∘ a),  a = h₋ U_nᵀ + c_n       with reset_after (torch, cuDNN)
        n = tanh(x W_nᵀ + b_n + (r ∘ h₋) U_nᵀ + c_n)             without (Cho et al. 2014)

    W, U, b, c: the rows r, z, n of weight_ih, weight_hh, bias_ih, bias_hh. Backward, by the sums inside σ and tanh:
    d_z = d_h ∘ (h₋ − n) ∘ z (1 − z)     d_n = d_h ∘ (1 − z) ∘ (1 − n²)     d_x = [d_r d_z d_n] weight_ih
    with reset_after      d_a = d_n ∘ r     d_r = d_n ∘ a ∘ r (1 − r)     d_h₋ = d_h ∘ z + [d_r d_z d_a] weight_hh
    without, m = r ∘ h₋:  d_m = d_n U_n     d_r = d_m ∘ h₋ ∘ r (1 − r)    d_h₋ = d_h ∘ z + [d_r d_z] U_rz + d_m ∘ r
    and d_y at the step before is added to d_h₋. Over steps and rows
    d_weight_ih = Σ [d_r d_z d_n]ᵀ x     d_weight_hh = Σ [d_r d_z d_a]ᵀ h₋, or [Σ [d_r d_z]ᵀ h₋, Σ d_nᵀ m] without
    d_bias_ih = Σ [d_r d_z d_n]          d_bias_hh = Σ [d_r d_z d_a], or d_bias_ih without

    Inputs x, and the first state h if it is not 0. Outputs y, and the last state h.
    Settings, shapes and names of parameters are LSTM's (and torch.nn.GRU's); there is no c and no projection.
    Raises ShapeError for inputs that do not fit, SettingError for nonsense settings.
    Source: Cho et al. 2014, eqs. 5 to 8; with reset_after as in cuDNN (ONNX calls it linear_before_reset).
    """

    gate = "holds its gates inside"
    gate_count = 3
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
        reset_after: bool = True,
    ):
        self.reset_after = reset_after
        super().__init__(features_in, features, layers, bidirectional, with_bias, batch_first, dropout)

    def joint_bias(self, suffix: str) -> Tensor:
        bias = super().joint_bias(suffix)
        if self.reset_after:  # that of a is not for n
            n = slice(2 * self.features, None)
            bias[n] = self.weight("bias_ih", suffix)[n]
        return bias

    def stepper(self, walk: Walk) -> StepForward:
        return self._step_after(walk) if self.reset_after else self._step_before(walk)

    def back_stepper(self, walk: Walk, back: WalkBack) -> StepBack:
        return self._back_after(walk, back) if self.reset_after else self._back_before(walk, back)

    def _step_after(self, walk: Walk) -> StepForward:
        r_z, third = walk.gates.split((2 * self.features, self.features), -1)
        walk.more = third.clone()  # n; its place in the gates is for a
        third[:] = self.weight("bias_hh", walk.suffix)[2 * self.features :] if self.with_bias else 0
        weight = self.weight("weight_hh", walk.suffix).t()
        gates, rz, n, h_before, h = steps(walk.gates, r_z, walk.more, walk.h_before, walk.h)
        r, z, a = steps(*walk.gates.chunk(3, -1))

        def step(t: int) -> None:
            add_product_(gates[t], h_before[t], weight)
            rz[t].sigmoid_()
            n[t].addcmul_(r[t], a[t]).tanh_()
            torch.lerp(n[t], h_before[t], z[t], out=h[t])

        return step

    def _back_after(self, walk: Walk, back: WalkBack) -> StepBack:
        (r, z, a), n = walk.gates.chunk(3, -1), walk.more
        d_r, d_z, d_a = back.d_gates.chunk(3, -1)
        back.d_inputs = torch.empty_like(back.d_gates)
        d_n = back.d_inputs[..., 2 * self.features :]
        tanh_backward_into(1 - z, n, grad_input=d_n)
        sigmoid_backward_into(d_n * a, r, grad_input=d_r)
        sigmoid_backward_into(walk.h_before - n, z, grad_input=d_z)
        torch.mul(d_n, r, out=d_a)
        weight = self.weight("weight_hh", walk.suffix)
        d_gates, by_h, by_n, keep = steps(back.d_gates, back.d_gates.unflatten(-1, (3, -1)), d_n, z)

        def step_back(t: int, d_h: Tensor) -> tuple[Tensor]:
            by_h[t].mul_(d_h.unsqueeze(1))
            by_n[t].mul_(d_h)
            return (add_product_(d_h * keep[t], d_gates[t], weight),)

        return step_back

    def walk_back(self, walk: Walk, d_y: Tensor | None, d_last: Sequence[Tensor | None]) -> WalkBack:
        back = super().walk_back(walk, d_y, d_last)
        if self.reset_after:
            back.d_inputs[..., : 2 * self.features] = back.d_gates[..., : 2 * self.features]
        return back

    def _step_before(self, walk: Walk) -> StepForward:
        walk.more = torch.empty_like(walk.h)  # m
        weight_rz, weight_n = self.weight("weight_hh", walk.suffix).t().split((2 * self.features, self.features), 1)
        rz, n = steps(*walk.gates.split((2 * self.features, self.features), -1))
        r, z, _ = steps(*walk.gates.chunk(3, -1))
        m, h_before, h = steps(walk.more, walk.h_before, walk.h)

        def step(t: int) -> None:
            add_product_(rz[t], h_before[t], weight_rz).sigmoid_()
            torch.mul(r[t], h_before[t], out=m[t])
            add_product_(n[t], m[t], weight_n).tanh_()
            torch.lerp(n[t], h_before[t], z[t], out=h[t])

        return step

    def _back_before(self, walk: Walk, back: WalkBack) -> StepBack:
        r, z, n = walk.gates.chunk(3, -1)
        d_r, d_z, d_n = back.d_gates.chunk(3, -1)
        sigmoid_backward_into(walk.h_before, r, grad_input=d_r)
        sigmoid_backward_into(walk.h_before - n, z, grad_input=d_z)
        tanh_backward_into(1 - z, n, grad_input=d_n)
        weight_rz, weight_n = self.weight("weight_hh", walk.suffix).split((2 * self.features, self.features))
        by_h = steps(back.d_gates.unflatten(-1, (3, -1))[:, :, 1:])[0]
        by_m, d_ns, d_rz, reset, keep = steps(d_r, d_n, back.d_gates[..., : 2 * self.features], r, z)

        def step_back(t: int, d_h: Tensor) -> tuple[Tensor]:
            by_h[t].mul_(d_h.unsqueeze(1))
            d_m = product(d_ns[t], weight_n)
            by_m[t].mul_(d_m)
            return (add_product_((d_h * keep[t]).addcmul_(d_m, reset[t]), d_rz[t], weight_rz),)

        return step_back

    def d_weight_hh(self, walk: Walk, back: WalkBack) -> Tensor:
        if self.reset_after:
            return super().d_weight_hh(walk, back)
        d_rz, d_n = back.d_gates.split((2 * self.features, self.features), -1)
        return torch.cat([over_steps(d_rz, walk.h_before), over_steps(d_n, walk.more)])
