"""`blockprop segment`: the object that a network sees, cut out of photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn import functional

from blockprop.commands.making import Around, Made, deliver, require_one
from blockprop.commands.options import Blocks, Device, Json
from blockprop.commands.photos import (
    LookedAt,
    NetworkFile,
    Output,
    Photos,
    PictureSeed,
    Report,
    Seen,
    Side,
    picture_file,
    read_seen,
)
from blockprop.commands.picture_options import percent, sureness
from blockprop.commands.saliency import CELL, Samples, look, method_names, titled
from blockprop.engine.network import Network
from blockprop.pictures.overlays import boxed, masked, overlay
from blockprop.pictures.picture_files import write_picture
from blockprop.pictures.sheets import sheet
from blockprop.saving.files import require_writable
from blockprop.visualize.attribution.methods import METHODS
from blockprop.visualize.attribution.segmentation import bounding_box, segment

EPILOG = "Example:\n\nblockprop segment goose.jpg --network squeezenet.safetensors --mask goose_mask.png"
CUT = 640
"""Pixels of the longer side of a photograph that is cut into object and background."""


def make_segment(
    network: Network,
    around: Around,
    pictures: list[str],
    target: str = "top",
    method: str = "gradient",
    foreground: float = 0.95,
    background: float = 0.30,
    rounds: int = 5,
    smooth: float = 0.0,
    hold: bool = False,
    samples: int = 50,
    side: int | None = None,
    output: str | None = None,
    seed: int = 0,
) -> Made:
    """Photographs, where the target lies in them by the saliency map, and the object cut out, a row each."""
    (method,) = method_names([method])
    if around.also is not None:
        require_one("photograph", pictures, "--mask")
    seen = [read_seen(path, network, side) for path in pictures]
    looked = look(network, around, seen, [method], target, output, samples, 0.15, None, False, seed)
    tiles, rows, boxes, notes = [], [["picture", "target", "probability", "box", "of the picture"]], [], []
    for each, (one,) in zip(seen, looked, strict=True):
        strength = one.attribution.abs().amax(1)[0] if one.attribution.shape[1] > 1 else one.map[0].clamp(min=0)
        cut = segment(_at_most(each.shown, CUT), strength, foreground, background, rounds, smooth, hold, seed)
        mask = _in_file(cut.mask, each)
        box, share = bounding_box(mask), sureness(network, each.x, target, output)
        part = f"{float(mask.float().mean()):.1%}"
        shown = _sized(cut.mask, each.shown.shape[1:])
        tiles += [
            (boxed(each.shown, bounding_box(shown)), f"{each.name}\n{titled(one.targets[0], share)}"),
            (overlay(each.shown, strength), f"{method.replace('_', ' ')}\n"),
            (masked(each.shown, shown), f"the object\n{part} of the picture"),
        ]
        rows.append([each.name, one.targets[0], percent(share), "{},{} to {},{}".format(*box), part])
        height, width = each.size
        facts = {"picture": each.name, "target": one.targets[0], "probability": share}
        boxes.append(facts | {"box": list(box), "width": width, "height": height})
        notes += [f"{each.name}: {cut.note}"] if cut.note else []
        if around.also is not None:
            write_picture(around.also, mask[None].float())
    return Made(sheet(tiles, 3, side=CELL), {"boxes": boxes}, rows, notes=notes)


def _at_most(picture: Tensor, longest: int) -> Tensor:
    ratio = longest / max(picture.shape[1:])
    if ratio >= 1:
        return picture
    size = tuple(max(2, round(length * ratio)) for length in picture.shape[1:])
    return functional.interpolate(picture[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def _in_file(mask: Tensor, seen: Seen) -> Tensor:
    """The mask of what is shown, in the photograph's own pixels; what was cut off is background."""
    top, left, height, width = (round(number) for number in seen.frame)
    whole = torch.zeros(seen.size, dtype=torch.bool)
    part = whole[max(top, 0) : top + height, max(left, 0) : left + width]
    part.copy_(_sized(mask, part.shape))
    return whole


def _sized(mask: Tensor, size: Sequence[int]) -> Tensor:
    """The mask in another size; something of it is left however small that is."""
    shares = functional.interpolate(mask[None, None].float(), tuple(size), mode="bilinear", antialias=True)[0, 0]
    return shares >= min(0.5, float(shares.max()))


def segment_(
    photos: Photos,
    network: NetworkFile = None,
    target: LookedAt = "top",
    method: Annotated[
        str, typer.Option("--method", "-m", help=f"How the object is looked for: {', '.join(METHODS)}.")
    ] = "gradient",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture; by default PHOTO_segment.png.")] = None,
    mask: Annotated[Path | None, typer.Option(help="A picture file for the mask alone, white on black.")] = None,
    foreground: Annotated[float, typer.Option(help="Seeds of the object: above this quantile of the map.")] = 0.95,
    background: Annotated[float, typer.Option(help="Seeds of the background: below this quantile.")] = 0.30,
    rounds: Annotated[int, typer.Option(min=1, help="Graph cuts, with colors learned anew in between.")] = 5,
    smooth: Annotated[float, typer.Option(help="Blur of the map before, as a share of the shorter side.")] = 0.0,
    hold: Annotated[bool, typer.Option("--hold", help="Seeds stay what they are.")] = False,
    samples: Samples = 50,
    side: Side = None,
    output: Output = None,
    report: Report = None,
    own_blocks: Blocks = None,
    seed: PictureSeed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Cut out the object that a network sees: from its saliency map by graph cut."""
    path = picture_file(out, f"{Path(photos[0]).stem}_segment.png")
    settings: dict[str, Any] = {
        "network": network,
        "pictures": photos,
        "target": target,
        "method": method,
        "foreground": foreground,
        "background": background,
        "rounds": rounds,
        "smooth": smooth,
        "hold": hold,
        "samples": samples,
        "side": side,
        "output": output,
        "seed": seed,
    }
    if mask is not None:
        require_writable(picture_file(mask, ""))
    around = Around(path, own_blocks, device, as_json, also=mask)
    deliver("segment", make_segment, settings, around, report, as_json)
