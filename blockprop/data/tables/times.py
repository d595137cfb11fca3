"""Dates and times as people write them, in days since 1970; those with a zone in UTC."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from blockprop.data.tables.cells import NO_NUMBER, Cell, Cells
from blockprop.data.tables.number_formats import NEARLY
from blockprop.errors import DataError

ISO = "ISO8601"
DATES = ("%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y")
NAMED_MONTHS = ("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y")
HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
PATTERNS = (ISO, "%H:%M", "%H:%M:%S", *(date + hours for date in (*DATES, *NAMED_MONTHS) for hours in HOURS))
"""What a column of times may look like."""
LOOKS_ISO = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2}([T ].*)?)?")
LOOKS_TIMED = re.compile(r".*[0-9].*[-/.: ].*[0-9].*")
TRIED = 50
"""Cells on which all patterns are tried; those that read nearly all of them are tried on the rest."""
MICROSECONDS = 24 * 60 * 60 * 1_000_000


@dataclass(frozen=True)
class TimeFormat:
    """How a column writes its times: "ISO8601", or a pattern such as "%d.%m.%Y"."""

    pattern: str = ISO

    def days(self, cells: tuple[Cell, ...]) -> np.ndarray:
        """(n,) days since 1970 in UTC, NaN for what is no time; a time without a zone is taken as it stands."""
        days = np.full(len(cells), np.nan)
        texts = [cell if isinstance(cell, str) else "" for cell in cells]
        if self.pattern == ISO:
            texts = [re.sub(r" ?(UTC|GMT)$", "Z", text) if LOOKS_ISO.fullmatch(text) else "" for text in texts]
        if any(texts):
            read = pd.to_datetime(pd.Series(texts), format=self.pattern, errors="coerce", utc=True)
            days = _days(read.dt.tz_convert(None))
        typed = [isinstance(cell, pd.Timestamp) for cell in cells]
        if any(typed):
            days[typed] = _days(pd.Series([cell for cell in cells if isinstance(cell, pd.Timestamp)]))
        return days


def _days(times: pd.Series) -> np.ndarray:
    whole = times.astype("datetime64[us]")
    return (whole.astype("int64") / MICROSECONDS).where(whole.notna(), np.nan).to_numpy()


def time_format(cells: Cells, source: str) -> TimeFormat | None:
    """How a column's times are written; None if it is no column of times.

    Raises DataError if days and months could be exchanged.
    """
    meant = [cell for cell in cells.different if cell not in NO_NUMBER]
    looking = [cell for cell in meant if isinstance(cell, pd.Timestamp) or LOOKS_TIMED.fullmatch(str(cell))]
    if not meant or len(looking) < NEARLY * len(meant):
        return None
    tried = [pattern for pattern in PATTERNS if _share(pattern, tuple(meant[:TRIED])) >= NEARLY]
    shares = {pattern: _share(pattern, tuple(meant)) for pattern in tried}
    best = [pattern for pattern, share in shares.items() if share >= max(NEARLY, *shares.values())]
    if not best:
        return None
    _require_one_reading(best, cells, tuple(meant), source)
    return TimeFormat(best[0])


def _share(pattern: str, cells: tuple[Cell, ...]) -> float:
    return float(np.isfinite(TimeFormat(pattern).days(cells)).mean())


def _require_one_reading(patterns: list[str], cells: Cells, meant: tuple[Cell, ...], source: str) -> None:
    readings = [TimeFormat(pattern).days(meant) for pattern in patterns]
    for reading in readings[1:]:
        differs = np.flatnonzero(~np.isclose(reading, readings[0], equal_nan=True))
        if len(differs):
            cell = cells.named(cells.different.index(meant[differs[0]]))
            raise DataError(
                f"{source}: {cells.name}: {cell} may have the day or the month first, and nothing in the column says "
                f"which; write dates like 2024-03-10, or leave the column out with drop={[cells.name]}"
            )
