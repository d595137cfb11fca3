"""How a column writes its numbers: "1,234" is 1234 with a decimal point and 1.234 with a decimal comma.

A column decides once, in training.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from blockprop.data.tables.cells import NO_NUMBER, Cells
from blockprop.errors import DataError

NEARLY = 0.9
"""The share of a column's cells that must be numbers, or times, for the others to count as missing."""
LEAST_UNIT = 0.05
"""A unit that fewer of the numbers have is taken for a mistake."""
SCALES = re.compile(r"[%‰]|[kKMGB]|bn|[Mm]io\.?|[Mm]rd\.?|million|billion|thousand")
"""Units without which a number means another one."""
DECIMALS = {"point": ".", "comma": ","}


@dataclass(frozen=True)
class NumberFormat:
    """How a column writes its numbers. decimal: "." or ",". unit: what stands at its numbers, such as "€" or "kg".

    thousands: whether it has commas, or points, between thousands.
    """

    decimal: str = "."
    unit: str = ""
    thousands: bool = False

    def read(self, cells: Cells, source: str) -> np.ndarray:
        """What each of the different cells is; NaN for what is no number, or one of another unit.

        Raises DataError for a number that has the other decimal mark.
        """
        values = np.full(len(cells.different), np.nan)
        for index, number in enumerate(cells.numbers):
            if number is None or not self.fits(number.unit):
                continue
            value = number.point if self.decimal == "." else number.comma
            if value is None:
                here, there = ("point", "comma") if self.decimal == "." else ("comma", "point")
                raise DataError(
                    f"{source}: {cells.name}: {cells.named(index)} has a decimal {there}, and the numbers in this "
                    f"column have a decimal {here}; write all in one way"
                )
            values[index] = value
        return values

    def guessed(self, cells: Cells) -> list[int]:
        """Which of the different cells, such as "1,234", are numbers with thousands, where training had none such."""
        return [] if self.thousands else [i for i in self._marked(cells) if None not in (cells.numbers[i] or ())]

    def with_thousands(self, cells: Cells) -> "NumberFormat":
        """The same, which knows whether these cells have marks between thousands."""
        return replace(self, thousands=bool(self._marked(cells)))

    def _marked(self, cells: Cells) -> list[int]:
        mark = "," if self.decimal == "." else "."
        return [i for i, number in enumerate(cells.numbers) if number is not None and mark in str(cells.different[i])]

    def fits(self, unit: str) -> bool:
        """Whether numbers with this unit are of this column: its own, or none unless that makes it another number."""
        return unit == self.unit or (unit == "" and not SCALES.fullmatch(self.unit))


PLAIN = NumberFormat()


def number_format(cells: Cells, decimal: str | None, source: str) -> NumberFormat:
    """How most of a column's numbers are written.

    decimal: "." or "," if other columns say which. Raises DataError if nothing says what "1,234" is.
    """
    found = NumberFormat(_decimal(cells, decimal, source), _usual_unit(units_of(cells)))
    return found.with_thousands(cells)


def units_of(cells: Cells) -> Counter[str]:
    """How many numbers have each unit, "" for none; without units that few have, as in "12 Main Street"."""
    counts = Counter({"": 0})
    for number, count in zip(cells.numbers, cells.counts, strict=True):
        if number is not None:
            counts[number.unit] += int(count)
    least = LEAST_UNIT * counts.total()
    return Counter({unit: count for unit, count in counts.items() if unit == "" or count >= least})


def _usual_unit(counts: Counter[str]) -> str:
    """The unit that covers most of the numbers, with those that have none if they may be of it."""

    def covered(unit: str) -> int:
        return counts[unit] + (counts[""] if unit and NumberFormat(unit=unit).fits("") else 0)

    return max(counts, key=covered)


def _decimal(cells: Cells, decimal: str | None, source: str) -> str:
    votes = decimal_votes(cells)
    if votes:
        return votes.most_common(1)[0][0]
    if decimal is None:
        require_clear(cells, ",", source)
    return decimal or "."


def require_clear(cells: Cells, mark: str, source: str) -> None:
    """DataError for a number that depends on what this mark means, where no cell of the column shows which it is."""
    if decimal_votes(cells):
        return
    for index, number in enumerate(cells.numbers):
        if number is not None and number.point != number.comma and mark in str(cells.different[index]):
            raise DataError(
                f"{source}: {cells.name}: {cells.named(index)} may be {number.point:g} or {number.comma:g}; say which "
                "with decimal='point' or decimal='comma'"
            )


def decimal_votes(cells: Cells) -> Counter[str]:
    """How many cells can be read with one decimal mark alone, by the mark."""
    votes = Counter[str]()
    for number, count in zip(cells.numbers, cells.counts, strict=True):
        if number is not None and (number.point is None or number.comma is None):
            votes["," if number.point is None else "."] += int(count)
    return votes


def decimal_of(columns: Iterable[Cells]) -> str | None:
    """The decimal mark that all columns of numbers agree on, if some of them show one."""
    marks = {mark for cells in columns if share_of_numbers(cells) >= NEARLY for mark in decimal_votes(cells)}
    return marks.pop() if len(marks) == 1 else None


def share_of_numbers(cells: Cells) -> float:
    """How many of the cells are numbers, but for those that say that there is none: 0…1."""
    meant = [i for i, cell in enumerate(cells.different) if cell not in NO_NUMBER]
    return units_of(cells).total() / max(int(cells.counts[meant].sum()), 1)


def odd_cells(cells: Cells, values: np.ndarray) -> list[int]:
    """Which of the different cells are no numbers (their values are NaN) and do not say that there is none."""
    return [i for i, cell in enumerate(cells.different) if np.isnan(values[i]) and cell not in NO_NUMBER]
