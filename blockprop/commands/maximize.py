"""`blockprop maximize`: a picture in which a network sees a class, a unit, a channel or a layer at its strongest."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor

from blockprop.commands.making import Around, Made, deliver, follow, run_sections
from blockprop.commands.options import Blocks, Device, Json
from blockprop.commands.photos import NetworkFile, Output, PictureSeed, Report, open_network, picture_file
from blockprop.commands.picture_options import (
    CELL,
    L2,
    CanvasName,
    Doubt,
    PreviewEvery,
    Rate,
    Resume,
    Size,
    Smooth,
    Steps,
    Transforms,
    blocks_named,
    file_name,
    percent,
    require_state,
    size_named,
    sureness,
    weighted,
)
from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.pictures.picture_files import read_picture
from blockprop.pictures.sheets import sheet
from blockprop.visualize.judging import judge
from blockprop.visualize.maximize import STEPS, maximize
from blockprop.visualize.objectives.score_kinds import ClassScore
from blockprop.visualize.objectives.scores import Target, score
from blockprop.visualize.updates import OPTIMIZERS

EPILOG = (
    "Examples:\n\n"
    "blockprop maximize goose --network squeezenet.safetensors\n\n"
    "blockprop maximize fire5:17 --size 160 --steps 256 --out unit.png\n\n"
    "blockprop maximize goose 'fire8=-0.5' --count 4 --diversity 5 --diversity-node fire8"
)


def make_maximize(
    network: Network,
    around: Around,
    targets: list[str],
    pictures: list[str] | None = None,
    start: str = "noise",
    size: str | None = None,
    steps: int = STEPS,
    rate: float = 0.05,
    canvas: str = "fourier",
    optimizer: str = "adam",
    transforms: list[str] | None = None,
    l2: float | None = None,
    total_variation: float | None = None,
    doubt: float = 3.0,
    count: int = 1,
    diversity: float = 0.0,
    diversity_node: str | None = None,
    redirect_steps: int = 16,
    output: str | None = None,
    seed: int = 0,
    stop: int | None = None,
) -> Made:
    """One picture of the sum of the targets, or several on a sheet."""
    target = weighted(targets)
    judged, other = _judges(network, around, target, output)
    run = maximize(
        network,
        target,
        size_named(size),
        steps,
        start=read_picture(pictures[0]) if pictures else start,
        canvas=canvas,
        transforms=blocks_named(transforms),
        l2=l2,
        total_variation=total_variation,
        doubt=doubt,
        count=count,
        diversity=diversity,
        diversity_node=diversity_node,
        seed=seed,
        rate=rate,
        optimizer=optimizer,
        redirect_steps=redirect_steps,
        preview_every=around.preview_every,
        state=around.state if around.keep_state else None,
        resume=around.resume,
        output=output,
    )
    done, stopped = follow(run, "Maximizing", around, stop)
    found = run.picture() if run.step == run.steps else run.best_picture()
    facts: dict[str, Any] = {"target": ", ".join(targets), "steps": run.step, "best": run.best_value}
    facts |= _judged(network, found, target, other, output) if judged else {}
    shares = [sureness(network, each, target, output) for each in found.split(1)]
    captions = [f"{i}\n{percent(share)}" for i, share in enumerate(shares, 1)]
    picture = found[0] if count == 1 else sheet(list(zip(found, captions, strict=True)), side=CELL)
    return Made(picture, facts, sections=run_sections(run, done), stopped=run.step if stopped else None)


def _judges(network: Network, around: Around, target: Target, output: str | None) -> tuple[bool, Network | None]:
    """(whether the target is a class, of which pictures can be judged; the other network that judges them, too)."""
    objective = score(network, target, output)
    judged = isinstance(objective, ClassScore) and objective.number is not None
    if around.other is None:
        return judged, None
    if not judged:
        raise SettingError(f"--other is asked about a class, and {target!r} is none")
    other = open_network(around.other, around.own_blocks, around.device)
    score(other, target)
    return judged, other


def _judged(
    network: Network, found: Tensor, target: Target, other: Network | None, output: str | None
) -> dict[str, Any]:
    """How good the first picture of a class is, as facts."""
    seen = asdict(judge(network, found[:1], target, other, output=output))
    names = {
        "confidence": "confidence",
        "cropped": "confidence_in_crops",
        "jpeg": "confidence_after_jpeg",
        "transferred": "confidence_of_the_other",
        "agrees": "among_the_best_five_of_the_other",
    }
    return {name: seen[key] for key, name in names.items() if seen[key] is not None}


def maximize_(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="A class by name or number, a node, node:channel or node:channel,y,x; several are added up, each with "
            "a weight if wanted: fire5:17=-0.5.",
        ),
    ],
    network: NetworkFile = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture; by default TARGET.png.")] = None,
    size: Size = None,
    steps: Steps = STEPS,
    start: Annotated[str, typer.Option(help="noise, gray, or the file of a picture to start from.")] = "noise",
    count: Annotated[int, typer.Option(min=1, help="So many pictures, on one sheet.")] = 1,
    diversity: Annotated[float, typer.Option(help="How strongly they are kept apart, at --diversity-node.")] = 0.0,
    diversity_node: Annotated[str | None, typer.Option(help="A node with height and width.")] = None,
    rate: Rate = 0.05,
    canvas: CanvasName = "fourier",
    optimizer: Annotated[str, typer.Option(help=f"{', '.join(OPTIMIZERS)}.")] = "adam",
    transform: Transforms = None,
    l2: L2 = None,
    total_variation: Smooth = None,
    doubt: Doubt = 3.0,
    redirect_steps: Annotated[
        int, typer.Option(min=0, help="In so many first steps error passes through ReLUs that are all closed.")
    ] = 16,
    other: Annotated[str | None, typer.Option(help="Another network, to ask what it sees in the picture.")] = None,
    preview_every: PreviewEvery = None,
    resume: Resume = False,
    output: Output = None,
    report: Report = None,
    own_blocks: Blocks = None,
    seed: PictureSeed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Make a picture in which a network sees the target as strongly as it can."""
    path = picture_file(out, f"{file_name(targets)}.png")
    words = ("noise", "gray")
    settings = {
        "network": network,
        "targets": targets,
        "pictures": [] if start in words else [start],
        "start": start if start in words else "picture",
        "size": size,
        "steps": steps,
        "rate": rate,
        "canvas": canvas,
        "optimizer": optimizer,
        "transforms": transform,
        "l2": l2,
        "total_variation": total_variation,
        "doubt": doubt,
        "count": count,
        "diversity": diversity,
        "diversity_node": diversity_node,
        "redirect_steps": redirect_steps,
        "output": output,
        "seed": seed,
    }
    around = Around(path, own_blocks, device, as_json, preview_every, True, resume, other=other)
    require_state(around)
    deliver("maximize", make_maximize, settings, around, report, as_json)
