"""What a column is taken for, decided once, from the training rows."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from blockprop.data.labels import FEW
from blockprop.data.tables.cells import Cells, capitals_notes, text_of
from blockprop.data.tables.columns import MISSING, OTHER, CategoryColumn, Column, LeftOut, NumberColumn, TimeColumn
from blockprop.data.tables.number_formats import (
    DECIMALS,
    NEARLY,
    NumberFormat,
    decimal_of,
    number_format,
    odd_cells,
    require_clear,
    share_of_numbers,
)
from blockprop.data.tables.times import WITH_ZONE, TimeFormat, time_format
from blockprop.errors import DataError, SettingError, suggestion

MOST_CATEGORIES = 200
"""A column with more different texts keeps the most frequent ones; the others share the place of rare ones."""
SOME = 0.5
"""A column with this share of numbers, but not nearly all, is neither one of numbers nor one of words."""
LEAST_CODES = 0.02
"""The share of codes with a zero in front, from which on digits are taken for codes."""
ROWS_OF_IDS = 10
"""From so many rows on, a column of different whole numbers that just count is pointed out."""
TRUTHS = frozenset(["true", "false", "yes", "no"])
"""Words that mean the same in any capitals."""
CODE = re.compile(r"[0-9]+")
NAMES_ROWS = re.compile(r"(^|[\s_.-])(?i:id|nr|no|num|index|idx|key|uuid|guid|row|number|nummer)$|[a-z]I[Dd]$")


@dataclass(frozen=True)
class Wishes:
    """What people want of the columns. drop, text, number: columns to leave out, or to take for one of the two.

    decimal: "point" or "comma", where nothing in the table says which of the two it has.
    """

    drop: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    decimal: str | None = None

    def __post_init__(self) -> None:
        if self.decimal not in (None, *DECIMALS):
            raise SettingError(f"expected the decimal mark point or comma, got {self.decimal!r}")
        twice = [name for name, count in Counter(self.drop + self.text + self.number).items() if count > 1]
        if twice:
            raise SettingError(f"the column {twice[0]!r} can be taken for one thing only")

    def __bool__(self) -> bool:
        return self != Wishes()

    def require(self, names: Sequence[str], source: str) -> None:
        """DataError for a column that is not there."""
        for name in self.drop + self.text + self.number:
            if name not in names:
                raise DataError(f"{source}: there is no column {name!r}{suggestion(name, names)}")

    def mark(self, columns: list[Cells], source: str, delimiter: str = "") -> str | None:
        """The decimal mark that is wanted, or that the columns agree on; None if nothing shows one.

        Raises DataError for "1.234" between semicolons, which is how tables with decimal commas are written.
        """
        mark = DECIMALS[self.decimal] if self.decimal else decimal_of(columns)
        for cells in columns if mark is None and delimiter == ";" else []:
            if cells.name not in self.drop + self.text and share_of_numbers(cells) >= NEARLY:
                require_clear(cells, ".", source)
        return mark


def fit_column(cells: Cells, wishes: Wishes, decimal: str | None, source: str) -> Column:
    """The column that these training cells make. decimal: the table's mark, if something says which.

    Raises DataError for a column of which it is not clear what it is; the message says what to do.
    """
    column = _decided(cells, wishes, decimal, source)
    column = replace(column, missing=max(column.missing, len(cells.missing)))
    if isinstance(column, LeftOut):
        return column
    encoded, odd = column.encode(cells, source)
    if isinstance(column, CategoryColumn):  # rare texts are told in one note
        odd = column.speller.notes(cells, column.name)
    if (encoded == encoded[:1]).all():
        return LeftOut(column.name, _sameness(column, cells), column.missing, tuple(odd))
    return replace(column, notes=(*column.notes, *odd))


def _sameness(column: Column, cells: Cells) -> str:
    if len(cells.different) == 1:
        return f"always {text_of(cells.different[0])!r}"
    return "always the same" + ", as far as 15 digits show" * isinstance(column, NumberColumn)


def _decided(cells: Cells, wishes: Wishes, decimal: str | None, source: str) -> Column:
    name = cells.name
    if name in wishes.drop:
        return LeftOut(name, "as you wished")
    if not cells.different:
        return LeftOut(name, "nothing in it")
    if name in wishes.text:
        return _categories(cells)
    number = name in wishes.number
    kind = number_format(cells, decimal, source) if number else kind_of(cells, decimal, source)
    if isinstance(kind, TimeFormat):
        days = kind.read(cells)
        notes = _time_notes(cells, kind)
        return TimeColumn(name, *_mean_and_scale(days, cells, source), kind, _missing(days, cells), notes)
    if isinstance(kind, NumberFormat):
        values = kind.read(cells, source)
        if not np.isfinite(values).any():
            raise DataError(f"{source}: {name}: expected numbers, got {cells.named(0)}")
        mean, scale = _mean_and_scale(values, cells, source)
        return NumberColumn(name, mean, scale, kind, _missing(values, cells), _number_notes(cells, kind, values))
    return _categories_or_nothing(cells)


def kind_of(cells: Cells, decimal: str | None, source: str) -> NumberFormat | TimeFormat | None:
    """How a column writes its numbers or times; None for words. Raises DataError if it is not clear what it holds."""
    format_ = _format_of(cells, decimal, source)
    if format_ is None:
        return None
    odd = odd_cells(cells, format_.read(cells, source))
    count = cells.counts[odd].sum()
    if count <= (1 - NEARLY) * cells.counts.sum() or (count == 1 and len(cells.different) > 3):
        return format_
    if few_repeated(cells):
        return None
    what = "times" if isinstance(format_, TimeFormat) else "numbers"
    more = "of several units" if what == "numbers" and cells.numbers[odd[0]] else "and words"
    name = [cells.name]
    say = f"say number={name} if these are to" if what == "numbers" else "empty these cells if they are to"
    raise DataError(
        f"{source}: {cells.name}: it holds {what} {more}, such as {cells.named(odd[0])}; {say} count as missing, "
        f"text={name} if all are words, or drop={name}"
    )


def _format_of(cells: Cells, decimal: str | None, source: str) -> NumberFormat | TimeFormat | None:
    """How numbers or times are written, if at least half of the cells are such."""
    if len(cells.different) == 1:
        return None
    times = time_format(cells, SOME, source)
    if times is not None or share_of_numbers(cells) < SOME or are_codes(cells):
        return times
    return number_format(cells, decimal, source)


def few_repeated(cells: Cells) -> bool:
    """Whether there are few different cells, on average each twice."""
    return len(cells.different) <= min(FEW, cells.counts.sum() / 2)


def are_codes(cells: Cells) -> bool:
    """Whether digits are names, such as 01234: zeros in front, and (nearly) all of the same length."""
    lengths, padded = Counter[int](), 0
    for cell, count in zip(cells.different, cells.counts, strict=True):
        if isinstance(cell, str) and CODE.fullmatch(cell):
            lengths[len(cell)] += int(count)
            padded += int(count) * (cell.startswith("0") and len(cell) > 1)
    whole = cells.counts.sum()
    return bool(padded >= max(LEAST_CODES * whole, 1) and max(lengths.values()) >= NEARLY * whole)


def _mean_and_scale(values: np.ndarray, cells: Cells, source: str) -> tuple[float, float]:
    """The mean and the standard deviation of what is there; from differences, so that large numbers keep theirs."""
    present = cells.each(values, np.nan)
    present = present[~np.isnan(present)]
    with np.errstate(over="ignore", invalid="ignore"):
        differences = present - present[0]
        largest = np.abs(differences).max() or 1.0
        mean = float(present[0] + differences.mean())
        scale = float((differences / largest).std() * largest)
    if not np.isfinite([mean, scale]).all():
        raise DataError(f"{source}: the numbers in column {cells.name!r} are too large to be standardized")
    return mean, scale or 1.0


def _time_notes(cells: Cells, format_: TimeFormat) -> tuple[str, ...]:
    short = f"{cells.name}: years of two digits are read as 1969 to 2068"
    return (*_zone_notes(cells), *([short] if "%y" in format_.pattern else []))


def _zone_notes(cells: Cells) -> tuple[str, ...]:
    with_zone = [WITH_ZONE.search(str(cell)) is not None for cell in cells.different]
    if all(with_zone) or not any(with_zone):
        return ()
    row = cells.rows_of(with_zone.index(False))[0]
    return (f"{cells.name}: times without a zone (row {row} first) are taken to be in UTC, like the others",)


def _missing(values: np.ndarray, cells: Cells) -> int:
    return int(np.isnan(cells.each(values, np.nan)).sum())


def _number_notes(cells: Cells, format_: NumberFormat, values: np.ndarray) -> tuple[str, ...]:
    notes = []
    bare = [i for i, number in enumerate(cells.numbers) if number and not number.unit]
    if bare and format_.unit and format_.fits(""):
        count, row = cells.counts[bare].sum(), cells.rows_of(bare[0])[0]
        notes.append(
            f"{cells.name}: {count} numbers without a unit (row {row} first) are taken to be in {format_.unit}"
        )
    if _names_rows(cells, values):
        notes.append(f"{cells.name}: it seems to number the rows; drop={[cells.name]} leaves it out")
    return tuple(notes)


def _names_rows(cells: Cells, values: np.ndarray) -> bool:
    """Whether each row has another whole number, and they just count or the column's name says that they are names."""
    count = len(values)
    if count < max(ROWS_OF_IDS, len(cells.rows)) or len(np.unique(values)) < count or (values % 1 != 0).any():
        return False
    return bool(values.max() - values.min() == count - 1 or NAMES_ROWS.search(cells.name))


