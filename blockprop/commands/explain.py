"""`blockprop explain`: one derivative, written out by the chain rule with the numbers of an example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blockprop.commands.console import show
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
from blockprop.commands.options import Blocks, Json, LossName, NetworkOption, OpaqueNodes, Seed
from blockprop.commands.results import place
from blockprop.errors import SettingError

if TYPE_CHECKING:
    from blockprop.learning import Derivation


EPILOG = (
    "Examples:\n\n"
    "blockprop explain lecture --of 'fc1.weight[1,0]'\n\n"
    "blockprop explain lecture:relu --of 'x[0]' --input 1,2 --label 0\n\n"
    "blockprop explain lecture --of 'fc1.bias[2]' --loss mean_squared_error --label 1,0\n\n"
    "blockprop explain digits --of 'conv1_1.weight[0,0,1,1]' --data digits --out derivative.html"
)
WRITERS: dict[str, Callable[[Derivation], str]] = {
    ".txt": lambda found: found.text + "\n",
    ".tex": lambda found: found.latex + "\n",
    ".html": lambda found: found.page,
}
"""By the name of the file that is written."""


def explain(
    network: NetworkToWalk = None,
    named: NetworkOption = None,
    of: Annotated[
        str, typer.Option(help="What the derivative is by, from 0 on: 'fc1.weight[0,1]', 'x[2]', 'relu1[0,3]'.")
    ] = "fc1.weight[0,0]",
    data: ExampleSource = None,
    example: ExampleNumber = 0,
    numbers: ExampleItself = None,
    label: ExampleLabel = None,
    loss: LossName = None,
    node: LossNode = None,
    by: Annotated[
        str | None, typer.Option(help="numbers: every path of a small network; blocks: block by block.")
    ] = None,
    digits: Annotated[int, typer.Option(min=1, max=17, help="Significant digits of each number.")] = 4,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file to write it to: .txt, .tex or .html.")] = None,
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write one derivative out by the chain rule, from the loss down, with all its numbers."""
    from blockprop.learning import explain as written_out
    from blockprop.saving.files import write_file

    if out is not None and out.suffix.lower() not in WRITERS:
        raise SettingError(f"expected a name that ends in {', '.join(WRITERS)}, came {out}")
    net, x, objective, target = asked(
        walked(network, named), data, example, numbers, label, loss, node, own_blocks, opaque, seed
    )
    found = written_out(net, x, of=of, objective=objective, target=target, by=by, digits=digits)
    facts = {"of": found.of, "derivative": found.value, "sweep": found.swept}
    if out is not None:
        out = place(out)
        write_file(out, WRITERS[out.suffix.lower()](found))
        show({**facts, "written": str(out)}, as_json)
    elif as_json:
        show({**facts, "text": found.text}, as_json)
    else:
        print(found)
