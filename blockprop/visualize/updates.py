"""Updates: what an ascent does with the gradient d of its parameters θ."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blockprop.saving.states import require_optimizer

Optimizer = str | Callable[[list[Tensor]], Any]
"""One of OPTIMIZERS by name, or a function that makes an optimizer of torch.optim."""


class Plain:
    """θ ← θ + rate · d; normalized: θ ← θ + rate · d / |d|."""

    def __init__(self, parameters: Tensor, rate: float, normalized: bool = False):
        self.parameters, self.rate, self.normalized = parameters, rate, normalized

    def ascend(self, d: Tensor) -> None:
        if self.normalized:
            norm = torch.linalg.vector_norm(d.flatten(1), dim=1).view(-1, *[1] * (d.dim() - 1))
            d = d / norm.clamp_min(torch.finfo(d.dtype).tiny)
        self.parameters.add_(d, alpha=self.rate)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class FromTorch:
    """An optimizer of torch.optim. They go downwards, so it gets −d."""

    def __init__(self, parameters: Tensor, inner: Any):
        self.parameters, self.inner = parameters, inner

    def ascend(self, d: Tensor) -> None:
        self.parameters.grad = -d
        self.inner.step()
        self.parameters.grad = None

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.inner.state_dict()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        require_optimizer(state, self.inner.state_dict(), [self.parameters])
        self.inner.load_state_dict(state)


def torch_update(make: Callable[[list[Tensor]], Any]) -> Callable[[Tensor, float], Any]:
    return lambda parameters, _rate: FromTorch(parameters, make([parameters]))


OPTIMIZERS: dict[str, Callable[[Tensor, float], Any]] = {
    "adam": lambda parameters, rate: FromTorch(parameters, torch.optim.Adam([parameters], lr=rate)),
    "plain": Plain,
    "normalized": lambda parameters, rate: Plain(parameters, rate, normalized=True),
}
"""All updates by name: (θ, rate) -> what makes them."""
