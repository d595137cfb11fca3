"""What a column of a table became in training, and how its cells become numbers from then on.

Each kind of column encodes a cell by the cell alone. What it has learned nothing about is neutral: the average of the
training rows, so that it speaks for no answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from blockprop.data.tables.cells import Cells, as_written, rows_named, text_of
from blockprop.data.tables.number_formats import PLAIN, NumberFormat
from blockprop.data.tables.times import TimeFormat

MISSING, OTHER = "(missing)", "(other)"
"""The names of the places for nothing, and for texts that were too rare in training to have a place of their own."""
NAMED = 5
"""Different cells that notes name, each with its rows; the others are counted."""

Encoded = tuple[np.ndarray, list[str]]
"""(n, number of features) in float64; and notes about the cells."""


@dataclass(frozen=True)
class NumberColumn:
    """Encoded as (value − mean) / scale; what is missing or no number is the mean, which is 0 then."""

    name: str
    mean: float
    scale: float
    format: NumberFormat = PLAIN
    missing: int = 0
    notes: tuple[str, ...] = ()
    kind: ClassVar[str] = "number"

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its places in a vector."""
        return (self.name,)

    @property
    def becomes(self) -> str:
        """What it is, in a few words."""
        unit = f" in {self.format.unit}" if self.format.unit else ""
        comma = ", decimal comma" if self.format.decimal == "," else ""
        return f"number{unit}{comma}, {self.mean:.6g} ± {self.scale:.4g}"

    def encode(self, cells: Cells, source: str) -> Encoded:
        """The column's numbers, standardized. Raises DataError for the other decimal mark."""
        values = self.format.read(cells, source)
        unit = f" in {self.format.unit}" if self.format.unit else ""
        encoded, notes = _standardized(self, values, cells, f"is no number{unit}")
        read = [f"{self.name}: {cells.named(i)} is read as {values[i]:.15g}" for i in self.format.guessed(cells)]
        return encoded, notes + _few(read)


@dataclass(frozen=True)
class TimeColumn:
    """Encoded as (days since 1970 − mean) / scale; what is missing or no time is the mean, which is 0 then."""

    name: str
    mean: float
    scale: float
    format: TimeFormat
    missing: int = 0
    notes: tuple[str, ...] = ()
    kind: ClassVar[str] = "time"

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its places in a vector."""
        return (self.name,)

    @property
    def becomes(self) -> str:
        """What it is, in a few words."""
        middle = str(np.datetime64(0, "m") + np.timedelta64(round(self.mean * 1440), "m")).replace("T", " ")
        return f"time like {self.format.example}, {middle} ± {self.scale:.4g} days"

    def encode(self, cells: Cells, source: str) -> Encoded:
        """The column's times, standardized."""
        return _standardized(self, self.format.read(cells), cells, f"is no time like {self.format.example}")


def _standardized(column: NumberColumn | TimeColumn, values: np.ndarray, cells: Cells, wrong: str) -> Encoded:
    odd = [i for i in range(len(cells.different)) if np.isnan(values[i]) and cells.counts[i]]
    notes = _notes(cells, odd, column.name, f"{wrong} and counts as missing")
    if len(cells.missing) and not column.missing:
        notes.append(_average(column.name, cells.missing))
    each = cells.each(values, np.nan)
    with np.errstate(over="ignore"):
        return np.where(np.isnan(each), 0.0, (each - column.mean) / column.scale)[:, None], notes


@dataclass(frozen=True)
class CategoryColumn:
    """Encoded as one place per category with a 1 in one of them; what was never seen in training as the shares.

    categories: texts, and MISSING or OTHER if there were such cells in training. shares: how frequent they were, 0…1.
    """

    name: str
    categories: tuple[str, ...]
    shares: tuple[float, ...]
    missing: int = 0
    notes: tuple[str, ...] = ()
    kind: ClassVar[str] = "category"

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its places in a vector."""
        return tuple(f"{self.name}={category}" for category in self.categories)

    @property
    def becomes(self) -> str:
        """What it is, in a few words."""
        return f"{len(self.categories)} categories: {in_a_row(self.categories)}"

    @cached_property
    def speller(self) -> "Speller":
        """What finds a text's category."""
        return Speller([name for name in self.categories if name not in (MISSING, OTHER)])

    def encode(self, cells: Cells, source: str) -> Encoded:
        """The column's categories. A text in other capitals is the same, if there is only one such."""
        place = {category: i for i, category in enumerate(self.categories)}
        neutral, other = len(place), place.get(OTHER, len(place))
        names = [self.speller.category(text_of(cell)) for cell in cells.different]
        unseen = [i for i, name in enumerate(names) if name is None and cells.counts[i]]
        places = [other if name is None else place[name] for name in names]
        notes = self.speller.notes(cells, self.name)
        said = "is none of the frequent texts and counts as (other)" if OTHER in place else "was never seen"
        notes += _notes(cells, unseen, self.name, said)
        if len(cells.missing) and MISSING not in place:
            notes.append(_average(self.name, cells.missing))
        table = np.vstack([np.eye(len(place)), self.shares])
        return table[cells.each(np.array(places, dtype=int), place.get(MISSING, neutral)).astype(int)], notes


