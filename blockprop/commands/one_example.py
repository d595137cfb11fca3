"""Which network, and which one example with its objective and target, a command is to look at."""

from typing import Annotated

import torch
import typer
from torch import Tensor

from blockprop.commands.inputs import examples_for, is_saved_network, load_network, network_and_examples
from blockprop.commands.losses import loss_of
from blockprop.data.dataset import Dataset
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, cross_entropy, mean_squared_error
from blockprop.errors import SettingError, did_you_mean
from blockprop.networks.build import build_network
from blockprop.networks.lecture import UNITS, lecture, lecture_example

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


def asked(
    name: str,
    data: str | None,
    example: int,
    numbers: str | None,
    label: str | None,
    own_blocks: str | None,
    opaque: bool,
    seed: int,
) -> tuple[Network, Tensor, Objective, Tensor]:
    """(network, one example, objective, its target)."""
    if numbers is not None and data is not None:
        raise SettingError("--input is the example itself, and --data says where one is from: give one of the two")
    is_lecture = name.partition(":")[0] == LECTURE
    if is_lecture and data is None:
        net, (x, target) = lecture(name.partition(":")[2] or "sigmoid"), lecture_example()
        x = x if numbers is None else _numbers(numbers, (UNITS[0],))
        return net, x, cross_entropy(), target if label is None else _target(label, net, x)
    if numbers is not None:
        net = _network(name, own_blocks, opaque, len(numbers.split(",")), label, seed)
        x = _numbers(numbers, tuple(net.meta.get("shape") or ()))
        if label is None:
            raise SettingError("with --input say the class, or the numbers that the network should give: --label")
        return net, x, _objective(net, label), _target(label, net, x)
    source = data or "digits"
    if label is None:
        net, examples = network_and_examples(name, source, None, own_blocks, seed, opaque=opaque)
        _require_there(example, examples, source)
        one = examples[torch.tensor([example])]
        if one.y is None:
            raise SettingError(f"{source} does not say what its examples are: give --label")
        return net, one.x, loss_of(net, examples), one.y
    net = load_network(name, own_blocks, opaque=opaque)
    examples, _, _ = examples_for(net, source, need_labels=False)
    _require_there(example, examples, source)
    x = examples[torch.tensor([example])].x
    return net, x, _objective(net, label), _target(label, net, x)


def _network(name: str, own_blocks: str | None, opaque: bool, features: int, label: str | None, seed: int) -> Network:
    if is_saved_network(name):
        return load_network(name, own_blocks, opaque=opaque)
    outputs = len(label.split(",")) if label and "," in label else 2
    return build_network(name, features, outputs, seed)


def _require_there(example: int, data: Dataset, source: str) -> None:
    if example >= len(data):
        raise SettingError(f"--example {example}: {source} has {len(data)} examples, from 0 to {len(data) - 1}")


def _numbers(text: str, shape: tuple[int, ...]) -> Tensor:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        raise SettingError(f"expected numbers with commas between, as 1,0.5, came {text!r}") from None
    x = torch.tensor(numbers, dtype=torch.float64)
    size = torch.Size(shape).numel()
    if shape and size != len(x):
        raise SettingError(f"the network takes {size} numbers, {len(x)} came: {text}")
    return x.reshape(1, *(shape or (-1,)))


def _objective(net: Network, label: str) -> Objective:
    return (
        mean_squared_error() if "," in label or not (net.meta.get("classes") or label.isdecimal()) else cross_entropy()
    )


def _target(label: str, net: Network, x: Tensor) -> Tensor:
    """The class that a label names, or the numbers that it is."""
    classes = net.meta.get("classes") or []
    if label in classes:
        return torch.tensor([classes.index(label)])
    if isinstance(_objective(net, label), mean_squared_error):
        return _numbers(label, ())
    count = len(classes) or net(x.to(next(iter(net.parameters.values())).dtype)).shape[1]
    if not label.isdecimal() or int(label) >= count:
        names = f", or one of {', '.join(classes[:5])}{', …' if len(classes) > 5 else ''}" if classes else ""
        raise SettingError(
            f"--label {label}: expected a class from 0 to {count - 1}{names}{did_you_mean(label, classes)}"
        )
    return torch.tensor([int(label)])
