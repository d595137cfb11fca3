"""A wrong kind of data is said in words, whatever the network, the data and the command are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop import Sequential
from blockprop.blocks import LSTM, Embedding, Flatten, Linear, Parameter, ReLU
from blockprop.cli import main
from blockprop.commands.kinds import as_taken, made_for
from blockprop.data.dataset import Dataset
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.saving.storage import load, save
from tests.commands.running import Output, run_json, sentence

PURPOSES = {
    "table": "this network is for tables with 3 columns (height, weight, city)",
    "rows": "this network is for rows of 4 numbers",
    "gray": "this network is for gray pictures of 1 x 8 x 8",
    "color": "this network is for pictures of 3 x 16 x 16",
    "sequence": "this network is for sequences of 5 steps with 3 numbers each",
    "tokens": "this network is for sequences of 6 whole numbers (tokens)",
}
GIVEN = {
    "t.csv": "t.csv is a table",
    "rows.npz": "rows.npz holds rows of 4 numbers",
    "gray.npz": "gray.npz holds gray pictures of 1 x 8 x 8",
    "album": "album",
    "photo.png": "photo.png is a picture",
}
FIT = {("table", "t.csv"), ("rows", "rows.npz"), ("rows", "t.csv")}
FIT |= {(name, data) for name in ("gray", "color") for data in ("gray.npz", "album", "photo.png")}
WRONG = [(name, data) for name in PURPOSES for data in GIVEN if (name, data) not in FIT]


def network(name: str) -> Network:
    torch.manual_seed(0)
    made: dict[str, Callable[[], Network]] = {
        "rows": lambda: Sequential(Linear(4, 2)),
        "gray": lambda: Sequential(Flatten(), Linear(64, 2), ReLU()),
        "color": lambda: Sequential(Flatten(), Linear(768, 2), ReLU()),
        "sequence": lambda: Sequential(Flatten(), Linear(15, 2)),
        "tokens": lambda: Sequential(Embedding(20, 4), Flatten(), Linear(24, 2)),
    }
    shapes = {"rows": [4], "gray": [1, 8, 8], "color": [3, 16, 16], "sequence": [5, 3], "tokens": [6]}
    net = made[name]()
    net.meta |= {"shape": shapes[name], "classes": ["cat", "dog"], "data": "some"}  # type: ignore[typeddict-item]
    return net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network and data of each kind."""
    root = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    cities, kinds = ("Rome", "Paris", "Oslo"), ("cat", "dog")
    rows = [f"{rng.normal():.2f},{rng.normal():.2f},{cities[i % 3]},{kinds[i % 2]}\n" for i in range(30)]
    (root / "t.csv").write_text("height,weight,city,kind\n" + "".join(rows))
    names = np.array(["cat", "dog"])[rng.integers(0, 2, 12)]
    np.savez(root / "rows.npz", x=rng.normal(size=(12, 4)).astype(np.float32), y=names)
    np.savez(root / "gray.npz", x=rng.integers(0, 255, (12, 8, 8)).astype(np.uint8), y=names)
    np.savez(root / "tokens.npz", x=rng.integers(0, 20, (12, 6)), y=names)
    picture = Image.fromarray(rng.integers(0, 255, (20, 30, 3)).astype(np.uint8))
    picture.save(root / "photo.png")
    for name in ("cat", "dog"):
        (root / "album" / name).mkdir(parents=True)
        for i in range(3):
            picture.save(root / "album" / name / f"{i}.png")
    out = str(root / "table.safetensors")
    assert main(["train", str(root / "t.csv"), "-n", "mlp:2", "--epochs", "1", "-q", "-o", out]) == 0
    for name in PURPOSES.keys() - {"table"}:
        save(network(name), root / f"{name}.safetensors")
    return root


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.mark.parametrize(("name", "data"), WRONG)
def test_both_kinds_are_named(name: str, data: str, capsys: Output) -> None:
    file = f"{name}.safetensors"
    commands = {
        "evaluate": ["evaluate", file, data],
        "predict": ["predict", file, data],
        "check": ["check", file, "--data", data],
        "train": ["train", data, "-n", file, "--epochs", "1", "-o", "new.safetensors"],
    }
    if data == "photo.png":
        commands |= {"saliency": ["saliency", data, "-n", file], "dream": ["dream", data, "-n", file]}
    for command, arguments in commands.items():
        said = sentence(capsys, *arguments)
        assert said.startswith(f"blockprop: {PURPOSES[name]}; "), said
        if command in ("saliency", "dream"):
            assert said.endswith("this command is for networks that see pictures")
        else:
            assert GIVEN[data] in said


@pytest.mark.parametrize(("name", "data"), sorted(FIT))
def test_what_fits_is_not_refused_for_its_kind(name: str, data: str, capsys: Output) -> None:
    for arguments in (["predict", f"{name}.safetensors", data], ["evaluate", f"{name}.safetensors", data]):
        main(arguments)
        told = capsys.readouterr().err
        assert "should not have happened" not in told
        assert "node '" not in told


def test_whole_numbers_are_looked_up(capsys: Output) -> None:
    result = run_json(capsys, "evaluate", "tokens.safetensors", "tokens.npz")
    with np.load("tokens.npz") as arrays:
        x, y = torch.from_numpy(arrays["x"]), arrays["y"]
    right = np.array(["cat", "dog"])[load("tokens.safetensors")(x).argmax(1).numpy()] == y
    assert result["accuracy"] == pytest.approx(right.mean())
    run_json(capsys, "train", "tokens.npz", "-n", "tokens.safetensors", "--epochs", "1", "-o", "new.safetensors")
    broken = Dataset(torch.tensor([[0.5] * 6]), None)
    assert as_taken(load("tokens.safetensors"), broken) is broken


def test_a_network_that_does_not_say_what_it_is_for() -> None:
    assert made_for(Sequential(Linear(3, 2))) == ""
    assert made_for(Network(Sequential(LSTM(3, 2)).nodes, meta={"shape": [4, 3]})).startswith("sequences of 4 steps")


@pytest.mark.parametrize(
    "command",
    [
        *(["saliency", "a.png"], ["segment", "a.png"], ["sanity", "a.png"], ["maximize", "w"], ["sheet", "layers"]),
        *(["dream", "a.png"], ["dream", "noise"], ["stylize", "a.png", "a.png"], ["train", "iris"]),
        *(["predict", "a.png"], ["predict", "iris"], ["evaluate", "iris"]),
    ],
    ids=" ".join,
)
def test_a_network_without_any_input(command: list[str], capsys: Output) -> None:
    save(Network([Node("w", Parameter(torch.ones(1, 3)), ())]), "own.safetensors")
    Image.new("RGB", (40, 40)).save("a.png")
    assert "this network has no input" in sentence(capsys, *command, "-n", "own.safetensors")
    assert "this network has none" in sentence(capsys, "info", "own.safetensors", "--shape", "3")


@pytest.mark.parametrize(
    ("name", "data"), [("table", "gray.npz"), ("rows", "gray.npz"), ("gray", "rows.npz"), ("gray", "iris")]
)
def test_kinds_are_named_before_labels_that_do_not_fit(name: str, data: str, capsys: Output) -> None:
    source = data
    if data.endswith(".npz"):
        with np.load(data) as arrays:
            source = f"numbered_{data}"
            np.savez(source, x=arrays["x"], y=np.arange(len(arrays["x"])) + 5)
    for command in ("evaluate", "predict"):
        said = sentence(capsys, command, f"{name}.safetensors", source)
        assert said.startswith(f"blockprop: {PURPOSES[name]}; {source} "), said
