"""What makes one training run another than others: all that changes its result, as a checkpoint notes it."""

from collections.abc import Callable
from typing import Any

import torch

from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.saving.fingerprints import architecture, described, described_objective, digest
from blockprop.training.descent import GradientDescent
from blockprop.training.settings import Pair, Settings

PASSING = ("_step_count", "last_epoch", "_last_lr", "_is_initial", "_get_lr_called_within_step")
"""Of a scheduler's state: how far it is."""
TIMES = sorted({*range(100), *(round(100 * 1.1**power) for power in range(100))})
"""Steps or epochs at which a rate that a function gives is noted."""
DATA = ("training data", "validation data")
LENGTHS = ("T_max", "total_steps", "total_iters")
"""Settings of torch's schedules: over how many steps they go."""


def identity_of(
    network: Network,
    data: Pair,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    trained: tuple[str, ...],
) -> dict[str, Any]:
    """All but the schedule, by names as people call it. Not in it: weights, which the file has, and the device."""
    data, validation, frozen = settings.unfrozen or (data, settings.validation, None)
    return {
        "seed": settings.seed,
        "freeze": settings.freeze,
        "tensors": {name: [str(tensor.dtype), *tensor.shape] for name, tensor in network.state.items()},
        "network": architecture(network),
        "crop": network.meta.get("crop"),
        "frozen part": described(frozen),
        "trained parameters": list(trained),
        DATA[0]: described_data(data),
        DATA[1]: None if validation is None else described_data(validation),
        "objective": described_objective(objective),
        "optimizer": described_optimizer(optimizer, network),
        **{
            name: getattr(settings, name) for name in ("batch_size", "accumulate", "clip", "average", "sync_batch_norm")
        },
        "augment": described(settings.augment),
        "patience": settings.patience is not None,
    }


def described_data(data: Pair) -> dict[str, str]:
    """The type of number, shape and digest of x and y."""
    return {name: f"{tensor.dtype} {digest(tensor)}" for name, tensor in zip("xy", data, strict=True)}


def described_optimizer(optimizer: torch.optim.Optimizer, network: Network) -> dict[str, Any]:
    """Its kind and the settings of its groups of parameters, the rate being that from which a schedule starts."""
    names = {id(parameter): name for name, parameter in network.parameters.items()}
    groups: dict[str, Any] = {"kind": type(optimizer).__name__}
    for i, group in enumerate(optimizer.param_groups):
        settings = {name: described(value) for name, value in group.items() if name not in ("params", "initial_lr")}
        settings["lr"] = described(group.get("initial_lr", group["lr"]))
        settings["parameters"] = [names.get(id(parameter)) for parameter in group["params"]]
        groups |= {f"group {i + 1}": settings} if len(optimizer.param_groups) > 1 else settings
    return groups


def described_schedule(scheduler: Any, every: str) -> dict[str, Any] | None:
    """The settings of a scheduler that has made no step yet; every: what it is stepped at."""
    if scheduler is None:
        return None
    state = {name: value for name, value in scheduler.state_dict().items() if name not in PASSING}
    if parts := getattr(scheduler, "_schedulers", None):
        state["_schedulers"] = [described_schedule(part, every) for part in parts]
    if functions := getattr(scheduler, "lr_lambdas", None):
        state["lr_lambdas"] = [_rates(function) for function in functions]
    return {"kind": type(scheduler).__name__, "every": every, **described(state)}


def _rates(function: Callable[[int], float]) -> list[Any]:
    """What a user's function gives at some steps, as far as it knows them."""
    rates: list[Any] = []
    for time in TIMES:
        try:
            rates.append(described(function(time)))
        except Exception:  # it is the user's, and may object in any way to a step that will never come
            break
    return rates


def difference_in_words(
    name: str, theirs: Any, ours: Any, optimizer: Any, differing: Callable[[str, Any, Any], str]
) -> str:
    """That this part of the identity is another one in the file.

    differing: says of a name and two values that they differ.
    """
    part, _, place = name.rpartition(" of the ")
    if place == "tensors":
        return "the tensors in the file are those of another network"
    if place == "augment":
        return "the file's run changes its pictures in another way (augment=…)"
    if place == "crop":
        before, now = (crop or "center" for crop in (theirs, ours))
        return f"the file's run learns from crop={before!r} of photographs, this one from crop={now!r}"
    if place in DATA and theirs and ours:
        return f"the {place} are not those of the file; give the same data=…"
    if place == "schedule":
        return _other_schedule(part, theirs, ours, differing)
    if name == "patience":
        with_it, without = ("the file's run", "this one") if theirs else ("this one", "the file's run")
        return f"{with_it} stops early (patience=…), {without} does not"
    if name == "lr of the optimizer" and isinstance(optimizer, GradientDescent):
        name = "rate of the optimizer"
    said = differing(name, theirs, ours)
    return f"{said}; give the same objective=…" if place == "objective" else said


def _other_schedule(part: str, theirs: Any, ours: Any, differing: Callable[[str, Any, Any], str]) -> str:
    """A schedule over a number of steps has that from the epochs and the sizes of batches."""
    same = "give the same scheduler=…"
    if part in LENGTHS:
        said = f"the schedule in the file goes over {theirs} steps, here over {ours}"
        same += " and epochs=…"
    elif "lr_lambdas" in part:
        said = "the schedule in the file has other rates"
        same += " and epochs=…"
    else:
        kinds = (value.get("kind") if isinstance(value, dict) else value for value in (theirs, ours))
        said = differing(f"{part} of the schedule" if part else "schedule", *kinds)
    return f"{said}; it cannot be changed on the way, nor stretched: {same}, or begin a new run with that network"
