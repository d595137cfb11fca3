"""`blockprop demo`: everything in a minute, on one page."""

from pathlib import Path
from typing import Annotated

import typer

from blockprop.commands.console import WRONG_GRADIENT, say, show, watched
from blockprop.commands.options import Device, Json, Seed
from blockprop.commands.results import place

EPILOG = "Example:\n\nblockprop demo --out my-demo"


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the page and the network.")] = Path(
        "blockprop-demo"
    ),
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train on handwritten digits, check every gradient, see what a network sees: all on one page. Works offline."""
    from blockprop.commands.demo_page import run_demo
    from blockprop.commands.inputs import device_named
    from blockprop.saving.files import require_writable

    out = place(out)
    require_writable(out / "index.html")
    result = run_demo(out, seed, str(device_named(device)), watched("Training", as_json), lambda t: say(t, as_json))
    show(result._asdict(), as_json)
    if not as_json:
        print(f"\nOpen {result.report} in a browser.")
    if not result.gradients_right:
        raise typer.Exit(WRONG_GRADIENT)
