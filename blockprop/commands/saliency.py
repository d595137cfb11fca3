"""`blockprop saliency`: which pixels of photographs speak for what a network sees in them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from blockprop.commands.parsing import grid_named
from blockprop.commands.photos import SEEN_BEFORE, Seen, photographs, picture_file, read_seen, seen_notes
from blockprop.commands.picture_options import (
    OPTION_ONLY,
    Crop,
    LookedAtEach,
    MemoryOption,
    MethodNames,
    Output,
    PhotosIfAny,
    Samples,
    Side,
    TokensOption,
)
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings
from blockprop.commands.results import place
from blockprop.errors import SettingError, suggestion

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.commands.captions import Strength
    from blockprop.engine.network import Network
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
        "blockprop saliency goose.jpg --target 'Egyptian cat' --as overlay --out why_cat.png\n\n"
        "blockprop saliency zoo.jpg -t lion -t tiger"
    )
    least_pictures = 1

    pictures: PhotosIfAny = None
    targets: LookedAtEach = None
    methods: MethodNames = None
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The picture, or a folder for it; by default PHOTO_saliency.png."),
        OPTION_ONLY,
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
    grid: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHT,WIDTH",
            help="The places of that node, if it gives tokens; by default as the picture was cut.",
        ),
    ] = None
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse if guided or deconvnet cannot reach all that rectifies.")
    ] = False
    crop: Crop = None
    side: Side = None
    memory: MemoryOption = None
    output: Output = None
    tokens: Annotated[TokensOption, OPTION_ONLY] = None
    raw: Annotated[
        Path | None, typer.Option(help="A .npy file for the attribution, (channels, h, w)."), OPTION_ONLY
    ] = None

    @classmethod
    def of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        called = {"targets" if name == "target" else name: value for name, value in settings.items()}
        if "target" in settings:
            called["targets"] = [settings["target"]]
        return {**SEEN_BEFORE, **called}

    def completed(self) -> Self:
        from blockprop.saving.files import require_writable

        if self.tokens is not None:
            return self._completed_for_tokens()
        if not self.pictures:
            raise SettingError("expected photographs, or --tokens for a network that takes tokens")
        if self.raw is not None and self.raw.suffix != ".npy":
            raise SettingError(f"--raw writes a .npy file, not {self.raw}")
        out = picture_file(self.out, f"{Path(self.pictures[0]).resolve().stem}_saliency.png")
        raw = None if self.raw is None else place(self.raw)
        if raw is not None:
            require_writable(raw)
        methods, targets = self.methods or ["gradient"], self.targets or ["top"]
        pictures = photographs(self.pictures, self.as_json)
        return replace(self, pictures=pictures, out=out, raw=raw, methods=methods, targets=targets)

    def _completed_for_tokens(self) -> Self:
        """SettingError for what goes with pictures alone."""
        if self.pictures or self.out or self.raw or self.report or self.memory:
            raise SettingError(
                "--tokens is explained in words: leave out photographs, --out, --raw, --report and --memory"
            )
        if (self.methods or ["gradient_times_input"]) != ["gradient_times_input"]:
            raise SettingError("tokens are explained by gradient_times_input alone; leave out --method")
        if self.network is None:
            raise SettingError("--tokens needs a network that takes tokens: say which with --network")
        return replace(self, targets=self.targets or ["top"])

    def told(self) -> bool:
        from blockprop.commands.tokens import say_which_tokens

        if self.tokens is None:
            return False
        targets = list(dict.fromkeys(self.targets or ["top"]))
        say_which_tokens(
            str(self.network),
            self.tokens,
            targets,
            self.output,
            self.own_blocks,
            self.opaque,
            self.device,
            self.as_json,
        )
        return True

    def beside(self) -> list[Path]:
        return [self.raw] if self.raw else []

    def work(self) -> tuple[int, int]:
        maps = len(self.pictures or ()) * len(self.methods or (1,)) * len(self.targets or (1,))
        return maps * self.samples, (self.side or 1) ** 2

    def make(self, network: Network, around: Surroundings) -> Made:
        """Photographs beside what speaks for the target in them, a row each."""
        from blockprop.commands.captions import strength
        from blockprop.commands.memory import MemoryWatch
        from blockprop.commands.saliency_maps import look, method_names
        from blockprop.pictures.overlays import heat, overlay
        from blockprop.saving.files import write_file

        methods, targets = method_names(self.methods or ["gradient"]), list(dict.fromkeys(self.targets or ["top"]))
        self._require_one_map(methods, targets)
        seen = [read_seen(path, network, self.crop, self.side) for path in self.pictures or ()]
        choice = (targets, self.output, self.samples, self.sigma, self.node, grid_named(self.grid), self.strict)
        memory = MemoryWatch(around.quiet, self.device)
        looked = look(network, seen, methods, *choice, self.seed, around.quiet, self.memory, memory)
        strengths = [
            [strength(network, photo.x, target, self.output) for target in targets for _ in methods] for photo in seen
        ]
        facts = memory.facts()
        if self.raw is not None:
            write_file(self.raw, _npy(looked[0][0].attribution[0]))
        if self.kind == "sheet":
            picture = _saliency_sheet(seen, looked, strengths)
        else:
            map = looked[0][0].map
            picture = overlay(seen[0].shown, map) if self.kind == "overlay" else heat(map)
        made = _with_facts(picture, seen, looked, strengths)
        made.facts |= facts
        return made

    def _require_one_map(self, methods: Sequence[str], targets: Sequence[str]) -> None:
        """SettingError if there are several maps where one is meant."""
        from blockprop.commands.making import require_one

        if self.kind not in KINDS:
            raise SettingError(f"there is no kind of picture {self.kind!r}{suggestion(self.kind, KINDS)}")
        if self.kind != "sheet" or self.raw:
            what = "--raw" if self.raw else f"--as {self.kind}"
            require_one("photograph", self.pictures or (), what)
            require_one("method", methods, what)
            require_one("target", targets, what)


def _with_facts(
    picture: Tensor, seen: Sequence[Seen], looked: Sequence[Sequence[Saliency]], strengths: Sequence[Sequence[Strength]]
) -> Made:
    """The picture with what was looked at, by which method, and what each method could not reach."""
    rows, facts, notes = [["picture", "target", _heading(strengths), "method"]], [], []
    for photo, maps, strong in zip(seen, looked, strengths, strict=True):
        for one, how in zip(maps, strong, strict=True):
            target, method = one.targets[0], one.method
            rows.append([photo.name, how.named(target), how.words, method])
            facts.append({"picture": photo.name, "target": target, **how.facts, "method": method, "seen": photo.part})
        notes += [f"{photo.name}, {one.coverage}" for one in maps if one.coverage and not one.coverage.complete]
    coverage = sorted({str(one.coverage).splitlines()[0] for maps in looked for one in maps if one.coverage})
    return Made(picture, {"saliency": facts, "coverage": coverage}, rows, notes=[*seen_notes(seen), *coverage, *notes])


def _heading(strengths: Sequence[Sequence[Strength]]) -> str:
    """What the numbers of a table are called."""
    kinds = {how.probability is None for strong in strengths for how in strong}
    return "probability" if kinds == {False} else "value" if kinds == {True} else "probability or value"


def _saliency_sheet(
    seen: Sequence[Seen], looked: Sequence[Sequence[Saliency]], strengths: Sequence[Sequence[Strength]]
) -> Tensor:
    from blockprop.commands.saliency_maps import MAP_CELL
    from blockprop.pictures.overlays import limits, overlay
    from blockprop.pictures.sheets import sheet
    from blockprop.visualize.attribution.methods import METHODS

    tiles, alone = [], len(seen) == len(looked[0]) == 1
    for photo, maps, strong in zip(seen, looked, strengths, strict=True):
        tiles.append((photo.shown, f"{photo.name}\n"))
        for one, how in zip(maps, strong, strict=True):
            caption = f"{one.method.replace('_', ' ')}\n{how.titled(one.targets[0])}"
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
    import numpy as np

    file = io.BytesIO()
    np.save(file, values.cpu().numpy())
    return file.getvalue()
