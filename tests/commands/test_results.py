"""What a command writes never takes the place of what is there, whichever command and whatever kind of file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blockprop.cli import COMMANDS, main
from blockprop.commands.habits import with_habits
from blockprop.commands.results import place, set_forced
from tests.commands.running import Output, train_digits

WRITING = {
    "train": (["train", "digits", "-n", "mlp:4", "--epochs", "1", "-o", "a.safetensors"], "a.safetensors"),
    "its log": (["train", "digits", "-n", "mlp:4", "--epochs", "1", "--log", "a.csv"], "a.csv"),
    "its page": (["train", "digits", "-n", "mlp:4", "--epochs", "1", "--report", "a"], "a/index.html"),
    "its rates": (["train", "digits", "-n", "mlp:4", "--find-rate", "-o", "a.safetensors"], "a.rates.png"),
    "predict": (["predict", "digits", "digits", "-o", "a.csv"], "a.csv"),
    "diagram": (["diagram", "mlp:4", "-o", "a.svg"], "a.svg"),
    "export": (["export", "digits", "-o", "a.onnx"], "a.onnx"),
    "a picture": (["maximize", "3", "-n", "digits", "--steps", "1", "-o", "a.png"], "a.png"),
    "its own page": (["maximize", "3", "-n", "digits", "--steps", "1", "--report", "a"], "a/index.html"),
}


@pytest.mark.parametrize("command", WRITING)
def test_what_is_there_stays_and_the_new_name_is_said(command: str, capsys: Output) -> None:
    arguments, name = WRITING[command]
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("mine")
    assert main(arguments) == 0
    assert Path(name).read_text() == "mine"
    first, *rest = Path(name).parts
    moved = Path(first).with_name(f"{Path(first).stem}_2{Path(first).suffix}").joinpath(*rest)
    assert moved.exists()
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"{first} was there already, so this is {moved.parts[0]}; --force replaces it" in said
    assert main([*arguments, "--force"]) == 0
    assert not Path(name).read_bytes().startswith(b"mine")


def test_every_command_that_writes_takes_force() -> None:
    for name, (function, _) in COMMANDS.items():
        options = set(with_habits(function).__signature__.parameters)  # type: ignore[attr-defined]
        assert ("out" in options) == ("force" in options), name


def test_a_run_that_was_stopped_keeps_its_name_and_what_it_goes_on_from(capsys: Output) -> None:
    train_digits(capsys)
    assert train_digits(capsys)["network"] == "net_2.safetensors"
    Path("net_2.safetensors").unlink()  # its checkpoint is left
    assert train_digits(capsys)["network"] == "net_3.safetensors"
    Path("net_3.safetensors.checkpoint").unlink()
    assert train_digits(capsys, "--resume")["network"] == "net_2.safetensors"
    assert main(["train", "digits", "-n", "mlp:16", "--epochs", "3", "-o", "net.safetensors", "--resume"]) == 0
    assert "the last of these runs is net_2.safetensors, which goes on" in capsys.readouterr().err.replace("\n", " ")


def test_a_name_that_only_a_stopped_run_has_is_not_said_to_be_there(capsys: Output) -> None:
    Path("a.png.state").write_bytes(b"of a run that was stopped")
    assert main(["maximize", "3", "-n", "digits", "--steps", "1", "-o", "a.png"]) == 0
    said = capsys.readouterr().err.replace("\n", " ")
    assert "a.png belongs to a run that was stopped, so this is a_2.png; --resume goes on with that run" in said
    assert "a.png was there already" not in said


def test_names_that_are_free(tmp_path: Path) -> None:
    set_forced(False)
    assert place(tmp_path / "a.png") == tmp_path / "a.png"
    (tmp_path / "a.png.state").touch()
    assert place(tmp_path / "a.png") == tmp_path / "a_2.png"
    assert place(tmp_path / "a.png", resume=True) == tmp_path / "a.png"
    (tmp_path / "page").mkdir()
    assert place(tmp_path / "page") == tmp_path / "page"
    (tmp_path / "page" / "index.html").touch()
    assert place(tmp_path / "page") == tmp_path / "page_2"


READING = {
    "the data": ["train", "a.npz", "-n", "mlp:4", "--epochs", "1", "-o", "a.npz"],
    "the data of a log": ["train", "a.npz", "-n", "mlp:4", "--epochs", "1", "--log", "a.npz"],
    "what is imported": ["import", "a.onnx", "-o", "a.onnx"],
    "what is predicted": ["predict", "digits", "a.npz", "-o", "a.npz"],
    "a photograph": ["saliency", "a.png", "-n", "digits", "-o", "a.png"],
    "a picture for the mask": ["segment", "a.png", "-n", "digits", "--mask", "a.png"],
    "a start": ["maximize", "3", "-n", "digits", "--steps", "1", "--start", "a.png", "-o", "a.png"],
}


@pytest.mark.parametrize("command", READING)
def test_what_a_command_reads_is_not_replaced_even_by_force(command: str, capsys: Output) -> None:
    np.savez("a.npz", x=np.random.default_rng(0).random((20, 28, 28)), y=np.arange(20) % 2)
    Image.new("L", (28, 28), 90).save("a.png")
    assert main(["export", "digits", "-o", "a.onnx"]) == 0
    before = {path: path.read_bytes() for path in Path().glob("a.*")}
    capsys.readouterr()
    assert main([*READING[command], "--force"]) == 1
    assert "is read for this, and would be overwritten; choose another" in capsys.readouterr().err.replace("\n", " ")
    assert {path: path.read_bytes() for path in Path().glob("a.*")} == before
