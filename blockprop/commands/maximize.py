"""`blockprop maximize`: a picture in which a network sees a class, a unit, a channel or a layer at its strongest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from blockprop.commands.choices import STEPS, UPDATES
from blockprop.commands.options import MOST_PICTURES, MOST_STEPS
from blockprop.commands.parsing import file_name, pixels_named, size_named, weighted
from blockprop.commands.photos import picture_file
from blockprop.commands.picture_options import (
    L2,
    OPTION_ONLY,
    CanvasName,
    Doubt,
    MemoryOption,
    Output,
    PreviewEvery,
    Rate,
    Resume,
    SizeOption,
    Smooth,
    Steps,
    Stop,
    Transforms,
)
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings
from blockprop.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.engine.network import Network
    from blockprop.visualize.ascent import Ascent
    from blockprop.visualize.objectives.scores import Target


STARTS = ("noise", "gray")
CELL = 256
"""Pixels of a picture on a sheet."""


@dataclass(frozen=True, kw_only=True)
class MaximizeSettings(PictureSettings):
    """Make a picture in which a network sees the target as strongly as it can."""

    command = "maximize"
    epilog = (
        "Examples:\n\n"
        "blockprop maximize goose --network squeezenet.safetensors\n\n"
        "blockprop maximize fire5:17 --size 160 --steps 256 --out unit.png\n\n"
        "blockprop maximize goose 'fire8=-0.5' --count 4 --diversity 5 --diversity-node fire8"
    )
    keeps_state = True

    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="A class by name or number, a node, node:channel or node:channel,y,x; several are added up, each with "
            "a weight if wanted: fire5:17=-0.5. -t TARGET says the same.",
        ),
    ]
    pictures: list[str] = field(default_factory=list)
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The picture, or a folder for it; by default TARGET.png."),
        OPTION_ONLY,
    ] = None
    size: SizeOption = None
    steps: Steps = STEPS
    start: Annotated[str, typer.Option(help="noise, gray, or the file of a picture to start from.")] = "noise"
    count: Annotated[int, typer.Option(min=1, max=MOST_PICTURES, help="So many pictures, on one sheet.")] = 1
    diversity: Annotated[float, typer.Option(help="How strongly they are kept apart, at --diversity-node.")] = 0.0
    diversity_node: Annotated[str | None, typer.Option(help="A node with height and width.")] = None
    rate: Rate = 0.05
    canvas: CanvasName = "fourier"
    optimizer: Annotated[str, typer.Option(help=f"{', '.join(UPDATES)}.")] = "adam"
    transforms: Transforms = None
    l2: L2 = None
    total_variation: Smooth = None
    doubt: Doubt = 3.0
    redirect_steps: Annotated[
        int,
        typer.Option(
            min=0, max=MOST_STEPS, help="In so many first steps error passes through ReLUs that are all closed."
        ),
    ] = 16
    memory: MemoryOption = None
    other: Annotated[
        str | None, typer.Option(help="Another network, to ask what it sees in the picture."), OPTION_ONLY
    ] = None
    preview_every: PreviewEvery = None
    resume: Resume = False
    output: Output = None
    stop: Stop = None
    roomy: bool = True
    """Whether small pictures whose size nobody said are made with room and written larger; once they were not."""

    @classmethod
    def of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"roomy": False, **settings}

    def completed(self) -> Self:
        out = picture_file(self.out, f"{file_name(self.targets)}.png", self.resume)
        if self.start in STARTS:
            return replace(self, out=out)
        return replace(self, out=out, pictures=[self.start], start="picture")

    def words(self) -> dict[str, Any]:
        return super().words() | ({"start": self.pictures[0]} if self.pictures else {})

    def work(self) -> tuple[int, int]:
        return self.steps, self.count * pixels_named(self.size)

    def make(self, network: Network, around: Surroundings) -> Made:
        """One picture of the sum of the targets, or several on a sheet."""
        from blockprop.commands.captions import percent, sureness
        from blockprop.commands.making import run_sections, run_with_previews
        from blockprop.commands.memory import MemoryWatch
        from blockprop.commands.worth_looking_at import enlarged
        from blockprop.pictures.sheets import sheet

        target = weighted(self.targets)
        judged, other = self._judges(network, target)
        run = self._run(network, target, around)
        memory = MemoryWatch(around.quiet, run.device)
        done, stopped = run_with_previews(run, "Maximizing", around, self.stop, memory=memory)
        pictures = run.picture() if run.step == run.steps else run.best_picture()
        facts: dict[str, Any] = {"target": ", ".join(self.targets), "steps": run.step, "best": run.best_value}
        facts |= memory.facts()
        facts |= _judged(network, pictures, target, other, self.output) if judged else {}
        shares = [sureness(network, picture, target, self.output) for picture in pictures.split(1)]
        captions = [f"{i}\n{percent(share)}" for i, share in enumerate(shares, 1)]
        tiles = list(zip(pictures, captions, strict=True))
        picture, factor = enlarged(pictures[0]) if self._has_room and self.count == 1 else (pictures[0], 1)
        if factor > 1:
            facts["size"] = f"{pictures.shape[3]} x {pictures.shape[2]}, written {factor} times as large"
        if self.count > 1:
            picture = sheet(tiles, side=CELL)
        return Made(picture, facts, sections=run_sections(run, done), stopped=run.step if stopped else None)

    @property
    def _has_room(self) -> bool:
        """Whether the size is ours to choose."""
        return self.roomy and self.size is None and not self.pictures

    def _run(self, network: Network, target: Target, around: Surroundings) -> Ascent:
        from blockprop.commands.described_blocks import blocks_named
        from blockprop.commands.worth_looking_at import roomy_size
        from blockprop.pictures.picture_files import read_picture
        from blockprop.visualize.maximize import maximize

        return maximize(
            network,
            target,
            roomy_size(network) if self._has_room else size_named(self.size),
            self.steps,
            start=read_picture(self.pictures[0]) if self.pictures else self.start,
            canvas=self.canvas,
            transforms=blocks_named(self.transforms, self.own_blocks),
            l2=self.l2,
            total_variation=self.total_variation,
            doubt=self.doubt,
            count=self.count,
            diversity=self.diversity,
            diversity_node=self.diversity_node,
            seed=self.seed,
            rate=self.rate,
            optimizer=self.optimizer,
            redirect_steps=self.redirect_steps,
            preview_every=around.preview_every,
            state=around.state,
            resume=around.resume,
            output=self.output,
            memory=self.memory,
        )

    def _judges(self, network: Network, target: Target) -> tuple[bool, Network | None]:
        """(whether the target is a class, of which pictures can be judged; the other network that judges them, too)."""
        from blockprop.commands.inputs import open_network
        from blockprop.visualize.objectives.score_kinds import ClassScore
        from blockprop.visualize.objectives.scores import score

        objective = score(network, target, self.output)
        judged = isinstance(objective, ClassScore) and objective.number is not None
        if self.other is None:
            return judged, None
        if not judged:
            raise SettingError(f"--other is asked about a class, and {target!r} is none")
        other = open_network(self.other, self.own_blocks, self.device, opaque=self.opaque)
        score(other, target)
        return judged, other


def _judged(
    network: Network, pictures: Tensor, target: Target, other: Network | None, output: str | None
) -> dict[str, Any]:
    """How good the first picture of a class is, as facts."""
    from blockprop.visualize.judging import judge

    verdict = asdict(judge(network, pictures[:1], target, other, output=output))
    names = {
        "confidence": "confidence",
        "cropped": "confidence_in_crops",
        "jpeg": "confidence_after_jpeg",
        "transferred": "confidence_of_the_other",
        "agrees": "among_the_best_five_of_the_other",
    }
    return {name: verdict[key] for key, name in names.items() if verdict[key] is not None}
