"""The settings of a training run: what does not change while it runs, apart from network, data and optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.training.augmentation import Augmentation

Pair = tuple[Tensor, Tensor]
"""x and y."""
SCHEDULES = ("epoch", "step")


@dataclass(frozen=True, eq=False)
class Settings:
    """See `fit` for what they mean. Raises SettingError for those that make no sense."""

    epochs: int = 10
    batch_size: int = 64
    accumulate: int = 1
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = None
    schedule: str = "epoch"
    validation: tuple[Tensor, Tensor] | None = None
    patience: int | None = None
    clip: float | None = None
    immediate: bool | None = None
    augment: tuple[Augmentation, ...] = ()
    average: float | None = None
    wrt: str | tuple[str, ...] = "parameters"
    freeze: str | None = None
    body: Network | None = None
    """The frozen part, if each batch has to go through it."""
    unfrozen: tuple[Pair, Pair | None, Network] | None = None
    """Data and validation before they went through the frozen part, and that part."""
    seed: int = 0
    sync_batch_norm: bool = False

    def __repr__(self) -> str:
        return brief_repr(self)

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("epochs", "batch_size", "accumulate", "patience")}
        for name, count in counts.items():
            if count is not None and (not isinstance(count, int) or count < 1):
                raise SettingError(f"{name} must be a whole number of at least 1, came {count!r}")
        if self.clip is not None and not self.clip > 0:
            raise SettingError(f"clip must be above 0, came {self.clip}")
        if self.immediate and not self.gradients_may_go:
            name = "accumulate" if self.clip is None else "clip"
            raise SettingError(f"{name} needs all gradients at once, so it does not go with immediate")
        if self.patience is not None and self.validation is None:
            raise SettingError("patience needs validation data")
        if self.schedule not in SCHEDULES:
            raise SettingError(f"schedule must be 'epoch' or 'step', not {self.schedule!r}")

    @property
    def gradients_may_go(self) -> bool:
        """Whether a gradient is not needed any more as soon as its parameter is updated."""
        return self.clip is None and self.accumulate == 1

    def made_scheduler(self, optimizer: torch.optim.Optimizer) -> Any:
        """The scheduler of this optimizer, or None."""
        scheduler = self.scheduler(optimizer) if self.scheduler else None
        if self.schedule == "step" and isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise SettingError('ReduceLROnPlateau looks at the epoch\'s value: use schedule="epoch"')
        return scheduler

    def trainable(self, network: Network, optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
        """The parameters in `wrt` that the optimizer has; SettingError if there are none, or other things in `wrt`."""
        parameters = network.parameters
        optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
        wanted = network.wanted(self.wrt)
        for name in wanted:
            if name not in parameters:
                raise SettingError(
                    f"only parameters can be trained, and {name!r} is none; there are {', '.join(parameters)}"
                )
        wanted = tuple(name for name in wanted if id(parameters[name]) in optimized)
        if not wanted:
            raise SettingError("there is nothing to train: wrt and the optimizer share no parameter of the network")
        return wanted
