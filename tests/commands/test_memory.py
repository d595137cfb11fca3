"""`--memory`: what is expected is said before, what was taken after; the picture is the same, also by replay."""

import pytest

from blockprop.cli import main
from blockprop.commands.picture_commands import PICTURE_COMMANDS
from blockprop.pictures.picture_files import read_picture, read_settings
from blockprop.preparing.resident import ResidentPeak
from tests.commands.running import DREAM, STYLIZE, WOLF, Output, run_json, sentence

pytestmark = pytest.mark.usefixtures("network_and_pictures")

COMMANDS = {
    "dream": DREAM,
    "stylize": STYLIZE,
    "maximize": WOLF,
    "sheet": ["sheet", "red fox", "gray wolf", "blue whale", "--steps", "3", "--at-once", "2"],
    "saliency": ["saliency", "photo.png", "-m", "smooth_grad", "--samples", "3"],
    "segment": ["segment", "photo.png"],
    "sanity": ["sanity", "photo.png", "-m", "gradient"],
}


def last_line(capsys: Output, *arguments: str) -> str:
    """Of a command that fails, which may have begun to draw a bar."""
    capsys.readouterr()
    assert main([*arguments]) == 1
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_all_commands_that_make_pictures_have_it() -> None:
    assert COMMANDS.keys() == PICTURE_COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_it_is_said_before_and_after_and_changes_no_picture(command: list[str], capsys: Output) -> None:
    before = read_picture(run_json(capsys, *command)["picture"])
    assert main([*command, "--memory", "500 MB", "--force"]) == 0
    said = capsys.readouterr().err.split("memory: ")
    assert "B expected beside the weights" in said[1]
    assert "B were expected, " in said[-1]
    assert "B were taken at most" in said[-1]
    found = run_json(capsys, *command, "--memory", "500 MB", "--force")
    assert 0 < found["memory"]["expected"] < 50_000_000
    assert found["memory"]["taken"] is not None
    assert read_settings(found["picture"])["arguments"]["memory"] == "500 MB"
    off = (read_picture(found["picture"]) - before).abs() * 255
    assert off.max() < 3.01  # with a budget torch's kernels compute, and a kink may open or close by rounding
    assert (off > 1.01).double().mean() < 1e-4
    again = run_json(capsys, "replay", found["picture"])
    assert again["same_pixels"]
    assert again["memory"]["expected"] == found["memory"]["expected"]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_too_little_is_refused_before_anything_is_made(command: list[str], capsys: Output) -> None:
    told = last_line(capsys, *command, "--memory", "1 kB")
    assert "1.0 kB of memory are too little for" in told
    least = told.split("at least ")[1].split(" beside")[0]
    assert main([*command, "--memory", least]) == 0
    told = last_line(capsys, *command, "--memory", "much", "--force")
    assert "expected memory as '500 MB' or '2 GB', with kB, MB, GB, KiB, MiB, GiB, came 'much'" in told


def test_tokens_have_none(capsys: Output) -> None:
    told = sentence(capsys, "saliency", "--tokens", "1,2", "--memory", "1 GB", "--network", "net.safetensors")
    assert "leave out photographs, --out, --raw, --report and --memory" in told


def test_where_the_system_does_not_tell_it_is_said(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResidentPeak, "taken", lambda _: None)
    assert main([*DREAM, "--memory", "500 MB"]) == 0
    assert "B were expected, this system does not tell what was taken" in capsys.readouterr().err
    assert run_json(capsys, *DREAM, "--memory", "500 MB", "--force")["memory"]["taken"] is None
