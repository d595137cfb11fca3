"""Gradient descent, as an optimizer that torch's learning-rate schedulers accept."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from blockprop.errors import SettingError


class GradientDescent(torch.optim.Optimizer):
    """Gradient descent with momentum and weight decay:  V ← m V + (∂L/∂W + λ W),   W ← W − μ V.

    Without momentum V is the gradient itself, and the rule is W ← W − μ ∂L/∂W. Equal to torch.optim.SGD, number for
    number (Polyak 1964 for the momentum).

    parameters: tensors, changed in place.   rate μ: 0 or more; schedulers change it as `param_groups[0]["lr"]`.
    momentum m: 0…1   weight_decay λ: 0 or more
    """

    _opt_called = True
    """Schedulers warn unless `step` ran before them; training calls `update`."""

    def __init__(
        self, parameters: Iterable[Tensor], rate: float = 0.1, momentum: float = 0.0, weight_decay: float = 0.0
    ):
        if not (0 <= rate < math.inf and 0 <= momentum < 1 and 0 <= weight_decay < math.inf):
            came = f"rate={rate}, momentum={momentum}, weight_decay={weight_decay}"
            raise SettingError(f"expected rate >= 0, momentum in 0…1 and weight_decay >= 0, came {came}")
        super().__init__(list(parameters), {"lr": rate, "momentum": momentum, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch calls it; a second group is refused."""
        if self.param_groups:
            raise SettingError("GradientDescent has one rate for all parameters; torch.optim.SGD takes several groups")
        super().add_param_group(param_group)

    def update(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        """Change the parameters by these gradients of theirs. Any subset will do, each once a step."""
        group = self.param_groups[0]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        if group["momentum"]:
            velocities = [self.velocity(parameter) for parameter in parameters]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, gradients)
            gradients = velocities
        torch._foreach_add_(parameters, gradients, alpha=-group["lr"])

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """`update` with the gradients found in each parameter's `.grad`, as torch's loops do it."""
        parameters = [parameter for parameter in self.param_groups[0]["params"] if parameter.grad is not None]
        if parameters:
            self.update(parameters, [parameter.grad for parameter in parameters])

    def velocity(self, parameter: Tensor) -> Tensor:
        """V of one of the parameters, 0 in the beginning."""
        state = self.state[parameter]
        if not state:
            with torch.inference_mode(False):
                state["velocity"] = torch.zeros_like(parameter)
        found: Tensor = state["velocity"]
        return found


def clipped(gradients: list[Tensor], largest: float) -> list[Tensor]:
    """All gradients scaled by one factor so that their common norm is at most `largest` (Pascanu et al. 2013)."""
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    return list(torch._foreach_mul(gradients, (largest / (norm + 1e-6)).clamp(max=1.0)))
