"""Pictures from files: one, a folder of them, or a folder with one folder for each class."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from blockprop.arrays import LARGEST_SET
from blockprop.dataset import Data, Dataset
from blockprop.errors import DataError, SettingError

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


def read_image_folder(
    folder: Path,
    need_labels: bool = True,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
) -> Data:
    """Pictures in folder/CLASS/, or in folder/train/CLASS/ and folder/test/CLASS/; without labels just in folder.

    size: one side or (h, w) of all; by default the first picture's.
    Raises DataError for an empty class folder, a damaged picture, and gray and colored ones mixed.
    """
    inner = {path.name.lower(): path for path in _folders(folder)}
    if "train" not in inner or "test" not in inner:
        return Data(_labeled(folder, need_labels, size, channels, classes))
    train = _labeled(inner["train"], need_labels, size, channels, classes)
    count, *same = train.shape
    return Data(train, _labeled(inner["test"], need_labels, (same[0], same[1]), count, train.classes))


def read_image_file(path: Path, size: int | tuple[int, int] | None = None, channels: int | None = None) -> Dataset:
    """One picture, without a label."""
    return Dataset(_read_all([path], size, channels), name=str(path))


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def _images(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if is_image(path) and path.is_file()]


def _labeled(
    folder: Path,
    need_labels: bool,
    size: int | tuple[int, int] | None,
    channels: int | None,
    classes: Sequence[str] | None,
) -> Dataset:
    found = _folders(folder)
    if not found:
        files = _images(folder)
        if need_labels or not files:
            raise DataError(f"{folder}: expected one folder for each class with pictures in it, found none")
        return Dataset(_read_all(files, size, channels), None, None, str(folder))
    known = tuple(path.name for path in found) if classes is None else tuple(classes)
    files, y = [], []
    for path in found:
        if path.name not in known:
            raise DataError(f"{path}: {path.name!r} is not one of the known classes {', '.join(known)}")
        inside = _images(path)
        if not inside:
            raise DataError(f"{path}: expected pictures of this class ({', '.join(sorted(SUFFIXES))}), found none")
        files += inside
        y += [known.index(path.name)] * len(inside)
    return Dataset(_read_all(files, size, channels), torch.tensor(y), known, str(folder))


def _read_all(files: Sequence[Path], size: int | tuple[int, int] | None, channels: int | None) -> Tensor:
    """(n, c, h, w) in 0…1."""
    first = read_image(files[0], _height_width(size), channels)
    total = len(files) * first.size
    if total > LARGEST_SET:
        raise DataError(
            f"{files[0].parent}: {len(files)} pictures of {first.shape[1]} x {first.shape[0]} need too much memory; "
            "pass a smaller size="
        )
    pixels = np.empty((len(files), *first.shape), np.uint8)
    for i, path in enumerate(files):
        picture = read_image(path, first.shape[:2], channels)
        if picture.ndim != first.ndim:
            color = {2: "gray", 3: "colored"}
            raise DataError(
                f"{path} is {color[picture.ndim]}, but {files[0]} is {color[first.ndim]}; "
                "pass channels=1 or channels=3 to bring all to one kind"
            )
        pixels[i] = picture
    x = torch.from_numpy(pixels).float().div_(255)
    return x[:, None] if x.dim() == 3 else x.permute(0, 3, 1, 2).contiguous()


def _height_width(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise SettingError(f"expected a size of at least 1 x 1 pixels, got {size}")
    return height, width
