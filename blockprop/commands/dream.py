"""`blockprop dream`: Inceptionism on a photograph, on noise, or guided by another picture; and films of it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from blockprop.commands.choices import TILE
from blockprop.commands.options import MOST_STEPS, RATE
from blockprop.commands.parsing import layers_named, pixels_named, size_named
from blockprop.commands.photos import captions_of, folder_of, in_colors_of, is_made, photographs, picture_file
from blockprop.commands.picture_options import OPTION_ONLY, MemoryOption, PreviewEvery, Resume, Stop, TileSide
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings
from blockprop.commands.results import is_forced, place
from blockprop.errors import FormatError, SettingError

if TYPE_CHECKING:
    from blockprop.engine.network import Network
    from blockprop.visualize.dream import Dream
    from blockprop.visualize.running import PictureRecord


LONGEST_PICTURE = 1024
FRAMES_A_SECOND = 12
FILMS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}


@dataclass(frozen=True, kw_only=True)
class DreamSettings(PictureSettings):
    """Let a network's layers find more and more of what they find in a picture."""

    command = "dream"
    epilog = (
        "Examples:\n\n"
        "blockprop dream sky.jpg --network googlenet.safetensors\n\n"
        "blockprop dream sky.jpg -l inception_3b --out texture.png\n\n"
        "blockprop dream sky.jpg --guide flowers.jpg\n\n"
        "blockprop dream sky.jpg town.jpg holidays/ --size 1600\n\n"
        "blockprop dream noise --size 640x480 --frames 60 --film zoom.webp"
    )
    keeps_state = True

    photo: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO...",
            help="A photograph, or the word noise. Several, or a folder of them: each dreams for itself, and a sheet "
            "shows them side by side.",
        ),
        OPTION_ONLY,
    ] = field(default_factory=lambda: ["noise"])
    pictures: list[str] = field(default_factory=list)
    """The photograph if it starts from one, and the guide if guided."""
    start: str = "photo"
    guided: bool = False
    layers: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", help="A node, node:channel, or node=weight; repeat it for several."),
    ] = None
    guide: Annotated[str | None, typer.Option(help="A picture: what its features are like grows."), OPTION_ONLY] = None
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The picture, or a folder for it; by default PHOTO_dream.png."),
        OPTION_ONLY,
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIDE or WIDTHxHEIGHT",
            help="The longer side, to which a photograph is scaled, also beyond its own size; by default that, up to "
            f"{LONGEST_PICTURE}. Or the size of a dream on noise.",
        ),
    ] = None
    steps: Annotated[int, typer.Option(min=1, max=MOST_STEPS, help="Steps at each octave.")] = 10
    octaves: Annotated[int | None, typer.Option(min=1, help="Sizes; by default 4, from noise 6, if they fit.")] = None
    octave_scale: Annotated[float, typer.Option(help="How much larger each is than the one before.")] = 1.4
    rate: Annotated[
        float | None,
        typer.Option(*RATE, help="Mean change of the picture in a step; by default 0.006, from noise 0.008."),
    ] = None
    jitter: Annotated[int, typer.Option(min=0, help="The picture is shifted by up to so many pixels.")] = 32
    frames: Annotated[int, typer.Option(min=1, max=MOST_STEPS, help="So many dreams, each on the one before.")] = 1
    zoom: Annotated[float, typer.Option(help="Of each frame into the one before.")] = 1.05
    rotation: Annotated[float, typer.Option(help="Degrees that each frame is turned by.")] = 0.0
    film: Annotated[
        Path | None,
        typer.Option(help="Where all frames go: a .gif, .webp or .png (animated), or a folder."),
        OPTION_ONLY,
    ] = None
    enlarges: bool = True
    """Whether a size beyond the photograph's own counts; once it did not."""
    tile: TileSide = TILE
    memory: MemoryOption = None
    preview_every: PreviewEvery = None
    resume: Resume = False
    stop: Stop = None

    @classmethod
    def of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"enlarges": False, **settings}

    def completed(self) -> Self:
        (photo,) = photographs(self.photo, self.as_json)
        out = picture_file(self.out, _out_name(photo), self.resume)
        start = "noise" if photo == "noise" and not Path(photo).exists() else "photo"
        pictures = [name for name in (photo if start == "photo" else None, self.guide) if name is not None]
        film = None if self.film is None else _film_file(self.film, self.frames, self.resume)
        return replace(self, out=out, film=film, start=start, pictures=pictures, guided=self.guide is not None)

    def singly(self) -> dict[str, Self]:
        photos = photographs(self.photo, quiet=True)
        if len(photos) < 2:
            return {}
        if self.film is not None:
            raise SettingError(f"--film is of one dream, and this makes {len(photos)}")
        photographs(self.photo, self.as_json)
        folder = folder_of(self.out)
        return {
            caption: replace(self, photo=[photo], out=folder / _out_name(photo))
            for caption, photo in zip(captions_of(photos), photos, strict=True)
        }

    def require_pictures(self) -> None:
        if self.start not in ("photo", "noise") or len(self.pictures) != (self.start == "photo") + self.guided:
            guide = "with a" if self.guided else "without"
            raise SettingError(f"a dream from {self.start!r} {guide} guide has other pictures than {self.pictures}")

    def words(self) -> dict[str, Any]:
        photo = self.pictures[0] if self.start == "photo" else "noise"
        return super().words() | {"photo": [photo], "guide": self.pictures[-1] if self.guided else None}

    def beside(self) -> list[Path]:
        return [self.film, *film_frames(self.film, self.frames)] if self.film else []

    def work(self) -> tuple[int, int]:
        return self.steps * (self.octaves or 1) * self.frames, pixels_named(self.size)

    def make(self, network: Network, around: Surroundings) -> Made:
        """A dream; of several frames the last."""
        from blockprop.commands.making import run_sections, run_with_previews
        from blockprop.commands.memory import MemoryWatch

        run = self._run(network, around)
        film = None
        if self.film is not None:
            film = Film(self.film, film_frames(self.film, self.frames), run.frame_steps, around)
            run.observe(film)
        memory = MemoryWatch(around.quiet, run.device)
        done, stopped = run_with_previews(run, "Dreaming", around, self.stop, memory=memory)
        picture = run.picture()[0]
        facts: dict[str, Any] = {
            "layers": ", ".join(run.objective.nodes),
            "size": f"{picture.shape[2]} x {picture.shape[1]}",
            "octaves": run.octaves,
            "steps": run.step,
            **memory.facts(),
        }
        if film is not None:
            facts |= {"film": str(film.path), "frames": film.write(ended=not stopped)}
        return Made(picture, facts, sections=run_sections(run, done), stopped=run.step if stopped else None)

    def _run(self, network: Network, around: Surroundings) -> Dream:
        from blockprop.pictures.picture_files import read_picture
        from blockprop.visualize.dream import dream

        on_photo = self.start == "photo"
        self.require_pictures()
        longest = _longest(self.size) if on_photo else LONGEST_PICTURE
        side = longest if self.size is not None and self.enlarges else None
        pictures = [in_colors_of(network, read_picture(path, longest=longest)) for path in self.pictures]
        return dream(
            network,
            pictures[0] if on_photo else "noise",
            layers_named(self.layers),
            side if on_photo else size_named(self.size),
            self.steps,
            guide=pictures[-1] if self.guided else None,
            octaves=self.octaves,
            octave_scale=self.octave_scale,
            rate=self.rate,
            jitter=self.jitter,
            frames=self.frames,
            zoom=self.zoom,
            rotation=self.rotation,
            tile=self.tile or None,
            memory=self.memory,
            seed=self.seed,
            preview_every=around.preview_every,
            state=around.state,
            resume=around.resume,
        )


