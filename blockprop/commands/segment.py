"""`blockprop segment`: the object that a network sees, cut out of photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from blockprop.commands.choices import METHODS
from blockprop.commands.photos import SEEN_BEFORE, Seen, photographs, picture_file, read_seen, seen_notes
from blockprop.commands.picture_options import OPTION_ONLY, Crop, LookedAt, MemoryOption, Output, Photos, Samples, Side
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.engine.network import Network
    from blockprop.visualize.attribution.saliency import Saliency
    from blockprop.visualize.attribution.segmentation import Segmentation


MOST_ROUNDS = 1000
CUT = 640
"""Pixels of the longer side of a photograph that is cut into object and background."""


@dataclass(frozen=True, kw_only=True)
class SegmentSettings(PictureSettings):
    """Cut out the object that a network sees: from its saliency map by graph cut."""

    command = "segment"
    epilog = "Example:\n\nblockprop segment goose.jpg --network squeezenet.safetensors --mask goose_mask.png"
    least_pictures = 1

    pictures: Photos
    target: LookedAt = "top"
    method: Annotated[
        str, typer.Option("--method", "-m", help=f"How the object is looked for: {', '.join(METHODS)}.")
    ] = "gradient"
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The picture, or a folder for it; by default PHOTO_segment.png."),
        OPTION_ONLY,
    ] = None
    mask: Annotated[
        Path | None, typer.Option(help="A picture file for the mask alone, white on black."), OPTION_ONLY
    ] = None
    foreground: Annotated[float, typer.Option(help="Seeds of the object: above this quantile of the map.")] = 0.95
    background: Annotated[float, typer.Option(help="Seeds of the background: below this quantile.")] = 0.30
    rounds: Annotated[
        int, typer.Option(min=1, max=MOST_ROUNDS, help="Graph cuts, with colors learned anew in between.")
    ] = 5
    smooth: Annotated[float, typer.Option(help="Blur of the map before, as a share of the shorter side.")] = 0.0
    hold: Annotated[bool, typer.Option("--hold", help="Seeds stay what they are.")] = False
    samples: Samples = 50
    crop: Crop = None
    side: Side = None
    memory: MemoryOption = None
    output: Output = None

    @classmethod
    def of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**SEEN_BEFORE, **settings}

    def completed(self) -> Self:
        from blockprop.saving.files import require_writable

        stem = Path(self.pictures[0]).resolve().stem
        out = picture_file(self.out, f"{stem}_segment.png")
        mask = None if self.mask is None else picture_file(self.mask, f"{stem}_mask.png")
        if mask is not None:
            require_writable(mask)
        return replace(self, pictures=photographs(self.pictures, self.as_json), out=out, mask=mask)

    def beside(self) -> list[Path]:
        return [self.mask] if self.mask else []

    def work(self) -> tuple[int, int]:
        return len(self.pictures) * (self.samples + self.rounds), (self.side or 1) ** 2

    def make(self, network: Network, around: Surroundings) -> Made:
        """Photographs, where the target lies in them by the saliency map, and the object cut out, a row each."""
        from blockprop.commands.captions import strength
        from blockprop.commands.making import require_one
        from blockprop.commands.memory import MemoryWatch
        from blockprop.commands.saliency_maps import MAP_CELL, look, method_names
        from blockprop.pictures.overlays import boxed, masked, overlay
        from blockprop.pictures.picture_files import write_picture
        from blockprop.pictures.sheets import sheet
        from blockprop.visualize.attribution.segmentation import bounding_box

        (method,) = method_names([self.method])
        if self.mask is not None:
            require_one("photograph", self.pictures, "--mask")
        seen = [read_seen(path, network, self.crop, self.side) for path in self.pictures]
        choice = ([self.target], self.output, self.samples)
        memory = MemoryWatch(around.quiet, self.device)
        looked = look(
            network, seen, [method], *choice, seed=self.seed, quiet=around.quiet, memory=self.memory, watch=memory
        )
        taken = memory.facts()
        tiles, rows, boxes, notes = [], [["picture", "target", "strength", "box", "of the picture"]], [], []
        for photo, (saliency,) in zip(seen, looked, strict=True):
            weights = _weights(saliency)
            cut = self._cut(photo, weights)
            mask = _in_file(cut.mask, photo)
            box, how = bounding_box(mask), strength(network, photo.x, self.target, self.output)
            target, part = saliency.targets[0], f"{float(mask.float().mean()):.1%}"
            shown = _sized(cut.mask, photo.shown.shape[1:])
            tiles += [
                (boxed(photo.shown, bounding_box(shown)), f"{photo.name}\n{how.titled(target)}"),
                (overlay(photo.shown, weights), f"{method.replace('_', ' ')}\n"),
                (masked(photo.shown, shown), f"the object\n{part} of the picture"),
            ]
            rows.append([photo.name, how.named(target), how.words, "{},{} to {},{}".format(*box), part])
            height, width = photo.size
            facts = {"picture": photo.name, "target": target, **how.facts, "seen": photo.part}
            boxes.append(facts | {"box": list(box), "width": width, "height": height})
            notes += [f"{photo.name}: {cut.note}"] if cut.note else []
            if self.mask is not None:
                write_picture(self.mask, mask[None].float())
        return Made(sheet(tiles, 3, side=MAP_CELL), {"boxes": boxes, **taken}, rows, notes=[*seen_notes(seen), *notes])

    def _cut(self, photo: Seen, weights: Tensor) -> Segmentation:
        from blockprop.visualize.attribution.segmentation import segment

        seeds = (self.foreground, self.background)
        return segment(_at_most(photo.shown, CUT), weights, *seeds, self.rounds, self.smooth, self.hold, self.seed)


def _weights(saliency: Saliency) -> Tensor:
    """How strongly each place counts; of maps without colors, only what speaks for the target."""
    attribution = saliency.attribution
    return attribution.abs().amax(1)[0] if attribution.shape[1] > 1 else saliency.map[0].clamp(min=0)


def _at_most(picture: Tensor, longest: int) -> Tensor:
    from torch.nn import functional

    ratio = longest / max(picture.shape[1:])
    if ratio >= 1:
        return picture
    size = tuple(max(2, round(length * ratio)) for length in picture.shape[1:])
    return functional.interpolate(picture[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def _in_file(mask: Tensor, seen: Seen) -> Tensor:
    """The mask of what is shown, in the photograph's own pixels; what was cut off is background."""
    import torch

    top, left, height, width = (round(number) for number in seen.frame)
    whole = torch.zeros(seen.size, dtype=torch.bool)
    part = whole[max(top, 0) : top + height, max(left, 0) : left + width]
    part.copy_(_sized(mask, part.shape))
    return whole


def _sized(mask: Tensor, size: Sequence[int]) -> Tensor:
    """The mask in another size; something of it is left however small that is."""
    from torch.nn import functional

    shares = functional.interpolate(mask[None, None].float(), tuple(size), mode="bilinear", antialias=True)[0, 0]
    return shares >= min(0.5, float(shares.max()))
