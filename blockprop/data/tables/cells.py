"""Cells of a table's column, as they stand there, and what counts as nothing.

What a cell means is decided by the cell and by what a column learned in training, never by the other rows of its file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from blockprop.data.tables.written import Written, written

if TYPE_CHECKING:
    import pandas as pd


Cell: TypeAlias = "str | int | float | pd.Timestamp"
"""Text without spaces around it, or what a typed file (parquet, a DataFrame) holds."""

MISSING = {"", "NA", "N/A", "n/a", "N.A.", "n.a.", "NaN", "nan", "NAN", "NULL", "Null", "null", "(null)", "#N/A"} | {
    *("#NA", "<NA>", "NaT", r"\N")
}
"""What stands for nothing in any column."""
NO_NUMBER = {"-", "--", "---", "–", "—", "−", "?", "??", ".", "..", "...", "*", "None", "none", "NONE", "nil"} | {
    *("na", "missing", "Missing", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!")
}
"""What people write where a number or a time is missing; among words each is a word."""
INVISIBLE = "\ufeff\u200b\u00ad"
MARKED = re.compile(r"""="(.*)"|'([-+−(]?[$€£]?[ ]?[0-9.].*)'|'([-+−]?[0-9][0-9.,]*)""", re.DOTALL)
"""What is written so that spreadsheets keep it as it is: ="007", and '007 or '007' before and around numbers."""
ROWS_NAMED = 3
"""Rows that a message names; the others are counted."""


@dataclass(frozen=True, eq=False)
class Cells:
    """A column's cells: each different one once, and which of them stands in which row.

    places: (n,) an index into `different` for each row, −1 where nothing stands. rows: what people call the rows.
    notes: how they are read, where that is not as they stand there.
    """

    name: str
    different: tuple[Cell, ...]
    places: np.ndarray
    rows: np.ndarray
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, column: pd.Series) -> Cells:
        """The cells of a column of text, or of numbers, truth values or times; times are those in UTC."""
        import pandas as pd

        if column.dtype == object and not all(isinstance(value, str) for value in column):
            column = column.map(plain)
        places, values = pd.factorize(column)
        cells = [plain(value) for value in values.tolist()]
        place: dict[Cell, int] = {}
        new_places = [-1 if cell in MISSING else place.setdefault(cell, len(place)) for cell in cells]
        name, rows = str(column.name), column.index.to_numpy()
        notes = _marks_notes(name, values.tolist(), cells, places, rows)
        return cls(name, tuple(place), np.array([*new_places, -1])[places], rows, notes)

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each of the different cells stands in the column."""
        return np.bincount(self.places[self.places >= 0], minlength=len(self.different))

    @cached_property
    def numbers(self) -> list[Written | None]:
        """What each of the different cells can be read as."""
        return [written(cell) for cell in self.different]

    @property
    def missing(self) -> np.ndarray:
        """The rows in which nothing stands."""
        return self.rows[self.places < 0]

    def rows_of(self, index: int) -> np.ndarray:
        """The rows in which one of the different cells stands."""
        return self.rows[self.places == index]

    def named(self, index: int) -> str:
        """ "'?' (row 57)": one of the different cells, and where it stands."""
        return f"{as_written(self.different[index])!r} ({rows_named(self.rows_of(index))})"

    def each(self, values: Sequence[Any] | np.ndarray, nothing: Any) -> np.ndarray:
        """The value of each row's cell, given that of each different one."""
        return np.concatenate([np.asarray(values).reshape(-1), [nothing]])[self.places]


def plain(value: Any) -> Cell:
    """A cell of a file: numbers and times as such, truth values as text, nothing as the empty text; text without
    what stands around it: spaces, and the marks of spreadsheets.
    """
    import pandas as pd

    if isinstance(value, str):
        return _unmarked(_stripped(value))
    if value is None or value is pd.NaT or value is pd.NA:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, pd.Timestamp):
        return value.tz_convert(None) if value.tz else value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating | Decimal):
        return "" if np.isnan(float(value)) else float(value)
    return plain(pd.Timestamp(value)) if hasattr(value, "isoformat") else str(value)


def _stripped(text: str) -> str:
    return text.strip().strip(INVISIBLE).strip()


def _unmarked(text: str) -> str:
    """The text without the marks of a spreadsheet: ="007" and '007 are 007."""
    match = MARKED.fullmatch(text) if text.startswith(("=", "'")) else None
    return next(part for part in match.groups() if part is not None).strip() if match else text


def _marks_notes(
    name: str, values: Sequence[Any], cells: Sequence[Cell], places: np.ndarray, rows: np.ndarray
) -> tuple[str, ...]:
    """ "code: the marks around '="007"' (row 3) are taken off", with the number of other cells."""
    marked = [i for i, value in enumerate(values) if isinstance(value, str) and _stripped(value) != cells[i]]
    if not marked:
        return ()
    count, first = int(np.isin(places, marked).sum()), marked[0]
    where = rows_named(rows[places == first][:1])
    others = f", and those around {count - 1} more cells," * (count > 1)
    return (f"{name}: the marks around {_stripped(values[first])} ({where}){others} are taken off",)


def text_of(cell: Cell) -> str:
    """A cell as the name of a category; whole numbers without a decimal point."""
    import pandas as pd

    if isinstance(cell, float):
        cell = repr(cell)
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat()
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", str(cell))


def as_written(cell: Cell) -> str:
    """A cell as people find it in their file."""
    return cell if isinstance(cell, str) else text_of(cell)


def capitals_notes(name: str, texts: Iterable[str], what: str) -> tuple[str, ...]:
    """ "kind: 'Cat' and 'cat' differ in capitals alone and are two classes"."""
    alike: dict[str, list[str]] = {}
    for text in texts:
        alike.setdefault(text.casefold(), []).append(text)
    return tuple(
        f"{name}: {' and '.join(map(repr, sorted(words)))} differ in capitals alone and are {len(words)} {what}"
        for words in alike.values()
        if len(words) > 1
    )


def rows_named(rows: Sequence[int] | np.ndarray) -> str:
    """ "row 3", "rows 3 and 5", "rows 3, 5, 8 and 2 more"."""
    first = [str(row) for row in rows[:ROWS_NAMED]]
    if len(rows) == 1:
        return f"row {first[0]}"
    if len(rows) > ROWS_NAMED:
        return f"rows {', '.join(first)} and {len(rows) - ROWS_NAMED} more"
    return f"rows {', '.join(first[:-1])} and {first[-1]}"
