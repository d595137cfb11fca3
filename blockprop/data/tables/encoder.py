"""Encoding: rows of a table as vectors.

A TableEncoder is learned from training rows only and saved with the network, so that new rows are encoded alike: what a
cell becomes depends on the cell and the encoder, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from blockprop.data.labels import Labels
from blockprop.data.tables.cells import Cells
from blockprop.data.tables.columns import Column, LeftOut, format_from_dict, from_dict, texts
from blockprop.data.tables.deciding import Wishes, fit_column
from blockprop.data.tables.number_formats import NumberFormat
from blockprop.data.tables.target import TargetColumn, target_of
from blockprop.engine.briefly import brief_repr
from blockprop.errors import DataError, FormatError, suggestion

if TYPE_CHECKING:
    import pandas as pd


FORMAT = 2
"""Of saved encoders: 1 let what a cell is depend on its file."""

NO_WISHES = Wishes()


class Rows(NamedTuple):
    """Encoded rows: float32 (n, number of features), and notes about odd cells."""

    x: Tensor
    notes: list[str]

    def __repr__(self) -> str:
        return brief_repr(self)


@dataclass(frozen=True)
class TableEncoder:
    """How rows of a table become vectors, and which column is to be predicted.

    columns: all but the target in the order of the training table. target: the name of the column to predict, None if
    there is none.   classes: the target's classes in the order of their numbers, None for regression.
    target_format: how the target's numbers are written, None for words.
    with_names: whether the training table had a row of names; new tables are then read by name, or else by position.
    """

    columns: tuple[Column, ...]
    target: str | None = None
    classes: tuple[str, ...] | None = None
    target_format: NumberFormat | None = None
    with_names: bool = True

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        target: str | None = None,
        classes: Sequence[str] | None = None,
        source: str = "the table",
        *,
        wishes: Wishes = NO_WISHES,
        decimal: str | None = None,
    ) -> Self:
        """Decide what each column is and learn means, standard deviations and categories, from these rows.

        frame: text cells as they stand in a file, or numbers, truth values, times. classes: the target's, if settled.
        decimal: "." or ",", the mark of numbers such as "1,234"; by default what other columns show.
        Raises DataError for a table without anything to learn from, and for a column of which it is not clear what it
        holds.
        """
        cells = [Cells.of(frame[name]) for name in frame.columns]
        decimal = decimal or wishes.mark(cells, source)
        told = TargetColumn("", None if classes is None else tuple(classes))
        if target is not None and classes is None:
            told = target_of(Cells.of(frame[target]), None, None, decimal, source)
        return cls(fit_columns(frame, target, wishes, decimal, source), target, told.classes, told.format)

    def __repr__(self) -> str:
        return brief_repr(self)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the encoded columns: "age", "color=red", "color=(missing)", …"""
        return tuple(feature for column in self.columns for feature in column.features)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the training table's columns, and of the target."""
        return (*(column.name for column in self.columns), *([] if self.target is None else [self.target]))

    def for_other_labels(self) -> Self:
        """The same columns, with a column to predict that is decided anew."""
        return replace(self, target=None, classes=None, target_format=None)

    @property
    def notes(self) -> list[str]:
        """What was odd in the training table, a sentence each."""
        return [note for column in self.columns for note in column.notes]

    def encode(self, frame: pd.DataFrame, source: str = "the table") -> Tensor:
        """The rows as float32 (n, number of features). Columns are found by name.

        Raises DataError for a missing column, for numbers with the other decimal mark, and for too large ones.
        """
        return self.rows(frame, source).x

    def rows(self, frame: pd.DataFrame, source: str = "the table") -> Rows:
        """The rows as `encode` has them, and notes: unseen texts, cells that count as missing, columns not used."""
        parts, notes = [], self._surplus(frame)
        for column in self.columns:
            if isinstance(column, LeftOut):
                continue
            if column.name not in frame.columns:
                near = suggestion(column.name, map(str, frame.columns))
                raise DataError(f"{source}: the column {column.name!r} is missing{near}")
            part, told = _encoded(column, Cells.of(frame[column.name]), source)
            parts.append(part)
            notes += told
        return Rows(torch.from_numpy(np.concatenate(parts, axis=1)), notes)

    def _surplus(self, frame: pd.DataFrame) -> list[str]:
        known = set(self.names)
        names = [str(name) for name in frame.columns if name not in known]
        return [f"columns that were not there in training are not used: {', '.join(names)}"] if names else []

    def labels(self, frame: pd.DataFrame, source: str = "the table") -> Labels:
        """The target column as class numbers and class names, or as float32 numbers and None.

        Raises DataError for an unknown class and for a row without a label.
        """
        if self.target is None:
            raise DataError(f"{source}: the encoder has no column to predict")
        told = TargetColumn(self.target, self.classes, self.target_format)
        y, labeled, notes = told.read(Cells.of(frame[self.target]), source)
        if not labeled.all():
            raise DataError(f"{source}: {notes[0]}")
        return y, self.classes

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        columns = [{"kind": column.kind, **asdict(column)} for column in self.columns]
        told = None if self.target_format is None else asdict(self.target_format)
        return {
            "format": FORMAT,
            "columns": columns,
            "target": self.target,
            "classes": self.classes,
            "target_format": told,
            "with_names": self.with_names,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises FormatError if it is not that, or of another version."""
        if "columns" in saved and saved.get("format") != FORMAT:
            raise FormatError("the network was trained on a table by another version of blockprop; train it again")
        try:
            columns = tuple(from_dict(dict(column)) for column in saved["columns"])
            target, classes, told = saved["target"], saved["classes"], saved["target_format"]
            if not (target is None or isinstance(target, str)):
                raise TypeError(f"target {target!r}")
            if not any(column.features for column in columns):
                raise ValueError("no column to learn from")
            classes = None if classes is None else texts(classes)
            return cls(columns, target, classes, told and format_from_dict(told), bool(saved["with_names"]))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"the network's table encoder is damaged ({type(error).__name__}: {error})") from None


def fit_columns(
    frame: pd.DataFrame, target: str | None, wishes: Wishes, decimal: str | None, source: str
) -> tuple[Column, ...]:
    """What each column but the target is. Raises DataError if nothing can be learned from any of them."""
    columns = tuple(fit_column(Cells.of(frame[n]), wishes, decimal, source) for n in frame.columns if n != target)
    if not columns:
        raise DataError(f"{source}: expected columns beside the target {target!r}, there are none")
    if not any(column.features for column in columns):
        reasons = ", ".join(f"{column.name!r} ({column.becomes})" for column in columns[:5])
        raise DataError(f"{source}: there is no column to learn from: {reasons}")
    return columns


def _encoded(column: Column, cells: Cells, source: str) -> tuple[np.ndarray, list[str]]:
    part, notes = column.encode(cells, source)
    with np.errstate(over="ignore"):
        part = part.astype(np.float32)
    good = np.isfinite(part).all(axis=1)
    if not good.all():
        i = int(np.flatnonzero(~good)[0])
        row, value = cells.rows[i], cells.different[cells.places[i]]
        raise DataError(f"{source}: the number in row {row}, column {column.name!r} is too large: {value}")
    return part, notes
