"""Text files of tables: letters, delimiters, comments, and the line in which each row begins."""

from pathlib import Path

import pandas as pd
import pytest

from blockprop.data.reading import read_data
from blockprop.data.tables.files import Table, read_table
from blockprop.errors import DataError

PEOPLE = "age,town,buys\n20.5,Köln,no\n40.5,Rom,yes\n30.5,,yes\n"
SPREADSHEET = PEOPLE.replace(",", ";").replace(".", ",")


def table(tmp_path: Path, text: str | bytes, name: str = "t.csv", **settings: bool) -> Table:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(path, **settings)


FILES = {
    "UTF-8": (PEOPLE, [2, 3, 4]),
    "UTF-8 with its mark": (PEOPLE.encode("utf-8-sig"), [2, 3, 4]),
    "UTF-16": (PEOPLE.replace(",", "\t").encode("utf-16"), [2, 3, 4]),
    "UTF-16, big end first": (b"\xfe\xff" + PEOPLE.encode("utf-16-be"), [2, 3, 4]),
    "UTF-16 without its mark": (PEOPLE.encode("utf-16-le"), [2, 3, 4]),
    "letters in two parts": (PEOPLE.replace("ö", "o\u0308"), [2, 3, 4]),
    "Windows line ends": (PEOPLE.replace("\n", "\r\n"), [2, 3, 4]),
    "old Macintosh line ends": (PEOPLE.replace("\n", "\r"), [2, 3, 4]),
    "no last line end": (PEOPLE.rstrip("\n"), [2, 3, 4]),
    "an end mark of DOS": (PEOPLE + "\x1a", [2, 3, 4]),
    "tabs": (PEOPLE.replace(",", "\t"), [2, 3, 4]),
    "bars": (PEOPLE.replace(",", "|"), [2, 3, 4]),
    "spaces": (PEOPLE.replace(",", " ,  "), [2, 3, 4]),
    "quotes": ('"' + PEOPLE.rstrip("\n").replace(",", '","').replace("\n", '"\n"') + '"\n', [2, 3, 4]),
    "empty lines": ("\n\n" + PEOPLE.replace("40", "\n  \n40") + "\n\n", [4, 7, 8]),
    "comments": ("# made by hand, in May\n#\n" + PEOPLE.replace("40", "# here, I slept,\n40"), [4, 6, 7]),
    "names in a comment": ("# " + PEOPLE, [2, 3, 4]),
    "names in the last of some comments": ("# made by hand\n\n#" + PEOPLE, [4, 5, 6]),
    "row numbers without a name": ("".join(f"{i or ''},{row}\n" for i, row in enumerate(PEOPLE.split())), [2, 3, 4]),
    "row numbers again": ("Unnamed: 0," + PEOPLE.replace("\n", "\n7,", 3), [2, 3, 4]),
    "row names as R writes them": ("age,town,buys\n1,20.5,Köln,no\n2,40.5,Rom,yes\n3,30.5,,yes\n", [2, 3, 4]),
    "a delimiter at each end": (PEOPLE.replace("\n", ",\n"), [2, 3, 4]),
    "a delimiter at the rows' ends": (PEOPLE.replace("o\n", "o,\n").replace("yes\n", "yes,\n"), [2, 3, 4]),
    "files joined": (PEOPLE + "age,town,buys\n", [2, 3, 4]),
}


@pytest.mark.parametrize(("text", "rows"), FILES.values(), ids=FILES)
def test_what_files_look_like(tmp_path: Path, text: str | bytes, rows: list[int]) -> None:
    frame = table(tmp_path, text).frame
    assert list(frame.columns) == ["age", "town", "buys"]
    assert [cell.strip() for cell in frame["age"]] == ["20.5", "40.5", "30.5"]
    assert [cell.strip() for cell in frame["town"]] == ["Köln", "Rom", ""]
    assert list(frame.index) == rows


@pytest.mark.parametrize("own", ["", "sep=;\n", "sep=;\r\n", '"sep=;"\n', "SEP=;\n"])
def test_what_spreadsheets_write_in_countries_with_decimal_commas(tmp_path: Path, own: str) -> None:
    found = table(tmp_path, own + SPREADSHEET)
    assert found.frame["age"].tolist() == ["20,5", "40,5", "30,5"]
    assert list(found.frame.index) == ([3, 4, 5] if own else [2, 3, 4])
    (tmp_path / "t.csv").write_text(own + SPREADSHEET)
    assert read_data(tmp_path / "t.csv").train.x[:, 0].mean() == 0


