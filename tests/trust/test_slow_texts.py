"""Texts of a few kilobytes over which a reader could brood for minutes: read or refused at once."""

import time
from pathlib import Path

import pytest

from blockprop.commands.settings_file import _document
from blockprop.data.reading import read_data
from blockprop.errors import FormatError
from blockprop.pictures.preprocessing import read_preprocessing

WORK = 2.0
"""Seconds of processor time."""
CELLS = {
    "digits and dashes, which no digit follows": "1" * 800 + "-" * 800,
    "a sign and spaces": "-" + " " * 30_000 + "x",
    "digits and a letter": "1" * 30_000 + "a",
    "a decimal point and digits": "9." + "9" * 30_000 + "x",
    "a number sign and digits": "a" + "1" * 30_000,
}


@pytest.mark.parametrize("name", CELLS)
def test_long_cells_of_a_table_are_words(name: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{CELLS[name]}{'bcd'[i % 3]}-,{i % 2}\n" for i in range(12))
    path.write_text(f"words,y\n{rows}")
    start = time.process_time()
    data = read_data(path, warn=False)
    assert time.process_time() - start < WORK
    assert data.train.shape == (3,)


TOML = {
    "a key of many parts": ".".join("a" * 20_000) + " = 1",
    "parts in quotes": ".".join(['"a"', "'b'"] * 10_000) + " = 1",
    "parts in an inline table": "a = {" + ".".join("b" * 20_000) + " = 1}",
    "the name of a table": "[" + " . ".join("a" * 20_000) + "]",
    "a number that Python does not write": "size = 0x" + "f" * 5_000,
    "many brackets": "a = " + "[" * 20_000 + "]" * 20_000,
    "many braces": "a = " + "{a = " * 20_000,
}


@pytest.mark.parametrize("name", TOML)
def test_settings_that_no_hand_has_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(TOML[name])
    start = time.process_time()
    for read in (lambda: read_preprocessing(path), lambda: _document(path, TOML[name])):
        with pytest.raises(FormatError, match="expected TOML"):
            read()
    assert time.process_time() - start < WORK


def test_settings_with_many_dots_in_their_values_are_read() -> None:
    text = 'data = ["' + '", "'.join(f"a.b.c.{i}.png" for i in range(500)) + '"]\n# ' + "." * 200
    assert len(_document(Path("a.toml"), text)["data"]) == 500
