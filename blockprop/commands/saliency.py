"""`blockprop saliency`: which pixels of photographs speak for what a network sees in them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import typer
from torch import Tensor

from blockprop.commands.captions import percent, sureness, titled
from blockprop.commands.making import require_one
from blockprop.commands.photos import SEEN_BEFORE, Seen, picture_file, read_seen, seen_notes
from blockprop.commands.picture_options import OPTION_ONLY, Crop, LookedAt, MethodNames, Output, Photos, Samples, Side
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings
from blockprop.commands.saliency_maps import MAP_CELL, look, method_names
from blockprop.engine.network import Network
from blockprop.errors import SettingError, suggestion
from blockprop.pictures.overlays import heat, limits, overlay
from blockprop.pictures.sheets import sheet
from blockprop.saving.files import require_writable, write_file
from blockprop.visualize.attribution.methods import METHODS
from blockprop.visualize.attribution.saliency import Saliency

KINDS = ("sheet", "overlay", "map")
MOST_COLUMNS = 4
"""Maps beside a single photograph; more go on in another row."""


@dataclass(frozen=True, kw_only=True)
class SaliencySettings(PictureSettings):
    """Show which pixels of photographs speak for what a network sees in them."""

    command = "saliency"
    epilog = (
        "Examples:\n\n"
        "blockprop saliency goose.jpg --network squeezenet.safetensors\n\n"
        "blockprop saliency goose.jpg cat.jpg -m gradient -m guided -m grad_cam\n\n"
        "blockprop saliency goose.jpg --target 'Egyptian cat' --as overlay --out why_cat.png"
    )
    least_pictures = 1
    before = SEEN_BEFORE

    pictures: Photos
    target: LookedAt = "top"
    methods: MethodNames = None
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The picture; by default PHOTO_saliency.png."), OPTION_ONLY
    ] = None
    kind: Annotated[
        str,
        typer.Option("--as", help="sheet: photographs and maps; overlay: the map on the photograph; map: it alone."),
    ] = "sheet"
    samples: Samples = 50
    sigma: Annotated[float, typer.Option(help="Noise of smooth_grad, as a share of the picture's range.")] = 0.15
    node: Annotated[
        str | None,
        typer.Option("--layer", "-l", "--node", help="The node where grad_cam looks; by default the last such."),
    ] = None
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse if guided or deconvnet cannot reach all that rectifies.")
    ] = False
    crop: Crop = None
    side: Side = None
    output: Output = None
    raw: Annotated[
        Path | None, typer.Option(help="A .npy file for the attribution, (channels, h, w)."), OPTION_ONLY
    ] = None

    def completed(self) -> Self:
        if self.raw is not None:
            if self.raw.suffix != ".npy":
                raise SettingError(f"--raw writes a .npy file, not {self.raw}")
            require_writable(self.raw)
        out = picture_file(self.out, f"{Path(self.pictures[0]).stem}_saliency.png")
        return replace(self, out=out, methods=self.methods or ["gradient"])

    def beside(self) -> list[Path]:
        return [self.raw] if self.raw else []

    def make(self, network: Network, around: Surroundings) -> Made:
        """Photographs beside what speaks for the target in them, a row each."""
        methods = method_names(self.methods or ["gradient"])
        self._require_one_map(methods)
        seen = [read_seen(path, network, self.crop, self.side) for path in self.pictures]
        choice = (self.target, self.output, self.samples, self.sigma, self.node, self.strict)
        looked = look(network, seen, methods, *choice, self.seed, around.quiet)
        shares = [sureness(network, photo.x, self.target, self.output) for photo in seen]
        if self.raw is not None:
            write_file(self.raw, _npy(looked[0][0].attribution[0]))
        if self.kind == "sheet":
            picture = _saliency_sheet(seen, looked, shares)
        else:
            map = looked[0][0].map
            picture = overlay(seen[0].shown, map) if self.kind == "overlay" else heat(map)
        return _with_facts(picture, seen, looked, shares)

    def _require_one_map(self, methods: Sequence[str]) -> None:
        """SettingError if there are several maps where one is meant."""
        if self.kind not in KINDS:
            raise SettingError(f"there is no kind of picture {self.kind!r}{suggestion(self.kind, KINDS)}")
        if self.kind != "sheet" or self.raw:
            what = "--raw" if self.raw else f"--as {self.kind}"
            require_one("photograph", self.pictures, what)
            require_one("method", methods, what)


def _with_facts(
    picture: Tensor, seen: Sequence[Seen], looked: Sequence[Sequence[Saliency]], shares: Sequence[float | None]
) -> Made:
    """The picture with what was looked at, by which method, and what each method could not reach."""
    rows, facts, notes = [["picture", "target", "probability", "method"]], [], []
    for photo, maps, share in zip(seen, looked, shares, strict=True):
        for one in maps:
            target, method = one.targets[0], one.method
            rows.append([photo.name, target, percent(share), method])
            facts.append(
                {"picture": photo.name, "target": target, "probability": share, "method": method, "seen": photo.part}
            )
        notes += [f"{photo.name}, {one.coverage}" for one in maps if one.coverage and not one.coverage.complete]
    coverage = sorted({str(one.coverage).splitlines()[0] for maps in looked for one in maps if one.coverage})
    return Made(picture, {"saliency": facts, "coverage": coverage}, rows, notes=[*seen_notes(seen), *coverage, *notes])


def _saliency_sheet(
    seen: Sequence[Seen], looked: Sequence[Sequence[Saliency]], shares: Sequence[float | None]
) -> Tensor:
    tiles, alone = [], len(seen) == len(looked[0]) == 1
    for photo, maps, share in zip(seen, looked, shares, strict=True):
        tiles.append((photo.shown, f"{photo.name}\n"))
        for one in maps:
            caption = f"{one.method.replace('_', ' ')}\n{titled(one.targets[0], share)}"
            tiles.append((overlay(photo.shown, one.map), caption))
    if alone:
        one = looked[0][0]
        scale = METHODS[one.method].scale or one.method.replace("_", " ")
        return sheet(tiles, 2, side=MAP_CELL, scale=(*limits(one.map), scale))
    signs = sorted({limits(one.map)[0] < 0 for maps in looked for one in maps})
    words = {False: "for the target, each map to its 99 % quantile", True: "against and for the target, likewise"}
    scales = [(-1.0 if signed else 0.0, 1.0, words[signed], None) for signed in signs]
    columns = None if len(seen) == 1 and len(looked[0]) > MOST_COLUMNS else 1 + len(looked[0])
    return sheet(tiles, columns, side=MAP_CELL, scale=scales)


def _npy(values: Tensor) -> bytes:
    file = io.BytesIO()
    np.save(file, values.cpu().numpy())
    return file.getvalue()
