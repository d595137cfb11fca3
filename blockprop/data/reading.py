"""Data sets by path or by name: `read_data` finds out what a source is and hands it to its reader.

read_data("mnist.npz")      read_data("folder/of/folders/of/pictures")      read_data("table.csv", target="price")
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from blockprop.data.arrays import examples, find_idx, is_idx, read_idx, read_npz
from blockprop.data.dataset import Data, Dataset
from blockprop.data.image_folders import Reading, read_image_file, read_image_folder, reading_of
from blockprop.data.labels import labels
from blockprop.data.sizing import in_size
from blockprop.data.tables.deciding import Wishes
from blockprop.data.tables.encoder import TableEncoder
from blockprop.data.tables.examples import table_data
from blockprop.data.tables.files import Table, read_table
from blockprop.errors import BlockpropWarning, DataError, SettingError, suggestion
from blockprop.pictures.framing import require_crop
from blockprop.pictures.image_kinds import is_image
from blockprop.pictures.preprocessing import Preprocessing

TABLES = (".csv", ".tsv", ".parquet")
INSTEAD = {
    "; save the sheet as CSV": (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"),
    "; if it is a table of text, call it .csv": (".txt", ".dat", ".data", ".tab", ""),
    "; save the table as CSV": (".json", ".jsonl", ".xml", ".html", ".feather", ".arrow", ".sqlite", ".sav", ".dta"),
    "; save arrays x and y as .npz, as numpy.savez does": (".npy", ".mat", ".h5", ".hdf5", ".pkl", ".pt", ".pth"),
    "; unpack it, and give what is in it": (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"),
}
"""What to do with other kinds of files, by their suffixes."""
NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""Data sets that come with scikit-learn."""


def read_data(
    source: str | os.PathLike[str],
    *,
    target: str | None = None,
    encoder: TableEncoder | None = None,
    need_labels: bool = True,
    test_fraction: float = 0.0,
    seed: int = 0,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    crop: str | None = None,
    sight: Preprocessing | None = None,
    classes: Sequence[str] | None = None,
    task: str | None = None,
    drop: Sequence[str] = (),
    text: Sequence[str] = (),
    number: Sequence[str] = (),
    decimal: str | None = None,
    header: bool | None = None,
    skip_unreadable: bool = False,
    warn: bool = True,
) -> Data:
    """Read examples and labels from a file, a folder, or by name.

    source: .npz; .csv, .tsv or .parquet; a folder with one folder of pictures per class, or with train and val or test
        folders of such; a picture; MNIST's IDX files or their folder; or one of NAMES.
    target: a table's column to predict, by default the last. encoder: how to encode a table, if that is settled.
    need_labels: False to accept data without labels (for predicting).
    test_fraction, seed: how much to split off as a test part, if the source has none; 0 for nothing.
    size, channels: what all pictures are brought to; by default the first one's.
    crop: what is taken of each picture: "center", the default: as much of its middle as goes into the size; "stretch":
        all of it, in that size; "whole": all of it as it is, if all have one size.
    sight: which part of a picture a network sees, and how (`pictures.sight`), in place of these three.
    classes: the classes' names in order, if that is settled. task: "classify" or "regress" instead of deciding.
    drop, text, number: columns of a table to leave out, or to take for words or for numbers, instead of deciding.
    decimal: "point" or "comma", where a table does not show what "1,234" is. header: whether a table's first row holds
        the columns' names, instead of deciding.
    skip_unreadable: whether pictures of a folder that cannot be read are left out, with a note, instead of an error.
    warn: whether to give a warning for each of the data's notes: what was guessed, left out or odd.
    Raises DataError naming the file and the row, SettingError for an argument outside its range or of other data.
    """
    _check_settings(test_fraction, channels, task)
    path, name = Path(source), os.fspath(source)
    require_crop(crop)
    _require_photographs(path, {"crop": crop, "skip_unreadable": skip_unreadable or None})
    if _is_table(path):
        _refuse(path, {"size": size, "channels": channels}, "pictures")
    else:
        columns = {"drop": list(drop), "text": list(text), "number": list(number), "decimal": decimal, "header": header}
        _refuse(path, columns | {"target": None if encoder else target}, "tables")
    tabular: dict[str, Any] = {
        "target": target,
        "encoder": encoder,
        "need_labels": need_labels,
        "task": task,
        "classes": classes,
    }
    wishes = Wishes(tuple(drop), tuple(text), tuple(number), decimal)
    tabular |= {"test_fraction": test_fraction, "seed": seed, "wishes": wishes}
    if name in NAMES and _is_table(path):
        data = _named_table(name, tabular)
    elif _is_table(path):
        data = table_data(read_table(_checked(path), header=header, encoder=encoder), name, **tabular)
    else:
        data = _arrays(path, need_labels, reading_of(size, channels, crop, sight, skip_unreadable), classes, task)
        if data.test is None and test_fraction:
            train, test = data.train.split(test_fraction, seed, "test_fraction")
            data = replace(data, train=train, test=test)
    for note in data.notes if warn else ():
        warnings.warn(note, BlockpropWarning, 2)
    return data


