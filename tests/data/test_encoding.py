"""Table encoders: numbers worked by hand, and rows that do not fit."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from blockprop.data.encoding import NumberColumn, TableEncoder, TextColumn
from blockprop.errors import DataError, FormatError

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
    assert encoder.features == (
        *("age", "flat"),
        *("color=blue", "color=red", "color=(missing)", "color=(other)"),
        *("on=False", "on=True", "on=(missing)", "on=(other)"),
    )
    step = 2 / math.sqrt(8 / 3)
    expected = [
        [-step, 0, 0, 1, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0, 1, 0, 0],
        [step, 0, 0, 1, 0, 0, 0, 1, 0, 0],
    ]
    x = encoder.encode(TRAIN)
    assert x.dtype == torch.float32
    assert torch.allclose(x, torch.tensor(expected))


def test_new_rows_use_what_was_learned() -> None:
    encoder = TableEncoder.fit(TRAIN[["age", "color"]])
    new = pd.DataFrame({"extra": [1, 2], "color": ["green", "blue"], "age": ["3", None]})
    assert encoder.encode(new).tolist() == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0]]


def test_numbers_in_a_column_of_texts_match_by_their_digits() -> None:
    encoder = TableEncoder.fit(pd.DataFrame({"zip": ["10", "20"]}))
    for column in ([20, 30], [20.0, np.nan]):
        places = encoder.encode(pd.DataFrame({"zip": column})).argmax(dim=1).tolist()
        assert places == ([1, 3] if column[1] == 30 else [1, 2])


def test_columns_with_nothing_in_them_and_dates() -> None:
    frame = pd.DataFrame({"none": [np.nan, np.nan], "when": pd.to_datetime(["1970-01-02", "1970-01-04"])})
    encoder = TableEncoder.fit(frame)
    assert encoder.columns == (NumberColumn("none", 0.0, 1.0), NumberColumn("when", 2.0, 1.0))
    assert encoder.encode(frame).tolist() == [[0, -1], [0, 1]]


def test_the_most_frequent_categories_are_kept() -> None:
    frame = pd.DataFrame({"name": [f"once {i}" for i in range(300)] + ["twice", "twice"]})
    assert TableEncoder.fit(frame).columns == (TextColumn("name", ("twice",)),)


def test_json_and_back() -> None:
    encoder = TableEncoder.fit(TRAIN, "y", ["no", "yes"])
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    assert torch.equal(again.encode(TRAIN), encoder.encode(TRAIN))
    assert TableEncoder.from_dict(TableEncoder.fit(TRAIN, "y").to_dict()).classes is None


NUMBER = {"kind": "number", "name": "a", "mean": 0.0, "scale": 1.0}


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"columns": 3, "target": None, "classes": None},
        {"columns": [3], "target": None, "classes": None},
        {"columns": [{"kind": "text", "name": "a"}], "target": None, "classes": None},
        {"columns": [{"kind": "text", "name": "a", "categories": [1]}], "target": None, "classes": None},
        {"columns": [NUMBER | {"scale": 0}], "target": None, "classes": None},
        {"columns": [NUMBER | {"mean": math.nan}], "target": None, "classes": None},
        {"columns": [NUMBER | {"mean": "much"}], "target": None, "classes": None},
        {"columns": [NUMBER | {"kind": "sound"}], "target": None, "classes": None},
        {"columns": [NUMBER | {"name": 3}], "target": None, "classes": None},
        {"columns": [NUMBER], "target": 3, "classes": None},
        {"columns": [NUMBER], "target": "y", "classes": "ab"},
    ],
)
def test_a_damaged_encoder_is_refused(saved: dict) -> None:
    with pytest.raises(FormatError, match="table encoder is damaged"):
        TableEncoder.from_dict(saved)


def test_rows_that_do_not_fit() -> None:
    encoder = TableEncoder.fit(TRAIN[["age", "color"]])
    with pytest.raises(DataError, match=r"new\.csv: the column 'age' is missing; did you mean 'aged'"):
        encoder.encode(pd.DataFrame({"aged": [1], "color": ["red"]}), "new.csv")
    with pytest.raises(DataError, match=r"new\.csv: expected a number in row 8, column 'age', got 'old'"):
        encoder.encode(pd.DataFrame({"age": ["1", "old"], "color": "red"}, index=[7, 8]), "new.csv")
    with pytest.raises(DataError, match=r"the number in row 1, column 'age' is too large: 1e\+300"):
        encoder.encode(pd.DataFrame({"age": [0, 1e300], "color": "red"}))
    with pytest.raises(DataError, match=r"expected a number in row 1, column 'age', got '-inf'"):
        encoder.encode(pd.DataFrame({"age": [0, -np.inf], "color": "red"}))


def test_training_tables_that_cannot_be_used() -> None:
    with pytest.raises(DataError, match="expected columns beside the target 'y', there are none"):
        TableEncoder.fit(TRAIN[["y"]], "y")
    with pytest.raises(DataError, match="column 'a' are too large to be standardized"):
        TableEncoder.fit(pd.DataFrame({"a": [1e308, -1e308]}))
    with pytest.raises(DataError, match=r"row 1, column 'a', got 'inf'"):
        TableEncoder.fit(pd.DataFrame({"a": [1, np.inf]}))
