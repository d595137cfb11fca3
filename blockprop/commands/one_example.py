"""Which network, and which one example with its objective and target, a command is to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blockprop.commands.options import one_network
from blockprop.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.data.dataset import Dataset
    from blockprop.engine.network import Network
    from blockprop.engine.objectives import Loss


LECTURE = "lecture"
NetworkToWalk = Annotated[
    str | None,
    typer.Argument(
        metavar="[NETWORK]",
        help="lecture (the default), lecture:tanh, lecture:relu; a saved network; pictures or digits, which come "
        "with blockprop; mlp:4, lenet, my_net.py:build.",
    ),
]
ExampleSource = Annotated[
    str | None, typer.Option("--data", help="Where the example is from; by default the lecture's own, else digits.")
]
ExampleNumber = Annotated[int, typer.Option("--example", min=0, help="Which one of DATA, from 0 on.")]
ExampleItself = Annotated[str | None, typer.Option("--input", help="The example itself, as 1,2; instead of DATA.")]
ExampleLabel = Annotated[
    str | None,
    typer.Option("--label", help="Its class by name or number, or the numbers it should give; instead of DATA's."),
]
LossNode = Annotated[
    str | None, typer.Option("--node", help="The output or inner node that the loss reads; by default the only output.")
]


def walked(argument: str | None, option: str | None) -> str:
    """The network that is to be walked through: by default the lecture's."""
    return one_network(argument, option) or LECTURE


def asked(
    name: str,
    data: str | None,
    example: int,
    numbers: str | None,
    label: str | None,
    loss: str | None,
    node: str | None,
    own_blocks: str | None,
    opaque: bool,
    seed: int,
) -> tuple[Network, Tensor, Loss, Tensor]:
    """(network, one example, objective, its target)."""
    from blockprop.commands.losses import loss_named

    if numbers is not None and data is not None:
        raise SettingError("--input is the example itself, and --data says where one is from: give one of the two")
    net, x, said, usual = _example(name, data, example, numbers, label, own_blocks, opaque, seed)
    objective: Loss = replace(usual if loss is None else loss_named(loss)(), node=node)  # type: ignore[type-var]  # a dataclass
    if len(names := objective.nodes or net.outputs) != 1:
        raise SettingError(
            f"the network has the outputs {' and '.join(names)}: --node says which of them the loss reads"
        )
    return net, x, objective, _target(said, net, x, objective)


def _example(
    name: str,
    data: str | None,
    example: int,
    numbers: str | None,
    label: str | None,
    own_blocks: str | None,
    opaque: bool,
    seed: int,
) -> tuple[Network, Tensor, str | Tensor, Loss]:
    """(network, one example, its label as it was given or its target, the usual loss)."""
    import torch

    from blockprop.commands.console import say
    from blockprop.commands.inputs import (
        examples_for,
        is_saved_network,
        load_network,
        network_and_examples,
        photos_of,
    )
    from blockprop.commands.losses import loss_of
    from blockprop.networks.lecture import UNITS, lecture, lecture_example
    from blockprop.pictures.image_kinds import is_image

    is_lecture = name.partition(":")[0] == LECTURE
    if is_lecture and data is None:
        net, (x, target) = lecture(name.partition(":")[2] or "sigmoid"), lecture_example()
        x = x if numbers is None else _numbers(numbers, (UNITS[0],))
        return net, x, target if label is None else label, _usual(net, label)
    if numbers is not None:
        net = _network(name, own_blocks, opaque, len(numbers.split(",")), label, seed)
        x = _numbers(numbers, tuple(net.meta.get("shape") or ()))
        if label is None:
            raise SettingError("with --input say the class, or the numbers that the network should give: --label")
        return net, x, label, _usual(net, label)
    source = data or "digits"
    bare = is_saved_network(name) and (is_image(Path(source)) or bool(photos_of(source)))
    if (label is None and not bare) or not is_saved_network(name):
        net, examples = network_and_examples(name, source, None, own_blocks, seed, opaque=opaque)
    else:  # of data that need no labels
        net = load_network(name, own_blocks, opaque=opaque)
        examples, _, _ = examples_for(net, source, need_labels=False)
    _require_there(example, examples, source)
    one = examples[torch.tensor([example])]
    if label is not None:
        return net, one.x, label, _usual(net, label)
    if bare:
        seen = _likeliest(net, one.x)
        say(f"{source} does not say what it shows: the loss asks for {seen}, the likeliest; --label says otherwise")
        return net, one.x, seen, _usual(net, seen)
    if one.y is None:
        raise SettingError(f"{source} does not say what its examples are: give --label")
    return net, one.x, one.y, loss_of(net, examples)


