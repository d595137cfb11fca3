"""Encoding: rows of a table, numbers and categories, as vectors.

A TableEncoder is learned from training rows only and saved with the network, so that new rows are encoded alike.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from blockprop.data.labels import Labels, few_whole_numbers, text_labels
from blockprop.errors import DataError, FormatError, suggestion

MOST_CATEGORIES = 200
"""A column with more different texts keeps the most frequent ones; the others share the place of unknown ones."""
MISSING, OTHER = "(missing)", "(other)"


@dataclass(frozen=True)
class NumberColumn:
    """Encoded as (value − mean) / scale; a missing number as the mean, which is 0 then."""

    name: str
    mean: float
    scale: float

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its places in a vector."""
        return (self.name,)

    def encode(self, column: pd.Series, source: str) -> np.ndarray:
        """The column as (n, number of features)."""
        return ((numbers(column, source).fillna(self.mean).to_numpy() - self.mean) / self.scale)[:, None]


@dataclass(frozen=True)
class TextColumn:
    """Encoded as one place per category with a 1 in one of them; missing and unknown texts have their own places."""

    name: str
    categories: tuple[str, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its places in a vector."""
        return tuple(f"{self.name}={category}" for category in (*self.categories, MISSING, OTHER))

    def encode(self, column: pd.Series, source: str) -> np.ndarray:
        """The column as (n, number of features)."""
        place = {category: i for i, category in enumerate(self.categories)}
        missing, other = len(place), len(place) + 1
        places = [missing if text is None else place.get(text, other) for text in texts(column)]
        return np.eye(len(place) + 2)[places]


@dataclass(frozen=True)
class TableEncoder:
    """How rows of a table become vectors, and which column is to be predicted.

    columns: the feature columns in order. target: the name of the column to predict, None if there is none.
    classes: the target's classes in the order of their numbers, None for regression.
    """

    columns: tuple[NumberColumn | TextColumn, ...]
    target: str | None = None
    classes: tuple[str, ...] | None = None

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        target: str | None = None,
        classes: Sequence[str] | None = None,
        source: str = "the table",
    ) -> Self:
        """Learn means, standard deviations and categories from these rows; constant columns get the scale 1."""
        columns = tuple(_fit_column(frame[name], source) for name in frame.columns if name != target)
        if not columns:
            raise DataError(f"{source}: expected columns beside the target {target!r}, there are none")
        return cls(columns, target, None if classes is None else tuple(classes))

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the encoded columns: "age", "color=red", "color=(missing)", …"""
        return tuple(feature for column in self.columns for feature in column.features)

    def encode(self, frame: pd.DataFrame, source: str = "the table") -> Tensor:
        """The rows as float32 (n, number of features). Columns are found by name; others are ignored.

        Raises DataError for a missing column, and for text or an infinity in a column of numbers, with its row.
        """
        parts = []
        for column in self.columns:
            if column.name not in frame.columns:
                near = suggestion(column.name, map(str, frame.columns))
                raise DataError(f"{source}: the column {column.name!r} is missing{near}")
            parts.append(_encoded(column, frame[column.name], source))
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def labels(self, frame: pd.DataFrame, source: str = "the table") -> Labels:
        """The target column as class numbers and class names, or as float32 numbers and None."""
        return target_labels(frame[self.target], source, self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        columns = [{"kind": "text" if isinstance(c, TextColumn) else "number", **asdict(c)} for c in self.columns]
        return {"columns": columns, "target": self.target, "classes": self.classes}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises FormatError if it is not that."""
        try:
            columns = tuple(_column(dict(column)) for column in saved["columns"])
            target, classes = saved["target"], saved["classes"]
            if not (target is None or isinstance(target, str)):
                raise TypeError(f"target {target!r}")
            return cls(columns, target, None if classes is None else _names(classes))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"the network's table encoder is damaged ({type(error).__name__}: {error})") from None


def _encoded(column: NumberColumn | TextColumn, values: pd.Series, source: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        part = column.encode(values, source).astype(np.float32)
    good = np.isfinite(part).all(axis=1)
    if not good.all():
        i = int(np.flatnonzero(~good)[0])
        row, value = values.index[i], values.iloc[i]
        raise DataError(f"{source}: the number in row {row}, column {column.name!r} is too large: {value}")
    return part


def _column(saved: dict[str, Any]) -> NumberColumn | TextColumn:
    (name,) = _names([saved["name"]])
    if saved["kind"] == "text":
        return TextColumn(name, _names(saved["categories"]))
    mean, scale = float(saved["mean"]), float(saved["scale"])
    if saved["kind"] != "number" or not np.isfinite([mean, scale]).all() or scale <= 0:
        raise ValueError(f"column {name!r}")
    return NumberColumn(name, mean, scale)


def _names(saved: Any) -> tuple[str, ...]:
    if not isinstance(saved, list | tuple) or not all(isinstance(name, str) for name in saved):
        raise TypeError(f"expected names, got {saved!r}")
    return tuple(saved)


def _fit_column(column: pd.Series, source: str) -> NumberColumn | TextColumn:
    name = str(column.name)
    if not is_text(column):
        present = numbers(column, source).dropna().to_numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = (float(present.mean()), float(present.std())) if len(present) else (0.0, 1.0)
        if not np.isfinite([mean, scale]).all():
            raise DataError(f"{source}: the numbers in column {name!r} are too large to be standardized")
        return NumberColumn(name, mean, scale if scale > 1e-12 * abs(mean) else 1.0)
    counts = pd.Series([text for text in texts(column) if text is not None], dtype="object").value_counts()
    if len(counts) > MOST_CATEGORIES:
        counts = counts[counts > 1][:MOST_CATEGORIES]
    return TextColumn(name, tuple(sorted(counts.index)))


def is_text(column: pd.Series) -> bool:
    """Whether a column holds categories: texts or truth values. Dates count as numbers, in days."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return pd.api.types.is_bool_dtype(column)
    return bool(column.notna().any())


def numbers(column: pd.Series, source: str) -> pd.Series:
    """The column as float64, NaN where missing. Raises DataError for other text and for infinities."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return (column.astype("datetime64[s]").astype("int64") / 86400).where(column.notna())
    values = pd.to_numeric(column, errors="coerce").astype("float64")
    bad = (values.isna() & column.notna()) | np.isinf(values)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        row, value = column.index[i], str(column.iloc[i])
        raise DataError(f"{source}: expected a number in row {row}, column {column.name!r}, got {value!r}")
    return values


def texts(column: pd.Series) -> list[str | None]:
    """The column as texts, None where missing; whole numbers without a decimal point."""
    whole = pd.api.types.is_float_dtype(column)
    return [
        None if missing else str(int(value)) if whole and float(value).is_integer() else str(value)
        for value, missing in zip(column, column.isna(), strict=True)
    ]


def target_labels(
    column: pd.Series, source: str, classes: Sequence[str] | None = None, task: str | None = None
) -> Labels:
    """The column as class numbers and class names, or as float32 numbers and None.

    task: "classify" or "regress"; by default texts, truth values and few different whole numbers are classes.
    Raises DataError for a missing label and for an unknown class, with the row.
    """
    where = f"{source}: column {column.name!r}"
    if column.isna().any():
        raise DataError(
            f"{where}: the label in row {column.index[column.isna()][0]} is missing; fill it in or drop the row"
        )
    if task == "regress" or (task is None and classes is None and not _holds_classes(column, source)):
        return torch.from_numpy(numbers(column, source).to_numpy().astype(np.float32)), None
    values = [str(text) for text in texts(column)]
    names = classes if classes is not None else sorted(set(values), key=_natural)
    return text_labels(values, where, names, list(column.index))


def _holds_classes(column: pd.Series, source: str) -> bool:
    return is_text(column) or few_whole_numbers(numbers(column, source).to_numpy())


def _natural(text: str) -> tuple[float, str]:
    """Sorts "2" before "10", and numbers before words."""
    return (float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else float("inf"), text)