def _out_name(photo: str) -> str:
    return f"{Path(photo).stem}_dream.png"


def _longest(size: str | None) -> int:
    """Pixels of a photograph's longer side, at most."""
    if size is None:
        return LONGEST_PICTURE
    if "x" in size.lower():
        raise SettingError(f"a photograph keeps its proportions: expected its longer side, such as 640, came {size!r}")
    return max(size_named(size) or (LONGEST_PICTURE,))


class Film:
    """Takes the frames of a dream as they come: each to a folder, and in the end together to one animated file.

    The frames of an animated file lie beside it in a folder until the dream has come to its end.
    """

    def __init__(self, path: Path, frames: Sequence[Path], frame_steps: int, around: Surroundings):
        self.path, self.frames, self.frame_steps, self.how = path, frames, frame_steps, around.how
        if not around.resume:  # those of another dream, which was stopped or makes way
            for frame in filter(is_made, _frames_there(path)):
                frame.unlink()

    def __call__(self, step: PictureRecord) -> None:
        from blockprop.pictures.picture_files import write_picture

        if step.picture is None or step.step % self.frame_steps:
            return
        how = self.how | {"arguments": self.how["arguments"] | {"stop": step.step}}
        write_picture(self.frames[step.step // self.frame_steps - 1], step.picture[0], how)

    def write(self, ended: bool) -> int:
        """The animated file, if it is one, of the frames that there are; how many they are."""
        from PIL import Image

        from blockprop.saving.files import write_file

        there = [frame for frame in self.frames if frame.exists()]
        kind = FILMS.get(self.path.suffix.lower())
        if kind is None or not there:
            return len(there)
        file = io.BytesIO()
        first, *rest = (Image.open(frame).convert("RGB") for frame in there)
        try:
            first.save(file, kind, save_all=True, append_images=rest, duration=round(1000 / FRAMES_A_SECOND), loop=0)
        except (OSError, RuntimeError, ValueError) as error:
            raise FormatError(f"{self.path}: no such film can be written, its frames stay ({error})") from None
        write_file(self.path, file.getvalue())
        if ended:
            for frame in there:
                frame.unlink()
            with contextlib.suppress(OSError):  # somebody put something else there
                there[0].parent.rmdir()
        return len(there)


def film_frames(path: Path, frames: int) -> list[Path]:
    """Where the frames of a film go: its folder, or one beside the animated file."""
    folder = path.with_name(path.name + ".frames") if path.suffix else path
    return [folder / f"{number:04}.png" for number in range(1, frames + 1)]


def _frames_there(path: Path) -> list[Path]:
    """The frames, of whatever film, that lie where those of this one go."""
    (first,) = film_frames(path, 1)
    return sorted(first.parent.glob("[0-9][0-9][0-9][0-9]*.png"))


def _film_file(path: Path, frames: int, resume: bool) -> Path:
    """Where the film goes. SettingError if it cannot be written, or would take the place of pictures that are there."""
    from blockprop.saving.files import require_writable

    if frames < 2:
        raise SettingError("--film needs --frames 2 or more")
    if path.suffix and path.suffix.lower() not in FILMS:
        raise SettingError(f"{path}: films are written as {', '.join(FILMS)}, or to a folder, not as {path.suffix!r}")
    path = path if resume else place(path)
    replaces = path.suffix or is_forced()  # the frames of a film that was stopped, or makes way
    there = [] if resume else [frame for frame in _frames_there(path) if not (replaces and is_made(frame))]
    if there:
        raise SettingError(f"{there[0]}: the folder holds pictures already; name an empty or a new one with --film")
    require_writable(path if path.suffix else path / "0001.png")
    return path
