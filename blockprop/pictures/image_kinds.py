"""Which files are pictures: by their names, and where these say nothing, by their first bytes."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pi_heif
from PIL import Image

from blockprop.errors import DataError

pi_heif.register_heif_opener()
Image.init()
NOT_DECODED = frozenset(("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"))
"""Formats that Pillow recognizes, and leaves to other programs."""
FORMATS = tuple(sorted(Image.OPEN.keys() - NOT_DECODED))
RECOGNIZED = tuple(kind for kind in FORMATS if Image.OPEN[kind][1] is not None)
"""Those that begin with bytes of their own."""
FORMAT_OF = {suffix: kind for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
SUFFIXES = frozenset(FORMAT_OF)
CAMERA_SUFFIXES = frozenset((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"))
"""Of what cameras write before it is developed; Pillow would read the small preview inside."""
OTHER_SUFFIXES = frozenset((".ai", ".emf", ".eps", ".exr", ".hdr", ".jxl", ".svg", ".svgz", ".wmf", ".xcf"))
"""Of pictures that Pillow does not decode."""
DESKTOP = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"))
"""What desktops leave in folders; so are hidden files."""
NAMED = 3
"""Files that a message names."""


class Files(NamedTuple):
    """What lies in a folder: the pictures, and all other files but those that desktops leave there."""

    pictures: list[Path]
    others: list[Path]


def is_image(path: Path) -> bool:
    """Whether a file is a picture: its name says so, or else its first bytes do. What is hidden counts as none."""
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in SUFFIXES | CAMERA_SUFFIXES | OTHER_SUFFIXES or _begins_like_one(path)


def formats_of(path: Path) -> tuple[str, ...]:
    """The formats that a file may have: any whose first bytes tell it, and that of its suffix.

    Raises DataError for a kind of picture that is not read.
    """
    suffix = path.suffix.lower()
    if suffix in CAMERA_SUFFIXES | OTHER_SUFFIXES:
        what = "a camera's raw picture" if suffix in CAMERA_SUFFIXES else f"a picture of the kind {suffix}"
        raise DataError(f"{what} is not read; save it as PNG, JPEG or TIFF")
    kind = FORMAT_OF.get(suffix)
    return RECOGNIZED if kind is None or kind in RECOGNIZED else (*RECOGNIZED, kind)


def _begins_like_one(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=RECOGNIZED):
                return True
    except Exception:  # whatever goes wrong in a stranger's file, it does not begin like a picture
        return False


def files_in(folder: Path, deeply: bool = True) -> Files:
    """All files in a folder, and in folders inside it, sorted; hidden folders are passed over, links are followed.

    Raises DataError for a folder that cannot be read.
    """
    files = Files([], [])
    for path in sorted(_walk(folder, deeply)):
        hidden = path.name.startswith(".")
        if is_image(path):
            files.pictures.append(path)
        elif (not hidden and path.name.lower() not in DESKTOP) or (
            path.suffix.lower() in SUFFIXES and not path.name.startswith("._")
        ):
            files.others.append(path)
    return files


def _walk(folder: Path, deeply: bool) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: the folder cannot be read ({error.strerror})") from None

    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if deeply and not name.startswith(".") and name != "__MACOSX"]
        yield from (Path(place, name) for name in names)


def left_out(others: Sequence[Path], folder: Path) -> list[str]:
    """One sentence about files of a folder that are no pictures; none if there are no such files."""
    if not others:
        return []
    one = len(others) == 1
    what = (
        "1 file is no picture, or hidden, and is" if one else f"{len(others)} files are no pictures, or hidden, and are"
    )
    return [f"{folder}: {what} left out: {some_of(others, folder)}"]


def some_of(files: Sequence[Path], folder: Path) -> str:
    """The names of the first of these files, and how many there are more."""
    names = ", ".join(str(path.relative_to(folder)) for path in files[:NAMED])
    return names + (f" and {len(files) - NAMED} more" if len(files) > NAMED else "")
