"""`blockprop stylize`: a photograph, painted in the style of other pictures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from blockprop.commands.choices import COARSEST, COLORS, MOST_PIXELS, MOST_SCALES, TILE, UPDATES
from blockprop.commands.options import MOST_STEPS, RATE
from blockprop.commands.parsing import layers_named, style_weight_of
from blockprop.commands.photos import captions_of, folder_of, photographs, picture_file
from blockprop.commands.picture_options import OPTION_ONLY, MemoryOption, PreviewEvery, Resume, Stop, TileSide
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings
from blockprop.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.engine.network import Network
    from blockprop.visualize.style.run import Style, Stylization


PROPORTION = 0.02
"""So much may the ratio of its sides differ between a mask and the content: they are whole numbers."""
STARTS = ("content", "noise")


@dataclass(frozen=True, kw_only=True)
class StylizeSettings(PictureSettings):
    """Paint a photograph in the style of other pictures."""

    command = "stylize"
    epilog = (
        "Examples:\n\n"
        "blockprop stylize tuebingen.jpg starry_night.jpg --network squeezenet.safetensors\n\n"
        "blockprop stylize town.jpg wave.jpg scream.jpg --each\n\n"
        "blockprop stylize photo.jpg wave.jpg=2 scream.jpg --size 384 --colors luminance\n\n"
        "blockprop stylize photo.jpg sky_style.jpg town_style.jpg --mask sky.png --mask town.png"
    )
    least_pictures = 2
    keeps_state = True
    pictures_choose_network = False  # style is of colors

    content: Annotated[
        str,
        typer.Argument(
            metavar="CONTENT", help="The photograph; of a folder each is painted, and a sheet shows them side by side."
        ),
        OPTION_ONLY,
    ] = ""
    styles: Annotated[
        list[str],
        typer.Argument(
            metavar="STYLE...", help="Paintings, or folders of them; each with a weight if wanted: wave.jpg=2."
        ),
        OPTION_ONLY,
    ] = field(default_factory=list)
    each: Annotated[
        bool,
        typer.Option("--each", help="A picture in each style, side by side, rather than one in all of them together."),
        OPTION_ONLY,
    ] = False
    pictures: list[str] = field(default_factory=list)
    """The content, the styles, their masks if any, and what it starts from if that is a file."""
    weights: list[float] = field(default_factory=list)
    masks: int = 0
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The picture, or a folder for it; by default CONTENT_STYLE.png."),
        OPTION_ONLY,
    ] = None
    size: Annotated[int, typer.Option(min=16, max=MOST_PIXELS, help="Pixels of the longer side.")] = 512
    steps: Annotated[int, typer.Option(min=1, max=MOST_STEPS, help="Steps at each size, from coarse to fine.")] = 100
    scales: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_SCALES, help=f"Sizes; by default all of at least {COARSEST} pixels."),
    ] = None
    content_weight: Annotated[float, typer.Option(help="How much the content counts.")] = 1.0
    style_weight: Annotated[
        float | None, typer.Option(help="How much the style counts; by default what suits the network.")
    ] = None
    total_variation: Annotated[float, typer.Option(help="How strongly smooth pictures are preferred.")] = 1.0
    content_layers: Annotated[
        list[str] | None, typer.Option("--content-layer", help="A node, or node=weight; repeat it.")
    ] = None
    style_layers: Annotated[
        list[str] | None, typer.Option("--style-layer", help="A node, or node=weight; repeat it.")
    ] = None
    style_scale: Annotated[float, typer.Option(help="Size of the paintings; larger ones have larger strokes.")] = 1.0
    mask: Annotated[
        list[str] | None,
        typer.Option(help="A picture like the content, white where a style acts; one for each style."),
        OPTION_ONLY,
    ] = None
    start: Annotated[str, typer.Option(help="content, noise, or the file of a picture.")] = "content"
    colors: Annotated[str, typer.Option(help=f"{', '.join(COLORS)}: whose colors, and how.")] = "style"
    optimizer: Annotated[str, typer.Option(help=f"lbfgs, {', '.join(UPDATES)}.")] = "lbfgs"
    rate: Annotated[float, typer.Option(*RATE, help="Step size of those but lbfgs.")] = 0.02
    details: Annotated[float, typer.Option(help="How much of the content's finer details each size gets.")] = 0.5
    tile: TileSide = TILE
    memory: MemoryOption = None
    preview_every: PreviewEvery = None
    resume: Resume = False
    stop: Stop = None

    def completed(self) -> Self:
        (content,), pairs = photographs([self.content], self.as_json), self._pairs(self.as_json)
        masks = self.mask or []
        if masks and len(masks) != len(pairs):
            raise SettingError(f"expected a --mask for each style, came {len(masks)} for {len(pairs)}")
        start = [] if self.start in STARTS else [self.start]
        return replace(
            self,
            out=picture_file(self.out, _out_name(content, pairs[0][0]), self.resume),
            pictures=[content, *(name for name, _ in pairs), *masks, *start],
            weights=[weight for _, weight in pairs],
            masks=len(masks),
            start="picture" if start else self.start,
        )

    def singly(self) -> dict[str, Self]:
        contents, pairs = photographs([self.content], quiet=True), self._pairs(quiet=True)
        if len(contents) == 1 and (len(pairs) == 1 or not self.each):
            return {}
        photographs([self.content], self.as_json), self._pairs(self.as_json)
        return self._in_each(contents, pairs) if self.each else self._in_all(contents, pairs)

    def _in_all(self, contents: list[str], pairs: list[tuple[str, float]]) -> dict[str, Self]:
        """Each photograph in all styles together."""
        return {
            caption: replace(self, content=content, out=self._folder / _out_name(content, pairs[0][0]))
            for caption, content in zip(captions_of(contents), contents, strict=True)
        }

    def _in_each(self, contents: list[str], pairs: list[tuple[str, float]]) -> dict[str, Self]:
        """Each photograph in each style."""
        if any(weight != 1 for _, weight in pairs):
            raise SettingError("--each paints in one style at a time, and a weight is among several; leave out one")
        if self.mask and len(self.mask) != len(pairs):
            raise SettingError(f"expected a --mask for each style, came {len(self.mask)} for {len(pairs)}")
        styles = [style for style, _ in pairs]
        singles = {}
        for name, content in zip(captions_of(contents), contents, strict=True):
            for i, (title, style) in enumerate(zip(captions_of(styles), styles, strict=True)):
                mask, out = self.mask and [self.mask[i]], self._folder / _out_name(content, style)
                one = replace(self, content=content, styles=[style], mask=mask, out=out)
                singles[title if len(contents) == 1 else f"{name}\n{title}"] = one
        return singles

    @property
    def _folder(self) -> Path:
        return folder_of(self.out)

    def _pairs(self, quiet: bool) -> list[tuple[str, float]]:
        """(style, weight), those of a folder one by one."""
        pairs = [style_weight_of(text) for text in self.styles]
        return [(style, weight) for path, weight in pairs for style in photographs([path], quiet)]

    def words(self) -> dict[str, Any]:
        content, *others = self.pictures
        count = len(self.weights)
        styles = [f"{path}={weight:g}" for path, weight in zip(others, self.weights, strict=False)]
        start = others[-1] if self.start == "picture" else self.start
        mask = others[count : count + self.masks] or None
        return super().words() | {"content": content, "styles": styles, "mask": mask, "start": start}

    def work(self) -> tuple[int, int]:
        side = self.size * max(1.0, min(self.style_scale, MOST_PIXELS))
        return self.steps * (self.scales or 1), round(side * side)

    def make(self, network: Network, around: Surroundings) -> Made:
        """The photograph in the manner of the paintings."""
        from blockprop.commands.making import run_sections, run_with_previews
        from blockprop.commands.memory import MemoryWatch
        from blockprop.reports.curves import part_name

        run = self._run(network, around)
        memory = MemoryWatch(around.quiet, run.device)
        done, stopped = run_with_previews(run, "Painting", around, self.stop, memory=memory)
        picture = run.picture()[0]
        facts: dict[str, Any] = {"size": f"{picture.shape[2]} x {picture.shape[1]}", "steps": run.step}
        facts["content_layer"] = ", ".join(run.weights.content_layers)
        facts["style_layers"] = ", ".join(run.weights.style_layers)
        if done:
            facts |= {f"{part_name(name)}_loss": value for name, value in done[-1].parts.items() if value}
            facts |= {"loss": done[-1].value, "seconds": done[-1].seconds}
        facts |= memory.facts()
        return Made(picture, facts, sections=run_sections(run, done), stopped=run.step if stopped else None)

    def _run(self, network: Network, around: Surroundings) -> Stylization:
        from blockprop.visualize.style.stylize import stylize

        content, styles, start = self._read()
        return stylize(
            network,
            content,
            styles,
            self.size,
            self.steps,
            content_weight=self.content_weight,
            style_weight=self.style_weight,
            total_variation=self.total_variation,
            content_layers=layers_named(self.content_layers),
            style_layers=layers_named(self.style_layers),
            start=start,
            colors=self.colors,
            optimizer=self.optimizer,
            rate=self.rate,
            scales=self.scales,
            details=self.details,
            tile=self.tile or None,
            memory=self.memory,
            seed=self.seed,
            preview_every=around.preview_every,
            state=around.state,
            resume=around.resume,
        )

    def _read(self) -> tuple[Tensor, list[Style], Any]:
        """(content, styles, start): the pictures of the files."""
        from blockprop.pictures.picture_files import read_picture
        from blockprop.visualize.style.run import Style

        count, from_file = len(self.weights), self.start == "picture"
        expected = 1 + count + self.masks + from_file
        if self.masks not in (0, count) or not count or len(self.pictures) != expected:
            raise SettingError(
                f"{count} styles, {self.masks} masks and the start {self.start!r} have other pictures than "
                f"{self.pictures}"
            )
        content, *others = (read_picture(path) for path in self.pictures)
        covers = [mask_like(self.pictures[1 + count + i], others[count + i], content) for i in range(self.masks)]
        names = [f"{Path(path).stem} ({i})" for i, path in enumerate(self.pictures[1 : 1 + count], 1)]
        styles = [
            Style(picture, weight, self.style_scale, covers[i] if self.masks else None, names[i])
            for i, (picture, weight) in enumerate(zip(others[:count], self.weights, strict=True))
        ]
        return content, styles, others[-1] if from_file else self.start


def _out_name(content: str, style: str) -> str:
    return f"{Path(content).stem}_{Path(style).stem}.png"


def mask_like(path: str, mask: Tensor, content: Tensor) -> Tensor:
    """A mask (h, w) in the content's size; SettingError if it has other proportions."""
    from blockprop.pictures.scaling import scaled

    (height, width), (own_height, own_width) = content.shape[2:], mask.shape[2:]
    if abs(own_height * width / (own_width * height) - 1) > PROPORTION:
        raise SettingError(
            f"{path} has {own_width} x {own_height} pixels; a mask has the content's proportions, {width} x {height}"
        )
    return scaled(mask.mean(1, keepdim=True), height, width)[0, 0].clamp(0, 1)
