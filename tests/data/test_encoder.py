"""Table encoders: numbers worked by hand, and rows that do not fit."""

import contextlib
import json
import math
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from blockprop.data.reading import read_data
from blockprop.data.tables.columns import CategoryColumn, LeftOut
from blockprop.data.tables.deciding import Wishes
from blockprop.data.tables.encoder import TableEncoder
from blockprop.errors import BlockpropError, DataError, FormatError
from tests.trust import mutations

TRAIN = pd.DataFrame(
    {
        "age": [1.0, 3.0, np.nan, 5.0],  # mean 3, standard deviation √(8/3)
        "flat": [7, 7, 7, 7],
        "color": ["red", None, "blue", "red"],
        "on": [True, False, True, True],
        "y": [0.5, 1.5, 2.5, 3.5],
    }
)


def test_fit_and_encode_by_hand() -> None:
    encoder = TableEncoder.fit(TRAIN, "y")
    assert encoder.features == ("age", "color=blue", "color=red", "color=(missing)", "on=false", "on=true")
    step = 2 / math.sqrt(8 / 3)
    expected = [[-step, 0, 1, 0, 0, 1], [0, 0, 0, 1, 1, 0], [0, 1, 0, 0, 0, 1], [step, 0, 1, 0, 0, 1]]
    x = encoder.encode(TRAIN)
    assert x.dtype == torch.float32
    assert torch.allclose(x, torch.tensor(expected))


def test_what_was_never_seen_is_the_average_of_the_training_rows() -> None:
    encoder = TableEncoder.fit(TRAIN[["age", "color", "on"]])
    new = pd.DataFrame({"extra": [1, 2], "color": ["green", "blue"], "age": ["3", None], "on": ["", "true"]})
    x, notes = encoder.rows(new.set_axis([7, 8]))
    assert x.tolist() == [[0, 0.25, 0.5, 0.25, 0.25, 0.75], [0, 1, 0, 0, 0, 1]]
    assert torch.allclose(x[0], encoder.encode(TRAIN).mean(0), atol=1e-6)
    assert notes == [
        "columns that were not there in training are not used: extra",
        "color: 'green' was never seen (row 7)",
        "on: nothing stands in row 7, as never in training; that counts as the average",
    ]


def test_numbers_in_a_column_of_texts_match_by_their_digits() -> None:
    encoder = TableEncoder.fit(pd.DataFrame({"zip": ["10", "20", None]}), wishes=Wishes(text=("zip",)))
    for column in ([20, 10], [20.0, np.nan]):
        places = encoder.encode(pd.DataFrame({"zip": column})).argmax(dim=1).tolist()
        assert places == ([1, 0] if column[1] == 10 else [1, 2])


def test_dates_are_numbers_and_columns_that_say_nothing_are_left_out() -> None:
    when = pd.to_datetime(["1970-01-02", "1970-01-04"])
    frame = pd.DataFrame({"none": [np.nan, np.nan], "when": when, "flat": [7, 7], "word": ["a", "a"]})
    encoder = TableEncoder.fit(frame)
    assert encoder.encode(frame).tolist() == [[-1], [1]]
    assert {c.name: c.reason for c in encoder.columns if isinstance(c, LeftOut)} == {
        "none": "nothing in it",
        "flat": "always '7'",
        "word": "always 'a'",
    }


def test_the_most_frequent_categories_are_kept() -> None:
    often = [f"often {i % 250}" for i in range(1000)] + ["more"] * 2 + ["once"]
    (column,) = TableEncoder.fit(pd.DataFrame({"name": often})).columns
    assert isinstance(column, CategoryColumn)
    assert len(column.categories) == 201
    assert column.notes == ("name: 252 different texts; the 200 most frequent have a place each",)
    other = column.categories.index("(other)")
    assert column.shares[other] == pytest.approx((50 * 4 + 3) / 1003)
    x, notes = TableEncoder((column,)).rows(pd.DataFrame({"name": ["once", "never", "often 0"]}))
    assert notes[1] == "name: 'never' is none of the frequent texts and counts as (other) (row 1)"
    assert x.argmax(1).tolist() == [other, other, column.categories.index("often 0")]


def test_names_of_rows_are_left_out_unless_they_are_wanted() -> None:
    frame = pd.DataFrame({"name": [f"n{i}" for i in range(30)], "x": [i * i for i in range(30)]})
    encoder = TableEncoder.fit(frame)
    assert encoder.features == ("x",)
    assert encoder.notes == [
        "name: 30 different texts in 30 rows, so that it is left out; text=['name'] keeps the frequent ones"
    ]
    assert len(TableEncoder.fit(frame, wishes=Wishes(text=("name",))).features) == 31


def test_json_and_back() -> None:
    encoder = TableEncoder.fit(TRAIN, "y", ["no", "yes"])
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    assert torch.equal(again.encode(TRAIN), encoder.encode(TRAIN))
    assert TableEncoder.from_dict(TableEncoder.fit(TRAIN, "y").to_dict()).classes is None
    frame = pd.DataFrame(
        {"price": ["1,5 €", "2,5 €"], "day": ["24.12.2024", "13.1.2025"], "same": "s", "y": ["3 %", "4.5 %"]}
    )
    encoder = TableEncoder.fit(frame, "y")
    assert TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder


