"""Numbers as people write them: what each cell is with a decimal point, with a decimal comma, and its unit."""

import numpy as np
import pandas as pd
import pytest

from blockprop.data.tables.cells import Cells
from blockprop.data.tables.number_formats import NumberFormat, number_format
from blockprop.data.tables.written import written
from blockprop.errors import DataError

READ = {
    "7": (7, 7, ""),
    "-7.5": (-7.5, None, ""),
    "−7,5": (None, -7.5, ""),
    "+.5": (0.5, None, ""),
    "5.": (5, None, ""),
    "007": (7, 7, ""),
    "1e3": (1000, 1000, ""),
    "1.5E-03": (0.0015, None, ""),
    "2,5e+2": (None, 250, ""),
    "1,234": (1234, 1.234, ""),
    "1.234": (1.234, 1234, ""),
    "0,123": (None, 0.123, ""),
    "1,234.5": (1234.5, None, ""),
    "1.234,5": (None, 1234.5, ""),
    "12,345,678": (12345678, None, ""),
    "12.345.678": (None, 12345678, ""),
    "12,34,567": (1234567, None, ""),
    "1 234 567": (1234567, 1234567, ""),
    "1\u202f234,5": (None, 1234.5, ""),
    "1'234'567.25": (1234567.25, None, ""),
    "1_000": (1000, 1000, ""),
    "45%": (45, 45, "%"),
    "4.5 %": (4.5, None, "%"),
    "$5": (5, 5, "$"),
    "-$5.50": (-5.5, None, "$"),
    "$-5": (-5, -5, "$"),
    "($1,234.50)": (-1234.5, None, "$"),
    "€ 3,20": (None, 3.2, "€"),
    "3,20 €": (None, 3.2, "€"),
    "EUR 12": (12, 12, "EUR"),
    "12.5kg": (12.5, None, "kg"),
    "80 km/h": (80, 80, "km/h"),
    "23 °C": (23, 23, "°C"),
    "1 year": (1, 1, "year"),
    "5 years": (5, 5, "year"),
    "6.5 l/100km": (6.5, None, "l/100km"),
    "12 m2": (12, 12, "m2"),
    "5 sq. ft.": (5, 5, "sq. ft."),
    "10,000+": (10000, 10, "+"),
}
NOT_READ = ["", "-", "?", "inf", "-inf", "nan", "1e999", "12:30", "10-20", "1/2", "2024-03-10", "10.03.2024", "1.2.3"]
NOT_READ += [
    "192.168.1.1",
    "A12",
    "#5",
    "v1.2",
    "(5",
    "5)",
    "--5",
    "-(5)",
    "1,2,3",
    "12 34",
    "٣",
    "٣٤",
    "one",
    "4O.5",
    "0x1F",
    "1920x1080",
    "12 Main St 5",
]


@pytest.mark.parametrize(("cell", "expected"), READ.items())
def test_what_a_cell_is(cell: str, expected: tuple) -> None:
    number = written(cell)
    assert number is not None
    assert (number.point, number.comma, number.unit) == expected


@pytest.mark.parametrize("cell", NOT_READ)
def test_what_is_no_number(cell: str) -> None:
    assert written(cell) is None


def test_numbers_of_typed_files() -> None:
    assert written(3) == written(3.0) == (3, 3, "")
    assert written(float("inf")) is None


def cells(*texts: str) -> Cells:
    return Cells.of(pd.Series(texts, index=range(2, len(texts) + 2), name="a"))


@pytest.mark.parametrize(
    ("texts", "decimal", "unit"),
    [
        (("1", "2.5", "1,234"), ".", ""),
        (("1", "2,5", "1.234"), ",", ""),
        (("1.234", "2.345"), ".", ""),
        (("5 kg", "7 kg", "8"), ".", "kg"),
        (("0", "0", "$1.50"), ".", "$"),
        (("5 %", "7,5 %"), ",", "%"),
        ((*map(str, range(40)), "5 kg"), ".", ""),
    ],
)
def test_a_column_decides_on_its_mark_and_unit(texts: tuple[str, ...], decimal: str, unit: str) -> None:
    found = number_format(cells(*texts), None, "t.csv")
    assert (found.decimal, found.unit) == (decimal, unit)
    assert found.thousands == ("1,234" in texts or (decimal == "," and "1.234" in texts))


def test_other_columns_say_what_is_not_clear() -> None:
    doubtful = cells("7", "1,234")
    with pytest.raises(DataError, match=r"t.csv: a: '1,234' \(row 3\) may be 1234 or 1.234; say which with decimal='p"):
        number_format(doubtful, None, "t.csv")
    for mark, value in ((".", 1234.0), (",", 1.234)):
        assert number_format(doubtful, mark, "t.csv").read(doubtful, "t.csv").tolist() == [7, value]


def test_numbers_of_another_unit_are_none_of_the_column() -> None:
    found = NumberFormat(".", "kg").read(cells("5 kg", "500 g", "5", "x"), "")
    assert np.isnan(found).tolist() == [False, True, False, True]
    for unit in ("%", "k", "M", "Mio."):
        assert np.isnan(NumberFormat(".", unit).read(cells("5"), "")).all(), "5 is not 5 %, nor 5k"


def test_the_other_decimal_mark_is_refused_with_the_row() -> None:
    with pytest.raises(DataError, match=r"t.csv: a: '2,5' \(rows 3 and 4\) has a decimal comma, and the numbers"):
        NumberFormat(".").read(cells("1.5", "2,5", "2,5"), "t.csv")