def test_delimiters_in_quotes_and_cells_of_several_lines(tmp_path: Path) -> None:
    text = '"price; EUR","a, b"\n1,"one\ntwo"\n2,"x, ""y"""\n'
    frame = table(tmp_path, text).frame
    assert list(frame.columns) == ["price; EUR", "a, b"]
    assert frame["a, b"].tolist() == ["one\ntwo", 'x, "y"']
    assert list(frame.index) == [2, 4], "the line in which the row begins"


def test_one_column_with_decimal_commas_is_one_column(tmp_path: Path) -> None:
    frame = table(tmp_path, "size\n84,44\n75,8\n\n3,1\n\n").frame
    assert frame["size"].tolist() == ["84,44", "75,8", "", "3,1"]
    assert list(frame.index) == [2, 3, 4, 5]


def test_letters_of_windows_are_read_and_said(tmp_path: Path) -> None:
    found = table(tmp_path, PEOPLE.replace("Rom", "Łódź €").encode("cp1252", errors="replace"))
    assert found.frame["town"].iloc[0] == "Köln"
    assert "t.csv: not UTF-8, so it is read as Windows-1252 (Latin-1)" in found.notes[0]


def test_colors_are_no_comments(tmp_path: Path) -> None:
    found = table(tmp_path, "color,y\n#ff0000,1\n#00ff00,2\n")
    assert found.frame["color"].tolist() == ["#ff0000", "#00ff00"]
    assert found.notes == ()


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    said = {
        ",a\n0,x\n1,y\n": "column 1 has no name: left out",
        "a,,b\n1,,x\n": "column 2 has no name and nothing in it: left out",
        "a,b\n1,x,\n2,y,\n": "each row ends with an empty cell that has no name: left out",
        "a,b\n1,x\na,b\n2,y\n": "the names stand again in row 3: left out",
        "# one\na,b\n1,x\n": "row 1: taken for comments, because of the #",
        "#a,b\n1,x\n2,x\n": "the names are read in row 1, after the #",
    }
    for text, note in said.items():
        assert table(tmp_path, text).notes == (f"{tmp_path / 't.csv'}: {note}",)


NAMED = {
    "words above numbers": ("a,b\n1,x\n2,y\n", True),
    "words above words": ("color,buys\nred,no\nblue,no\n", True),
    "numbers above numbers": ("5.1,3.5,x\n4.9,3.0,y\n", False),
    "words that come again": ("red,no\nblue,no\nred,yes\n", False),
    "numbers that just count": ("0,1,2\n0.5,1.5,x\n0.7,2.5,y\n", True),
    "years": ("land,1990,2000,2010\nA,1.5,2.5,3.5\nB,1,2,3\n", True),
    "dates": ("2024-01-05,3\n2024-01-06,4\n", False),
    "nothing above numbers": ("5.1,,x\n4.9,3.0,y\n", False),
    "a name that is a value, too": ("a,b,kind\n1,b,x\n2,c,y\n", True),
    "one row": ("a,b\n", True),
}


@pytest.mark.parametrize(("text", "named"), NAMED.values(), ids=NAMED)
def test_whether_the_first_row_holds_names(tmp_path: Path, text: str, named: bool) -> None:
    if named and text.count("\n") == 1:
        with pytest.raises(DataError, match="expected at least one row"):
            table(tmp_path, text)
        return
    found = table(tmp_path, text)
    assert found.with_names is named
    assert len(found.frame) == text.count("\n") - named
    assert ("taken for an example, not for names" in "".join(found.notes)) is not named
    for header in (True, False) if ",," not in text else ():
        told = table(tmp_path, text, header=header)
        assert (told.with_names, told.notes) == (header, ())


NOT_CLEAR = {
    "a year above numbers": "name,2019\nA,1.5\nB,2.5\n",
    "a word and a number above numbers": "size,5.5\n1,2\n2,5\n4,8.5\n3,3\n",
    "an odd cell above numbers, and a word that comes again": "4O.5,red\n2,red\n3,blue\n",
    "one word of three that comes again": "Ann,Rome,yes\nBob,Nice,yes\nEve,Bern,no\n",
}


@pytest.mark.parametrize("text", NOT_CLEAR.values(), ids=NOT_CLEAR)
def test_where_it_is_not_clear_it_is_asked(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"not clear whether .*row 1 .*header=True or header=False"):
        table(tmp_path, text)
    assert len(table(tmp_path, text, header=True).frame) == text.count("\n") - 1


