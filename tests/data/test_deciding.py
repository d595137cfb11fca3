"""What a column is taken for, and what is said about it."""

from pathlib import Path

import pandas as pd
import pytest

from blockprop.data.reading import read_data
from blockprop.data.tables.cells import Cells, plain
from blockprop.data.tables.columns import CategoryColumn, Column, NumberColumn
from blockprop.data.tables.deciding import Wishes, fit_column
from blockprop.errors import DataError, SettingError

NO_WISHES = Wishes()


def fitted(texts: list[str], wishes: Wishes = NO_WISHES, name: str = "a") -> Column:
    return fit_column(Cells.of(pd.Series(texts, range(2, len(texts) + 2), name=name)), wishes, None, "t.csv")


def many(*texts: str, count: int = 60) -> list[str]:
    return [texts[i % len(texts)] for i in range(count)]


NUMBERS = [str(i * 7 % 100 + 0.5) for i in range(100)]
KINDS = {
    "numbers": (NUMBERS, "number"),
    "one typing error": ([*NUMBERS, "4O.2"], "number"),
    "one error among four": (["1.5", "2.5", "3.5", "x"], "number"),
    "marks for nothing do not count": ([*NUMBERS[:10], *["?"] * 30, *["-"] * 30, *["n/a"] * 9], "number"),
    "codes": (many("01234", "10115", "80331"), "category"),
    "one number with a zero in front": ([*many("12", "34", "57", "81", count=99), "05"], "number"),
    "a few words and numbers": (many("1", "2", "3", "ground"), "category"),
    "ages in groups": (many("10-20", "20-30", "30+"), "category"),
    "dates": (many("2024-03-01", "2024-05-01", "2024-03-07"), "time"),
    "a date and a word": ([*many("2024-03-01", "2024-05-01", count=40), "soon"], "time"),
    "truth": (many("true", "false"), "category"),
    "plus and minus": (many("+", "-"), "category"),
    "addresses": ([f"{i} {'abcdefgh'[i % 8]}{i * i} street" for i in range(40)], "left out"),
    "addresses of telephones": ([f"+49 30 {i * 7919}" for i in range(40)], "left out"),
    "nothing": (["", "NA", "NaN"], "left out"),
    "one number": (many("7", "7.0"), "left out"),
    "one word or nothing": (many("x", ""), "category"),
    "one number or nothing": (many("7", ""), "category"),
}


@pytest.mark.parametrize(("texts", "kind"), KINDS.values(), ids=KINDS)
def test_what_a_column_is_taken_for(texts: list[str], kind: str) -> None:
    assert fitted(texts).kind == kind


NOT_CLEAR = {
    "half words": ([*NUMBERS, *(f"w{i}" for i in range(60))], "it holds numbers and words, such as 'w0' .row 102."),
    "units": ([f"{i}.5 {'kg' if i % 2 else 'g'}" for i in range(60)], "it holds numbers of several units, such as"),
    "dates and words": (
        [f"2024-01-{i % 28 + 1:02d}" if i % 3 else f"w{i}" for i in range(60)],
        "it holds times and words, such as 'w0' .row 2.; empty these cells",
    ),
    "percent and not": ([f"{i}{'%' if i % 3 else ''}" for i in range(60)], "of several units, such as '0' .row 2."),
    "both marks": (["1,5", "1.5", "2,5"], "has a decimal point, and the numbers in this column have a decimal comma"),
}


@pytest.mark.parametrize(("texts", "message"), NOT_CLEAR.values(), ids=NOT_CLEAR)
def test_what_is_not_clear_is_refused_and_settled_by_wishes(texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=rf"t\.csv: a: .*{message}"):
        fitted(texts)
    assert fitted(texts, Wishes(text=("a",))).kind == "category"
    assert fitted(texts, Wishes(drop=("a",))).kind == "left out"
    if "decimal" not in message and "times" not in message:
        assert fitted(texts, Wishes(number=("a",))).kind == "number"


def test_wishes_win() -> None:
    codes = fitted(many("007", "008", "019"), Wishes(number=("a",)))
    assert isinstance(codes, NumberColumn)
    assert codes.mean == pytest.approx((7 + 8 + 19) / 3)
    words = fitted(many("1.10", "1.1", "2"), Wishes(text=("a",)))
    assert isinstance(words, CategoryColumn)
    assert words.categories == ("1.1", "1.10", "2")
    with pytest.raises(DataError, match=r"a: expected numbers, got 'red' \(row 2\)"):
        fitted(["red", "blue"], Wishes(number=("a",)))
    with pytest.raises(SettingError, match="the column 'a' can be taken for one thing only"):
        Wishes(text=("a",), drop=("a",))
    with pytest.raises(SettingError, match="expected the decimal mark point or comma, got 'dot'"):
        Wishes(decimal="dot")


