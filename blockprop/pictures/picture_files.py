"""Pictures in and out of files, with all settings in the file, so that a picture says how it was made.

picture = read_picture("cat.jpg", longest=512)
settings = how_made("maximize", {"target": "goose", "steps": 512}, seed=7, network=network, pictures=["cat.jpg"])
write_picture("goose.png", picture, settings)
read_settings("goose.png")["seed"]
"""

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from blockprop.errors import DataError, FormatError, NotFiniteError, SettingError, ShapeError, shape
from blockprop.pictures.image_files import MOST_PIXELS, read_image, reason_of
from blockprop.pictures.image_kinds import formats_of
from blockprop.saving.files import StrPath, dump, naming, parse, write_file
from blockprop.version import __version__

SMALLEST_SIDE = 2
"""Pixels; less cannot show anything, and stands for a tracking pixel or a mistake."""
FORMAT_OF_SUFFIX = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
KEY = "blockprop"
"""The keyword of the PNG chunk; in EXIF data the description's first word."""
DESCRIPTION, SOFTWARE = 0x010E, 0x0131
"""Numbers of EXIF (and TIFF) tags."""
LONGEST_IN_JPEG = 65_000
"""Characters; a JPEG file's EXIF data may have 64 KiB."""


def read_picture(path: StrPath, longest: int | None = None) -> Tensor:
    """A picture from a file as (1, 3, h, w), RGB, 0…1: the right way up, what is transparent on white, gray in RGB.

    PNG, JPEG, TIFF, WebP, AVIF, HEIC and what else image_kinds.FORMATS lists; CMYK and palettes are converted, and
    finer gradations brought to 8 bits.
    longest: pixels of the longer side; larger pictures are scaled down (Lanczos), smaller ones stay as they are.
    Raises DataError for what is no picture, damaged, too large (before memory is used) or less than 2 pixels wide.
    """
    return from_pixels(read_pixels(path, longest))[None]


def read_pixels(path: StrPath, longest: int | None = None) -> np.ndarray:
    """The same as uint8 (h, w, 3)."""
    if longest is not None and longest < SMALLEST_SIDE:
        raise SettingError(f"expected a longest side of at least {SMALLEST_SIDE} pixels, got {longest}")
    _require_picture(path)
    pixels = read_image(Path(path), channels=3)
    too_large = longest is not None and max(pixels.shape) > longest
    if longest is not None and too_large:
        ratio = longest / max(pixels.shape)
        height, width = (max(1, round(side * ratio)) for side in pixels.shape[:2])
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        scaled = f" with its longer side scaled to {longest}" if too_large else ""
        raise DataError(f"{path}: {width} x {height} pixels{scaled}; each side needs at least {SMALLEST_SIDE}")
    return pixels


