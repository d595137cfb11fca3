"""`blockprop diagram`: a network's dataflow graph as a picture."""

from pathlib import Path
from typing import Annotated

import typer

from blockprop.commands.console import say, show
from blockprop.commands.options import (
    VARIABLE,
    Blocks,
    Json,
    NetworkOption,
    OpaqueNodes,
    PreprocessingOption,
    Seed,
    SkipUnreadable,
    TargetOption,
    one_network,
)
from blockprop.commands.parsing import shape_named
from blockprop.commands.results import place
from blockprop.errors import SettingError

NEW = "1,28,28"
"""One example's shape, for a new network without data."""
EPILOG = "Example:\n\nblockprop diagram lenet.safetensors --data mnist.npz --out lenet.svg"


def diagram(
    network: Annotated[
        str | None,
        typer.Argument(
            metavar="[NETWORK]",
            envvar=VARIABLE,
            help="A saved network; pictures (the default) or digits, which come with blockprop; mlp:128,64, lenet, "
            "cnn, stages:32,64, lecture, my_net.py:build.",
        ),
    ] = None,
    named: NetworkOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The SVG file to write.")] = Path("diagram.svg"),
    data: Annotated[str | None, typer.Option(help="Show the mean size of values and gradients on these data.")] = None,
    target: TargetOption = None,
    skip_unreadable: SkipUnreadable = False,
    preprocessing: PreprocessingOption = None,
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    shape: Annotated[
        str | None,
        typer.Option(
            help="One example's shape, without data; those of several inputs between semicolons. By default what the "
            "network says, or 1,28,28 for a new one."
        ),
    ] = None,
    outputs: Annotated[int, typer.Option(min=1, help="How many outputs, likewise.")] = 10,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw a network as a dataflow graph."""
    from blockprop.commands.example_inputs import example_inputs
    from blockprop.commands.inputs import is_saved_network, load_network, network_and_examples
    from blockprop.commands.losses import loss_of
    from blockprop.networks.build import build_network
    from blockprop.reports.diagram import diagram as draw
    from blockprop.reports.sections import diagram_with_sizes
    from blockprop.saving.files import write_file

    if out.suffix.lower() != ".svg":
        such = out.parent / f"{out.stem or 'network'}.svg"
        raise SettingError(f"the diagram is an SVG picture: expected a name such as {such}, came {out}")
    out = place(out)
    network = one_network(network, named) or "pictures"
    if data is not None:
        net, examples = network_and_examples(
            network, data, target, own_blocks, seed, preprocessing, skip_unreadable, opaque
        )
        text = diagram_with_sizes(net, examples, loss_of(net, examples))
    else:
        new = not is_saved_network(network)
        example = shape or NEW
        net = (
            build_network(network, shape_named(example), outputs, seed)
            if new
            else load_network(network, own_blocks, opaque=opaque)
        )
        inputs = example_inputs(net, shape)
        if inputs is None:
            say("the network does not say what its inputs look like; with --shape 3,224,224 each arrow has its shape")
        values = {} if inputs is None else net.forward(*inputs).values
        text = draw(net, shapes={name: tuple(value.shape[1:]) for name, value in values.items()})
    write_file(out, text)
    show({"diagram": str(out), "nodes": len(net.nodes)}, as_json)
