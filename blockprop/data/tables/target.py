"""The column to be predicted: its classes or numbers, decided once, in training."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blockprop.data.labels import few_whole_numbers, text_labels
from blockprop.data.tables.cells import NO_NUMBER, Cells, capitals_notes, rows_named, text_of
from blockprop.data.tables.columns import Speller, in_a_row
from blockprop.data.tables.deciding import in_one_spelling, kind_of
from blockprop.data.tables.number_formats import NEARLY, NumberFormat, number_format, odd_cells
from blockprop.data.tables.times import TimeFormat
from blockprop.errors import DataError

MOST_LOST = 0.01
"""How much of their standard deviation numbers to be predicted may lose in float32."""


@dataclass(frozen=True)
class TargetColumn:
    """The column to be predicted. classes: in the order of their numbers; None for numbers, written in `format`."""

    name: str
    classes: tuple[str, ...] | None
    format: NumberFormat | None = None

    @property
    def becomes(self) -> str:
        """What it is, in a few words."""
        if self.classes is not None:
            return f"to predict: {len(self.classes)} classes: {in_a_row(self.classes)}"
        unit = f" in {self.format.unit}" if self.format and self.format.unit else ""
        return f"to predict: number{unit}"

    def read(self, cells: Cells, source: str) -> tuple[Tensor, np.ndarray, list[str]]:
        """(labels, which rows have one, notes): class numbers or float32 numbers for the rows that have one.

        Raises DataError for an unknown class, with its row.
        """
        values = self.format.read(cells, source) if self.format else np.zeros(len(cells.different))
        labeled = ~np.isnan(cells.each(values, np.nan))
        rows = cells.rows[~labeled]
        odd = [cells.named(i) for i, value in enumerate(values) if np.isnan(value)]
        because = f"; {odd[0]} is none" if odd else ""
        notes = [f"{cells.name}: no label in {rows_named(rows)}: left out{because}"] if len(rows) else []
        if self.classes is None:
            return _in_float32(cells.each(values, np.nan)[labeled], cells.name, source), labeled, notes
        speller = Speller(self.classes)
        names = [speller.category(text) or text for text in _labels(cells, values, self.format)]
        each = cells.each(np.array(names, dtype=object), None)[labeled]
        y, _ = text_labels(each.tolist(), f"{source}: column {self.name!r}", self.classes, cells.rows[labeled].tolist())
        return (
            y,
            labeled,
            notes
            + (self._merged(cells, names) if self.format else speller.notes(cells, cells.name) + self._doubts(cells)),
        )

    def _merged(self, cells: Cells, names: Sequence[str]) -> list[str]:
        """Labels such as "01" that are one class with "1", because both are numbers."""
        written = {text_of(cell) for cell in cells.different}
        padded = [i for i, cell in enumerate(cells.different) if re.fullmatch(r"0\d+", text_of(cell))]
        said = "{} is the number {}, and so the class {!r}; text={} keeps both"
        return [
            f"{self.name}: " + said.format(cells.named(i), names[i], names[i], [self.name])
            for i in padded
            if names[i] in written
        ]

    def _doubts(self, cells: Cells) -> list[str]:
        """Classes that may be meant otherwise: "?", and "Cat" beside "cat"."""
        marks = [i for i, cell in enumerate(cells.different) if cell in NO_NUMBER and not re.search(r"\w", str(cell))]
        marks = [] if "+" in (self.classes or ()) else marks  # to which "-" belongs
        said = [f"{self.name}: {cells.named(i)} is taken for a class; only empty cells have no label" for i in marks]
        return [*said, *capitals_notes(self.name, self.classes or (), "classes")]


def target_of(
    cells: Cells, classes: Sequence[str] | None, task: str | None, decimal: str | None, source: str
) -> TargetColumn:
    """What the training cells say of the target. classes, task: if these are settled."""
    if not cells.different:
        raise DataError(f"{source}: column {cells.name!r}: there is no label in any row")
    if classes is not None and task != "regress":
        return TargetColumn(cells.name, tuple(classes))
    if task == "classify":
        return TargetColumn(cells.name, _classes(cells))
    kind = number_format(cells, decimal, source) if task == "regress" else kind_of(cells, decimal, source)
    if isinstance(kind, TimeFormat):
        raise DataError(
            f"{source}: column {cells.name!r} holds times, which cannot be predicted as such; "
            "write numbers (of days, say), or choose another column with target=…"
        )
    if kind is None:
        return TargetColumn(cells.name, _classes(cells))
    values = kind.read(cells, source)
    if task == "regress":
        _require_numbers(values, cells, source)
    each = cells.each(values, np.nan)
    whole = few_whole_numbers(each[~np.isnan(each)])
    return TargetColumn(cells.name, _classes(cells, values, kind) if whole and task is None else None, kind)


def _classes(cells: Cells, values: np.ndarray | None = None, format_: NumberFormat | None = None) -> tuple[str, ...]:
    """The different labels, numbers in their order; values: of the cells if they are numbers, NaN for no label."""
    counts = Counter[str]()
    for i, name in enumerate(_labels(cells, values, format_)):
        if values is None or not np.isnan(values[i]):
            counts[name] += int(cells.counts[i])
    return tuple(sorted(in_one_spelling(counts), key=_natural))


def _labels(cells: Cells, values: np.ndarray | None, format_: NumberFormat | None) -> list[str]:
    """The names of classes: words as they stand there; whole numbers as such, however they are written."""
    if values is None or format_ is None:
        return [text_of(cell) for cell in cells.different]
    unit = f" {format_.unit}" if format_.unit else ""
    return [
        f"{value:.0f}{unit}" if value % 1 == 0 else text_of(cell)
        for value, cell in zip(values, cells.different, strict=True)
    ]


def _natural(text: str) -> tuple[float, str]:
    """Sorts "2" before "10", and numbers before words."""
    return (float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else float("inf"), text)


def _require_numbers(values: np.ndarray, cells: Cells, source: str) -> None:
    """DataError for words, but for a few among many numbers, and what is written where there is none."""
    odd = odd_cells(cells, values)
    if cells.counts[odd].sum() > (1 - NEARLY) * cells.counts.sum():
        row, cell = cells.rows_of(odd[0])[0], text_of(cells.different[odd[0]])
        raise DataError(f"{source}: expected a number in row {row}, column {cells.name!r}, got {cell!r}")


def _in_float32(values: np.ndarray, name: str, source: str) -> Tensor:
    """The numbers as float32. Raises DataError if that would lose how they differ."""
    with np.errstate(over="ignore", invalid="ignore"):
        y = values.astype(np.float32)
        lost, spread = np.abs(y - values).max(initial=0), values.std() if len(values) else 0.0
    if not np.isfinite(y).all() or lost > MOST_LOST * spread > 0:
        raise DataError(
            f"{source}: column {name!r}: the numbers are too large to be predicted, or differ too little for their "
            "size: float32 has seven digits; subtract what they have in common, or divide them"
        )
    return torch.from_numpy(y)
