"""Whether the first row of a text file holds the columns' names, or is an example already."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd

from blockprop.data.tables.cells import MISSING, NO_NUMBER
from blockprop.data.tables.number_formats import NEARLY
from blockprop.data.tables.times import LOOKS_ISO
from blockprop.data.tables.written import written
from blockprop.errors import DataError

LOOKED_AT = 1000
"""Rows by which it is decided what a column holds."""
YEARS = range(1800, 2200)


def first_row_is_names(first: Sequence[str], rest: pd.DataFrame, path: Path) -> tuple[bool, str]:
    """(whether the first row holds names, a note if that is a guess), by what stands below it.

    Words above numbers are names. Numbers above numbers are not, unless they just count or are years; nor are words
    that come again in their own column. Raises DataError if both are so.
    """
    kinds = [_holds_numbers(rest.iloc[:LOOKED_AT, i]) for i in range(rest.shape[1])]
    pairs = list(zip(first, kinds, strict=True))
    above_numbers = [cell for cell, numbers in pairs if numbers and not _is_number(cell) and not _is_nothing(cell)]
    numbers = [cell for cell, numbers in pairs if numbers and _is_number(cell)]
    data = numbers if not _just_count(numbers) else []
    again = [cell for i, cell in enumerate(first) if not _is_nothing(cell) and not kinds[i] and _recurs(cell, rest, i)]
    if above_numbers and data:
        raise DataError(
            f"{path}: it is not clear whether row 1 holds the columns' names: {above_numbers[0]!r} could be one, "
            f"{data[0]!r} not; say header=True or header=False"
        )
    if above_numbers:
        return True, ""
    if data or again:
        text = (
            f"{path}: row 1 ({', '.join(first[:4])}{', …' * (len(first) > 4)}) is taken for an example, not for names"
        )
        return False, f"{text}; header=True takes it for names"
    if not numbers:
        return True, ""
    return (
        True,
        f"{path}: row 1 is taken for names, although it holds numbers; header=False says otherwise",
    )


def _is_nothing(cell: str) -> bool:
    return cell in MISSING or cell in NO_NUMBER


def _is_number(cell: str) -> bool:
    return written(cell) is not None or LOOKS_ISO.fullmatch(cell) is not None


def _holds_numbers(column: pd.Series) -> bool:
    cells = [cell.strip() for cell in column if not _is_nothing(cell.strip())]
    return bool(cells) and sum(map(_is_number, cells)) >= NEARLY * len(cells)


def _just_count(cells: Sequence[str]) -> bool:
    """Whether numbers may be names: 0, 1, 2, … as programs write them, or years."""
    if not cells or not all(re.fullmatch(r"[0-9]+", cell) for cell in cells):
        return False
    values = [int(cell) for cell in cells]
    steps = {after - before for before, after in pairwise(values)}
    return (len(steps) == 1 and steps == {1}) or (all(value in YEARS for value in values) and len(set(values)) > 1)


def _recurs(cell: str, rest: pd.DataFrame, index: int) -> bool:
    return bool((rest.iloc[:, index].str.strip() == cell).any())
