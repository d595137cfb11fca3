"""Settings files: read by --config, printed by `replay --show`, and the same picture comes of them."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from blockprop.cli import main
from blockprop.pictures.picture_files import read_picture, read_settings
from tests.commands.running import Output, run_json, sentence


def written(text: str, name: str = "run.toml") -> str:
    Path(name).write_text(text)
    return name


def test_a_file_stands_for_options_and_arguments(capsys: Output) -> None:
    file = written(
        'command = "train"\ndata = "digits"\nnetwork = "mlp:8"\nepochs = 2\nlr = 0.1\nlabel_smoothing = 0.1\n'
        'test-fraction = 0.3\nimmediate = true\nout = "a.safetensors"\n'
    )
    result = run_json(capsys, "train", "--config", file)
    same = ["--network", "mlp:8", "--epochs", "2", "--rate", "0.1", "--label-smoothing", "0.1", "--immediate"]
    typed = run_json(capsys, "train", "digits", *same, "--test-fraction", "0.3", "--out", "b.safetensors")
    for name in ("steps", "training_loss_last_epoch", "test_loss", "accuracy"):
        assert result[name] == typed[name]
    assert result["network"] == "a.safetensors"


def test_the_command_line_wins_and_says_so(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written('network = "digits"\n')
    assert run_json(capsys, "info", "--config", file)["network"] == "digits"
    monkeypatch.setenv("BLOCKPROP_NETWORK", "pictures")
    assert run_json(capsys, "info", "--config", file)["network"] == "digits"  # the file is nearer than the environment
    capsys.readouterr()
    file = written("batch-size = 4\n")
    assert main(["info", "digits", "--config", file, "--batch-size", "2"]) == 0
    assert "--batch-size of the command line takes the place of the one in run.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "run.toml, line 1: train has no setting 'epoch'; did you mean 'epochs'?"),
        ("config = 'other.toml'", "train has no setting 'config'"),
        ("epochs = 'many'", "run.toml, line 1: --epochs: expected a valid integer"),
        ("rate = 1\n\n epochs = 0", "run.toml, line 3: --epochs: expected greater than or equal to 1"),
        ("epochs = true", "run.toml, line 1: epochs: expected a whole number, came true"),
        ("rate = false", "run.toml, line 1: rate: expected a number, came false"),
        ("network = true", "run.toml, line 1: network: expected text, came true"),
        ("drop = ['a', true]", 'run.toml, line 1: drop: expected text, came ["a", true]'),
        ("resume = 1", "run.toml, line 1: resume: expected true or false, came 1"),
        ("rate = 1\nlr = 2", "run.toml, line 2: 'lr' is set twice"),
        ("[train]\nepochs = 3", "run.toml, line 1: train has no setting 'train'"),
        ("command = 'dream'", "run.toml holds settings of 'dream', this is 'train'"),
        ("epochs: 3", "run.toml: expected TOML, such as epochs = 20"),
        (None, "run.toml: the settings file could not be read (No such file"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_key(text: str | None, said: str, capsys: Output) -> None:
    if text is not None:
        written(text)
    code = 2 if "--epochs" in said else 1
    assert said in sentence(capsys, "train", "digits", "--config", "run.toml", code=code)


@pytest.mark.parametrize("letters", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_letters_of_a_file(letters: str, capsys: Output) -> None:
    mark = "\ufeff" if letters == "utf-16-le" else ""
    Path("run.toml").write_text(f"{mark}# größer\nnetwork = 'digits'\n", letters)
    assert run_json(capsys, "info", "--config", "run.toml")["network"] == "digits"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a = 1\n# größer".encode("latin-1"), "run.toml, line 2: expected a text file in UTF-8; save it as such"),
        (bytes(range(256)), "run.toml, line 2: expected a text file in UTF-8"),
        (b"\xff\xfea", "run.toml, line 1: expected a text file in UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(content: bytes, said: str, capsys: Output) -> None:
    Path("run.toml").write_bytes(content)
    assert said in sentence(capsys, "info", "--config", "run.toml")


def test_a_file_without_settings_is_said(capsys: Output) -> None:
    Path("run.toml").write_text("# none\n")
    assert main(["info", "digits", "--config", "run.toml"]) == 0
    assert "run.toml holds no settings" in capsys.readouterr().err


MADE: dict[str, list[str]] = {
    "saliency": ["photo.png", "-m", "gradient", "-m", "guided", "-t", "gray wolf", "--strict"],
    "segment": ["photo.png", "--foreground", "0.9"],
    "sanity": ["photo.png", "-m", "gradient"],
    "maximize": ["gray wolf", "relu1:2=-0.5", "--steps", "2", "--start", "photo.png", "--seed", "4", "--lr", "0.1"],
    "sheet": ["0-1", "--steps", "2", "--size", "24"],
    "dream": ["photo.png", "-l", "relu1", "--guide", "waves.png", "--steps", "2", "--octaves", "1", "--jitter", "2"],
    "stylize": ["photo.png", "waves.png=2", "waves.png", "--mask", "left.png", "--mask", "right.png", "--size", "32"],
}
MADE["stylize"] += ["--steps", "2", "--style-layer", "relu1", "--content-layer", "relu2", "--start", "waves.png"]


@pytest.mark.usefixtures("network_and_pictures")
@pytest.mark.parametrize("command", MADE)
def test_what_replay_shows_makes_the_same_picture(command: str, capsys: Output) -> None:
    run_json(capsys, command, *MADE[command], "-o", "a.png")
    assert main(["replay", "a.png", "--show"]) == 0
    text = capsys.readouterr().out
    document: dict[str, Any] = tomllib.loads(text)
    assert document["command"] == command
    run_json(capsys, command, "--config", written(text), "-o", "b.png")
    assert torch.equal(read_picture("a.png"), read_picture("b.png"))
    assert read_settings("a.png")["arguments"] == read_settings("b.png")["arguments"]


@pytest.mark.usefixtures("network_and_pictures")
@pytest.mark.parametrize("command", MADE)
@pytest.mark.parametrize("kept", ["here", "there", "moved"])
def test_what_replay_shows_works_from_another_folder(
    command: str, kept: str, capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is printed in another folder, beside the picture and used elsewhere, or moved with all files."""
    run_json(capsys, command, *MADE[command], "-n", "net.safetensors", "-o", "a.png")
    other = tmp_path / "other" / "deep"
    other.mkdir(parents=True)
    pictures = tmp_path
    if kept == "moved":
        pictures = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}_moved"))
        other = pictures / "other" / "deep"
    monkeypatch.chdir(pictures if kept == "there" else other)
    assert main(["replay", str(pictures / "a.png"), "--show"]) == 0
    Path("a.toml").write_text(capsys.readouterr().out)
    assert str(tmp_path.parent) not in Path("a.toml").read_text()
    config = Path("a.toml").resolve()
    monkeypatch.chdir(other)
    run_json(capsys, command, "--config", str(config), "-o", "b.png")
    assert torch.equal(read_picture(pictures / "a.png"), read_picture("b.png"))
    assert str(tmp_path.parent) not in json.dumps(read_settings("b.png"))


@pytest.mark.usefixtures("network_and_pictures")
def test_where_files_were_sought_is_said(capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_json(capsys, "stylize", *MADE["stylize"], "-n", "net.safetensors", "-o", "a.png")
    for name in ("net.safetensors", "left.png", "waves.png"):
        Path(name).unlink()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert main(["replay", "../a.png", "--show"]) == 0
    shown = capsys.readouterr()
    for name in ("net.safetensors", "left.png", "waves.png"):
        said = f"{name} was not found ({name} and ../{name} do not exist)"
        assert f"# {said}" in shown.out
        assert said in shown.err
    assert "photo.png was not" not in shown.out
    Path("a.toml").write_text(shown.out)
    assert main(["stylize", "--config", "a.toml"]) == 1
    assert "net.safetensors was not found" in capsys.readouterr().err
