"""A picture of a folder that cannot be read stops nothing: the others are done, it is named, and the command fails."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blockprop.cli import main
from blockprop.pictures.image_files import read_frames
from tests.commands.running import LAYERS, Output, sentence

REASON = "album/broken.png: cannot be read as a picture"


@pytest.fixture
def album(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("network_and_pictures")
    Path("album").mkdir()
    for name in ("a.png", "z.png"):
        Image.open("photo.png").save(f"album/{name}")
    Path("album/broken.png").write_bytes(Path("photo.png").read_bytes()[:60])
    Path("album/empty.jpg").write_bytes(b"")


COMMANDS = [
    ["predict", "album", "-n", "net.safetensors"],
    ["saliency", "album"],
    ["segment", "album"],
    ["sanity", "album", "-m", "gradient"],
    ["dream", "album", "-l", "relu1", "--octaves", "1", "--steps", "1", "--jitter", "1"],
    ["stylize", "album", "waves.png", "--steps", "1", "--size", "32", *LAYERS],
]  # fmt: skip


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_others_are_done_and_it_is_named(command: list[str], capsys: Output) -> None:
    assert main([*command, "--json", "-q"]) == 1
    printed = capsys.readouterr()
    assert printed.err.count(REASON) == 1
    assert printed.err.count("album/empty.jpg: cannot be read as a picture") == 1
    found = json.loads(printed.out)
    assert "error" not in found
    done = json.dumps(found)
    assert "a.png" in done or "a_dream" in done or "a_waves" in done
    assert main([command[0], "album/a.png", *command[2:], "-q"]) == 0, "the next command is another one"


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_picture_that_is_named_itself_is_an_error(command: list[str], capsys: Output) -> None:
    assert REASON in sentence(capsys, command[0], "album/broken.png", *command[2:])


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_folder_without_a_readable_one(command: list[str], capsys: Output) -> None:
    for name in ("a.png", "z.png"):
        Path("album", name).write_bytes(b"")
    assert main([*command, "-q"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "album: none of the 4 pictures in this folder can be read" in printed.err


@pytest.mark.usefixtures("album")
def test_it_does_not_decide_which_network_looks(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.delenv("BLOCKPROP_NETWORK")
    for name in ("a.png", "z.png"):
        Image.new("L", (28, 28)).save(f"album/{name}")
    assert main(["predict", "album"]) == 1
    assert "the network is digits" in capsys.readouterr().err


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize(("command", "times"), [(["predict", "album"], 1), (["saliency", "album"], 2)])
def test_pictures_are_not_decoded_again_and_again(
    command: list[str], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once; and before that once more where all must be known to be readable, as before hours of work."""
    decoded: list[Path] = []

    def noted(path: Path, channels: int | None = None) -> tuple[np.ndarray, int]:
        decoded.append(path)
        return read_frames(path, channels)

    monkeypatch.setattr("blockprop.pictures.image_files.read_frames", noted)
    main([*command, "-q"])
    assert decoded.count(Path("album/a.png")) == times
