"""Dates and times in days since 1970, as a column writes them."""

import numpy as np
import pandas as pd
import pytest

from blockprop.data.tables.cells import Cells
from blockprop.data.tables.encoder import TableEncoder
from blockprop.data.tables.times import TimeFormat, time_format
from blockprop.errors import DataError

NOON = 19792.5
"""2024-03-10 12:00 UTC: 54 years with 13 leap days, 31 + 29 days, and 9.5 more."""
ISO = "ISO8601"


def cells(*texts: str) -> Cells:
    return Cells.of(pd.Series(texts, name="when", index=range(2, len(texts) + 2)))


@pytest.mark.parametrize(
    ("cell", "days"),
    [
        ("2024-03-10", NOON - 0.5),
        ("2024-03-10 12:00", NOON),
        ("2024-03-10T12:00:00Z", NOON),
        ("2024-03-10T12:00:00.000Z", NOON),
        ("2024-03-10 12:00:00 UTC", NOON),
        ("2024-03-10T14:00:00+02:00", NOON),
        ("2024-03-10T07:00:00-0500", NOON),
        ("2024-03", NOON - 9.5),
        ("2024", np.nan),
        ("20240310", np.nan),
        ("2024-13-01", np.nan),
        ("2024-02-30", np.nan),
        ("soon", np.nan),
    ],
)
def test_times_with_and_without_a_zone(cell: str, days: float) -> None:
    np.testing.assert_allclose(TimeFormat(ISO).days((cell,)), [days], rtol=0, atol=1e-9)


def test_a_zone_is_the_same_moment_in_utc() -> None:
    plain, zoned = ([f"2024-03-{day:02d}T12:30:00{zone}" for day in range(1, 21)] for zone in ("", "Z"))
    encoders = [TableEncoder.fit(pd.DataFrame({"when": times})) for times in (plain, zoned)]
    assert encoders[0] == encoders[1]
    x = encoders[0].encode(pd.DataFrame({"when": ["2024-03-20T13:30:00+01:00", plain[19]]}))
    assert x[0] == x[1]
    mixed = TableEncoder.fit(pd.DataFrame({"when": [*plain[:10], *zoned[10:]]}))
    assert mixed.notes == ["when: times without a zone (row 0 first) are taken to be in UTC, like the others"]


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (("24.12.2024", "1.1.2025"), "%d.%m.%Y"),
        (("24/12/2024", "01/02/2025"), "%d/%m/%Y"),
        (("12/24/2024", "01/02/2025"), "%m/%d/%Y"),
        (("12/24/2024 1:05 PM", "01/02/2025 12:00 AM"), "%m/%d/%Y %I:%M %p"),
        (("2024/12/24", "2025/01/02"), "%Y/%m/%d"),
        (("24-Dec-2024", "02-Jan-2025"), "%d-%b-%Y"),
        (("Dec 24, 2024", "Jan 2, 2025"), "%b %d, %Y"),
        (("12:30", "08:15"), "%H:%M"),
        (("2024-12-24", "2025-01-02T10:00"), ISO),
    ],
)
def test_the_pattern_of_a_column(texts: tuple[str, ...], pattern: str) -> None:
    assert time_format(cells(*texts, "?"), 0.9, "t.csv") == TimeFormat(pattern)


@pytest.mark.parametrize("texts", [("1.5", "2.5"), ("red", "blue"), ("10-20", "20-30"), ("2024-01-01", "x", "y")])
def test_what_is_no_column_of_times(texts: tuple[str, ...]) -> None:
    assert time_format(cells(*texts), 0.9, "t.csv") is None


def test_days_and_months_that_could_be_exchanged_are_refused() -> None:
    with pytest.raises(DataError, match=r"t\.csv: when: '03/04/2024' \(row 3\) may have the day or the month first"):
        time_format(cells("05/05/2024", "03/04/2024"), 0.9, "t.csv")


def test_years_far_away() -> None:
    assert TimeFormat(ISO).days(("0001-01-01", "9999-12-31"))[0] == -719162
