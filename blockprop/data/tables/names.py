"""Whether the first row of a text file holds the columns' names, or is an example already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from blockprop.data.tables.cells import MISSING, NO_NUMBER, Cells
from blockprop.data.tables.number_formats import NEARLY
from blockprop.data.tables.times import LOOKS_ISO
from blockprop.data.tables.written import written
from blockprop.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


LOOKED_AT = 1000
"""Rows by which it is decided what a column holds."""
YEARS = range(1800, 2200)


def first_row_is_names(first: Sequence[str], rest: pd.DataFrame, path: Path) -> tuple[bool, str]:
    """(whether the first row holds names, a note if that is a guess), by what stands below it.

    Words above numbers are names. Numbers above numbers are not, unless they just count or are years; nor are words
    that come again in their own columns. Raises DataError where neither outweighs the other.
    """
    others = rest[~same_rows(first, rest)]
    others = others if len(others) else rest
    pairs = list(zip(first, (_holds_numbers(cells.iloc[:LOOKED_AT]) for _, cells in others.items()), strict=True))
    names = [cell for cell, numbers in pairs if numbers and not _is_number(cell) and not _is_nothing(cell)]
    numbers = [cell for cell, numbers in pairs if numbers and _is_number(cell)]
    data = [] if _just_count(numbers) else [cell for cell in numbers if not _is_year(cell)]
    words = [i for i, (cell, numbers) in enumerate(pairs) if not numbers and not _is_nothing(cell)]
    again = [i for i in words if _recurs(first[i], (others if names else rest).iloc[:, i])]
    if (names and (data or (again and again == words))) or (not names and not data and 0 < len(again) < len(words) / 2):
        raise DataError(
            f"{path}: it is not clear whether row 1 holds the columns' names ({_some(first)}); "
            "say header=True or header=False"
        )
    if names:
        return True, ""
    if data or again:
        said = f"{path}: row 1 ({_some(first)}) is taken for an example, not for names"
        return False, f"{said}; header=True takes it for names"
    if not numbers:
        clear = any(_is_nothing(cell) or rest.iloc[:, i].duplicated().any() for i, cell in enumerate(first))
        guess = f"{path}: row 1 ({_some(first)}) is taken for names; header=False takes it for an example"
        return True, "" if clear else guess
    if len(set(numbers)) == 1:
        raise DataError(
            f"{path}: it is not clear whether {numbers[0]!r} in row 1 names a column; say header=True or header=False"
        )
    return True, f"{path}: row 1 is taken for names, although it holds numbers; header=False says otherwise"


def _some(cells: Sequence[str]) -> str:
    return ", ".join(cells[:4]) + ", …" * (len(cells) > 4)


def _is_nothing(cell: str) -> bool:
    return cell in MISSING or cell in NO_NUMBER


def _is_number(cell: str) -> bool:
    return written(cell) is not None or LOOKS_ISO.fullmatch(cell) is not None


def _holds_numbers(column: pd.Series) -> bool:
    cells = Cells.of(column)
    meant = [i for i, cell in enumerate(cells.different) if cell not in NO_NUMBER]
    numbers = [i for i in meant if _is_number(str(cells.different[i]))]
    return bool(meant) and cells.counts[numbers].sum() >= NEARLY * cells.counts[meant].sum()


def _just_count(cells: Sequence[str]) -> bool:
    """Whether numbers may be names because they are 0, 1, 2, …, as programs write them."""
    if len(cells) < 2 or not all(re.fullmatch(r"[0-9]+", cell) for cell in cells):
        return False
    return all(int(after) == int(before) + 1 for before, after in pairwise(cells))


def _is_year(cell: str) -> bool:
    return re.fullmatch(r"[0-9]{4}", cell) is not None and int(cell) in YEARS


def _recurs(cell: str, column: pd.Series) -> bool:
    return not _is_nothing(cell) and bool((column.str.strip() == cell).any())


def same_rows(first: Sequence[str], rest: pd.DataFrame) -> pd.Series:
    """Which rows hold the same cells as the first, as where files are joined; in a table of several columns."""
    import pandas as pd

    same = pd.Series(len(first) > 1, rest.index)
    for i, cell in enumerate(first):
        same &= rest.iloc[:, i].str.strip() == cell
    return same