def test_truth_values_are_one_in_any_capitals_and_other_words_are_not() -> None:
    column = fitted(many("TRUE", "true", "True", "TRUE", "a", "A"))
    assert isinstance(column, CategoryColumn)
    assert column.categories == ("A", "TRUE", "a")
    assert column.notes == (
        "a: 'A' and 'a' differ in capitals alone and are 2 categories",
        "a: 'true' is read as 'TRUE' (rows 3, 9, 15 and 7 more)",
        "a: 'True' is read as 'TRUE' (rows 4, 10, 16 and 7 more)",
    )


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("a", range(20), True),
        ("customer_id", [i * i for i in range(20)], True),
        ("customerId", [i * i for i in range(20)], True),
        ("squares", [i * i for i in range(20)], False),
        ("id", [i % 5 for i in range(20)], False),
        ("covid", [i * i for i in range(20)], False),
        ("a", range(5), False),
    ],
)
def test_a_column_that_numbers_the_rows_is_pointed_out(name: str, values: list[int], told: bool) -> None:
    notes = fitted([str(value) for value in values], name=name).notes
    assert notes == ((f"{name}: it seems to number the rows; drop=['{name}'] leaves it out",) if told else ())


def test_numbers_without_a_unit_are_said() -> None:
    column = fitted(many("5 kg", "7 kg", "9"))
    assert column.notes == ("a: 20 numbers without a unit (row 4 first) are taken to be in kg",)
    assert column.becomes.startswith("number in kg, 7 ±")


SAID = {
    "short years": (many("15.3.52", "16.4.70"), "years of two digits are read as 1969 to 2068"),
    "capitals": (many("Cat", "cat", "dog"), "'Cat' and 'cat' differ in capitals alone and are 2 categories"),
    "a number without the unit that makes it another": (
        [*(f"{i}%" for i in range(59)), "0.5"],
        "'0.5' is no number in %",
    ),
}


@pytest.mark.parametrize(("texts", "note"), SAID.values(), ids=SAID)
def test_what_may_be_meant_otherwise_is_said_once(texts: list[str], note: str) -> None:
    (said,) = fitted(texts).notes
    assert note in said


def test_a_cell_is_named_as_it_stands_in_the_file() -> None:
    with pytest.raises(DataError, match=r"'1,000' \(row 2\) may be 1000 or 1;"):
        fitted(["1,000", "2,000", "3,500"])
    with pytest.raises(DataError, match=r"'1\.000' \(row 2\) may be 1 or 1000;"):
        Wishes().mark([Cells.of(pd.Series(["1.000", "2.000", "3.500"], range(2, 5), name="a"))], "t.csv", ";")


MARKED = {
    '="7"': "7",
    '="007"': "007",
    '= "7"': '= "7"',
    '="Rome"': "Rome",
    '=" 7 "': "7",
    '=""': "",
    "=7": "=7",
    "'7'": "7",
    "'-1.5'": "-1.5",
    "'€ 3,20'": "€ 3,20",
    "'2024-01-05'": "2024-01-05",
    "'7": "7",
    "'007": "007",
    "'7.5,": "7.5,",
    "'90s": "'90s",
    "'tis": "'tis",
    "'yes'": "'yes'",
    "'": "'",
    "''": "''",
}


@pytest.mark.parametrize(("text", "cell"), MARKED.items())
def test_marks_of_spreadsheets_are_taken_off(text: str, cell: str) -> None:
    assert plain(f" {text} ") == cell


def test_marked_cells_are_read_as_others_and_it_is_said() -> None:
    plainly, marked = (
        Cells.of(pd.Series(texts, range(2, 6), name="a"))
        for texts in (["1.5", "2.5", "1.5", "NA"], ['="1.5"', "'2.5'", "1.5", '="NA"'])
    )
    assert marked.different == plainly.different
    assert marked.places.tolist() == plainly.places.tolist()
    assert plainly.notes == ()
    assert marked.notes == ("""a: the marks around ="1.5" (row 2), and those around 2 more cells, are taken off""",)


def test_cells_that_are_the_same_without_what_stands_around_them_are_one() -> None:
    cells = Cells.of(pd.Series(["x", " x", "y", "x\u200b", " NA ", '="x"'], name="a"))
    assert cells.different == ("x", "y")
    assert cells.places.tolist() == [0, 0, 1, 0, -1, 0]
    assert cells.counts.tolist() == [4, 1]


def test_a_file_with_marked_cells_is_that_without(tmp_path: Path) -> None:
    text = "size,code,y\n" + "".join(f"{i}.5,0{i % 3},{'ab'[i % 2]}\n" for i in range(12))
    (tmp_path / "plain.csv").write_text(text)
    marked = "size,code,y\n" + "".join(f'\'{i}.5\',="0{i % 3}",="{"ab"[i % 2]}"\n' for i in range(12))
    (tmp_path / "marked.csv").write_text(marked)
    first, second = (read_data(tmp_path / name, warn=False) for name in ("plain.csv", "marked.csv"))
    assert first.train.features == second.train.features
    assert first.train.x.equal(second.train.x)
    assert first.train.classes == second.train.classes == ("a", "b")
    told = [note for note in second.notes if note not in first.notes]
    assert [note.partition(":")[0] for note in told] == ["size", "code", "y"]
    assert told[1] == 'code: the marks around ="00" (row 2), and those around 11 more cells, are taken off'


def test_words_are_not_called_units() -> None:
    with pytest.raises(DataError, match="it holds numbers and words, such as '<2'"):
        fitted([f"<{i}" if i % 10 == 2 else str(i + 0.5) for i in range(60)])