def _likeliest(net: Network, x: Tensor) -> str:
    """The class that the network sees, by name if it has one."""
    from blockprop.visualize.objectives.scores import gives_classes

    scores = net.values(x, keep=net.outputs)[net.outputs[0]]
    if len(net.outputs) != 1 or scores.dim() != 2 or not gives_classes(net, net.outputs[0], scores.shape[1]):
        raise SettingError("the photograph does not say what the network should give: say it with --label")
    number = int(scores.argmax())
    return (net.meta.get("classes") or [str(i) for i in range(number + 1)])[number]


def _network(name: str, own_blocks: str | None, opaque: bool, features: int, label: str | None, seed: int) -> Network:
    from blockprop.commands.inputs import is_saved_network, load_network
    from blockprop.networks.build import build_network

    if is_saved_network(name):
        return load_network(name, own_blocks, opaque=opaque)
    outputs = len(label.split(",")) if label and "," in label else 2
    return build_network(name, features, outputs, seed)


def _require_there(example: int, data: Dataset, source: str) -> None:
    if example >= len(data):
        raise SettingError(f"--example {example}: {source} has {len(data)} examples, from 0 to {len(data) - 1}")


def _numbers(text: str, shape: tuple[int, ...]) -> Tensor:
    import torch

    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        raise SettingError(f"expected numbers with commas between, as 1,0.5, came {text!r}") from None
    x = torch.tensor(numbers, dtype=torch.float64)
    size = torch.Size(shape).numel()
    if shape and size != len(x):
        raise SettingError(f"the network takes {size} numbers, {len(x)} came: {text}")
    return x.reshape(1, *(shape or (-1,)))


def _usual(net: Network, label: str | None) -> Loss:
    """Cross-entropy for a class, mean squared error for numbers."""
    from blockprop.engine.objectives import cross_entropy, mean_squared_error

    classes = net.meta.get("classes") or []
    is_class = label is None or label in classes or ("," not in label and (classes or label.isdecimal()))
    return cross_entropy() if is_class else mean_squared_error()


def _target(said: str | Tensor, net: Network, x: Tensor, objective: Loss) -> Tensor:
    """What the loss is to compare with. To a loss of numbers a class is 1 at its place, and 0 at the others."""
    import torch
    from torch import Tensor

    from blockprop.engine.trace import only

    if isinstance(said, Tensor) and (said.is_floating_point() or objective.task == "classify"):
        return said
    classes = net.meta.get("classes") or []
    weights = (weight.dtype for weight in net.parameters.values() if weight.is_floating_point())
    name = only(objective.nodes or net.outputs)
    y = net.values(x.to(next(weights, x.dtype)) if x.is_floating_point() else x, keep=(name,))[name]
    if isinstance(said, Tensor):
        number = said
    elif objective.task == "regress" and said not in classes and (len(said.split(",")) == y.numel() or "," in said):
        numbers = _numbers(said, ())
        return numbers.reshape(y.shape) if numbers.numel() == y.numel() else numbers
    else:
        number = torch.tensor([_class(said, classes, y.shape[1] if y.dim() > 1 else y.numel())])
    if objective.task == "classify" or y.dim() != 2 or int(number.max()) >= y.shape[1]:
        return number
    return torch.zeros_like(y).scatter_(1, number.reshape(-1, 1).long(), 1.0)


def _class(label: str, classes: Sequence[str], count: int) -> int:
    """The number of the class that a label names."""
    if label in classes:
        return list(classes).index(label)
    if not label.isdecimal() or int(label) >= count:
        names = f", or one of {', '.join(classes[:5])}{', …' if len(classes) > 5 else ''}" if classes else ""
        raise SettingError(
            f"--label {label}: expected a class from 0 to {count - 1}{names}{did_you_mean(label, classes)}"
        )
    return int(label)
