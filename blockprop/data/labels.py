"""Targets of a data set: classes by number or name, one-hot rows, or quantities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blockprop.errors import DataError

MOST_CLASSES = 100_000
"""A class number from here on is taken for a mistake."""
FEW = 20
"""A column of whole numbers with at most this many different ones, on average each twice, holds classes."""

Labels = tuple[Tensor, tuple[str, ...] | None]


def labels(array: np.ndarray, where: str, classes: Sequence[str] | None = None, task: str | None = None) -> Labels:
    """Class numbers with the classes' names, or float32 targets with None.

    classes: the names that class numbers or texts stand for, if they are known.
    task: "classify" or "regress"; decided by the numbers if None: text, truth values, whole numbers of an integer
        type, rows with a single 1 (one-hot), and floats with few different whole values are classes.
    Raises DataError for labels outside the range, negative, broken or missing ones, with their row.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and _is_one_hot(array) and task != "regress":
        return labels(array.argmax(axis=1), where, classes or [str(i) for i in range(array.shape[1])], "classify")
    if array.dtype.kind in "US" and array.ndim == 1:
        return text_labels(
            [text.decode("latin-1") if isinstance(text, bytes) else text for text in array.tolist()], where, classes
        )
    if array.dtype.kind not in "buif" or array.ndim not in (1, 2):
        raise DataError(f"{where}: expected one label for each row, got {sizes_of(array)} {array.dtype}")
    _require_rows(np.isfinite(array), array, where, "a number in each row")
    if task == "regress" or (task is None and classes is None and not _are_classes(array)):
        return torch.from_numpy(array.astype(np.float32)), None
    return _class_numbers(array, where, classes)


def _class_numbers(array: np.ndarray, where: str, classes: Sequence[str] | None) -> Labels:
    if array.ndim != 1:
        raise DataError(f"{where}: expected one class number for each row, got {sizes_of(array)}")
    _require_rows(array == np.floor(array.astype(np.float64)), array, where, "whole class numbers")
    most = MOST_CLASSES if classes is None else len(classes)
    hint = "" if classes is not None else " (targets that are not classes must be floats)"
    _require_rows((array >= 0) & (array < most), array, where, f"class numbers from 0 to {most - 1}{hint}")
    y = torch.from_numpy(array.astype(np.int64))
    count = int(y.max()) + 1 if len(y) else 0
    return y, tuple(classes) if classes is not None else tuple(str(i) for i in range(count))


def text_labels(
    texts: Sequence[str], where: str, classes: Sequence[str] | None = None, rows: Sequence[Any] | None = None
) -> Labels:
    """Class numbers of texts, and the classes: in alphabetical order unless they are given.

    rows: what to call the rows in errors; by default 1, 2, …
    """
    names = tuple(classes) if classes is not None else tuple(sorted(set(texts)))
    number = {text: i for i, text in enumerate(names)}
    for i, text in enumerate(texts):
        if text not in number:
            row = i + 1 if rows is None else rows[i]
            raise DataError(f"{where}: unknown class {text!r} in row {row}; expected {_listed(names)}")
    return torch.tensor([number[text] for text in texts], dtype=torch.int64), names


def _require_rows(good: np.ndarray, array: np.ndarray, where: str, expected: str) -> None:
    if not good.all():
        row = int(np.argwhere(~good)[0][0])
        value = array[row][~good[row]][0] if array.ndim == 2 else array[row]
        raise DataError(f"{where}: expected {expected}, got {value} in row {row + 1}")


def _is_one_hot(array: np.ndarray) -> bool:
    if array.dtype.kind not in "buif" or array.shape[1] < 2:
        return False
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())


def _are_classes(array: np.ndarray) -> bool:
    if array.ndim == 1 and array.dtype.kind in "bui":
        return True
    return array.ndim == 1 and few_whole_numbers(array)


def few_whole_numbers(values: np.ndarray) -> bool:
    """Whether there are few different values, all whole: then they are taken for classes."""
    different = np.unique(values)
    return bool(len(different) <= min(FEW, len(values) / 2) and (different == np.floor(different)).all())


def sizes_of(array: np.ndarray) -> str:
    """A shape as people write it: "2 x 3"."""
    return " x ".join(map(str, array.shape)) or "one number"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
