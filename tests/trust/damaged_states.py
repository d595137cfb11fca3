"""States of runs that make pictures and checkpoints of training, to be damaged and gone on from."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from blockprop import blocks
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.sequential import Sequential
from blockprop.training.fit import fit
from tests.visualize import ascents, dreams, styles

STATES: dict[str, Callable[..., Any]] = {
    "maximize": lambda **keep: ascents.start(steps=4, **keep),
    "plain": lambda **keep: ascents.start(steps=4, optimizer="normalized", **keep),
    "dream": lambda **keep: dreams.start(frames=2, **keep),
    "stylize": lambda **keep: styles.start(**keep),
    "adam": lambda **keep: styles.start(optimizer="adam", **keep),
}


def states(folder: Path) -> None:
    """A state of each run, written before its end."""
    for name, start in STATES.items():
        run = start(state=folder / f"{name}.state")
        for _ in range(3):
            next(run)
        run.close()


def use_state(path: Path) -> None:
    """Go on from it to the end."""
    start = STATES[next(name for name in STATES if name in path.name)]
    start(state=path, resume=True).finish()


def _training(**keep: Any) -> Any:
    torch.manual_seed(0)
    network = Sequential({"fc1": blocks.Linear(5, 6), "drop": blocks.Dropout(0.2), "fc2": blocks.Linear(6, 3)})
    x, y = torch.rand(20, 5), torch.arange(20) % 3
    more: dict[str, Any] = {"average": 0.9, "validation": (x, y), "patience": 3, "batch_size": 8}
    more |= {
        "optimizer": torch.optim.Adam,
        "scheduler": functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=9),
    }
    return fit(network, (x, y), cross_entropy(), epochs=3, **more, **keep)


def checkpoints(folder: Path) -> None:
    """The checkpoint of a training run, written before its end."""
    run = _training(checkpoint=folder / "a.checkpoint")
    for _ in range(5):
        next(run)
    run.close()


def use_checkpoint(path: Path) -> None:
    """Go on from it to the end."""
    _training(checkpoint=path, resume=True).finish()
