"""`blockprop sheet`: pictures of many classes, layers or channels side by side."""

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from blockprop.blocks import Add, Concat, ReLU
from blockprop.commands.console import say
from blockprop.commands.making import Around, Made, deliver, follow
from blockprop.commands.options import Blocks, Device, Json
from blockprop.commands.photos import NetworkFile, Output, PictureSeed, Report, picture_file
from blockprop.commands.picture_options import (
    L2,
    CanvasName,
    Doubt,
    Rate,
    Resume,
    Size,
    Smooth,
    Steps,
    Transforms,
    blocks_named,
    percent,
    require_state,
    size_named,
    sureness,
)
from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.errors import FormatError, SettingError
from blockprop.pictures.sheets import sheet
from blockprop.saving.checkpoints import read_checkpoint, write_checkpoint
from blockprop.visualize.maximize import STEPS, maximize, picture_size
from blockprop.visualize.objectives.each import each
from blockprop.visualize.objectives.scores import score, titles

EPILOG = (
    "Examples:\n\n"
    "blockprop sheet goose hen lemon --network squeezenet.safetensors\n\n"
    "blockprop sheet layers --size 128\n\n"
    "blockprop sheet classes --most 12 --out classes.png\n\n"
    "blockprop sheet fire5:0-15 --size 96"
)
MOST = 20
AT_ONCE = 4


def make_sheet(
    network: Network,
    around: Around,
    targets: list[str],
    most: int = MOST,
    size: str | None = None,
    steps: int = STEPS,
    rate: float = 0.05,
    canvas: str = "fourier",
    transforms: list[str] | None = None,
    l2: float | None = None,
    total_variation: float | None = None,
    doubt: float = 3.0,
    at_once: int = AT_ONCE,
    columns: int | None = None,
    output: str | None = None,
    seed: int = 0,
    stop: int | None = None,
) -> Made:
    """A picture for each target, made so many at once."""
    names = expanded(network, targets, most, output)
    runs = [names[i : i + at_once] for i in range(0, len(names), at_once)]
    found = _restored(around)
    make = partial(
        maximize,
        network,
        size=size_named(size),
        steps=steps,
        canvas=canvas,
        transforms=blocks_named(transforms),
        l2=l2,
        total_variation=total_variation,
        doubt=doubt,
        seed=seed,
        rate=rate,
        output=output,
    )
    stopped = None
    for i, some in enumerate(runs):
        left = steps if stop is None else min(steps, stop - i * steps)
        if len(found) > i * at_once:
            continue
        if left <= 0:
            break
        state = around.state.with_name(f"{around.state.name}.{i + 1}") if around.keep_state else None
        try:
            run = make(target=each(network, some, output), state=state, resume=around.resume)
            _, ended = follow(run, f"Sheet {i + 1}/{len(runs)}", around, left)
            found += list(run.picture() if run.step == steps else run.best_picture())
            if ended:
                stopped = i * steps + run.step
                break
            if state is not None:
                write_checkpoint(around.state, {"how": _identity(around), "pictures": found})
                state.unlink(missing_ok=True)
        except KeyboardInterrupt:  # before a first step, or between two batches
            if not found:
                raise
            stopped = math.ceil(len(found) / at_once) * steps
            break
    made = _laid_out(network, names[: len(found)], found, columns, output)
    made.stopped = stopped
    return made


def _laid_out(
    network: Network, names: Sequence[str], found: Sequence[Tensor], columns: int | None, output: str | None
) -> Made:
    shares = [sureness(network, picture[None], name, output) for picture, name in zip(found, names, strict=True)]
    called = [titles(score(network, name, output), 1)[0].split(",")[0] for name in names]
    tiles = [
        (picture, title if share is None else f"{title}\n{share:.1%}")
        for picture, title, share in zip(found, called, shares, strict=True)
    ]
    keys = ("target", "title", "probability")
    facts = {"pictures": [dict(zip(keys, row, strict=True)) for row in zip(names, called, shares, strict=True)]}
    rows = [["target", "probability"], *([title, percent(share)] for title, share in zip(called, shares, strict=True))]
    side = max(128, min(256, max(found[0].shape)))
    return Made(sheet(tiles, columns, side=side), facts, rows if any(shares) else ())


def _identity(around: Around) -> dict[str, Any]:
    """What makes a sheet another one: all settings and the network, wherever it lies."""
    arguments = {name: value for name, value in around.how["arguments"].items() if name != "network"}
    return {"arguments": arguments} | {name: around.how[name] for name in ("seed", "network", "classes")}


