"""`blockprop evaluate`: how good a saved network is on data."""

from pathlib import Path
from typing import Annotated, Any

import typer

from blockprop.commands.console import say_all
from blockprop.commands.options import (
    SHIPPED,
    Blocks,
    Device,
    Json,
    LossName,
    NetworkOption,
    OpaqueNodes,
    PreprocessingOption,
    SkipUnreadable,
    TargetOption,
    one_network,
)
from blockprop.commands.picture_options import Crop
from blockprop.commands.results import place
from blockprop.errors import SettingError

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
    skip_unreadable: SkipUnreadable = False,
    report: Annotated[Path | None, typer.Option(help="A folder for a page about the result.")] = None,
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Test a saved network: on the data's test part, or what was held out in training, or else on all."""
    from blockprop.commands.inputs import examples_for, is_network, load_network, network_for_data, photos_of, sight_for
    from blockprop.commands.kinds import require_source
    from blockprop.commands.losses import loss_for, loss_of
    from blockprop.commands.measuring import (
        facts_of,
        measure_section,
        measured,
        show_measures,
        write_figure,
        write_report,
    )
    from blockprop.commands.preprocessing import seeing
    from blockprop.commands.sources import name_of
    from blockprop.data.reading import NAMES as DATA_NAMES
    from blockprop.pictures.framing import rule_in_words
    from blockprop.reports.sections import sections
    from blockprop.saving.files import require_writable

    if len(arguments) > 2:
        raise SettingError(f"expected a network and data, or data alone, came {' '.join(arguments)}")
    first = arguments[0] if len(arguments) == 2 else None
    if named is None and first is None and is_network(arguments[0]) and arguments[0] not in DATA_NAMES:
        raise SettingError(f"expected data after the network {arguments[0]}")
    report = report and place(report)
    if report is not None:
        require_writable(report / "index.html")
    data = arguments[-1]
    network = one_network(first, named) or network_for_data(data)
    net = load_network(network, own_blocks, device, opaque)
    require_source(net, data)
    net = seeing(net, network, preprocessing, bool(photos_of(data)), as_json)
    seen = sight_for(net, data, crop)
    examples, part, notes = examples_for(net, data, target=target, crop=crop, skip_unreadable=skip_unreadable)
    say_all(notes, as_json)
    objective = loss_of(net, examples) if loss is None else loss_for(examples, loss)
    result: dict[str, Any] = {"network": network, "data": examples.name, "examples": len(examples), "part": part}
    result |= {"seen": rule_in_words(seen)} if seen else {}
    result["loss"], quality = measured(net, examples, objective, as_json)
    result |= facts_of(quality, with_parts=as_json) | ({"notes": notes} if as_json else {})
    if report is not None:
        result |= write_figure(report, net, examples, quality)
        told = sections(net, (), examples, objective, quality=measure_section(quality, len(examples)))
        result["report"] = str(write_report(report, f"{Path(network).name} on {name_of(data)}", told, result))
    show_measures(result, quality, as_json)
