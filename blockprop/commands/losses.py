"""Which loss a command is to use: by name, the usual one, or the one that a network was trained with."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blockprop.data.dataset import Dataset
from blockprop.engine.network import Network
from blockprop.engine.objectives import LOSSES, Loss, Task, cross_entropy, mean_squared_error
from blockprop.errors import FormatError, SettingError, did_you_mean, suggestion
from blockprop.saving.files import short
from blockprop.training.balancing import balanced_weights

BALANCED = "balanced"


def task_of(loss: str | None) -> Task | None:
    """Whether a loss wants classes or numbers; None if the data decide."""
    return None if loss is None else loss_named(loss)().task


def loss_for(
    data: Dataset, name: str | None = None, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Loss:
    """The loss by name, or the usual one: cross-entropy for classes, mean squared error for numbers."""
    usual = cross_entropy if data.classes else mean_squared_error
    make: Callable[..., Loss] = usual if name is None else loss_named(name)
    settings: dict[str, Any] = {"label_smoothing": label_smoothing} if label_smoothing else {}
    settings |= {} if class_weights is None else {"class_weights": class_weights}
    for setting in settings:
        if setting not in inspect.signature(make).parameters:
            raise SettingError(f"{setting.replace('_', ' ')} is for classes; {make.__name__} has none")
    return make(**settings)


def class_weights_named(text: str | None, data: Dataset) -> Tensor | None:
    """The weights that --class-weights means: "balanced", or a number for each class in their order."""
    if text is None:
        return None
    if data.classes is None:
        raise SettingError("class weights are for classes; the targets here are numbers")
    if text == BALANCED:
        return balanced_weights(data)
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(data.classes) or not all(0 <= number < math.inf for number in numbers) or not any(numbers):
        names = ", ".join(data.classes[:5]) + (", …" if len(data.classes) > 5 else "")
        raise SettingError(
            f"class weights: expected {BALANCED} or {len(data.classes)} numbers of at least 0, one for each class in "
            f"this order ({names}), with commas between, came {text!r}{did_you_mean(text, [BALANCED])}"
        )
    return torch.tensor(numbers)


def told(loss: Loss) -> dict[str, Any]:
    """The loss as plain data, for `network.meta`: its name, and the settings that are not as usual."""
    usual = type(loss)()
    settings = {name: value for name, value in vars(loss).items() if value is not getattr(usual, name)}
    plain = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in settings.items()}
    return {"name": type(loss).__name__, **{name: v for name, v in plain.items() if v != getattr(usual, name)}}


def loss_of(network: Network, data: Dataset) -> Loss:
    """The loss that a network was trained with; the usual one if it does not say. FormatError if that is nonsense."""
    said = network.meta.get("loss")
    if said is None:
        return loss_for(data)
    try:
        settings = dict(said)
        make = LOSSES[settings.pop("name")]
        weights = settings.pop("class_weights", None)
        if weights is not None:
            settings["class_weights"] = torch.tensor([float(weight) for weight in weights])
            if len(weights) != len(data.classes or ()):
                raise ValueError(f"{len(weights)} class weights")
        return make(**settings)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"the network says that it was trained with the loss {short(said)}, which does not fit ({short(error)}); "
            "choose one with --loss"
        ) from None


def task_of_network(network: Network) -> Task | None:
    """Whether a network was trained on classes or on numbers; None if it does not say."""
    if network.meta.get("classes"):
        return "classify"
    said = network.meta.get("loss")
    make = LOSSES.get(str(said.get("name"))) if isinstance(said, dict) else None
    return None if make is None else make.task


def loss_named(name: str) -> type[Loss]:
    """The loss of this name. SettingError if there is none."""
    if name not in LOSSES:
        raise SettingError(f"there is no loss {name!r}{suggestion(name, LOSSES)}")
    return LOSSES[name]
