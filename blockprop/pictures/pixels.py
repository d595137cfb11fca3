"""Pixels of every kind as 8 bits, gray or RGB: deep ones, floating-point ones, other colors, transparent ones."""

from typing import Any

import numpy as np
from PIL import Image, ImageCms

from blockprop.errors import DataError

BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262
"""Numbers of TIFF tags."""
WHITE_IS_ZERO = 0
"""A value of the second."""
DEEP = 65_535
BEYOND = 0.002
"""Numbers may leave 0…1 by half a level."""
GRAY = ("1", "L", "LA", "La")


def in_8_bits(image: Image.Image, channels: int | None) -> Image.Image:
    """The picture in mode L or RGB, with what is transparent shown on white.

    channels: 1 turns it gray, 3 colored; by default it stays what it is.
    Color profiles are not applied, as in the reading of the pictures that published networks were trained on.
    Raises DataError for numbers of which it is not clear what is white.
    """
    if image.mode[0] in "IF":
        image = _from_numbers(image)
    elif "transparency" in image.info:
        image.info["transparency"] = _transparent_value(image)
    if image.mode == "LAB":
        image = _from_lab(image)
    mode = {1: "L", 3: "RGB"}[channels] if channels else ("L" if image.mode in GRAY else "RGB")
    if image.has_transparency_data:
        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _from_numbers(image: Image.Image) -> Image.Image:
    """Gray of more than 8 bits, or of floating-point numbers."""
    numbers, white = np.asarray(image), _white(image)
    if not np.isfinite(numbers).all():
        raise DataError("it holds numbers that are not finite")
    low, high = float(numbers.min(initial=0)), float(numbers.max(initial=0))
    if low < -BEYOND * white or high > (1 + BEYOND) * white:
        raise DataError(f"its numbers reach from {low:g} to {high:g}, where 0 is black and {white:g} white is expected")
    pixels = np.empty(numbers.shape, np.uint8)
    for row, line in enumerate(numbers):  # one at a time, because numbers take eight times the memory of pixels
        pixels[row] = _levels(line.astype(np.float64), white, image)
    return Image.fromarray(pixels)


def _levels(values: np.ndarray, white: float, image: Image.Image) -> np.ndarray:
    """A row of the picture from 0 to 255."""
    levels = values * (255 / white)
    levels = levels.round() if image.mode == "F" else np.floor(levels + 1e-9)  # as Pillow does with deep colors
    if _tags(image).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        levels = 255 - levels
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        levels[values == transparent] = 255
    return levels.clip(0, 255).astype(np.uint8)


def _from_lab(image: Image.Image) -> Image.Image:
    profiles = (ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"))
    colored = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    assert colored is not None  # which it is only where the picture is changed in place
    return colored


def _white(image: Image.Image) -> float:
    """What stands for white, as the file's format says."""
    if image.mode == "F":
        return 1.0
    bits = _tags(image).get(BITS_PER_SAMPLE)
    if image.mode.startswith("I;16"):
        return float(2 ** min(bits[0] if bits else 16, 16) - 1)
    if bits or image.format not in ("JPEG2000", "PNG", "PPM", None):  # which are brought to 16 bits by Pillow
        raise DataError(
            "it holds whole numbers with a sign or of 32 bits, which do not say what is white; save it "
            "with 8 or 16 bits"
        )
    return float(DEEP)


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _transparent_value(image: Image.Image) -> Any:
    """The value that PNG calls transparent, as 8-bit pixels have it."""
    value, raw = image.info["transparency"], image.info.get("raw", "")
    if raw in ("1", "L;2", "L;4"):
        return value * 255 // (2 ** int(raw[-1]) - 1)
    return tuple(part >> 8 for part in value) if raw == "RGB;16B" else value
