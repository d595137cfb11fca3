"""Table files: what is read, how it is split, and where a file is wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from blockprop.data.reading import read_data
from blockprop.data.tables.files import read_table
from blockprop.errors import DataError

PEOPLE = "age,color,buys\n20,red,no\n40,blue,yes\n30,,yes\n"


def write(tmp_path: Path, text: str | bytes, name: str = "people.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_csv(tmp_path: Path) -> None:
    data = read_data(write(tmp_path, PEOPLE))
    assert data.test is None
    assert data.train.classes == ("no", "yes")
    assert data.train.y.tolist() == [0, 1, 1]
    assert data.train.features == ("age", "color=blue", "color=red", "color=(missing)")
    assert data.train.rows.tolist() == [2, 3, 4]
    root = 1.5**0.5  # ages 20, 40, 30: mean 30, standard deviation 10 · √(2/3)
    expected = [[-root, 0, 1, 0], [root, 1, 0, 0], [0, 0, 0, 1]]
    assert torch.allclose(data.train.x, torch.tensor(expected))
    assert data.encoder.target == "buys"


def test_tsv_semicolons_marks_quotes_and_blank_lines(tmp_path: Path) -> None:
    for name, text in (
        ("a.tsv", PEOPLE.replace(",", "\t")),
        ("b.csv", PEOPLE.replace(",", ";")),
        ("c.csv", b"\xef\xbb\xbf" + PEOPLE.encode()),
        ("d.csv", PEOPLE.replace("red", '"red"').replace("\n", "\r\n")),
        ("e.csv", PEOPLE.replace("20", "\n\n20") + "\n\n"),
    ):
        frame = read_table(write(tmp_path, text, name)).frame
        assert frame["age"].tolist() == ["20", "40", "30"], name
        assert frame["color"].tolist() == ["red", "blue", ""], name
        assert list(frame.index) == ([4, 5, 6] if name == "e.csv" else [2, 3, 4]), name


def test_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [20, 40, 30], "color": ["red", "blue", None], "buys": ["no", "yes", "yes"]})
    frame["color"] = frame["color"].astype("category")
    frame.index = [5, 6, 9]
    frame.to_parquet(tmp_path / "people.parquet")
    found, expected = read_data(tmp_path / "people.parquet"), read_data(write(tmp_path, PEOPLE))
    assert torch.equal(found.train.x, expected.train.x)
    assert found.train.features == expected.train.features
    assert torch.equal(found.train.y, expected.train.y)


def test_the_row_numbers_that_pandas_writes_are_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]})
    frame.to_csv(tmp_path / "t.csv")
    with pytest.warns(UserWarning, match=r"t\.csv: column 1 has no name: left out"):
        assert read_data(tmp_path / "t.csv").train.features == ("a",)


def test_a_number_that_comes_late_is_still_read(tmp_path: Path) -> None:
    text = "a,b\n" + "1,x\n" * 30_000 + "2.5,y\n"
    x = read_data(write(tmp_path, text)).train.x
    assert x[-1].item() == pytest.approx(30_000**0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        (["b", "a", "b", "a"], ("a", "b")),
        (["10", "9", "10", "9"], ("9", "10")),
        (["true", "false", "true", "false"], ("false", "true")),
        (["3.0", "1.0", "3.0", "1.0"], ("1", "3")),
        (["0.5", "1.5", "0.5", "1.5"], None),
        (["1", "2", "3", "4"], None),
    ],
)
def test_classes_or_numbers(tmp_path: Path, column: list[str], classes: tuple[str, ...] | None) -> None:
    path = write(tmp_path, "y,x\n" + "".join(f"{value},{i}\n" for i, value in enumerate(column)))
    data = read_data(path, target="y")
    assert data.train.classes == data.encoder.classes == classes
    assert data.train.y.dtype == (torch.int64 if classes else torch.float32)
    if classes is None:
        assert data.train.y.tolist() == [float(value) for value in column]
    assert read_data(path, target="y", task="classify").train.classes is not None


def test_the_encoder_sees_only_the_training_rows(tmp_path: Path) -> None:
    rows = [(i * i, f"c{i}", "ab"[i % 2]) for i in range(20)]
    path = write(tmp_path, "n,c,y\n" + "".join(f"{n},{c},{y}\n" for n, c, y in rows))
    data = read_data(path, test_fraction=0.3, seed=1, warn=False)
    assert (len(data.train), len(data.test)) == (14, 6)
    assert data.test.y.bincount().tolist() == [3, 3]
    numbers, categories = data.encoder.columns
    assert len(categories.categories) == 14
    trained = [int(text[1:]) ** 2 for text in categories.categories]
    assert numbers.mean == pytest.approx(np.mean(trained))
    assert data.train.x[:, 0].mean().item() == pytest.approx(0, abs=1e-6)
    assert torch.allclose(data.test.x[:, 1:], torch.tensor(1 / 14))
    assert sum("was never seen" in note for note in data.notes) == 5
    assert data.notes[-1] == "c: so it is with 1 more such cells"
    assert torch.equal(read_data(path, test_fraction=0.3, seed=1, warn=False).test.x, data.test.x)


def test_a_given_encoder_settles_target_and_classes(tmp_path: Path) -> None:
    encoder = read_data(write(tmp_path, PEOPLE)).encoder
    new = read_data(write(tmp_path, "buys,color,age\nyes,red,30\n", "new.csv"), encoder=encoder)
    assert new.train.y.tolist() == [1]
    assert new.train.x.tolist() == [[0, 0, 1, 0]]
    for text in ("color,age\nred,30\n", "color,age,buys\nred,30,\n"):
        unlabeled = read_data(write(tmp_path, text, "new.csv"), encoder=encoder, need_labels=False)
        assert unlabeled.train.y is None
        assert unlabeled.train.classes == ("no", "yes")
    with pytest.raises(DataError, match=r"new\.csv: column 'buys': unknown class 'maybe' in row 3; expected no, yes"):
        read_data(write(tmp_path, "age,color,buys\n1,red,no\n1,red,maybe\n", "new.csv"), encoder=encoder)
    with pytest.raises(DataError, match=r"new\.csv: there is no column 'buys' to predict"):
        read_data(write(tmp_path, "age,color\n1,red\n", "new.csv"), encoder=encoder)


def test_without_encoder_and_labels_every_column_is_a_feature(tmp_path: Path) -> None:
    data = read_data(write(tmp_path, "a,b\n1,2\n3,4\n"), need_labels=False)
    assert data.train.features == ("a", "b")
    assert data.train.y is None


BAD = {
    "too few cells": ("a,b\n1,2\n3\n", "expected 2 cells in row 3, as in the first, got 1"),
    "too many cells": ("a,b\n1,2\n\n3,4,5\n", "expected 2 cells in row 4, as in the first, got 3"),
    "decimal commas": (
        "a,b\n1,5,2\n3,5,4\n",
        "expected 2 cells in row 2, .*got 3; are there decimal commas",
    ),
    "only names": ("a,b\n", "expected at least one row"),
    "names twice": ("a,a\n1,2\n", "two columns are named 'a'"),
    "no name inside": ("a,,b\n1,2,3\n", "column 2 has no name"),
    "no label": ("a,b\n1,\n\n3,\n", r"column 'b': there is no label in any row"),
    "no features": ("b\nx\ny\n", "expected columns beside the target 'b'"),
    "not text": (b"a,b\n1,\x00\x01\xff\n", "expected a table of text, this is something else"),
    "a workbook": (b"PK\x03\x04\x14\x00\x06\x00", "expected a table of text, this is something else"),
    "open quote": ('a,b\n1,x\n2,"y\n3,z\n', "row 3 cannot be read .*is a quotation mark not closed"),
    "empty": ("", "the file is empty"),
    "blank": ("\n\n", "expected at least one row, there are none but empty ones"),
    "comments alone": ("# a\n# b\n", "expected at least one row"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_wrong_csv_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read_data(path)
    assert str(path) in str(caught.value)


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'buy' to predict; did you mean 'buys'"):
        read_data(write(tmp_path, PEOPLE), target="buy")
    with pytest.raises(DataError, match="no column 'buy' to predict"):
        read_data(write(tmp_path, PEOPLE), target="buy", need_labels=False)


def test_text_asked_to_be_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a number in row 2, column 'buys', got 'no'"):
        read_data(write(tmp_path, PEOPLE), task="regress")


def test_a_damaged_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": [[1], [2]], "b": [0, 1]}).to_parquet(path)
    with pytest.raises(DataError, match=r"column 'a' holds list<.*; expected numbers"):
        read_data(path)
    pd.DataFrame({"a": range(999), "b": 0}).to_parquet(path)
    content = path.read_bytes()
    for length in range(1, len(content), 401):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"t\.parquet: expected a complete parquet file"):
            read_data(path)
