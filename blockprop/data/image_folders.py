"""Data sets of pictures: a folder of folders, one for each class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blockprop.data.arrays import LARGEST_SET
from blockprop.data.dataset import Data, Dataset
from blockprop.data.folder_parts import files_of_class, folders_in, parts_of
from blockprop.errors import DataError, SettingError
from blockprop.pictures.image_files import MOST_PIXELS, read_frames
from blockprop.pictures.image_kinds import files_in, left_out, some_of
from blockprop.pictures.photos import framed
from blockprop.pictures.preprocessing import Preprocessing

MANY = 8
"""Classes that an error names."""


@dataclass(frozen=True)
class Reading:
    """How all pictures of a data set are read.

    sight: the part of each, and its size; None for that of the first.   channels: None to leave gray ones gray.
    crop: how pictures are brought to the size of the first, "center" or "stretch".
    """

    sight: Preprocessing | None = None
    channels: int | None = None
    crop: str = "center"

    def sight_in(self, height: int, width: int) -> Preprocessing:
        """The part of each, if the first has this size."""
        return self.sight or Preprocessing((height, width), shorter_side=min(height, width), crop=self.crop)


def reading_of(
    size: int | tuple[int, int] | None, channels: int | None, crop: str | None, sight: Preprocessing | None
) -> Reading:
    """From what `read_data` is told. SettingError for a size that no picture has, and for one of whole pictures."""
    if sight is not None:
        return Reading(sight, sight.count)
    if crop == "whole":
        require_no_size(size)
        return Reading(Preprocessing(), channels)
    reading = Reading(None, channels, crop or "center")
    if size is None:
        return reading
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise SettingError(f"expected a size of at least 1 x 1 pixels, got {size}")
    return replace(reading, sight=reading.sight_in(height, width))


def require_no_size(size: int | tuple[int, int] | None) -> None:
    """SettingError if whole pictures are to be brought to a size."""
    if size is not None:
        raise SettingError(
            "crop='whole' leaves pictures their own proportions, which no size changes: leave size= out, or take "
            "crop='center' or crop='stretch'"
        )


def read_image_folder(
    folder: Path, reading: Reading, need_labels: bool = True, classes: Sequence[str] | None = None
) -> Data:
    """Pictures in folder/CLASS/, or in folder/train/CLASS/ and folder/test/CLASS/; without labels just in folder.

    A validation part may stand beside these (`parts_of`). Folders inside a class folder belong to it.
    Its notes say what is left out, and that pictures have other sizes than the first. Raises DataError for an empty
    class folder, a damaged picture, and gray and colored ones mixed.
    """
    notes: list[str] = []
    parts = parts_of(folder, notes)
    if parts is None:
        train = _labeled(folder, reading, need_labels, classes, notes)
        return Data(train, notes=tuple(notes))
    train = _labeled(parts.train, reading, need_labels, classes, notes)
    count, height, width = train.shape
    same = Reading(reading.sight_in(height, width), count)
    test, validation = (
        None if path is None else _labeled(path, same, need_labels, train.classes, notes)
        for path in (parts.test, parts.validation)
    )
    return Data(train, test, validation=validation, notes=tuple(notes))


def read_image_file(path: Path, reading: Reading) -> Data:
    """One picture, without a label."""
    notes: list[str] = []
    return Data(Dataset(_read_all([path], reading, path.parent, notes), name=str(path)), notes=tuple(notes))


def _labeled(
    folder: Path, reading: Reading, need_labels: bool, classes: Sequence[str] | None, notes: list[str]
) -> Dataset:
    folders = folders_in(folder)
    if not folders:
        files, others = files_in(folder)
        if need_labels or not files:
            raise DataError(f"{folder}: expected one folder for each class with pictures in it, found none")
        notes += left_out(others, folder)
        return Dataset(_read_all(files, reading, folder, notes), None, None, str(folder))
    names = tuple(path.name for path in folders) if classes is None else tuple(classes)
    loose = files_in(folder, deeply=False)
    pictures, y, others = [], [], loose.others
    for path in folders:
        if path.name not in names:
            some = ", ".join(names[:MANY]) + (f" … ({len(names)} in all)" if len(names) > MANY else "")
            raise DataError(f"{path}: {path.name!r} is not one of the known classes {some}")
        inside = files_of_class(path, notes)
        if not inside.pictures:
            raise DataError(f"{path}: expected pictures of this class, found none")
        pictures += inside.pictures
        others += inside.others
        y += [names.index(path.name)] * len(inside.pictures)
    if loose.pictures:
        beside = some_of(loose.pictures, folder)
        notes.append(f"{folder}: what lies beside the folders of the classes is left out: {beside}")
    notes += left_out(others, folder)
    return Dataset(_read_all(pictures, reading, folder, notes), torch.tensor(y), names, str(folder))


def _read_all(files: Sequence[Path], reading: Reading, folder: Path, notes: list[str]) -> Tensor:
    """(n, c, h, w) in 0…1."""
    first = _pixels(files[0], reading)
    total = len(files) * first.size
    if total > LARGEST_SET:
        raise DataError(
            f"{folder}: {len(files)} pictures of {first.shape[1]} x {first.shape[0]} need too much memory; "
            "pass a smaller size="
        )
    sight = reading.sight_in(*first.shape[:2])
    pixels = np.empty((len(files), *first.shape), np.uint8)
    of_other_size, moving = 0, []
    for i, path in enumerate(files):
        picture, frames = read_frames(path, reading.channels)
        of_other_size += picture.shape[:2] != first.shape[:2]
        moving += [path] if frames > 1 else []
        part = _framed(picture, sight, path)
        _require_alike(part, path, first, files[0])
        pixels[i] = part
    if of_other_size and reading.sight is None:
        height, width = first.shape[:2]
        notes.append(
            f"{folder}: pictures are brought to {width} x {height}, the size of the first; {of_other_size} of "
            f"{len(files)} are {'stretched' if sight.crop == 'stretch' else 'scaled, and cut to their center'}"
        )
    if moving:
        notes.append(f"{folder}: of several frames or pages the first is read: {some_of(moving, folder)}")
    x = torch.from_numpy(pixels).float().div_(255)
    return x[:, None] if x.dim() == 3 else x.permute(0, 3, 1, 2).contiguous()


def _pixels(path: Path, reading: Reading) -> np.ndarray:
    picture, _ = read_frames(path, reading.channels)
    return picture if reading.sight is None else _framed(picture, reading.sight, path)


def _framed(picture: np.ndarray, sight: Preprocessing, path: Path) -> np.ndarray:
    return np.asarray(framed(Image.fromarray(picture), sight, path))


def _require_alike(picture: np.ndarray, path: Path, first: np.ndarray, first_path: Path) -> None:
    """DataError if two pictures do not go into one batch."""
    if picture.ndim != first.ndim:
        color = {2: "gray", 3: "colored"}
        raise DataError(
            f"{path} is {color[picture.ndim]}, but {first_path} is {color[first.ndim]}; "
            "pass channels=1 or channels=3 to bring all to one kind"
        )
    if picture.shape != first.shape:
        sizes = " and ".join(f"{one.shape[1]} x {one.shape[0]}" for one in (picture, first))
        raise DataError(
            f"{path} and {first_path} as a whole are {sizes}, and do not go into one batch; take crop='center' or "
            "crop='stretch'"
        )
