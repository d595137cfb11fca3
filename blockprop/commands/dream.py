"""`blockprop dream`: Inceptionism on a photograph, on noise, or guided by another picture; and films of it."""

import contextlib
import io
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from blockprop.commands.making import Around, Made, deliver, follow, run_sections
from blockprop.commands.options import Blocks, Device, Json
from blockprop.commands.photos import NetworkFile, PictureSeed, Report, in_colors_of, is_made, picture_file
from blockprop.commands.picture_options import PreviewEvery, Resume, layers_named, require_state, size_named
from blockprop.engine.network import Network
from blockprop.errors import FormatError, SettingError
from blockprop.pictures.picture_files import read_picture, write_picture
from blockprop.saving.files import require_writable, write_file
from blockprop.visualize.dream import TILE, dream
from blockprop.visualize.running import PictureRecord

EPILOG = (
    "Examples:\n\n"
    "blockprop dream sky.jpg --network googlenet.safetensors\n\n"
    "blockprop dream sky.jpg -l inception_3b --out texture.png\n\n"
    "blockprop dream sky.jpg --guide flowers.jpg\n\n"
    "blockprop dream noise --size 640x480 --frames 60 --film zoom.webp"
)
LONGEST = 1024
FRAMES_A_SECOND = 12
FILMS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}


def make_dream(
    network: Network,
    around: Around,
    pictures: list[str],
    start: str = "photo",
    guided: bool = False,
    layers: list[str] | None = None,
    size: str | None = None,
    steps: int = 10,
    octaves: int | None = None,
    octave_scale: float = 1.4,
    rate: float | None = None,
    jitter: int = 32,
    frames: int = 1,
    zoom: float = 1.05,
    rotation: float = 0.0,
    tile: int = TILE,
    seed: int = 0,
    stop: int | None = None,
) -> Made:
    """A dream; of several frames the last. pictures: the photograph if it starts from one, and the guide if guided."""
    on_photo = start == "photo"
    if start not in ("photo", "noise") or len(pictures) != on_photo + guided:
        raise SettingError(
            f"a dream from {start!r} {'with a' if guided else 'without'} guide has other pictures than {pictures}"
        )
    longest = _longest(size) if on_photo else LONGEST
    read = [in_colors_of(network, read_picture(path, longest=longest)) for path in pictures]
    run = dream(
        network,
        read[0] if on_photo else "noise",
        layers_named(layers),
        None if on_photo else size_named(size),
        steps,
        guide=read[-1] if guided else None,
        octaves=octaves,
        octave_scale=octave_scale,
        rate=rate,
        jitter=jitter,
        frames=frames,
        zoom=zoom,
        rotation=rotation,
        tile=tile or None,
        seed=seed,
        preview_every=around.preview_every,
        state=around.state if around.keep_state else None,
        resume=around.resume,
    )
    film = Film(around, run.frame_steps) if around.also is not None else None
    done, stopped = follow(run, "Dreaming", around, stop, film)
    picture = run.picture()[0]
    facts: dict[str, Any] = {
        "layers": ", ".join(run.objective.nodes),
        "size": f"{picture.shape[2]} x {picture.shape[1]}",
        "steps": run.step,
    }
    if film is not None:
        facts |= {"film": str(around.also), "frames": film.write(ended=not stopped)}
    return Made(picture, facts, sections=run_sections(run, done), stopped=run.step if stopped else None)


def _longest(size: str | None) -> int:
    """Pixels of a photograph's longer side, at most."""
    if size is None:
        return LONGEST
    if "x" in size.lower():
        raise SettingError(f"a photograph keeps its proportions: expected its longer side, such as 640, came {size!r}")
    return max(size_named(size) or (LONGEST,))


