"""One picture from a file, whatever its format and its kind of pixels."""

import contextlib
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from blockprop.errors import BlockpropWarning, DataError
from blockprop.pictures.image_kinds import formats_of
from blockprop.pictures.pixels import in_8_bits

MOST_PIXELS = 80_000_000
"""Of a picture, of which 1.7 GB are needed at most to read it; Pillow by itself would stop little above."""
MOST_SLOWLY = 4_000_000
"""Of a kind that Pillow has no compiled reader for."""
MOVING = frozenset(("AVIF", "DCX", "FLI", "GIF", "PNG", "TIFF", "WEBP"))
"""Formats in which further pictures are frames or pages; in others they are layers, sizes or what a camera adds."""
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_image(path: Path, channels: int | None = None) -> np.ndarray:
    """A picture as uint8 (h, w) or (h, w, 3), the right way up, with what is transparent shown on white.

    channels: 1 turns it gray, 3 colored; by default it stays what it is.
    Warns where it is the first of several frames or pages. Raises DataError for a damaged or too large file.
    """
    pixels, frames = read_frames(path, channels)
    if frames > 1:
        warnings.warn(f"{path} holds {frames} pictures, frames or pages; the first is read", BlockpropWarning, 2)
    return pixels


def read_frames(path: Path, channels: int | None = None) -> tuple[np.ndarray, int]:
    """(the first picture in a file, as `read_image` gives it; how many frames or pages there are)."""
    try:
        if path.exists() and not path.is_file():  # a pipe in a stranger's folder, say, from which nothing may ever come
            raise DataError("it is not an ordinary file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about meta data
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats_of(path)) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise DataError(f"{image.width} x {image.height} pixels; {MOST_PIXELS:,} are allowed")
                _require_quick(image)
                _keep_raw_mode(image)
                image.load()
                _turn_upright(image)
                pixels = np.asarray(in_8_bits(image, channels))
                return pixels, getattr(image, "n_frames", 1) if image.format in MOVING else 1
    except Exception as error:  # a damaged picture can fail in many ways, with one meaning
        raise DataError(f"{path}: cannot be read as a picture ({reason_of(error, path)})") from None


def _require_quick(image: Image.Image) -> None:
    """DataError for many pixels of a kind that Pillow reads number by number in Python, a microsecond or two each."""
    slow = any(tile.codec_name in Image.DECODERS for tile in getattr(image, "tile", ()))
    if slow and image.width * image.height > MOST_SLOWLY:
        raise DataError(
            f"{image.width} x {image.height} pixels of a kind that is read slowly ({image.format}); {MOST_SLOWLY:,} "
            "are allowed, and more in PNG"
        )


def _keep_raw_mode(image: Image.Image) -> None:
    """Note how a PNG file stores its pixels, which Pillow forgets once they are loaded."""
    if isinstance(image, PngImagePlugin.PngImageFile) and image.tile:
        image.info["raw"] = str(image.tile[0][3])


def _turn_upright(image: Image.Image) -> None:
    """Turn the picture as its file says, if what it says there can be read at all."""
    with contextlib.suppress(Exception):  # meta data are spoiled in many ways, and the pixels are there already
        ImageOps.exif_transpose(image, in_place=True)


def reason_of(error: Exception, path: Path) -> str:
    """Why Pillow does not read a picture, in words."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file" + (": it is a link to nothing" if path.is_symlink() else "")
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        claimed = re.search(r"\d+", str(error))
        return f"{claimed[0] if claimed else 'more'} pixels; {MOST_PIXELS:,} are allowed"
    if isinstance(error, UnidentifiedImageError) and _is_tiff(path):
        return "a TIFF with pixels of a kind that is not known; save it with 8 or 16 bits per channel"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in TIFF_HEADS