def test_an_encoder_of_another_version_is_refused() -> None:
    old = {"columns": [{"kind": "number", "name": "a", "mean": 0.0, "scale": 1.0}], "target": None, "classes": None}
    with pytest.raises(FormatError, match="trained on a table by another version of blockprop; train it again"):
        TableEncoder.from_dict(old)


NUMBER = {"kind": "number", "name": "a", "mean": 0.0, "scale": 1.0, "missing": 0, "notes": []}
NUMBER |= {"format": {"decimal": ".", "unit": "", "thousands": False}}
TEXT = {"kind": "category", "name": "a", "missing": 0, "notes": []}


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"columns": 3},
        {"columns": [3]},
        {"columns": [TEXT]},
        {"columns": [TEXT | {"categories": [1], "shares": [1]}]},
        {"columns": [TEXT | {"categories": ["b", "c"], "shares": [1]}]},
        {"columns": [TEXT | {"categories": ["b"], "shares": [math.nan]}]},
        {"columns": [NUMBER | {"scale": 0}]},
        {"columns": [NUMBER | {"mean": math.nan}]},
        {"columns": [NUMBER | {"mean": "much"}]},
        {"columns": [NUMBER | {"kind": "sound"}]},
        {"columns": [NUMBER | {"name": 3}]},
        {"columns": [NUMBER | {"format": {"decimal": ":", "unit": "", "thousands": False}}]},
        {"columns": [NUMBER | {"format": None}]},
        {"columns": [NUMBER], "target": 3},
        {"columns": [NUMBER], "target": "y", "classes": "ab"},
    ],
)
def test_a_damaged_encoder_is_refused(saved: dict) -> None:
    whole = {"format": 2, "target": None, "classes": None, "target_format": None, "with_names": True}
    with pytest.raises(FormatError, match="table encoder is damaged"):
        TableEncoder.from_dict(whole | saved)


def test_rows_that_do_not_fit() -> None:
    encoder = TableEncoder.fit(TRAIN[["age", "color"]])
    with pytest.raises(DataError, match=r"new\.csv: the column 'age' is missing; did you mean 'aged'"):
        encoder.encode(pd.DataFrame({"aged": [1], "color": ["red"]}), "new.csv")
    with pytest.raises(DataError, match=r"the number in row 1, column 'age' is too large: 1e\+300"):
        encoder.encode(pd.DataFrame({"age": [0, 1e300], "color": "red"}))


def test_what_is_no_number_counts_as_missing_and_is_said() -> None:
    encoder = TableEncoder.fit(TRAIN[["age", "color"]])
    cells = ["1", "old", "-inf", "3 kg", "?", "1e400", "12:30"]
    x, notes = encoder.rows(pd.DataFrame({"age": cells, "color": "red"}, index=range(7, 14)))
    assert x[1:, 0].tolist() == [0] * 6
    assert notes[0] == "age: 'old' is no number and counts as missing (row 8)"
    assert notes[-1] == "age: so it is with 1 more such cells"


def test_training_tables_that_cannot_be_used() -> None:
    with pytest.raises(DataError, match="expected columns beside the target 'y', there are none"):
        TableEncoder.fit(TRAIN[["y"]], "y")
    with pytest.raises(DataError, match="column 'a' are too large to be standardized"):
        TableEncoder.fit(pd.DataFrame({"a": [1e308, -1e308]}))
    with pytest.raises(DataError, match=r"there is no column to learn from: 'a' \(left out: always '7'\)"):
        TableEncoder.fit(pd.DataFrame({"a": [7, 7]}))


def test_thousands_that_training_did_not_have_are_said() -> None:
    new = pd.DataFrame({"a": ["1,234", "1,234.5", "7"]}, index=[2, 3, 4])
    for texts, said in ((["1", "2.5"], ["a: '1,234' (row 2) is read as 1234"]), (["1", "2,345", "1.5"], [])):
        encoder = TableEncoder.fit(pd.DataFrame({"a": texts}))
        assert encoder.rows(new).notes == said


def test_capitals_are_overlooked_only_where_one_text_can_be_meant() -> None:
    encoder = TableEncoder.fit(pd.DataFrame({"a": ["red", "Red", "blue"]}))
    x, notes = encoder.rows(pd.DataFrame({"a": ["RED", "Blue", "Red"]}, index=[2, 3, 4]))
    assert encoder.features == ("a=Red", "a=blue", "a=red")
    assert torch.allclose(x, torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0, 1, 0], [1, 0, 0]]))
    assert notes == ["a: 'Blue' is read as 'blue' (row 3)", "a: 'RED' was never seen (row 2)"]


def test_damaged_encoders_are_refused_or_encode(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "size,when,color,price\n" + "".join(f"{i}.5,2024-01-{i:02},{'rgb'[i % 3]},{i}\n" for i in range(1, 29))
    )
    encoder = read_data(path, warn=False).encoder
    assert encoder is not None
    good, worked = json.dumps(encoder.to_dict()), 0
    for seed in range(150):
        damaged = mutations.in_document(json.loads(good), random.Random(seed))
        with contextlib.suppress(BlockpropError):
            read_data(path, encoder=TableEncoder.from_dict(damaged), need_labels=False, warn=False)
            worked += 1
    assert 5 < worked < 100
    for columns in ([], [{"name": "a"}]):
        with pytest.raises(FormatError, match="encoder is damaged"):
            TableEncoder.from_dict(encoder.to_dict() | {"columns": columns})