class Film:
    """Takes the frames of a dream as they come: each to a folder, and in the end together to one animated file.

    The frames of an animated file lie beside it in a folder until the dream has come to its end.
    """

    def __init__(self, around: Around, frame_steps: int):
        assert around.also is not None
        self.path, self.how, self.frame_steps = around.also, around.how, frame_steps
        self.frames = around.frames
        if not around.resume and self.path.suffix:  # those of another dream, which was stopped
            for frame in filter(is_made, self.frames):
                frame.unlink()

    def __call__(self, step: PictureRecord) -> None:
        if step.picture is None or step.step % self.frame_steps:
            return
        how = self.how | {"arguments": self.how["arguments"] | {"stop": step.step}}
        write_picture(self.frames[step.step // self.frame_steps - 1], step.picture[0], how)

    def write(self, ended: bool) -> int:
        """The animated file, if it is one, of the frames that there are; how many they are."""
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


def film_frames(path: Path | None, frames: int, resume: bool) -> tuple[Path, ...]:
    """Where the frames of a film go: its folder, or one beside the animated file."""
    if path is None:
        return ()
    if frames < 2:
        raise SettingError("--film needs --frames 2 or more")
    if path.suffix and path.suffix.lower() not in FILMS:
        raise SettingError(f"{path}: films are written as {', '.join(FILMS)}, or to a folder, not as {path.suffix!r}")
    folder = path.with_name(path.name + ".frames") if path.suffix else path
    there = [] if resume else sorted(folder.glob("[0-9][0-9][0-9][0-9]*.png"))
    there = [frame for frame in there if not (path.suffix and is_made(frame))]  # those of a film that was stopped go
    if there:
        raise SettingError(f"{there[0]}: the folder holds pictures already; name an empty or a new one with --film")
    require_writable(path if path.suffix else path / "0001.png")
    return tuple(folder / f"{number:04}.png" for number in range(1, frames + 1))


def dream_(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="A photograph, or the word noise.")],
    network: NetworkFile = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", help="A node, node:channel, or node=weight; repeat it for several."),
    ] = None,
    guide: Annotated[str | None, typer.Option(help="A picture: what its features are like grows.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture; by default PHOTO_dream.png.")] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIDE or WIDTHxHEIGHT",
            help="The longer side, to which a larger photograph is scaled down, by default 1024; or that of a dream on "
            "noise.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps at each octave.")] = 10,
    octaves: Annotated[int | None, typer.Option(min=1, help="Sizes; by default 4, from noise 6.")] = None,
    octave_scale: Annotated[float, typer.Option(help="How much larger each is than the one before.")] = 1.4,
    rate: Annotated[
        float | None, typer.Option(help="Mean change of the picture in a step; by default 0.006, from noise 0.008.")
    ] = None,
    jitter: Annotated[int, typer.Option(min=0, help="The picture is shifted by up to so many pixels.")] = 32,
    frames: Annotated[int, typer.Option(min=1, help="So many dreams, each on the one before.")] = 1,
    zoom: Annotated[float, typer.Option(help="Of each frame into the one before.")] = 1.05,
    rotation: Annotated[float, typer.Option(help="Degrees that each frame is turned by.")] = 0.0,
    film: Annotated[
        Path | None, typer.Option(help="Where all frames go: a .gif, .webp or .png (animated), or a folder.")
    ] = None,
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
    """Let a network's layers find more and more of what they find in a picture."""
    path = picture_file(out, f"{Path(photo).stem}_dream.png")
    start = "noise" if photo == "noise" and not Path(photo).exists() else "photo"
    settings = {
        "network": network,
        "pictures": [name for name in (photo if start == "photo" else None, guide) if name is not None],
        "start": start,
        "guided": guide is not None,
        "layers": layers,
        "size": size,
        "steps": steps,
        "octaves": octaves,
        "octave_scale": octave_scale,
        "rate": rate,
        "jitter": jitter,
        "frames": frames,
        "zoom": zoom,
        "rotation": rotation,
        "tile": tile,
        "seed": seed,
    }
    shots = film_frames(film, frames, resume)
    around = Around(path, own_blocks, device, as_json, preview_every, True, resume, film, shots)
    require_state(around)
    deliver("dream", make_dream, settings, around, report, as_json)
