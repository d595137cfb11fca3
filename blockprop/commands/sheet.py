"""`blockprop sheet`: pictures of many classes, layers or channels side by side."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import torch
import typer
from torch import Tensor

from blockprop.blocks import Add, Concat, ReLU
from blockprop.commands.captions import percent, sureness
from blockprop.commands.console import say
from blockprop.commands.described_blocks import blocks_named
from blockprop.commands.making import run_with_previews
from blockprop.commands.options import MOST_PICTURES
from blockprop.commands.parsing import pixels_named, size_named
from blockprop.commands.photos import picture_file
from blockprop.commands.picture_options import (
    L2,
    OPTION_ONLY,
    CanvasName,
    Doubt,
    Output,
    Rate,
    Resume,
    SizeOption,
    Smooth,
    Steps,
    Stop,
    Transforms,
)
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings
from blockprop.commands.worth_looking_at import LOOKED_AT, roomy_size
from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.errors import FormatError, SettingError
from blockprop.pictures.sheets import sheet
from blockprop.saving.checkpoints import read_checkpoint, write_checkpoint
from blockprop.saving.files import Dispensable, short
from blockprop.saving.states import differences
from blockprop.visualize.ascent import Ascent
from blockprop.visualize.maximize import STEPS, maximize, picture_size
from blockprop.visualize.objectives.each import each
from blockprop.visualize.objectives.scores import Target, score, titles

Name = TypeVar("Name")
SMALLEST_CELL = 128
"""Pixels of a small picture on sheets that were made before."""


@dataclass(frozen=True, kw_only=True)
class SheetSettings(PictureSettings):
    """Make a contact sheet: what a network sees in each of many classes, layers or channels."""

    command = "sheet"
    epilog = (
        "Examples:\n\n"
        "blockprop sheet goose hen lemon --network squeezenet.safetensors\n\n"
        "blockprop sheet layers --size 128\n\n"
        "blockprop sheet classes --most 12 --out classes.png\n\n"
        "blockprop sheet fire5:0-15 --size 96"
    )
    keeps_state = True

    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="Classes, nodes, node:channel; ranges such as 0-9 or fire5:0-15; layers; classes. -t TARGET says the "
            "same.",
        ),
    ]
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The picture, or a folder for it; by default sheet.png."),
        OPTION_ONLY,
    ] = None
    most: Annotated[
        int, typer.Option(min=1, max=MOST_PICTURES, help="So many of `layers` and `classes`, at equal distances.")
    ] = 20
    size: SizeOption = None
    steps: Steps = STEPS
    rate: Rate = 0.05
    canvas: CanvasName = "fourier"
    transforms: Transforms = None
    l2: L2 = None
    total_variation: Smooth = None
    doubt: Doubt = 3.0
    at_once: Annotated[
        int, typer.Option(min=1, max=MOST_PICTURES, help="Pictures in one batch; more need more memory.")
    ] = 4
    columns: Annotated[int | None, typer.Option(min=1, max=MOST_PICTURES, help="Of the sheet.")] = None
    resume: Resume = False
    output: Output = None
    stop: Stop = None
    roomy: bool = True
    """Whether small pictures whose size nobody said are made with room and written larger; once they were not."""

    @classmethod
    def of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"roomy": False, **settings}

    def completed(self) -> Self:
        return replace(self, out=picture_file(self.out, "sheet.png", self.resume))

    def work(self) -> tuple[int, int]:
        return self.steps, self.at_once * pixels_named(self.size)

    def make(self, network: Network, around: Surroundings) -> Made:
        """A picture for each target, made so many at once."""
        names = expanded(network, self.targets, self.most, self.output)
        batches = [names[i : i + self.at_once] for i in range(0, len(names), self.at_once)]
        pictures, stopped = _restored(around), None
        kept = Dispensable("the sheet goes on, and --resume would make its pictures again")
        for i, batch in enumerate(batches):
            left = self.steps if self.stop is None else min(self.steps, self.stop - i * self.steps)
            if len(pictures) > i * self.at_once:
                continue
            if left <= 0:
                break
            state = around.state and around.state.with_name(f"{around.state.name}.{i + 1}")
            try:
                run = self._run(network, batch, state, around.resume)
                _, ended = run_with_previews(run, f"Sheet {i + 1}/{len(batches)}", around, left, part=(i, len(batches)))
                pictures += list(run.picture() if run.step == self.steps else run.best_picture())
                if ended:
                    stopped = i * self.steps + run.step
                    break
                if around.state is not None and state is not None:
                    with kept.written():
                        write_checkpoint(around.state, {"how": _identity(around), "pictures": pictures})
                    if not kept.missing:
                        state.unlink(missing_ok=True)
            except KeyboardInterrupt:  # before a first step, or between two batches
                if not pictures:
                    raise
                stopped = math.ceil(len(pictures) / self.at_once) * self.steps
                break
        side = LOOKED_AT if self.roomy else max(SMALLEST_CELL, min(LOOKED_AT, max(pictures[0].shape)))
        made = _laid_out(network, names[: len(pictures)], pictures, self.columns, side, self.output)
        made.stopped = stopped
        return made

    def _run(self, network: Network, targets: Sequence[Target], state: Path | None, resume: bool) -> Ascent:
        """The ascent of one batch."""
        return maximize(
            network,
            each(network, targets, self.output),
            roomy_size(network) if self.roomy and self.size is None else size_named(self.size),
            self.steps,
            canvas=self.canvas,
            transforms=blocks_named(self.transforms, self.own_blocks),
            l2=self.l2,
            total_variation=self.total_variation,
            doubt=self.doubt,
            seed=self.seed,
            rate=self.rate,
            state=state,
            resume=resume,
            output=self.output,
        )


def _laid_out(
    network: Network,
    names: Sequence[Target],
    pictures: Sequence[Tensor],
    columns: int | None,
    side: int,
    output: str | None,
) -> Made:
    shares = [sureness(network, picture[None], name, output) for picture, name in zip(pictures, names, strict=True)]
    called = [titles(score(network, name, output), 1)[0].split(",")[0] for name in names]
    tiles = [
        (picture, title if share is None else f"{title}\n{share:.1%}")
        for picture, title, share in zip(pictures, called, shares, strict=True)
    ]
    keys = ("target", "title", "probability")
    facts = {
        "pictures": [dict(zip(keys, row, strict=True)) for row in zip(map(str, names), called, shares, strict=True)]
    }
    rows = [["target", "probability"], *([title, percent(share)] for title, share in zip(called, shares, strict=True))]
    return Made(sheet(tiles, columns, side=side), facts, rows if any(shares) else ())


def _identity(around: Surroundings) -> dict[str, Any]:
    """What makes a sheet another one: all settings and the network, wherever it lies."""
    arguments = {name: value for name, value in around.how["arguments"].items() if name != "network"}
    return {"arguments": arguments} | {name: around.how[name] for name in ("seed", "network", "classes")}


def _restored(around: Surroundings) -> list[Tensor]:
    """The pictures that an interrupted run has finished. FormatError for a state of another sheet."""
    if not around.resume or around.state is None or not around.state.exists():
        return []
    document = read_checkpoint(around.state)
    theirs, ours = document.get("how"), _identity(around)
    for name, before, now in differences("sheet", theirs, ours):
        where = name.removesuffix(" of the sheet").removesuffix(" of the arguments")
        raise FormatError(
            f"{around.state}: cannot resume, the {where} in the file is {short(before)}, here it is {short(now)}"
        )
    pictures = document.get("pictures")
    if not isinstance(pictures, list) or not all(map(_is_picture, pictures)):
        raise FormatError(f"{around.state}: cannot resume, it holds no finished pictures")
    say(f"{len(pictures)} pictures were finished", around.quiet)
    return pictures


def _is_picture(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 3 and value.is_floating_point() and value.numel() > 0


def expanded(network: Network, targets: Sequence[str], most: int, output: str | None = None) -> list[str | int]:
    """The targets one by one: "layers", "classes", and ranges such as 0-9 and fire5:0-15 stand for several.

    Numbers are those of classes.

    Raises SettingError and GraphError for unknown ones, before any work is done.
    """
    names: list[str | int] = []
    for text in targets:
        if text == "layers":
            names += _spread([f"{name}:" if name.isdecimal() else name for name in layers(network)], most)
        elif text == "classes":
            count = len(network.meta.get("classes") or ())
            if not count:
                raise SettingError("the network has no names of classes; give their numbers, such as 0-9")
            names += _spread(range(count), most)
        elif span := re.fullmatch(r"(.*:)?(\d{1,18})-(\d{1,18})", text):
            first, last = int(span[2]), int(span[3])
            if not first <= last < first + MOST_PICTURES:
                raise SettingError(
                    f"{short(text)}: expected the smaller number first, and at most {MOST_PICTURES:,} pictures"
                )
            numbers = range(first, last + 1)
            names += [f"{span[1]}{number}" for number in numbers] if span[1] else numbers
        else:
            names.append(text)
    names = list(dict.fromkeys(names))
    if not names:
        raise SettingError("expected at least one class, layer or channel, came none")
    _try_out(network, names, output)
    return names


def _try_out(network: Network, names: Sequence[Target], output: str | None) -> None:
    """Look at every target once, in a black picture."""
    objectives = [score(network, name, output) for name in names]
    nodes = dict.fromkeys(node for objective in objectives for node in objective.nodes)
    trace = network.forward(_black(network), keep=tuple(nodes))
    for objective in objectives:
        objective.evaluate({node: trace[node] for node in objective.nodes})


def _black(network: Network) -> Tensor:
    channels = int((network.meta.get("shape") or [3])[0])
    return fitting(torch.zeros(1, channels, *picture_size(network)), network)


def _spread(names: Sequence[Name], most: int) -> list[Name]:
    """At most so many of them, at equal distances."""
    count = min(most, len(names))
    return [names[i * len(names) // count] for i in range(count)]


def layers(network: Network) -> list[str]:
    """The nodes that rectify or join maps with height and width; all such nodes if there are none that do."""
    trace = network.forward(_black(network), keep=network.keys)
    maps = [key for key in network.keys if trace[key].dim() == 4 and min(trace[key].shape[2:]) > 1]
    blocks = {key: node.block for node in network.nodes for key in node.keys}
    inside = [key for key in maps if key in blocks and not key.startswith("picture.")]
    if not inside:
        raise SettingError("the network has no layers with height and width")
    joined = [key for key in inside if isinstance(blocks[key], Concat | Add)]
    rectified = [key for key in inside if isinstance(blocks[key], ReLU)]
    return joined if len(joined) > 3 else rectified or inside
