"""`blockprop sheet`: pictures of many classes, layers or channels side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from blockprop.commands.choices import STEPS
from blockprop.commands.console import say
from blockprop.commands.options import MOST_PICTURES
from blockprop.commands.parsing import pixels_named, size_named
from blockprop.commands.photos import picture_file
from blockprop.commands.picture_options import (
    L2,
    OPTION_ONLY,
    CanvasName,
    Doubt,
    MemoryOption,
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
from blockprop.errors import FormatError

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.engine.network import Network
    from blockprop.visualize.ascent import Ascent
    from blockprop.visualize.objectives.scores import Target


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
    memory: MemoryOption = None
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
        from blockprop.commands.making import run_with_previews
        from blockprop.commands.memory import MemoryWatch
        from blockprop.commands.several_targets import expanded
        from blockprop.commands.worth_looking_at import LOOKED_AT
        from blockprop.saving.checkpoints import write_checkpoint
        from blockprop.saving.files import Dispensable

        names = expanded(network, self.targets, self.most, self.output)
        batches = [names[i : i + self.at_once] for i in range(0, len(names), self.at_once)]
        pictures, stopped, memory = _restored(around), None, None
        kept = Dispensable("the sheet goes on, and --resume would make its pictures again")
        for i, batch in enumerate(batches):
            left = self.steps if self.stop is None else min(self.steps, self.stop - i * self.steps)
            if len(pictures) > i * self.at_once:
                continue
            if left <= 0:
                break
            state = around.state and around.state.with_name(f"{around.state.name}.{i + 1}")
            try:
                run, part = self._run(network, batch, state, around.resume), (i, len(batches))
                memory = memory or MemoryWatch(around.quiet, run.device)
                _, ended = run_with_previews(run, f"Sheet {i + 1}/{len(batches)}", around, left, part, memory)
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
        made.facts |= memory.facts() if memory else {}
        return made

    def _run(self, network: Network, targets: Sequence[Target], state: Path | None, resume: bool) -> Ascent:
        """The ascent of one batch."""
        from blockprop.commands.described_blocks import blocks_named
        from blockprop.commands.worth_looking_at import roomy_size
        from blockprop.visualize.maximize import maximize
        from blockprop.visualize.objectives.each import each

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
            memory=self.memory,
        )


def _laid_out(
    network: Network,
    names: Sequence[Target],
    pictures: Sequence[Tensor],
    columns: int | None,
    side: int,
    output: str | None,
) -> Made:
    from blockprop.commands.captions import percent, sureness
    from blockprop.pictures.sheets import sheet
    from blockprop.visualize.objectives.scores import score, titles

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
    from blockprop.saving.checkpoints import read_checkpoint
    from blockprop.saving.files import short
    from blockprop.saving.states import differences

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
    from torch import Tensor

    return isinstance(value, Tensor) and value.dim() == 3 and value.is_floating_point() and value.numel() > 0
