"""The column to be predicted: classes or numbers, by the rules of all columns."""

from pathlib import Path

import pytest
import torch

from blockprop.data.dataset import Data
from blockprop.data.reading import read_data
from blockprop.errors import DataError


def read(tmp_path: Path, labels: list[str], **settings: object) -> Data:
    path = tmp_path / "t.csv"
    path.write_text("x;y\n" + "".join(f"{i % 7};{label}\n" for i, label in enumerate(labels)))
    return read_data(path, warn=False, **settings)


CLASSES = {
    "words": (["b", "a"] * 5, ("a", "b")),
    "plus and minus": (["+", "-"] * 5, ("+", "-")),
    "truth in several capitals": (["TRUE", "TRUE", "true", "False"] * 5, ("False", "TRUE")),
    "whole numbers": (["10", "9"] * 5, ("9", "10")),
    "whole numbers in other writings": (["1.0", "1.00e+00", "1", "2", "2.0", "3"] * 3, ("1", "2", "3")),
    "codes": (["007", "012"] * 5, ("007", "012")),
    "groups": (["10-20", "20-30"] * 5, ("10-20", "20-30")),
    "few units": (["5 kg", "7 kg"] * 5, ("5 kg", "7 kg")),
}


@pytest.mark.parametrize(("labels", "classes"), CLASSES.values(), ids=CLASSES)
def test_classes(tmp_path: Path, labels: list[str], classes: tuple[str, ...]) -> None:
    data = read(tmp_path, labels)
    assert data.train.classes == data.encoder.classes == classes
    for i, label in enumerate(labels[:6]):
        alone = read(tmp_path, [label], encoder=data.encoder).train
        assert alone.y.tolist() == data.train.y[i : i + 1].tolist(), "a label alone is what it is among others"


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [(["1,5", "2,5", "1.000"], [1.5, 2.5, 1000]), (["€ 1.50", "€ 2", "3"], [1.5, 2, 3]), (["5 %", "7.5%"], [5, 7.5])],
)
def test_numbers(tmp_path: Path, labels: list[str], numbers: list[float]) -> None:
    data = read(tmp_path, labels)
    assert data.train.classes is None
    assert data.train.y.tolist() == numbers
    again = read(tmp_path, labels[:1], encoder=data.encoder)
    assert again.train.y.tolist() == numbers[:1]


def test_rows_without_a_label_are_left_out_and_said(tmp_path: Path) -> None:
    data = read(tmp_path, ["u", "", "v", "NA", "u", "v"])
    assert data.train.rows.tolist() == [2, 4, 6, 7]
    assert data.train.y.tolist() == [0, 1, 0, 1]
    assert data.notes == ("y: no label in rows 3 and 5: left out",)
    numbers = [f"{i}.5" for i in range(30)]
    for odd in ("?", "4O"):
        data = read(tmp_path, [*numbers, odd])
        assert len(data.train) == 30
        assert data.notes == (f"y: no label in row 32: left out; '{odd}' (row 32) is none",)
    with pytest.raises(DataError, match="column 'y': there is no label in any row"):
        read(tmp_path, ["", "NA"])


def test_new_labels_that_are_none_or_unknown(tmp_path: Path) -> None:
    encoder = read(tmp_path, ["yes", "no"] * 5).encoder
    new = read(tmp_path, ["Yes", "", "no"], encoder=encoder)
    assert new.train.y.tolist() == [1, 0]
    assert new.notes == ("y: no label in row 3: left out", "y: 'Yes' is read as 'yes' (row 2)")
    with pytest.raises(DataError, match="column 'y': unknown class 'maybe' in row 3; expected no, yes"):
        read(tmp_path, ["yes", "maybe"], encoder=encoder)
    for labels in (["yes", "maybe"], ["yes", ""]):
        data = read(tmp_path, labels, encoder=encoder, need_labels=False)
        assert data.train.y is None
        assert len(data.train) == 2, "every row gets its prediction"


def test_what_cannot_be_predicted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'y' holds times, which cannot be predicted as such"):
        read(tmp_path, [f"2024-01-{i:02d}" for i in range(1, 20)])
    with pytest.raises(DataError, match="too large to be predicted, or differ too little for their size: float32"):
        read(tmp_path, [f"{10**9 + i}.5" for i in range(30)])
    with pytest.raises(DataError, match="it holds numbers and words, such as 'w0'"):
        read(tmp_path, [*(f"{i}.5" for i in range(30)), *(f"w{i}" for i in range(20))])


def test_wishes_for_the_target(tmp_path: Path) -> None:
    labels = ["1", "2", "3"] * 4
    assert read(tmp_path, labels).train.classes == ("1", "2", "3")
    assert read(tmp_path, labels, number=["y"]).train.y.dtype == torch.float32
    assert read(tmp_path, ["1.5", "2.5"] * 4, text=["y"]).train.classes == ("1.5", "2.5")


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (["yes", "no", "?"], "y: '?' (rows 4, 7, 10 and 1 more) is taken for a class; only empty cells have no label"),
        (["Cat", "cat", "dog"], "y: 'Cat' and 'cat' differ in capitals alone and are 2 classes"),
        (
            ["01", "1", "2"],
            "y: '01' (rows 2, 5, 8 and 1 more) is the number 1, and so the class '1'; text=['y'] keeps both",
        ),
        (["1.0", "1", "2"], None),
        (["01", "02", "10"], None),
        (["+", "-"], None),
        (["none", "mild"], None),
    ],
)
def test_classes_that_may_be_meant_otherwise_are_said(tmp_path: Path, labels: list[str], note: str | None) -> None:
    said = [text for text in read(tmp_path, labels * 4).notes if text.startswith("y:")]
    assert said == ([] if note is None else [note])
