"""`blockprop stylize`: a photograph, painted in the style of other pictures."""

from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor

from blockprop.commands.making import Around, Made, deliver, follow, run_sections
from blockprop.commands.options import Blocks, Device, Json
from blockprop.commands.photos import NetworkFile, PictureSeed, Report, picture_file
from blockprop.commands.picture_options import PreviewEvery, Resume, layers_named, require_state
from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.pictures.picture_files import read_picture
from blockprop.pictures.scaling import scaled
from blockprop.reports.curves import part_name
from blockprop.visualize.style.stylize import COARSEST, COLORS, TILE, Style, stylize
from blockprop.visualize.updates import OPTIMIZERS

EPILOG = (
    "Examples:\n\n"
    "blockprop stylize tuebingen.jpg starry_night.jpg --network squeezenet.safetensors\n\n"
    "blockprop stylize photo.jpg wave.jpg=2 scream.jpg --size 384 --colors luminance\n\n"
    "blockprop stylize photo.jpg sky_style.jpg town_style.jpg --mask sky.png --mask town.png"
)
SIZE = 512
STEPS = 100
PROPORTION = 0.02
"""So much may the ratio of its sides differ between a mask and the content: they are whole numbers."""


def make_stylize(
    network: Network,
    around: Around,
    pictures: list[str],
    weights: list[float],
    masks: int = 0,
    start: str = "content",
    size: int = SIZE,
    steps: int = STEPS,
    content_weight: float = 1.0,
    style_weight: float | None = None,
    total_variation: float = 1.0,
    content_layers: list[str] | None = None,
    style_layers: list[str] | None = None,
    style_scale: float = 1.0,
    colors: str = "style",
    optimizer: str = "lbfgs",
    rate: float = 0.02,
    scales: int | None = None,
    details: float = 0.5,
    tile: int = TILE,
    seed: int = 0,
    stop: int | None = None,
) -> Made:
    """One picture. pictures: the content, the styles, their masks if any, and what it starts from if that is a file."""
    own_start, count = start == "picture", len(weights)
    if masks not in (0, count) or not count or len(pictures) != 1 + count + masks + own_start:
        raise SettingError(f"{count} styles, {masks} masks and the start {start!r} have other pictures than {pictures}")
    content, *others = (read_picture(path) for path in pictures)
    painted = others[:count]
    covers = [mask_like(pictures[1 + count + i], others[count + i], content) for i in range(masks)]
    names = [Path(path).stem for path in pictures[1 : 1 + count]]
    styles = [
        Style(picture, weight, style_scale, covers[i] if masks else None, f"{names[i]} ({i + 1})")
        for i, (picture, weight) in enumerate(zip(painted, weights, strict=True))
    ]
    run = stylize(
        network,
        content,
        styles,
        size,
        steps,
        content_weight=content_weight,
        style_weight=style_weight,
        total_variation=total_variation,
        content_layers=layers_named(content_layers),
        style_layers=layers_named(style_layers),
        start=others[-1] if own_start else start,
        colors=colors,
        optimizer=optimizer,
        rate=rate,
        scales=scales,
        details=details,
        tile=tile or None,
        seed=seed,
        preview_every=around.preview_every,
        state=around.state if around.keep_state else None,
        resume=around.resume,
    )
    done, stopped = follow(run, "Painting", around, stop)
    picture = run.picture()[0]
    facts: dict[str, Any] = {"size": f"{picture.shape[2]} x {picture.shape[1]}", "steps": run.step}
    facts["content_layer"] = ", ".join(run.weights.content_layers)
    facts["style_layers"] = ", ".join(run.weights.style_layers)
    if done:
        facts |= {f"{part_name(name)}_loss": value for name, value in done[-1].parts.items() if value}
        facts |= {"loss": done[-1].value, "seconds": done[-1].seconds}
    return Made(picture, facts, sections=run_sections(run, done), stopped=run.step if stopped else None)


def mask_like(path: str, mask: Tensor, content: Tensor) -> Tensor:
    """A mask (h, w) in the content's size; SettingError if it has other proportions."""
    (height, width), (own_height, own_width) = content.shape[2:], mask.shape[2:]
    if abs(own_height * width / (own_width * height) - 1) > PROPORTION:
        raise SettingError(
            f"{path} has {own_width} x {own_height} pixels; a mask has the content's proportions, {width} x {height}"
        )
    return scaled(mask.mean(1, keepdim=True), height, width)[0, 0].clamp(0, 1)


