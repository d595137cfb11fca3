"""Dates and times as people write them, in days since 1970; those with a zone in UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blockprop.data.tables.cells import NO_NUMBER, Cell, Cells
from blockprop.data.tables.written import LONGEST
from blockprop.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


ISO = "ISO8601"
DATES = ("%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y")
NAMED_MONTHS = ("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y")
HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
PATTERNS = (ISO, "%H:%M", "%H:%M:%S", *(date + hours for date in (*DATES, *NAMED_MONTHS) for hours in HOURS))
"""What a column of times may look like."""
LOOKS_ISO = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2}([T ].*)?)?")
WITH_ZONE = re.compile(r":[0-9.]+ ?(Z|UTC|GMT|[-+][0-9]{2}:?([0-9]{2})?)$")
LOOKS_TIMED = re.compile(r".*[0-9].*[-/.: ].*[0-9].*")
TRIED = 50
"""Cells on which all patterns are tried; those that read some of them are tried on the rest."""
MICROSECONDS = 24 * 60 * 60 * 1_000_000


@dataclass(frozen=True)
class TimeFormat:
    """How a column writes its times: "ISO8601", or a pattern such as "%d.%m.%Y"."""

    pattern: str = ISO

    def read(self, cells: Cells, source: str = "") -> np.ndarray:
        """What each of the different cells is, in days since 1970 in UTC; NaN for what is no time.

        A time without a zone is taken as it stands.
        """
        return self.days(cells.different)

    @property
    def example(self) -> str:
        """How the last minute of a year is written."""
        import pandas as pd

        return "2024-12-31" if self.pattern == ISO else pd.Timestamp("2024-12-31 23:59").strftime(self.pattern)

    def days(self, cells: Sequence[Cell]) -> np.ndarray:
        """The same of some cells."""
        import pandas as pd

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


def _looks_timed(text: str) -> bool:
    return len(text) <= LONGEST and LOOKS_TIMED.fullmatch(text) is not None


def time_format(cells: Cells, least: float, source: str) -> TimeFormat | None:
    """How the times among the cells are written; None if the cells that are times are fewer than this share, 0…1.

    Raises DataError if days and months could be exchanged.
    """
    meant = [i for i, cell in enumerate(cells.different) if cell not in NO_NUMBER]
    looking = [i for i in meant if _looks_timed(str(cells.different[i]))]
    whole = cells.counts[meant].sum()
    if not looking or cells.counts[looking].sum() < least * whole:
        return None
    some = [cells.different[i] for i in looking]
    tried = [pattern for pattern in PATTERNS if np.isfinite(TimeFormat(pattern).days(some[:TRIED])).any()]
    readings = {pattern: TimeFormat(pattern).days(some) for pattern in tried}
    counts = {name: int(cells.counts[looking][np.isfinite(days)].sum()) for name, days in readings.items()}
    best = [pattern for pattern, count in counts.items() if count == max(counts.values()) and count >= least * whole]
    for pattern in best[1:]:
        differs = np.flatnonzero(~np.isclose(readings[best[0]], readings[pattern], equal_nan=True))
        if len(differs):
            raise DataError(
                f"{source}: {cells.name}: {cells.named(looking[differs[0]])} may have the day or the month first, and "
                f"nothing in the column says which; write dates like 2024-03-10, or say drop={[cells.name]}"
            )
    return TimeFormat(best[0]) if best else None
