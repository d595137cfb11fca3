"""`blockprop check`, `blockprop diagram` and `blockprop demo`."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from blockprop.check import Report, check_block, check_network
from blockprop.commands.options import (
    VARIABLE,
    Blocks,
    Device,
    Json,
    Seed,
    Target,
    block_named,
    device_named,
    examples_for,
    load_network,
    loss_for,
    numbers,
)
from blockprop.console import say, show, watched
from blockprop.data import read_data
from blockprop.dataset import Dataset
from blockprop.demo import run_demo
from blockprop.diagram import diagram as draw
from blockprop.errors import SettingError
from blockprop.examine import diagram_with_sizes
from blockprop.files import require_writable, write_file
from blockprop.network import Network
from blockprop.networks import build_network
from blockprop.shipped import is_shipped

CHECK_EPILOG = (
    "Examples:\n\n"
    "blockprop check mlp:16 --data digits\n\n"
    "blockprop check lenet.safetensors --data mnist.npz\n\n"
    "blockprop check 'Conv2d(3, 8, 3, padding=1)' --shape 2,3,8,8"
)
DIAGRAM_EPILOG = "Example:\n\nblockprop diagram lenet.safetensors --data mnist.npz --out lenet.svg"
DEMO_EPILOG = "Example:\n\nblockprop demo --out my-demo"

WRONG_GRADIENT = 3
"""Exit code if a backward pass is wrong."""


def check(
    network: Annotated[
        str,
        typer.Argument(
            metavar="[NETWORK]",
            help="A saved network; pictures or digits, which come with blockprop; mlp:128,64, lenet, cnn, "
            "stages:32,64, my_net.py:build; or one block with its settings, such as 'Conv2d(3, 8, 3)'.",
        ),
    ] = "digits",
    data: Annotated[str, typer.Option(help="Examples for a network.")] = "digits",
    target: Target = None,
    own_blocks: Blocks = None,
    shape: Annotated[
        str | None, typer.Option(help="For a block: its input's shape, such as 2,3,8,8; several between semicolons.")
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="How many examples of DATA to use.")] = 4,
    every_element: Annotated[bool, typer.Option("--every-element", help="Try each element by itself; slower.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare backward passes with finite differences; exit with 3 if one is wrong."""
    block = block_named(network)
    if block is None:
        net, some = _with_data(network, data, target, own_blocks, seed)
        found = _check_network(net, some, examples, every_element, seed, as_json)
    else:
        if shape is None:
            raise SettingError("to check a block, give the shape of its input: --shape 2,3,8,8")
        generator = torch.Generator().manual_seed(seed)
        inputs = [torch.randn(numbers(part), generator=generator) for part in shape.split(";")]
        found = check_block(block, *inputs, seed=seed)
    if as_json:
        errors = {c.name: c.error for c in found.comparisons}
        result = {"right": found.passed, "worst_gradient_error": found.error, "errors": errors}
        show(result | {"faults": list(found.faults)}, as_json)
    else:
        print(found)
    if not found.passed:
        raise typer.Exit(WRONG_GRADIENT)


def _check_network(net: Network, data: Dataset, count: int, every_element: bool, seed: int, quiet: bool) -> Report:
    some = data[torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count]]
    return check_network(
        net,
        some.x,
        objective=loss_for(data),
        target=some.y,
        every_element=every_element,
        progress=lambda name: say(f"checking {name}", quiet),
    )


def _with_data(
    network: str, source: str, target: str | None, own_blocks: str | None, seed: int
) -> tuple[Network, Dataset]:
    """A saved network with data as it was trained on them, or a new network for the data."""
    if _is_saved(network):
        net = load_network(network, own_blocks)
        return net, examples_for(net, source, target=target)[0]
    data = read_data(source, target=target, seed=seed).train
    return build_network(network, data.shape, data.output_count, seed), data


def _is_saved(network: str) -> bool:
    return is_shipped(network) or (Path(network).exists() and not network.endswith(".py"))


def diagram(
    network: Annotated[
        str,
        typer.Argument(
            metavar="[NETWORK]",
            envvar=VARIABLE,
            help="A saved network; pictures or digits, which come with blockprop; mlp:128,64, lenet, cnn, "
            "stages:32,64, my_net.py:build.",
        ),
    ] = "pictures",
    out: Annotated[Path, typer.Option(help="The SVG file to write.")] = Path("diagram.svg"),
    data: Annotated[str | None, typer.Option(help="Show the mean size of values and gradients on these data.")] = None,
    target: Target = None,
    own_blocks: Blocks = None,
    shape: Annotated[str, typer.Option(help="One example's shape, for a new network without data.")] = "1,28,28",
    outputs: Annotated[int, typer.Option(min=1, help="How many outputs, likewise.")] = 10,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw a network as a dataflow graph."""
    if out.suffix.lower() != ".svg":
        raise SettingError(
            f"the diagram is an SVG picture: expected a name such as {out.with_suffix('.svg')}, came {out}"
        )
    if data is not None:
        net, examples = _with_data(network, data, target, own_blocks, seed)
        text = diagram_with_sizes(net, examples, loss_for(examples))
    else:
        new = not _is_saved(network)
        net = build_network(network, numbers(shape), outputs, seed) if new else load_network(network, own_blocks)
        size = net.meta.get("shape") or numbers(shape)
        trace = net.forward(torch.zeros(1, *size))
        text = draw(net, shapes={name: tuple(value.shape[1:]) for name, value in trace.values.items()})
    write_file(out, text)
    show({"diagram": str(out), "nodes": len(net.nodes)}, as_json)


def demo(
    out: Annotated[Path, typer.Option(help="The folder for the page and the network.")] = Path("blockprop-demo"),
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train on handwritten digits, check every gradient, see what a network sees: all on one page. Works offline."""
    require_writable(out / "index.html")
    result = run_demo(out, seed, str(device_named(device)), watched("Training", as_json), lambda t: say(t, as_json))
    show(result._asdict(), as_json)
    if not as_json:
        print(f"\nOpen {result.report} in a browser.")
    if not result.gradients_right:
        raise typer.Exit(WRONG_GRADIENT)
