"""`blockprop sheet`: pictures of many classes, layers or channels side by side."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from blockprop.checkpoints import read_checkpoint, write_checkpoint
from blockprop.commands.making import Around, Made, deliver, follow
from blockprop.commands.maximize import (
    L2,
    CanvasName,
    Doubt,
    PictureSeed,
    Rate,
    Resume,
    Size,
    Smooth,
    Steps,
    Transforms,
    blocks_named,
    require_state,
    size_named,
    sure,
)
from blockprop.commands.options import Blocks, Device, Json
from blockprop.commands.photos import NetworkFile, Output, Report, picture_file
from blockprop.console import say
from blockprop.errors import FormatError, SettingError
from blockprop.evaluation import fitting
from blockprop.network import Network
from blockprop.visualize.maximize import STEPS, each, maximize, picture_size
from blockprop.visualize.scores import score, titles
from blockprop.visualize.sheets import sheet

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
    l2: float = 100.0,
    total_variation: float = 1000.0,
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
    identity = {"targets": names, "size": size, "steps": steps, "rate": rate, "seed": seed, "at_once": at_once}
    found = _restored(around, identity)
    stopped = None
    for i, some in enumerate(runs):
        if (i + 1) * at_once <= len(found) or len(found) == len(names):
            continue
        left = None if stop is None else stop - i * steps
        if left is not None and left <= 0:
            break
        run = maximize(
            network,
            each(network, some, output),
            size_named(size),
            steps,
            canvas=canvas,
            transforms=blocks_named(transforms),
            l2=l2,
            total_variation=total_variation,
            doubt=doubt,
            seed=seed,
            rate=rate,
            output=output,
        )
        _, ended = follow(run, f"Sheet {i + 1}/{len(runs)}", around, left)
        found += list(run.best_picture() if ended or (left or steps) < steps else run.picture())
        if ended:
            stopped = i * steps + run.step
            break
        if around.keep_state and len(found) < len(names):
            write_checkpoint(around.state, {"sheet": identity, "pictures": found})
    if stopped is None:
        around.state.unlink(missing_ok=True)
    return _laid_out(network, names[: len(found)], found, columns, output, stopped)


def _laid_out(
    network: Network,
    names: Sequence[str],
    found: Sequence[Tensor],
    columns: int | None,
    output: str | None,
    stopped: int | None,
) -> Made:
    shares = sure(network, torch.stack(list(found)), names, output)
    called = [titles(score(network, name, output), 1)[0].split(",")[0] for name in names]
    tiles = [
        (picture, f"{title}\n{share}" if any(shares) else title)
        for picture, title, share in zip(found, called, shares, strict=True)
    ]
    rows = [["target", "probability"], *([title, share] for title, share in zip(called, shares, strict=True))]
    side = max(128, min(256, max(found[0].shape)))
    facts: dict[str, Any] = {"pictures": dict(rows[1:])}
    return Made(sheet(tiles, columns, side=side), facts, rows if any(shares) else (), stopped=stopped)


def _restored(around: Around, identity: dict[str, Any]) -> list[Tensor]:
    """The pictures that an interrupted run has finished."""
    if not around.resume:
        return []
    document = read_checkpoint(around.state)
    if document.get("sheet") != identity:
        raise FormatError(f"{around.state}: cannot resume, it is of a sheet with other targets or settings")
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
    for name in found:
        score(network, name, output)
    return list(dict.fromkeys(found))


def _spread(names: Sequence[str], most: int) -> list[str]:
    """At most so many of them, at equal distances."""
    count = min(most, len(names))
    return [names[i * len(names) // count] for i in range(count)]


def layers(network: Network) -> list[str]:
    """The nodes that rectify or join maps with height and width; all such nodes if there are none that do."""
    height, width = picture_size(network)
    x = fitting(torch.zeros(1, int((network.meta.get("shape") or [3])[0]), height, width), network)
    trace = network.forward(x, keep=network.keys)
    maps = [key for key in network.keys if trace[key].dim() == 4 and min(trace[key].shape[2:]) > 1]
    kinds = {key: type(node.block).__name__ for node in network.nodes for key in node.keys}
    own = [key for key in maps if key in kinds and not key.startswith("picture.")]
    joined = [key for key in own if kinds[key] in ("Concat", "Add")]
    rectified = [key for key in own if kinds[key] == "ReLU"]
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
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture.")] = Path("sheet.png"),
    most: Annotated[int, typer.Option(min=1, help="So many of `layers` and `classes`, at equal distances.")] = MOST,
    size: Size = None,
    steps: Steps = STEPS,
    rate: Rate = 0.05,
    canvas: CanvasName = "fourier",
    transform: Transforms = None,
    l2: L2 = 100.0,
    total_variation: Smooth = 1000.0,
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
    path = picture_file(out, "")
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
