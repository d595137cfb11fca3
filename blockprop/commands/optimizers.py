"""Optimizers and schedules of the learning rate by name."""

from typing import Any

import torch
from torch import Tensor

from blockprop.errors import SettingError, suggestion

TORCH_OPTIMIZERS = {
    name.lower(): kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam", "Muon")
}
OPTIMIZER_NAMES = {kind.__name__: name for name, kind in TORCH_OPTIMIZERS.items()} | {"GradientDescent": "descent"}
SCHEDULE_NAMES = {"None": "constant", "LambdaLR": "linear", "CosineAnnealingLR": "cosine", "OneCycleLR": "one_cycle"}
"""What they are called here, by their classes."""
SCHEDULES = tuple(SCHEDULE_NAMES.values())


def optimizer_named(name: str, rate: float | None, weight_decay: float) -> Any:
    """A function that makes the optimizer of torch.optim; None for our own gradient descent."""
    if name == "descent":
        return None
    kind = TORCH_OPTIMIZERS.get(name.lower())
    if kind is None:
        raise SettingError(f"there is no optimizer {name!r}{suggestion(name, ['descent', *TORCH_OPTIMIZERS])}")
    settings: dict[str, Any] = {} if rate is None else {"lr": rate}
    if weight_decay:
        settings["weight_decay"] = weight_decay

    def make(parameters: list[Tensor]) -> torch.optim.Optimizer:
        try:
            return kind(parameters, **settings)
        except (TypeError, ValueError) as error:
            given = ", ".join(f"{setting}={value}" for setting, value in settings.items())
            raise SettingError(f"{name} does not take {given}: {error}") from None

    return make


def scheduler_named(name: str, steps: int) -> Any:
    """A function that makes the scheduler, for one `step()` after each of `steps` updates; None for a constant rate."""
    schedulers = torch.optim.lr_scheduler
    if name == "constant":
        return None
    if name == "linear":
        return lambda optimizer: schedulers.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
    if name == "cosine":
        return lambda optimizer: schedulers.CosineAnnealingLR(optimizer, steps)
    if name == "one_cycle":  # of torch's optimizers; the momentum stays
        return lambda optimizer: schedulers.OneCycleLR(
            optimizer, optimizer.param_groups[0]["lr"], total_steps=steps + 1, cycle_momentum=False
        )
    raise SettingError(f"there is no schedule {name!r}{suggestion(name, SCHEDULES)}")