def _categories_or_nothing(cells: Cells) -> Column:
    """Words as categories; a column in which most rows have one of their own says nothing about other rows."""
    count, once = int(cells.counts.sum()), int((cells.counts == 1).sum())
    if len(cells.different) > FEW and once > count / 2:
        reason = f"{len(cells.different)} different texts in {count} rows"
        note = f"{cells.name}: {reason}, so that it is left out; text={[cells.name]} keeps the frequent ones"
        return LeftOut(cells.name, reason, notes=(note,))
    column = _categories(cells)
    if not are_codes(cells):
        return column
    note = f"{cells.name}: with zeros in front these are codes; number={[cells.name]} takes them as numbers"
    return replace(column, notes=(*column.notes, note))


def _categories(cells: Cells) -> CategoryColumn:
    counts = Counter[str]()
    for cell, count in zip(cells.different, cells.counts, strict=True):
        counts[text_of(cell)] += int(count)
    counts, notes = in_one_spelling(counts), tuple[str, ...]()
    names = [name for name, count in counts.most_common() if count > 1 or len(counts) <= MOST_CATEGORIES]
    names = sorted(names[:MOST_CATEGORIES])
    rare = counts.total() - sum(counts[name] for name in names)
    if rare:
        notes = (f"{cells.name}: {len(counts)} different texts; the {len(names)} most frequent have a place each",)
    notes += capitals_notes(cells.name, names, "categories")
    places = [*names, *[MISSING] * bool(len(cells.missing)), *[OTHER] * bool(rare)]
    sizes = counts | {MISSING: len(cells.missing), OTHER: rare}
    shares = tuple(sizes[place] / len(cells.rows) for place in places)
    return CategoryColumn(cells.name, tuple(places), shares, notes=notes)


def in_one_spelling(counts: Counter[str]) -> Counter[str]:
    """true, TRUE and True as the most frequent of them; other words are what they are."""
    spelling: dict[str, str] = {}
    one = Counter[str]()
    for name, count in counts.most_common():
        letters = name.casefold()
        one[spelling.setdefault(letters, name) if letters in TRUTHS else name] += count
    return one