@dataclass(frozen=True)
class LeftOut:
    """A column that is not used. reason: why."""

    name: str
    reason: str
    missing: int = 0
    notes: tuple[str, ...] = ()
    kind: ClassVar[str] = "left out"
    features: ClassVar[tuple[str, ...]] = ()

    @property
    def becomes(self) -> str:
        """What it is, in a few words."""
        return f"left out: {self.reason}"

    def encode(self, cells: Cells, source: str) -> Encoded:
        """Nothing."""
        return np.empty((len(cells.places), 0)), []


Column = NumberColumn | TimeColumn | CategoryColumn | LeftOut


@dataclass(frozen=True)
class Speller:
    """Finds the category that a text names: itself, or the only one that differs in capitals alone."""

    categories: Sequence[str]
    _by_letters: dict[str, list[str]] = field(init=False, default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name in self.categories:
            self._by_letters.setdefault(name.casefold(), []).append(name)

    def category(self, text: str) -> str | None:
        """The category's name; None if there is none."""
        alike = self._by_letters.get(text.casefold(), [])
        return text if text in alike else alike[0] if len(alike) == 1 else None

    def notes(self, cells: Cells, name: str) -> list[str]:
        """Which cells are read in another spelling."""
        texts = [text_of(cell) for cell in cells.different]
        respelled = [i for i, text in enumerate(texts) if self.category(text) not in (text, None) and cells.counts[i]]
        return _few(
            [
                f"{name}: {texts[i]!r} is read as {self.category(texts[i])!r} ({rows_named(cells.rows_of(i))})"
                for i in respelled
            ]
        )


def _notes(cells: Cells, indices: list[int], name: str, what: str) -> list[str]:
    """ "city: 'Paris' was never seen (row 3)", for some of the different cells; the others are counted."""
    return _few(
        [f"{name}: {as_written(cells.different[i])!r} {what} ({rows_named(cells.rows_of(i))})" for i in indices]
    )


def _few(notes: list[str]) -> list[str]:
    """The first of many alike notes, and how many more there are."""
    rest = len(notes) - NAMED
    return (
        notes if rest <= 0 else [*notes[:NAMED], f"{notes[0].partition(':')[0]}: so it is with {rest} more such cells"]
    )


def _average(name: str, rows: np.ndarray) -> str:
    return f"{name}: nothing stands in {rows_named(rows)}, as never in training; that counts as the average"


def from_dict(saved: dict[str, Any]) -> Column:
    """The column that `dataclasses.asdict`, with its kind, made plain data of. ValueError, KeyError or TypeError."""
    kind = saved["kind"]
    facts: dict[str, Any] = {"name": _text(saved["name"]), "missing": int(saved["missing"])}
    facts["notes"] = texts(saved["notes"])
    if kind == "left out":
        return LeftOut(**facts, reason=_text(saved["reason"]))
    if kind == "category":
        categories, shares = texts(saved["categories"]), tuple(float(share) for share in saved["shares"])
        if len(shares) != len(categories) or not np.isfinite(shares).all():
            raise ValueError(f"column {facts['name']!r}")
        return CategoryColumn(**facts, categories=categories, shares=shares)
    facts |= {"mean": float(saved["mean"]), "scale": float(saved["scale"])}
    if not np.isfinite([facts["mean"], facts["scale"]]).all() or facts["scale"] <= 0:
        raise ValueError(f"column {facts['name']!r}")
    if kind == "time":
        return TimeColumn(**facts, format=TimeFormat(_text(saved["format"]["pattern"])))
    if kind != "number":
        raise ValueError(f"column {facts['name']!r}")
    return NumberColumn(**facts, format=format_from_dict(saved["format"]))


def format_from_dict(saved: dict[str, Any]) -> NumberFormat:
    """The number format that `dataclasses.asdict` made plain data of. ValueError, KeyError or TypeError."""
    if saved["decimal"] not in (".", ","):
        raise ValueError(f"decimal {saved['decimal']!r}")
    return NumberFormat(saved["decimal"], _text(saved["unit"]), bool(saved["thousands"]))


def in_a_row(names: Iterable[str]) -> str:
    """a, b, "c, d": in quotes what has a comma of its own."""
    return ", ".join(f'"{name}"' if "," in name else name for name in names)


def texts(saved: Any) -> tuple[str, ...]:
    """Names; TypeError if they are none."""
    if not isinstance(saved, list | tuple):
        raise TypeError(f"expected names, got {saved!r}")
    return tuple(_text(name) for name in saved)


def _text(saved: Any) -> str:
    if not isinstance(saved, str):
        raise TypeError(f"expected text, got {saved!r}")
    return saved