def _restored(around: Around) -> list[Tensor]:
    """The pictures that an interrupted run has finished. FormatError for a state of another sheet."""
    if not around.resume or not around.state.exists():
        return []
    document = read_checkpoint(around.state)
    if document.get("how") != _identity(around):
        raise FormatError(f"{around.state}: cannot resume, it is of a sheet with other settings or another network")
    say(f"{len(document['pictures'])} pictures were finished", around.quiet)
    return list(document["pictures"])


def expanded(network: Network, targets: Sequence[str], most: int, output: str | None = None) -> list[str]:
    """The targets one by one: "layers", "classes", and ranges such as 0-9 and fire5:0-15 stand for several.

    Raises SettingError and GraphError for unknown ones, before any work is done.
    """
    found: list[str] = []
    for text in targets:
        if text == "layers":
            found += _spread(layers(network), most)
        elif text == "classes":
            count = len(network.meta.get("classes") or ())
            if not count:
                raise SettingError("the network has no names of classes; give their numbers, such as 0-9")
            found += _spread([str(number) for number in range(count)], most)
        elif span := re.fullmatch(r"(.*:)?(\d+)-(\d+)", text):
            first, last = int(span[2]), int(span[3])
            if last < first:
                raise SettingError(f"{text!r}: expected the smaller number first")
            found += [f"{span[1] or ''}{number}" for number in range(first, last + 1)]
        else:
            found.append(text)
    found = list(dict.fromkeys(found))
    _try_out(network, found, output)
    return found


def _try_out(network: Network, names: Sequence[str], output: str | None) -> None:
    """Look at every target once, in a black picture."""
    objectives = [score(network, name, output) for name in names]
    nodes = dict.fromkeys(node for objective in objectives for node in objective.nodes)
    trace = network.forward(_black(network), keep=tuple(nodes))
    for objective in objectives:
        objective.evaluate({node: trace[node] for node in objective.nodes})


def _black(network: Network) -> Tensor:
    channels = int((network.meta.get("shape") or [3])[0])
    return fitting(torch.zeros(1, channels, *picture_size(network)), network)


def _spread(names: Sequence[str], most: int) -> list[str]:
    """At most so many of them, at equal distances."""
    count = min(most, len(names))
    return [names[i * len(names) // count] for i in range(count)]


def layers(network: Network) -> list[str]:
    """The nodes that rectify or join maps with height and width; all such nodes if there are none that do."""
    trace = network.forward(_black(network), keep=network.keys)
    maps = [key for key in network.keys if trace[key].dim() == 4 and min(trace[key].shape[2:]) > 1]
    blocks = {key: node.block for node in network.nodes for key in node.keys}
    own = [key for key in maps if key in blocks and not key.startswith("picture.")]
    if not own:
        raise SettingError("the network has no layers with height and width")
    joined = [key for key in own if isinstance(blocks[key], Concat | Add)]
    rectified = [key for key in own if isinstance(blocks[key], ReLU)]
    return joined if len(joined) > 3 else rectified or own


def sheet_(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="Classes, nodes, node:channel; ranges such as 0-9 or fire5:0-15; layers; classes.",
        ),
    ],
    network: NetworkFile = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture; by default sheet.png.")] = None,
    most: Annotated[int, typer.Option(min=1, help="So many of `layers` and `classes`, at equal distances.")] = MOST,
    size: Size = None,
    steps: Steps = STEPS,
    rate: Rate = 0.05,
    canvas: CanvasName = "fourier",
    transform: Transforms = None,
    l2: L2 = None,
    total_variation: Smooth = None,
    doubt: Doubt = 3.0,
    at_once: Annotated[int, typer.Option(min=1, help="Pictures in one batch; more need more memory.")] = AT_ONCE,
    columns: Annotated[int | None, typer.Option(min=1, help="Of the sheet.")] = None,
    resume: Resume = False,
    output: Output = None,
    report: Report = None,
    own_blocks: Blocks = None,
    seed: PictureSeed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Make a contact sheet: what a network sees in each of many classes, layers or channels."""
    path = picture_file(out, "sheet.png")
    settings = {
        "network": network,
        "targets": targets,
        "most": most,
        "size": size,
        "steps": steps,
        "rate": rate,
        "canvas": canvas,
        "transforms": transform,
        "l2": l2,
        "total_variation": total_variation,
        "doubt": doubt,
        "at_once": at_once,
        "columns": columns,
        "output": output,
        "seed": seed,
    }
    around = Around(path, own_blocks, device, as_json, keep_state=True, resume=resume)
    require_state(around)
    deliver("sheet", make_sheet, settings, around, report, as_json)
