"""Pictures from files: one, a folder of them, or a folder with one folder for each class."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from blockprop.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Formats that Pillow decodes by itself; others (EPS) would start another program."""
MOST_PIXELS = 100_000_000
SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"))


def is_image(path: Path) -> bool:
    """Whether the file's name says that it is a picture."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_image(path: Path, size: tuple[int, int] | None = None, channels: int | None = None) -> np.ndarray:
    """A picture as uint8 (h, w) or (h, w, 3), the right way up, with what is transparent shown on white.

    size: (h, w) to bring it to, by scaling and cutting off what sticks out evenly.
    channels: 1 turns it gray, 3 colored; by default it stays what it is.
    Raises DataError for a damaged or too large file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about meta data
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise DataError(f"{image.width} x {image.height} pixels; {MOST_PIXELS} are allowed")
                picture = _flat(ImageOps.exif_transpose(image), channels)
    except Exception as error:  # a damaged picture can fail in many ways, with one meaning
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read as a picture ({reason})") from None
    if size is not None and (picture.height, picture.width) != size:
        picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _flat(image: Image.Image, channels: int | None) -> Image.Image:
    """The picture in mode L or RGB."""
    if image.mode.startswith("I"):
        return _flat(Image.fromarray((np.asarray(image, np.float32) / 257).clip(0, 255).astype(np.uint8)), channels)
    mode = {1: "L", 3: "RGB"}[channels] if channels else ("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
