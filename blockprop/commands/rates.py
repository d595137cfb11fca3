"""The learning rate for networks that have learned before, and the search for one."""

from pathlib import Path
from typing import Any

from blockprop.commands.console import say
from blockprop.commands.results import place
from blockprop.data.dataset import Dataset
from blockprop.engine.network import Network
from blockprop.engine.objectives import Loss
from blockprop.reports.curves import rate_curve
from blockprop.reports.figures import png
from blockprop.saving.files import write_file
from blockprop.training.rate_finder import find_rate
from blockprop.training.run import TrainingRun

CAREFUL_RATE = 0.001
"""The learning rate for a network that got a new last layer, and of which nothing is frozen."""


UNCLEAR = "the loss hardly falls at any rate that was tried, so the curve is no guide"


def told_of(run: TrainingRun, new_layer: str | None) -> dict[str, Any]:
    """What the command prints of a network that was not trained from nothing."""
    told: dict[str, Any] = {} if new_layer is None else {"new_last_layer": new_layer}
    if run.settings.freeze is not None:
        told |= {"frozen_up_to": run.settings.freeze}
        told |= {"weights_trained": sum(run.network.parameters[name].numel() for name in run.stepper.trained)}
    return told


def careful_rate(network: Network, data: Dataset, objective: Loss, ways: dict[str, Any]) -> float:
    """A learning rate that does not spoil what the network has learned: looked for, where steps cost little."""
    if ways["freeze"] is None or ways["augment"]:
        say(f"learning rate {CAREFUL_RATE}, for a network that has learned before (--rate says otherwise)")
        return CAREFUL_RATE
    curve = find_rate(network, data, objective, **ways)
    if not curve.is_clear:
        say(f"learning rate {CAREFUL_RATE}: {UNCLEAR} (--rate says otherwise)")
        return CAREFUL_RATE
    say(f"learning rate {curve.suggestion:.2g}, looked for as by --find-rate (--rate says otherwise)")
    return curve.suggestion


def draw_rates(network: Network, data: Dataset, objective: Loss, ways: dict[str, Any], out: Path) -> dict[str, Any]:
    """Look for a learning rate, and draw the curve beside where the network would be saved."""
    curve = find_rate(network, data, objective, **ways)
    path = place(out.with_name(f"{out.stem}.rates.png"))
    write_file(path, png(rate_curve(curve)))
    if not curve.is_clear:
        say(UNCLEAR)
    return {"rate": curve.suggestion, "curve": str(path), "tried": f"{curve.rates[0]:g} to {curve.rates[-1]:.3g}"}
