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
from blockprop.data.folder_parts import Parts, files_of_class, folders_in, parts_of
from blockprop.data.sizing import brought
from blockprop.data.unreadable import Unreadable
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
    skips: whether pictures that cannot be read are left out, instead of being an error.
    """

    sight: Preprocessing | None = None
    channels: int | None = None
    crop: str = "center"
    skips: bool = False

    def sight_in(self, height: int, width: int) -> Preprocessing:
        """The part of each, if the first has this size."""
        return self.sight or Preprocessing((height, width), shorter_side=min(height, width), crop=self.crop)


def reading_of(
    size: int | tuple[int, int] | None,
    channels: int | None,
    crop: str | None,
    sight: Preprocessing | None,
    skips: bool = False,
) -> Reading:
    """From what `read_data` is told. SettingError for a size that no picture has, and for one of whole pictures."""
    if sight is not None:
        return Reading(sight, sight.count, skips=skips)
    if crop == "whole":
        require_no_size(size)
        return Reading(Preprocessing(), channels, skips=skips)
    reading = Reading(None, channels, crop or "center", skips)
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
    class folder, for damaged pictures, naming all of them, and for gray and colored ones mixed.
    """
    notes: list[str] = []
    broken = Unreadable(folder)
    parts = parts_of(folder, notes) or Parts(folder)
    train = _labeled(parts.train, reading, need_labels, classes, notes, broken)
    count, height, width = train.shape
    same = replace(reading, sight=reading.sight_in(height, width), channels=count)
    test, validation = (
        None if path is None else _labeled(path, same, need_labels, train.classes, notes, broken)
        for path in (parts.test, parts.validation)
    )
    if broken.reasons and not reading.skips:
        raise broken.error()
    return Data(train, test, validation=validation, notes=(*notes, *broken.note()))


def read_image_file(path: Path, reading: Reading) -> Data:
    """One picture, without a label."""
    notes: list[str] = []
    broken = Unreadable(path.parent)
    x, _ = _read_all([path], reading, path.parent, notes, broken)
    return Data(Dataset(x, name=str(path)), notes=tuple(notes))


def _labeled(
    folder: Path,
    reading: Reading,
    need_labels: bool,
    classes: Sequence[str] | None,
    notes: list[str],
    broken: Unreadable,
) -> Dataset:
    folders = folders_in(folder)
    if not folders:
        files, others = files_in(folder)
        if need_labels or not files:
            raise DataError(f"{folder}: expected one folder for each class with pictures in it, found none")
        notes += left_out(others, folder)
        x, _ = _read_all(files, reading, folder, notes, broken)
        return Dataset(x, None, None, str(folder))
    names = tuple(path.name for path in folders) if classes is None else tuple(classes)
    loose = files_in(folder, deeply=False)
    pictures, y, others = [], [], loose.others
    for path in folders:
        if path.name not in names:
            some = ", ".join(names[:MANY]) + (f" … ({len(names)} in all)" if len(names) > MANY else "")
            raise DataError(f"{path}: {path.name!r} is not one of the known classes {some}")
        inside = files_of_class(path, notes)
        if not inside.pictures:
            beside = f" (but {some_of(inside.others, path)})" * bool(inside.others)
            raise DataError(
                f"{path}: expected pictures of the class {path.name!r}, found none{beside}; put some there, or remove "
                "the folder"
            )
        pictures += inside.pictures
        others += inside.others
        y += [names.index(path.name)] * len(inside.pictures)
    if loose.pictures:
        beside = some_of(loose.pictures, folder)
        notes.append(f"{folder}: what lies beside the folders of the classes is left out: {beside}")
    notes += left_out(others, folder)
    x, read = _read_all(pictures, reading, folder, notes, broken)
    labels = torch.tensor(y)[read]
    if reading.skips and (lost := sorted({*y} - {*labels.tolist()})):
        raise DataError(f"{folder}: none of the pictures of the class {names[lost[0]]!r} can be read")
    return Dataset(x, labels, names, str(folder))


def _read_all(
    files: Sequence[Path], reading: Reading, folder: Path, notes: list[str], broken: Unreadable
) -> tuple[Tensor, list[int]]:
    """((n, c, h, w) in 0…1, the numbers of their files); what cannot be read goes to `broken`."""
    pixels = np.empty((0, 1, 1, 1), np.uint8)
    first = pixels[:0, 0]
    sight, read = reading.sight, list[int]()
    of_other_size, moving = 0, []
    unlike: DataError | None = None
    for i, path in enumerate(files):
        try:
            picture, frames = read_frames(path, reading.channels)
            part = _framed(picture, sight or reading.sight_in(*picture.shape[:2]), path)
        except DataError as error:
            broken.reasons.append(str(error))
            continue
        if not read:
            sight = reading.sight_in(*part.shape[:2])
            pixels, first = _room_for(len(files), part, folder), part
        elif unlike := unlike or _unlike(part, path, first, files[read[0]]):
            continue
        of_other_size += picture.shape[:2] != part.shape[:2]
        moving += [path] if frames > 1 else []
        pixels[len(read)] = np.moveaxis(np.atleast_3d(part), 2, 0)  # so that batches need not be turned
        read.append(i)
    broken.count += len(files)
    if broken.reasons and not reading.skips and (unlike or not read):
        raise broken.error()
    if unlike or not read:
        raise unlike or DataError(f"{folder}: none of its {len(files)} pictures can be read: {broken.reasons[-1]}")
    if of_other_size and reading.sight is None:
        height, width = first.shape[:2]
        notes.append(
            f"{folder}: pictures are brought to {width} x {height}, the size of the first; {of_other_size} of "
            f"{len(read)} are {'stretched' if reading.crop == 'stretch' else 'scaled, and cut to their center'}"
        )
    if moving:
        notes.append(f"{folder}: of several frames or pages the first is read: {some_of(moving, folder)}")
    return brought(torch.from_numpy(pixels[: len(read)]), pixels.shape[1:]), read


def _room_for(count: int, first: np.ndarray, folder: Path) -> np.ndarray:
    """Memory for so many pictures like the first, (n, c, h, w). DataError if that is too much."""
    if count * first.size > LARGEST_SET:
        raise DataError(
            f"{folder}: {count} pictures of {first.shape[1]} x {first.shape[0]} need too much memory; "
            "pass a smaller size="
        )
    return np.empty((count, *np.atleast_3d(first).shape[2:], *first.shape[:2]), np.uint8)


def _framed(picture: np.ndarray, sight: Preprocessing, path: Path) -> np.ndarray:
    return np.asarray(framed(Image.fromarray(picture), sight, path))


def _unlike(picture: np.ndarray, path: Path, first: np.ndarray, first_path: Path) -> DataError | None:
    """Why two pictures do not go into one batch; None if they do."""
    if picture.ndim != first.ndim:
        color = {2: "gray", 3: "colored"}
        return DataError(
            f"{path} is {color[picture.ndim]}, but {first_path} is {color[first.ndim]}; "
            "pass channels=1 or channels=3 to bring all to one kind"
        )
    if picture.shape != first.shape:
        sizes = " and ".join(f"{one.shape[1]} x {one.shape[0]}" for one in (picture, first))
        return DataError(
            f"{path} and {first_path} as a whole are {sizes}, and do not go into one batch; take crop='center' or "
            "crop='stretch'"
        )
    return None
