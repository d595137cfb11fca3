"""The same row is the same vector, whatever else its file holds, in whatever order, and in whatever kind of file."""

import csv
import random
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from blockprop.data.reading import read_data
from blockprop.data.tables.encoder import TableEncoder
from blockprop.errors import DataError

KINDS: dict[str, list[str]] = {
    "plain": ["3", "4.5", "-2", "1e3", "0.001", "+7", "12"],
    "comma": ["3,5", "4,25", "-0,75", "1.234,5", "12"],
    "thousands": ["1,234.5", "12,345,678", "7", "1 234", "1'234.5"],
    "money": ["$5", "-$4.50", "$1,000", "($3)", "6"],
    "percent": ["5%", "12.5 %", "100%", "0 %"],
    "unit": ["5 kg", "7kg", "12.5 kg", "3"],
    "code": ["007", "012", "120", "999"],
    "truth": ["true", "FALSE", "True", "unknown"],
    "yes": ["yes", "no", "Yes"],
    "version": ["v1.10", "v1.1", "v2"],
    "word": ["red", "Red", "blue, dark", 'the "one"', "a\nb", "été", "NA", "-"],
    "day": ["2024-03-10", "2024-03-10T12:30:00Z", "2024-05-01 08:00:00+02:00", "2023-12"],
    "german day": ["10.03.2024", "24.12.2023", "01.01.2000"],
    "hour": ["12:30", "00:05", "23:59"],
    "whole": ["1", "2", "3", "2.0"],
}
ODD = ["", "?", "NA", "n/a", "-", "007", "1.10", "1e3", "TRUE", "inf", "-inf", "nan", "None", "2024-01-05", "05/06/07"]
ODD += ["1,234", "5 kg", "7%", "€ 3", "Paris", "x y", "0x1F", "1_000", "3.0", "٣", "1/2", "#ff0000", "10-20", "=1+1"]


def write(path: Path, names: list[str], rows: list[list[str]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([names, *rows])
    return path


def encoded(path: Path, encoder: TableEncoder) -> Tensor | str:
    """The rows of a file, or why it is refused, without the place."""
    try:
        return read_data(path, encoder=encoder, need_labels=False, warn=False).train.x
    except DataError as error:
        return str(error).partition(" has a decimal ")[0].split("(row")[0].replace(str(path), "")


def trained(path: Path, chance: random.Random) -> TableEncoder:
    rows = [[*(chance.choice(cells) for cells in KINDS.values()), "uv"[i % 2]] for i in range(120)]
    encoder = read_data(write(path, [*KINDS, "y"], rows), warn=False).encoder
    assert {column.kind for column in encoder.columns} == {"number", "time", "category"}
    return encoder


def some_rows(chance: random.Random, count: int) -> list[list[str]]:
    """Rows of cells that were seen in training, and here and there of odd ones."""
    return [
        [chance.choice([*cells, *ODD] if chance.random() < 0.3 else cells) for cells in KINDS.values()]
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_same_row_is_the_same_vector(tmp_path: Path, seed: int) -> None:
    chance, names = random.Random(seed), list(KINDS)
    encoder = trained(tmp_path / "train.csv", chance)
    rows = some_rows(chance, 40)
    alone = [encoded(write(tmp_path / f"{i}.csv", names, [row]), encoder) for i, row in enumerate(rows)]
    good = [i for i, x in enumerate(alone) if isinstance(x, Tensor)]
    assert len(good) > 10
    expected = torch.cat([alone[i] for i in good])
    assert expected.isfinite().all()
    columns = chance.sample(range(len(names)), len(names))
    for order in (good, good[::-1], chance.sample(good, len(good))):
        shuffled = [[rows[i][k] for k in columns] for i in order]
        path = write(tmp_path / "all.csv", [names[k] for k in columns], shuffled, ";")
        assert torch.equal(encoded(path, encoder), expected[[good.index(i) for i in order]])
    frame = pd.DataFrame([rows[i] for i in good], columns=names)
    assert torch.equal(encoder.encode(frame), expected)
    for i in set(range(len(rows))) - set(good):
        beside = write(tmp_path / "beside.csv", names, [rows[good[0]], rows[i], rows[good[1]]])
        assert encoded(beside, encoder) == alone[i], "what is refused alone is refused in company"


def test_typed_files_hold_the_same_cells(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, 2.0, None, 1e-3] * 5,
            "whole": [1, 2, 3, 40] * 5,
            "truth": [True, False, True, True] * 5,
            "word": ["a", "b", None, "c"] * 5,
            "when": pd.to_datetime(["2024-03-10 12:30", "2024-03-11 00:00", None, "2023-01-01 23:59"] * 5, utc=True),
            "y": ["u", "v", "u", "v"] * 5,
        }
    )
    frame["when"] = frame["when"].dt.tz_convert("Europe/Berlin")
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    text, typed = (read_data(tmp_path / f"t.{kind}", warn=False) for kind in ("csv", "parquet"))
    assert torch.allclose(text.train.x, typed.train.x, atol=1e-6)
    assert torch.equal(text.train.y, typed.train.y)
    crossed = read_data(tmp_path / "t.parquet", encoder=text.encoder, warn=False)
    assert torch.allclose(crossed.train.x, text.train.x, atol=1e-6)


def test_numbers_that_differ_little_for_their_size_are_told_apart() -> None:
    for first, step in ((1e15, 1.0), (1e15, 0.5), (-1e14, 0.125), (1e-300, 1e-301), (1e9, 1e-6)):
        values = [first + step * (i % 7) for i in range(70)]
        x = TableEncoder.fit(pd.DataFrame({"a": [repr(value) for value in values]})).encode(pd.DataFrame({"a": values}))
        assert x.abs().max() < 2, first
        assert x.std(correction=0).item() == pytest.approx(1, abs=0.01)
        assert len(x.unique()) == 7