def test_an_encoder_knows_the_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("age,kind\n20,u\n30,v\n20,u\n")
    encoder = read_data(path).encoder
    for text, rows in (("kind,age\nu,20\n", 1), ("age\n20\n25\n", 2), ("20,age\n1,20\n", 1), ("# age,kind\n20,u\n", 1)):
        path.write_text(text)
        assert len(read_data(path, encoder=encoder, need_labels=False, warn=False).train) == rows
    path.write_text("20,u\n30,v\n")
    with pytest.raises(DataError, match=r"expected the names of the columns in row 1 \(age, kind\), came 20, u"):
        read_data(path, encoder=encoder)


def test_files_without_names_go_by_position(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("u,1.5,x\nv,2.5,y\nu,2.5,x\n")
    encoder = read_data(path, target="column 1", warn=False).encoder
    x = read_data(path, encoder=encoder, warn=False).train.x
    path.write_text("1.5,x\n")
    assert read_data(path, encoder=encoder, need_labels=False).train.x.equal(x[:1])
    path.write_text("1.5\n")
    with pytest.raises(DataError, match="expected 2 columns, as in training, or 3 with the target"):
        read_data(path, encoder=encoder, need_labels=False)


TITLES = {
    "a title": ("Our people\n", 1),
    "a title and an empty line": ("Our people\n\n", 1),
    "several lines": ("Our people\nas of May\n\n", 1),
    "a title as spreadsheets write it": ("Our people,,\n,,\n", 1),
    "a title in quotes, with a comma": ('"Our people, in May"\n', 1),
    "empty lines and a title": ("\n\nOur people\n", 3),
}
"""(text, row); the names are age, town, buys."""


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(("title", "row"), TITLES.values(), ids=TITLES)
def test_a_title_above_the_names_is_no_name(tmp_path: Path, title: str, row: int, delimiter: str) -> None:
    body = PEOPLE.replace(",", delimiter)
    path = tmp_path / "t.csv"
    path.write_text((title if '"' in title else title.replace(",", delimiter)) + body)
    found, names = read_table(path), title.count("\n") + 1
    assert list(found.frame.columns) == ["age", "town", "buys"]
    assert list(found.frame.index) == [names + 1, names + 2, names + 3]
    what = "Our people, in May" if '"' in title else "Our people"
    note = f"{path}: {what!r} in row {row} is taken for a title; the names are read in row {names}"
    assert found.notes == (note,)
    (tmp_path / "plain.csv").write_text(body)
    encoder = read_data(tmp_path / "plain.csv").encoder
    assert read_data(path, encoder=encoder, warn=False).train.rows.tolist() == list(found.frame.index)


def test_a_title_with_commas_of_its_own(tmp_path: Path) -> None:
    found = table(tmp_path, "Flowers, of May\nname,petal,sepal,kind\nx,1.5,2.5,A\ny,1.5,3,B\n")
    assert list(found.frame.columns) == ["name", "petal", "sepal", "kind"]
    assert "'Flowers, of May' in row 1 is taken for a title; the names are read in row 2" in found.notes[0]


NO_TITLES = {
    "one column of sentences": "text\nhello, you\nbye, 5\nsee you\n",
    "one column of numbers": "size\n84,44\n75,8\n",
    "row names of R": "age\nann,20\nbob,30\n",
    "row numbers without a name": ",a\n0,x\n1,y\n",
    "row names of R, a number missing": "age,town\nann,NA,rome\nbob,20,bern\nkim,30,nice\n",
    "a first name alone": "a,b\n,1\n2,3\n",
}


@pytest.mark.parametrize("text", NO_TITLES.values(), ids=NO_TITLES)
def test_what_is_no_title(tmp_path: Path, text: str) -> None:
    found = table(tmp_path, text)
    assert len(found.frame) == text.count("\n") - 1
    assert "taken for a title" not in "".join(found.notes)


def test_a_title_above_numbers_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected 1 cells in row 2, as in the first, got 3; is the first a title"):
        table(tmp_path, "Irises\n5.1\t3.5\ta\n4.9\t3.0\tb\n", "t.tsv")


def test_pandas_reads_the_same_cells(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, 2.5], "b, c": ['say "x"', "two\nlines"], "d": ["", "é"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    again = read_table(tmp_path / "t.csv").frame.reset_index(drop=True)
    assert again.equals(pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False).astype(again.dtypes))


def test_words_that_nothing_tells_from_names_are_said_to_be_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("red,round,apple\ngreen,long,cucumber\nyellow,flat,bread\n")
    assert "row 1 (red, round, apple) is taken for names; header=False" in read_table(path).notes[0]
    path.write_text("color,shape,kind\ngreen,long,cucumber\nyellow,long,banana\n")
    assert read_table(path).notes == ()
