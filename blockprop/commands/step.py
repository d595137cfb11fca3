"""`blockprop step`: a page on which a network is walked through, forward and back."""

from pathlib import Path
from typing import Annotated

import typer

from blockprop.commands.choices import MOST_NODES
from blockprop.commands.console import say, show
from blockprop.commands.one_example import (
    ExampleItself,
    ExampleLabel,
    ExampleNumber,
    ExampleSource,
    LossNode,
    NetworkToWalk,
    asked,
    walked,
)
from blockprop.commands.options import RATE, Blocks, Json, LossName, NetworkOption, OpaqueNodes, Seed
from blockprop.commands.results import place
from blockprop.errors import SettingError

EPILOG = (
    "Examples:\n\n"
    "blockprop step lecture\n\n"
    "blockprop step lecture:tanh --input 0.5,-1 --label 1\n\n"
    "blockprop step digits --data digits --out digits.html"
)


def step(
    network: NetworkToWalk = None,
    named: NetworkOption = None,
    data: ExampleSource = None,
    example: ExampleNumber = 0,
    numbers: ExampleItself = None,
    label: ExampleLabel = None,
    loss: LossName = None,
    node: LossNode = None,
    rate: Annotated[float, typer.Option(*RATE, min=0.0, help="μ of the update W ← W − μ ∂L/∂W.")] = 0.1,
    check: Annotated[
        list[str] | None,
        typer.Option(help="A derivative to compare with a central difference, as 'conv1.weight[0,0,1,2]'; repeatable."),
    ] = None,
    last: Annotated[
        int | None, typer.Option(min=1, max=MOST_NODES, help="Only so many of the last nodes of a large network.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("step.html"),
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write one page, which needs nothing else, to walk through both passes of a network, number by number."""
    from blockprop.learning.stepper import stepper

    if out.suffix.lower() != ".html":
        such = out.parent / f"{out.stem or 'step'}.html"
        raise SettingError(f"the page is HTML: expected a name such as {such}, came {out}")
    out = place(out)
    name = walked(network, named)
    net, x, objective, target = asked(name, data, example, numbers, label, loss, node, own_blocks, opaque, seed)
    if last is None and len(net.nodes) > MOST_NODES:
        last = MOST_NODES
        say(f"{name} has {len(net.nodes)} nodes: the page has the last {last}, --last says how many")
    nodes = None if last is None else [node.name for node in net.nodes[-last:]]
    walk = stepper(
        net, x, target=target, objective=objective, rate=rate, nodes=nodes, check=check or (), title=Path(name).name
    )
    walk.save(out)
    show(
        {"page": str(out), "nodes": len(nodes or net.nodes), "kilobytes": round(len(walk.html.encode()) / 1000)},
        as_json,
    )