def style_weight_of(text: str) -> tuple[str, float]:
    """ "wave.jpg=2" as ("wave.jpg", 2.0); a file's own name may hold "="."""
    name, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return text, 1.0
    try:
        if name:
            return name, float(weight)
        raise ValueError(text)
    except ValueError:
        raise SettingError(f"expected a picture, or picture=weight such as wave.jpg=2, came {text!r}") from None


def stylize_(
    content: Annotated[str, typer.Argument(metavar="CONTENT", help="The photograph.")],
    styles: Annotated[
        list[str], typer.Argument(metavar="STYLE...", help="Paintings; each with a weight if wanted: wave.jpg=2.")
    ],
    network: NetworkFile = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="By default CONTENT_STYLE.png.")] = None,
    size: Annotated[int, typer.Option(min=16, help="Pixels of the longer side.")] = SIZE,
    steps: Annotated[int, typer.Option(min=1, help="Steps at each size, from coarse to fine.")] = STEPS,
    scales: Annotated[
        int | None, typer.Option(min=1, help=f"Sizes; by default all of at least {COARSEST} pixels.")
    ] = None,
    content_weight: Annotated[float, typer.Option(help="How much the content counts.")] = 1.0,
    style_weight: Annotated[
        float | None, typer.Option(help="How much the style counts; by default what suits the network.")
    ] = None,
    total_variation: Annotated[float, typer.Option(help="How strongly smooth pictures are preferred.")] = 1.0,
    content_layer: Annotated[list[str] | None, typer.Option(help="A node, or node=weight; repeat it.")] = None,
    style_layer: Annotated[list[str] | None, typer.Option(help="A node, or node=weight; repeat it.")] = None,
    style_scale: Annotated[float, typer.Option(help="Size of the paintings; larger ones have larger strokes.")] = 1.0,
    mask: Annotated[
        list[str] | None,
        typer.Option(help="A picture like the content, white where a style acts; one for each style."),
    ] = None,
    start: Annotated[str, typer.Option(help="content, noise, or the file of a picture.")] = "content",
    colors: Annotated[str, typer.Option(help=f"{', '.join(COLORS)}: whose colors, and how.")] = "style",
    optimizer: Annotated[str, typer.Option(help=f"lbfgs, {', '.join(OPTIMIZERS)}.")] = "lbfgs",
    rate: Annotated[float, typer.Option(help="Step size of those but lbfgs.")] = 0.02,
    details: Annotated[float, typer.Option(help="How much of the content's finer details each size gets.")] = 0.5,
    tile: Annotated[
        int, typer.Option(min=0, help="Pixels of the pieces in which large pictures are computed; 0: at once.")
    ] = TILE,
    preview_every: PreviewEvery = None,
    resume: Resume = False,
    report: Report = None,
    own_blocks: Blocks = None,
    seed: PictureSeed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Paint a photograph in the style of other pictures."""
    pairs = [style_weight_of(text) for text in styles]
    covers = mask or []
    if covers and len(covers) != len(pairs):
        raise SettingError(f"expected a --mask for each style, came {len(covers)} for {len(pairs)}")
    own_start = start in ("content", "noise")
    path = picture_file(out, f"{Path(content).stem}_{Path(pairs[0][0]).stem}.png")
    settings = {
        "network": network,
        "pictures": [content, *(name for name, _ in pairs), *covers, *([] if own_start else [start])],
        "weights": [weight for _, weight in pairs],
        "masks": len(covers),
        "start": start if own_start else "picture",
        "size": size,
        "steps": steps,
        "content_weight": content_weight,
        "style_weight": style_weight,
        "total_variation": total_variation,
        "content_layers": content_layer,
        "style_layers": style_layer,
        "style_scale": style_scale,
        "colors": colors,
        "optimizer": optimizer,
        "rate": rate,
        "scales": scales,
        "details": details,
        "tile": tile,
        "seed": seed,
    }
    around = Around(path, own_blocks, device, as_json, preview_every, True, resume)
    require_state(around)
    deliver("stylize", make_stylize, settings, around, report, as_json)
