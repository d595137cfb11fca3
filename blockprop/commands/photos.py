"""What the commands that look into a network share: photographs as it sees them and as people do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from blockprop.commands.choices import WIDEST
from blockprop.commands.console import say_all
from blockprop.commands.results import place
from blockprop.commands.unreadable import readable
from blockprop.errors import BlockpropError, DataError, SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.engine.network import Network
    from blockprop.pictures.preprocessing import Preprocessing


SHOWN = 1024
"""Pixels of the longer side of a photograph that is shown."""
FINER = 3
"""So many times finer than the network sees it was a photograph shown whose center was cut out."""
PARTS_SHOWN = 4
"""Photographs of which it is said what was seen."""
SEEN_BEFORE: Mapping[str, Any] = {"crop": WIDEST}
"""What commands saw of a photograph before there was a choice."""


def photographs(paths: Sequence[str], quiet: bool = False) -> list[str]:
    """The photographs that are named, those of a folder one by one; what is left out of a folder is said.

    So are those that cannot be read, see unreadable.py. Raises DataError for a folder without pictures.
    """
    from blockprop.pictures.image_kinds import files_in, left_out

    photos: list[str] = []
    for path in paths:
        if not Path(path).is_dir():
            photos.append(path)
            continue
        pictures, others = files_in(Path(path))
        if not pictures:
            raise DataError(f"{path}: there are no pictures in this folder")
        say_all(left_out(others, Path(path)), quiet)
        photos += readable(pictures, path)
    return photos


def captions_of(paths: Sequence[str]) -> list[str]:
    """What photographs are called on a sheet: their files' names, with as much of the path as tells them apart."""
    names = [Path(path).name for path in paths]
    apart = [name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)]
    return [text if apart.count(text) == 1 else f"{text} ({i})" for i, text in enumerate(apart, 1)]


class Seen(NamedTuple):
    """A photograph: x as the network takes it, (1, c, h, w), and finer as people see it, (3, h, w); equally framed.

    size: (h, w) of the file.   frame: (top, left, h, w) of the part of it that x and shown are, in its pixels.
    part: which part that is, in words.
    """

    name: str
    x: Tensor
    shown: Tensor
    size: tuple[int, int]
    frame: tuple[float, float, float, float]
    part: str = ""


def read_seen(path: str, network: Network, crop: str | None = None, side: int | None = None) -> Seen:
    """A photograph as the network sees it; crop, side: see `sight`."""
    from blockprop.pictures.framing import in_words, reading_frame, sight
    from blockprop.pictures.photos import photo_of, read_photo
    from blockprop.pictures.picture_files import from_pixels, read_pixels

    settings, pixels = sight(network, crop, side), read_pixels(path)
    height, width = pixels.shape[:2]
    frame, words = reading_frame(settings, height, width), in_words(settings, height, width)
    shown = _as_before(path, settings) if crop == WIDEST else _cut_out(from_pixels(pixels)[None], frame)
    x = read_photo(path, settings) if settings.count == 1 else photo_of(pixels, settings, path)
    return Seen(os.path.basename(path), x, shown, (height, width), frame, words)


def seen_notes(seen: Sequence[Seen]) -> list[str]:
    """What the network saw of photographs, in lines."""
    return notes_of_parts({photo.name: photo.part for photo in seen})


def notes_of_parts(parts: Mapping[str, str]) -> list[str]:
    """{photograph: which part of it was seen} in lines: one if it is the same of all, and otherwise not too many."""
    if len(set(parts.values())) <= 1:
        return [f"seen: {part}" for part in set(parts.values())]
    lines = [f"seen of {name}: {part}" for name, part in list(parts.items())[:PARTS_SHOWN]]
    return lines + ([f"… and of {len(parts) - PARTS_SHOWN} more in the same way"] if len(parts) > PARTS_SHOWN else [])


def in_colors_of(network: Network, picture: Tensor) -> Tensor:
    """The picture (1, 3, h, w), or its luminance for a network that takes gray ones."""
    from blockprop.pictures.colors import luminance
    from blockprop.pictures.photos import picture_channels

    return luminance(picture) if picture_channels(network) == 1 else picture


def _cut_out(picture: Tensor, frame: tuple[float, float, float, float]) -> Tensor:
    """A part of a picture (1, 3, h, w) in its own pixels, (3, h, w), if these are not too many."""
    from blockprop.pictures.scaling import scaled

    top, left, height, width = (round(number) for number in frame)
    part = picture[:, :, top : top + height, left : left + width]
    ratio = min(1.0, SHOWN / max(part.shape[2:]))
    return scaled(part, *(max(1, round(side * ratio)) for side in part.shape[2:]))[0].clamp(0, 1)


def _as_before(path: str, settings: Preprocessing) -> Tensor:
    """The same part, finer than the network sees it, as in pictures that were made before there was a choice."""
    from blockprop.pictures.photos import read_photo
    from blockprop.pictures.picture_files import read_picture

    if settings.height_width is None:
        return read_picture(path, longest=SHOWN)[0]
    height, width = settings.height_width
    side = settings.reading_side or min(height, width)
    return read_photo(path, replace(settings, size=(FINER * height, FINER * width), shorter_side=FINER * side))[0]


def is_folder(path: Path) -> bool:
    """Whether results go into it: a folder that is there, or a name without a suffix, which no picture has."""
    return path.is_dir() or not path.suffix


def folder_of(path: Path | None) -> Path:
    """The folder of several results: `path` itself, or that of a sheet which is called so."""
    if path is None:
        return Path()
    return path if is_folder(path) else path.parent


def picture_file(path: Path | None, name: str, resume: bool = False) -> Path:
    """Where the picture goes: `path`, or `name` in it if that is a folder, or else here, see `place`.

    SettingError for a kind that is not written.
    """
    from blockprop.pictures.picture_files import FORMAT_OF_SUFFIX

    path = Path(name) if path is None else path / name if is_folder(path) else path
    if path.suffix.lower() not in FORMAT_OF_SUFFIX:
        raise SettingError(f"{path}: pictures are written as {', '.join(FORMAT_OF_SUFFIX)}, not as {path.suffix!r}")
    return place(path, resume)


def is_made(path: Path) -> bool:
    """Whether a file is a picture with settings, so that a command has made it."""
    from blockprop.pictures.picture_files import read_settings

    try:
        read_settings(path)
    except BlockpropError:
        return False
    return True
