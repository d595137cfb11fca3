"""Data sets of pictures: a folder of folders, one for each class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blockprop.data.arrays import LARGEST_SET
from blockprop.data.dataset import Data, Dataset
from blockprop.errors import DataError, SettingError
from blockprop.pictures.image_files import MOST_PIXELS, SUFFIXES, is_image, read_image


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
    folders = _folders(folder)
    if not folders:
        files = _images(folder)
        if need_labels or not files:
            raise DataError(f"{folder}: expected one folder for each class with pictures in it, found none")
        return Dataset(_read_all(files, size, channels), None, None, str(folder))
    names = tuple(path.name for path in folders) if classes is None else tuple(classes)
    files, y = [], []
    for path in folders:
        if path.name not in names:
            raise DataError(f"{path}: {path.name!r} is not one of the known classes {', '.join(names)}")
        inside = _images(path)
        if not inside:
            raise DataError(f"{path}: expected pictures of this class ({', '.join(sorted(SUFFIXES))}), found none")
        files += inside
        y += [names.index(path.name)] * len(inside)
    return Dataset(_read_all(files, size, channels), torch.tensor(y), names, str(folder))


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
