"""Options that the commands that make pictures share."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from torch import Tensor

from blockprop.commands.making import Around
from blockprop.commands.parsing import block_named
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.pictures.image_files import MOST_PIXELS
from blockprop.visualize.judging import class_probabilities
from blockprop.visualize.objectives.scores import Target
from blockprop.visualize.pipeline import CANVASES

CELL = 256
"""Pixels of a picture on a sheet."""


Size = Annotated[
    str | None,
    typer.Option(
        metavar="SIDE or WIDTHxHEIGHT", help="Pixels of the picture; by default what the network was made for."
    ),
]


Steps = Annotated[int, typer.Option(min=1, help="Steps up the gradient.")]


Rate = Annotated[float, typer.Option(help="Step size.")]


CanvasName = Annotated[str, typer.Option(help=f"What the picture is made from: {', '.join(CANVASES)}.")]


L2 = Annotated[
    float | None, typer.Option("--l2", help="How strongly gray is preferred; by default 100, or as suits the network.")
]


Smooth = Annotated[
    float | None,
    typer.Option(help="How strongly smooth pictures are preferred; by default 1000, or as suits the network."),
]


Doubt = Annotated[float, typer.Option(help="How strongly the class is set apart from others.")]


Transforms = Annotated[
    list[str] | None,
    typer.Option(
        "--transform",
        help="What the picture should survive, a block such as 'Jitter(8)'; repeat it for several, or none. By default "
        "padded, shifted, scaled and turned at random.",
    ),
]


PreviewEvery = Annotated[
    int | None, typer.Option(min=1, help="Write a preview beside --out every so many steps; it vanishes in the end.")
]


Resume = Annotated[bool, typer.Option("--resume", help="Go on from the state beside --out that Ctrl-C left.")]


def sureness(network: Network, picture: Tensor, target: Target, output: str | None) -> float | None:
    """How sure the network is of the target in a picture; None for what is no class."""
    shares = class_probabilities(network, picture, target, output)
    return sum(shares) if shares else None


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def weighted(targets: Sequence[str]) -> Target:
    """["goose", "fire5:17=-0.5"] as {"goose": 1, "fire5:17": -0.5}; a single one without a weight as itself."""
    if len(targets) == 1 and "=" not in targets[0]:
        return targets[0]
    found: dict[str, float] = {}
    for text in targets:
        name, equals, weight = text.rpartition("=")
        try:
            name, number = (name, float(weight)) if equals else (text, 1.0)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise SettingError(f"expected a name, or name=weight such as {name or 'goose'}=0.5, came {text!r}")
        found[name] = found.get(name, 0.0) + number
    return found


def layers_named(texts: Sequence[str] | None) -> Any:
    """Layers by name, or with weights; None if nothing is said."""
    return weighted(texts) if texts else None


def size_named(text: str | None) -> tuple[int, int] | None:
    """ "320x240" as (240, 320), height first; "224" as (224, 224)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise SettingError(f"expected a size such as 224 or 320x240 (width x height), came {text!r}")
    width, height = int(parts[0]), int(parts[-1])
    if width * height > MOST_PIXELS:
        raise SettingError(f"{text} are more than the {MOST_PIXELS:,} pixels that a picture may have")
    return height, width


def blocks_named(texts: Sequence[str] | None) -> tuple[Block, ...] | None:
    """The blocks that the texts describe; none for "none", and None if nothing is said."""
    if not texts:
        return None
    if list(texts) == ["none"]:
        return ()
    found = []
    for text in texts:
        block = block_named(text)
        if block is None:
            raise SettingError(f"expected a block such as 'Jitter(8)' as transform, or none, came {text!r}")
        found.append(block)
    return tuple(found)


def require_state(around: Around) -> None:
    """SettingError if there is nothing to go on from."""
    if around.resume and not around.states():
        raise SettingError(f"there is no state {around.state} to go on from; leave out --resume")


def file_name(targets: Sequence[str]) -> str:
    """A name of letters, digits and underscores for a picture of these targets."""
    text = "_and_".join(targets[:3])
    return "".join(c if c.isalnum() or c in "-." else "_" for c in text).strip("_.")[:60] or "picture"