def _arrays(path: Path, need_labels: bool, reading: Reading, classes: Sequence[str] | None, task: str | None) -> Data:
    """What is no table: pictures and arrays of numbers."""
    if str(path) == "digits":
        data = Data(_digits())
    elif path.is_dir():
        data = _read_folder(path, need_labels, reading, classes)
    else:
        data = _read_file(_checked(path), need_labels, reading, classes, task)
    if holds_photographs(path):
        return data  # which are read in their size
    return in_size(data, None if reading.sight is None else reading.sight.height_width, reading.channels)


def _check_settings(test_fraction: float, channels: int | None, task: str | None) -> None:
    if not 0 <= test_fraction < 1:
        raise SettingError(f"expected a test_fraction from 0 to below 1, got test_fraction={test_fraction}")
    if channels not in (None, 1, 3):
        raise SettingError(f"expected 1 (gray) or 3 (RGB) channels, got {channels}")
    if task not in (None, "classify", "regress"):
        raise SettingError(f'expected the task "classify" or "regress", got {task!r}')


def _require_photographs(path: Path, settings: Mapping[str, Any]) -> None:
    """SettingError for a setting of photographs where there are none, but a table, say, or arrays."""
    if str(path) in NAMES or not holds_photographs(path):
        _refuse(path, settings, "photographs")


def _refuse(path: Path, settings: Mapping[str, Any], kind: str) -> None:
    """SettingError for a setting that is of another kind of data, and would change nothing here."""
    named = [f"{name}={value!r}" for name, value in settings.items() if value not in (None, [])]
    if named and (path.exists() or str(path) in NAMES):
        raise SettingError(f"{path}: {named[0]} is of {kind}, and these are none; leave it out")


def _is_table(path: Path) -> bool:
    if str(path) in NAMES:
        return str(path) != "digits"
    return path.suffix.lower() in TABLES and not path.is_dir()


def holds_photographs(path: Path) -> bool:
    """Whether data are a picture or a folder of some, not arrays."""
    return (path.is_dir() and find_idx(path, "train") is None) or is_image(path)


def _checked(path: Path) -> Path:
    if not path.exists():
        near = suggestion(str(path), NAMES)
        raise DataError(f"{path}: there is no such file or folder, and no data set of that name{near}")
    if not path.is_file():
        raise DataError(f"{path}: expected an ordinary file or a folder")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    return path


def _read_folder(folder: Path, need_labels: bool, reading: Reading, classes: Sequence[str] | None) -> Data:
    train, test = find_idx(folder, "train"), find_idx(folder, "t10k", "test")
    if train is None:
        return read_image_folder(folder, reading, need_labels, classes)
    data = read_idx(train, need_labels, classes)
    return Data(data, None if test is None else read_idx(test, need_labels, data.classes))


def _read_file(
    path: Path, need_labels: bool, reading: Reading, classes: Sequence[str] | None, task: str | None
) -> Data:
    if path.suffix.lower() == ".npz":
        return read_npz(path, need_labels, classes, task)
    if is_idx(path):
        return Data(read_idx(path, need_labels, classes))
    if is_image(path) and not need_labels:
        return read_image_file(path, reading)
    if is_image(path):
        raise DataError(f"{path}: a single picture has no label; expected a folder with one folder for each class")
    one = "" if need_labels else "a picture, "
    expected = f"expected {one}.npz, {', '.join(TABLES)}, an IDX file, or a folder of pictures"
    instead = next((said for said, suffixes in INSTEAD.items() if path.suffix.lower() in suffixes), "")
    raise DataError(f"{path}: unknown kind of file {path.suffix!r}; {expected}{instead}")


def _named_table(name: str, tabular: dict[str, Any]) -> Data:
    from sklearn import datasets  # late, because it takes a second

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame, names = bunch.frame.set_axis(range(1, len(bunch.frame) + 1)), getattr(bunch, "target_names", None)
    if names is not None:
        frame["target"] = [str(names[number]) for number in frame["target"]]
        tabular = tabular | {"classes": tabular["classes"] or [str(n) for n in names]}
    else:
        tabular = tabular | {"task": tabular["task"] or "regress"}
    return table_data(Table(frame), name, **tabular)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = examples(bunch.images.astype(np.float32) / 16, "digits")
    y, classes = labels(bunch.target, "digits")
    return Dataset(x, y, classes, "digits")
