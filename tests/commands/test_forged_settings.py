"""`replay` of a picture whose settings somebody forged: one sentence, or a picture, and never much work."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from blockprop.cli import main
from blockprop.commands.picture_commands import PICTURE_COMMANDS
from blockprop.commands.picture_settings import option_of, required, settings_in_file
from blockprop.pictures.picture_files import read_settings, write_picture
from tests.commands.running import PHOTO, Output, run_json, sentence

pytestmark = pytest.mark.usefixtures("network_and_photo")
MADE = {
    "saliency": ["saliency", PHOTO, "-m", "smooth_grad", "--samples", "2"],
    "segment": ["segment", PHOTO],
    "sanity": ["sanity", PHOTO, "-m", "gradient"],
    "maximize": ["maximize", "gray wolf", "--steps", "2"],
    "sheet": ["sheet", "0-1", "--steps", "2"],
    "dream": ["dream", PHOTO, "-l", "relu1", "--steps", "1", "--octaves", "1"],
    "stylize": ["stylize", PHOTO, PHOTO, "--size", "24", "--steps", "1", "--style-layer", "relu1"],
}
NUMBERS = (-1, 0, 10**5, 2**31 - 1, 2**31, 10**18, 2**63, -(2**63), 1e300, float("nan"), float("inf"))
TEXTS = ("", "9" * 5000, "1" * 20, "\0", "../x", "0-999999999999")
OTHERS = (None, True, [], [[1]], {}, {"a": 1}, ["x"] * 20_000, [10**18])
AT_ONCE = 2
"""Values that are tried for each setting, of all; bench/trust_files.py tries far more."""


@pytest.fixture
def how(request: pytest.FixtureRequest, capsys: Output) -> dict[str, Any]:
    """The settings of a picture that the command has made."""
    run_json(capsys, *MADE[request.param], "--out", "made.png")
    return read_settings("made.png")


def replayed(how: dict[str, Any], capsys: Output, pixels: int = 24) -> tuple[int, str]:
    """(the exit code, what was said) of a picture with these settings."""
    write_picture("forged.png", torch.rand(3, pixels, pixels), how)
    code = main(["replay", "forged.png", "--out", "again.png"])
    said = capsys.readouterr().err
    assert "should not have happened" not in said, (how["arguments"], said)
    assert len(said) < 9000, (how["arguments"], said[:200])
    return code, said


def test_every_command_is_tried() -> None:
    assert MADE.keys() == PICTURE_COMMANDS.keys()


@pytest.mark.parametrize("how", MADE, indirect=True)
def test_numbers_texts_and_lists_of_any_kind(how: dict[str, Any], capsys: Output) -> None:
    for name in how["arguments"]:
        if name in ("network", "crop"):
            continue
        for value in random.Random(name).sample((*NUMBERS, *TEXTS, *OTHERS), AT_ONCE):
            forged = copy.deepcopy(how)
            forged["arguments"][name] = value
            replayed(forged, capsys)


@pytest.mark.parametrize("how", MADE, indirect=True)
def test_settings_that_are_missing_are_named(how: dict[str, Any], capsys: Output) -> None:
    kind = PICTURE_COMMANDS[how["command"]]
    for name in [*required(kind), "command", "arguments", "seed", "pictures", "network"]:
        forged = copy.deepcopy(how)
        (forged["arguments"] if name in required(kind) else forged).pop(name, None)
        code, said = replayed(forged, capsys)
        assert code == 1
        if name in required(kind):
            assert f"{name} is missing" in said or "no picture among them" in said


@pytest.mark.parametrize("how", MADE, indirect=True)
def test_whole_numbers_have_an_upper_bound_that_the_command_line_has_too(how: dict[str, Any], capsys: Output) -> None:
    for name, annotation in settings_in_file(PICTURE_COMMANDS[how["command"]]).items():
        most = getattr(option_of(annotation), "max", None)
        if most is not None:
            how["arguments"][name] = most + 1
            assert f"{name} is {most + 1}" in replayed(how, capsys)[1]
            how["arguments"].pop(name)


@pytest.mark.parametrize("how", ["maximize", "dream", "stylize"], indirect=True)
def test_much_work_is_done_when_asked_alone(how: dict[str, Any], capsys: Output) -> None:
    how["arguments"]["steps"] = 30_000
    code, said = replayed(how, capsys)
    assert code == 1
    assert "ask for 30,000 passes" in said
    assert "--large" in said


@pytest.mark.parametrize("how", ["maximize"], indirect=True)
def test_no_python_file_is_run_that_a_picture_names(how: dict[str, Any], capsys: Output) -> None:
    Path("own.py").write_text("open('ran', 'w').close()\nfrom blockprop.blocks import ReLU\nclass Mine(ReLU): pass\n")
    how["arguments"]["transforms"] = ["own.py:Mine()"]
    code, said = replayed(how, capsys)
    assert code == 1
    assert "names Python code to be run" in said.replace("name Python", "names Python")
    assert not Path("ran").exists()
    run_json(capsys, "replay", "forged.png", "--blocks", "own.py", "--out", "again.png")
    assert Path("ran").exists()


@pytest.mark.parametrize("how", ["maximize"], indirect=True)
def test_transforms_of_many_numbers_are_not_made(how: dict[str, Any], capsys: Output) -> None:
    how["arguments"]["transforms"] = ["Linear(1000000, 1000000)"]
    assert "numbers; 67,108,864 are allowed" in replayed(how, capsys)[1]
    how["arguments"]["transforms"] = ["Pad((30000, 30000, 30000, 30000))"]
    assert "are allowed to a network from a file" in replayed(how, capsys)[1]


def test_ranges_of_many_pictures_are_refused(capsys: Output) -> None:
    assert "at most 10,000 pictures" in sentence(capsys, "sheet", "0-999999999999")


def test_a_sheet_of_nothing_is_refused(capsys: Output) -> None:
    run_json(capsys, *MADE["sheet"], "--out", "made.png")
    how = read_settings("made.png")
    how["arguments"]["targets"] = []
    assert "at least one class" in replayed(how, capsys)[1]


@pytest.mark.parametrize("how", ["dream", "stylize", "saliency"], indirect=True)
@pytest.mark.parametrize("show", [(), ("--show",)])
def test_fewer_pictures_than_the_settings_speak_of(how: dict[str, Any], show: tuple[str, ...], capsys: Output) -> None:
    how["arguments"] |= {"pictures": []}
    write_picture("forged.png", torch.rand(3, 24, 24), how)
    assert "its settings are spoiled" in sentence(capsys, "replay", "forged.png", *show)