def read_settings(path: StrPath) -> dict[str, Any]:
    """The settings that `write_picture` put into the file (tuples have become lists). No pixel is decoded but in need.

    Raises DataError if the file is no picture or holds no settings, FormatError if they are spoiled.
    """
    _require_picture(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about meta data and size: nothing is decoded here
            with Image.open(path, formats=formats_of(Path(path))) as image:
                text = _text_in(image)
    except Exception as error:  # a damaged picture can fail in many ways, with one meaning
        raise DataError(f"{path}: cannot be read as a picture ({reason_of(error, Path(path))})") from None
    if text is None:
        raise DataError(
            f"{path} does not say how it was made: it holds no settings of blockprop (they are lost when another "
            "program saves the picture, or sends it without its meta data)"
        )
    with naming(Path(path)):
        return parse(text)


def _require_picture(path: StrPath) -> None:
    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; expected one picture")
    if not Path(path).is_file():
        raise DataError(f"{path} " + ("is not an ordinary file" if Path(path).exists() else "does not exist"))


def _text_in(image: Image.Image) -> str | None:
    """The settings' JSON, if the file has any."""
    text = image.info.get(KEY)
    if text is None and isinstance(image, PngImagePlugin.PngImageFile) and image.width * image.height <= MOST_PIXELS:
        text = image.text.get(KEY)  # another program may have put it behind the pixels
    description = image.getexif().get(DESCRIPTION)
    if text is None and isinstance(description, str) and description.startswith(KEY + " {"):
        text = description.removeprefix(KEY + " ")
    return text if text is None else str(text)


def write_picture(
    path: StrPath, picture: Tensor, settings: Mapping[str, Any] | None = None, quality: int = 95, bits: int = 8
) -> None:
    """Write a picture as .png, .jpg, .jpeg, .tif or .tiff, atomically: on failure an older file stays as it was.

    picture: (3, h, w) or (1, 3, h, w) in 0…1, or gray with 1 channel. What lies outside is clipped; the rest goes to
        the nearest of the file's levels, v → round((2^bits − 1) v), so that what was read from 8 bits is kept exactly.
    settings: plain data for `read_settings`, kept as JSON: in PNG as the iTXt chunk "blockprop", in JPEG and TIFF as
        the EXIF tag ImageDescription.
    quality: of JPEG, 1…100; from 90 on the colors are stored as finely as the brightness.
    bits: 8 or, for PNG and TIFF, 16 per channel.
    Raises SettingError for another suffix, ShapeError for another shape, NotFiniteError for NaN and infinity,
    FormatError if the file cannot be written or the settings are not plain data.
    """
    kind = FORMAT_OF_SUFFIX.get(Path(path).suffix.lower())
    if kind is None:
        raise SettingError(
            f"{path}: pictures are written as {', '.join(FORMAT_OF_SUFFIX)}, not as {Path(path).suffix!r}"
        )
    if bits not in (8, 16) or (bits == 16 and kind == "JPEG"):
        raise SettingError(f"{path}: expected 8 bits, or 16 in PNG and TIFF, got {bits}")
    if not 1 <= quality <= 100:
        raise SettingError(f"expected a quality from 1 to 100, got {quality}")
    pixels = to_pixels(picture[0] if picture.dim() == 4 and len(picture) == 1 else picture, bits)
    text = None if settings is None else dump(settings)
    if bits == 16:
        content = _deep_png(pixels, text) if kind == "PNG" else _deep_tiff(pixels, text)
    else:
        content = _encoded(Image.fromarray(pixels), kind, text, quality, path)
    write_file(path, content)


def to_pixels(picture: Tensor, bits: int = 8) -> np.ndarray:
    """(h, w, 3), or (h, w) of a gray picture, as uint8 or uint16; rounding and errors as in `write_picture`."""
    if picture.dim() != 3 or len(picture) not in (1, 3) or not picture.numel():
        raise ShapeError(f"expected one picture, 3 x h x w or 1 x h x w, got {shape(picture)}")
    if not picture.is_floating_point():
        raise ShapeError(f"expected a picture of floating-point numbers in 0…1, got {picture.dtype}")
    values = picture.detach().to("cpu", torch.float32)
    bad = int((~values.isfinite()).sum())
    if bad:
        raise NotFiniteError(f"the picture has {bad:,} values of {values.numel():,} that are NaN or infinite")
    levels = (values.clamp(0, 1) * (2**bits - 1)).round().numpy().astype(np.uint8 if bits == 8 else np.uint16)
    return np.ascontiguousarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))


def from_pixels(pixels: np.ndarray) -> Tensor:
    """(3, h, w) in 0…1 from uint8 (h, w, 3); (1, h, w) from (h, w)."""
    x = torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1).copy())
    return x.to(torch.float32).div_(255)


def as_png(picture: Tensor) -> bytes:
    """A PNG file's content of a picture without settings, for a page."""
    return _encoded(Image.fromarray(to_pixels(picture)), "PNG", None, 95, "the picture")


def _encoded(image: Image.Image, kind: str, text: str | None, quality: int, path: StrPath) -> bytes:
    options: dict[str, Any] = {}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        if text is not None:
            options["pnginfo"].add_itxt(KEY, text)
    elif text is not None:
        if kind == "JPEG" and len(text) > LONGEST_IN_JPEG:
            raise FormatError(
                f"{path}: the settings take {len(text):,} characters; JPEG holds {LONGEST_IN_JPEG:,}, PNG and TIFF more"
            )
        options["exif"] = Image.Exif()
        options["exif"][DESCRIPTION] = f"{KEY} {text}"
        options["exif"][SOFTWARE] = f"blockprop {__version__}"
    if kind == "JPEG":  # not optimize=True: its buffer is too small for noise, which class images are near to
        options |= {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    if kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except (OSError, ValueError) as error:  # 65,500 pixels are the most in a row of JPEG
        raise FormatError(f"{path}: {image.width} x {image.height} pixels cannot be kept as {kind} ({error})") from None
    return file.getvalue()


def _deep_png(pixels: np.ndarray, text: str | None) -> bytes:
    """16 bits, which Pillow does not write in color.

    Source: PNG specification, third edition: https://www.w3.org/TR/png-3/.
    """
    rows = pixels.astype(">u2").reshape(len(pixels), -1).view(np.uint8)
    up = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # filter 2: what has changed since the row above
    lines = np.insert(up, 0, 2, axis=1)
    color = 2 if pixels.ndim == 3 else 0
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, color, 0, 0, 0))]
    if text is not None:
        chunks.append((b"iTXt", KEY.encode() + bytes(5) + text.encode()))
    chunks += [(b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _deep_tiff(pixels: np.ndarray, text: str | None) -> bytes:
    from tifffile import imwrite  # late, because it takes a third of a second

    file = io.BytesIO()
    imwrite(
        file,
        pixels,
        byteorder="<",
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        compression="zlib",
        description=None if text is None else f"{KEY} {text}",
        software="" if text is None else f"blockprop {__version__}",
        metadata=None,
    )
    return file.getvalue()
