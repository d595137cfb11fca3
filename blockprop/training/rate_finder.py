"""Looking for a learning rate: it grows from step to step, and the loss tells how far it may (Smith 2017)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from blockprop.engine.briefly import brief_repr
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.errors import NotFiniteError, SettingError
from blockprop.training.batches import batch_sizes
from blockprop.training.evaluation import LabeledExamples, pair
from blockprop.training.fit import fit
from blockprop.training.run import Record

SMOOTHING = 0.95
"""Of the running mean over the losses."""
DIVERGED = 4.0
"""So many times the least loss is where the search ends."""


@dataclass(frozen=True)
class RateCurve:
    """The loss at each learning rate that was tried.

    rates: ascending.   losses: of the step with that rate, smoothed (a running mean without bias toward its start).
    suggestion: the rate from which on, before the least loss, it has gone half the way down from its first value.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    def __repr__(self) -> str:
        return brief_repr(self)

    @property
    def is_clear(self) -> bool:
        """Whether the loss falls by more than a tenth, so that the curve is a guide."""
        return min(self.losses) < 0.9 * self.losses[0]

    @property
    def suggestion(self) -> float:
        half, place = (self.losses[0] + min(self.losses)) / 2, self.losses.index(min(self.losses))
        while place > 0 and self.losses[place - 1] <= half:
            place -= 1
        return self.rates[place]


def find_rate(
    network: Network,
    data: LabeledExamples,
    objective: Objective,
    *,
    lowest: float = 1e-5,
    highest: float = 10.0,
    steps: int = 100,
    **settings: Any,
) -> RateCurve:
    """Train a copy of the network with rates from `lowest` to `highest`, each step's a constant factor above the last.

    settings: further arguments of `fit`, such as batch_size, momentum, optimizer (as a function), freeze, seed.
    Each process finds it by itself, unless `distributed` is given.
    It ends early where the loss is four times its least, or no longer finite.
    Raises SettingError for rates out of order, and if fewer than three steps were possible.
    """
    if not (0 < lowest < highest < math.inf and steps >= 3):
        raise SettingError(f"expected 0 < lowest < highest and at least 3 steps, came {lowest}, {highest} and {steps}")
    factor = (highest / lowest) ** (1 / (steps - 1))
    count = len(batch_sizes(len(pair(data)[0]), settings.get("batch_size", 64) * settings.get("accumulate", 1)))

    def scheduler(optimizer: torch.optim.Optimizer) -> Any:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] = lowest
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, factor)

    run = fit(
        *(network.copy(), data, objective),
        **{"rate": lowest, "distributed": False} | settings,
        epochs=math.ceil(steps / count),
        scheduler=scheduler,
        schedule="step",
    )
    rates, losses = [], []
    for rate, loss in _smoothed(iter(run), steps):
        rates.append(rate)
        losses.append(loss)
        if loss > DIVERGED * min(losses):
            break
    run.close()
    if len(rates) < 3:
        raise SettingError(f"the loss leaves all bounds at a rate of {lowest:g} already; try a lower `lowest`")
    return RateCurve(tuple(rates), tuple(losses))


def _smoothed(records: Iterator[Record], steps: int) -> Iterator[tuple[float, float]]:
    """(rate, running mean of the loss) of so many steps, or up to the first that is not finite."""
    mean = 0.0
    try:
        for record, step in zip(records, range(1, steps + 1), strict=False):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * record.value
            yield record.rate, mean / (1 - SMOOTHING**step)
    except NotFiniteError:
        return
