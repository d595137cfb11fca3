"""Sources by name and by kind of file."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from blockprop.data.reading import NAMES, read_data
from blockprop.errors import DataError, SettingError
from tests.conftest import DataFile


@pytest.mark.parametrize(
    ("name", "count", "shape", "outputs"),
    [
        ("iris", 150, (4,), 3),
        ("wine", 178, (13,), 3),
        ("breast_cancer", 569, (30,), 2),
        ("diabetes", 442, (10,), 1),
        ("digits", 1797, (1, 8, 8), 10),
    ],
)
def test_data_sets_by_name(name: str, count: int, shape: tuple[int, ...], outputs: int) -> None:
    data = read_data(name, test_fraction=0.2)
    assert len(data.train) + len(data.test) == count
    assert len(data.test) == round(0.2 * count)
    assert data.train.shape == shape
    assert data.train.output_count == outputs
    assert (data.encoder is None) == (name == "digits")
    if data.encoder:
        assert data.train.x.mean(dim=0).abs().max() < 1e-5
        assert data.train.x.std(dim=0, unbiased=False).sub(1).abs().max() < 1e-5


def test_what_the_names_stand_for() -> None:
    assert read_data("iris").train.classes == ("setosa", "versicolor", "virginica")
    assert read_data("breast_cancer").train.classes == ("malignant", "benign")
    diabetes = read_data("diabetes").train
    assert diabetes.classes is None
    assert diabetes.y[:3].tolist() == [151.0, 75.0, 141.0]
    digits = read_data("digits").train
    assert digits.x.unique().tolist() == [i / 16 for i in range(17)]
    assert digits.y[:4].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("file", ["mnist.npz", "fashion_mnist.npz"])
def test_mnist(file: str, data_file: DataFile) -> None:
    data = read_data(data_file(f"datasets/{file}"))
    assert data.train.x.shape == (60000, 1, 28, 28)
    assert data.test.x.shape == (10000, 1, 28, 28)
    assert data.train.y.bincount().sum() == 60000
    assert (data.train.x.min(), data.train.x.max()) == (torch.tensor(0.0), torch.tensor(1.0))
    if file == "mnist.npz":
        assert data.train.y[:5].tolist() == [5, 0, 4, 1, 9]


def test_unknown_sources_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"digit: there is no such file or folder.*did you mean 'digits'"):
        read_data("digit")
    with pytest.raises(DataError, match=f"nowhere.*there are {', '.join(NAMES)}"):
        read_data("nowhere")
    (tmp_path / "a.doc").write_text("text")
    with pytest.raises(DataError, match=r"a\.doc: unknown kind of file '\.doc'; expected \.npz, \.csv"):
        read_data(tmp_path / "a.doc")
    for name, instead in (
        ("a.txt", "if it is a table of text, call it .csv"),
        ("a.XLSX", "save the sheet as CSV"),
        ("a.jsonl", "save the table as CSV"),
        ("a.npy", "save arrays x and y as .npz, as numpy.savez does"),
        ("a.zip", "unpack it, and give what is in it"),
    ):
        (tmp_path / name).write_bytes(b"PK\x03\x04 or text")
        with pytest.raises(DataError, match=rf"or a folder of pictures; {instead}"):
            read_data(tmp_path / name)
    with pytest.raises(DataError, match="/dev/null: expected an ordinary file or a folder"):
        read_data("/dev/null")
    (tmp_path / "a.npz").touch()
    with pytest.raises(DataError, match=r"a\.npz: the file is empty"):
        read_data(tmp_path / "a.npz")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(DataError, match=r"b\.csv: expected one folder for each class"):
        read_data(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_fraction": 1.0}, "test_fraction from 0 to below 1, got test_fraction=1.0"),
        ({"test_fraction": -0.1}, "test_fraction"),
        ({"task": "cluster"}, '"classify" or "regress", got \'cluster\''),
    ],
)
def test_settings_outside_their_range(settings: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        read_data("iris", **settings)


@pytest.mark.parametrize("name", ["digits", "arrays.npz"])
@pytest.mark.parametrize(
    "settings",
    [
        {"target": "a"},
        {"drop": ["a"]},
        {"text": ["a"]},
        {"number": ["a"]},
        {"decimal": "comma"},
        {"header": False},
    ],
    ids=str,
)
def test_what_is_of_tables_is_refused_elsewhere(
    name: str, settings: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("arrays.npz", x=np.zeros((4, 3)), y=[0, 1, 0, 1])
    said = "".join(f"{key}={value!r}" for key, value in settings.items())
    with pytest.raises(SettingError, match=re.escape(f"{name}: {said} is of tables, and these are none; leave it out")):
        read_data(name, **settings)


@pytest.mark.parametrize("name", ["iris", "table.csv"])
@pytest.mark.parametrize("settings", [{"size": 20}, {"size": (8, 9)}, {"channels": 1}], ids=str)
def test_what_is_of_pictures_is_refused_for_tables(
    name: str, settings: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("a,y\n1,u\n2,v\n3,u\n")
    with pytest.raises(SettingError, match=rf"{name}: (size|channels)=.* is of pictures, and these are none"):
        read_data(name, **settings)
