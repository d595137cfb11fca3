"""`blockprop evaluate`: how good a saved network is on data."""

from typing import Annotated, Any

import typer

from blockprop.commands.console import say_all, show, show_table
from blockprop.commands.inputs import (
    examples_for,
    is_network,
    load_network,
    loss_for,
    network_for_data,
    photos_of,
    sight_for,
)
from blockprop.commands.options import (
    SHIPPED,
    Blocks,
    Device,
    Json,
    LossName,
    NetworkOption,
    PreprocessingOption,
    TargetOption,
    one_network,
)
from blockprop.commands.picture_options import Crop
from blockprop.commands.preprocessing import seeing
from blockprop.commands.units import r_squared
from blockprop.data.reading import NAMES as DATA_NAMES
from blockprop.errors import SettingError
from blockprop.pictures.framing import rule_in_words
from blockprop.training.evaluation import evaluate as measure
from blockprop.training.evaluation import predict as outputs_for

EPILOG = "Example:\n\nblockprop evaluate lenet.safetensors mnist.npz"


def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[NETWORK] DATA",
            help=f"A saved network, by default {SHIPPED}, which come with blockprop; and data as for `train`.",
        ),
    ],
    named: NetworkOption = None,
    target: TargetOption = None,
    loss: LossName = None,
    preprocessing: PreprocessingOption = None,
    crop: Crop = None,
    own_blocks: Blocks = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Test a saved network: on the data's test part, or what was held out in training, or else on all."""
    if len(arguments) > 2:
        raise SettingError(f"expected a network and data, or data alone, came {' '.join(arguments)}")
    first = arguments[0] if len(arguments) == 2 else None
    if named is None and first is None and is_network(arguments[0]) and arguments[0] not in DATA_NAMES:
        raise SettingError(f"expected data after the network {arguments[0]}")
    data = arguments[-1]
    network = one_network(first, named) or network_for_data(data)
    net = load_network(network, own_blocks, device)
    net = seeing(net, network, preprocessing, bool(photos_of(data)), as_json)
    seen = sight_for(net, data, crop)
    examples, part, notes = examples_for(net, data, target=target, crop=crop)
    say_all(notes, as_json)
    evaluation = measure(net, examples, loss_for(examples, loss))
    result: dict[str, Any] = {"network": network, "data": examples.name, "examples": len(examples), "part": part}
    result |= {"seen": rule_in_words(seen)} if seen else {}
    result |= {"loss": evaluation.value} | r_squared(net, examples)
    by_class: dict[str, float] = {}
    if evaluation.accuracy is not None and examples.y is not None:
        result["accuracy"] = evaluation.accuracy
        right = outputs_for(net, examples.x).argmax(1) == examples.y
        for number, name in enumerate(examples.classes or ()):
            if (examples.y == number).any():
                by_class[name] = float(right[examples.y == number].float().mean())
    if as_json:
        show(result | ({"accuracy_by_class": by_class} if by_class else {}) | {"notes": notes}, as_json)
        return
    show(result, as_json)
    if by_class:
        show_table(["class", "right"], [[name, f"{share:.2%}"] for name, share in by_class.items()])
