"""Pictures that say how they were made: replay, Ctrl-C, resume; nothing is lost, and nothing said is untrue."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from blockprop.cli import main
from blockprop.commands import making
from blockprop.commands import maximize as maximize_module
from blockprop.commands.parsing import weighted
from blockprop.commands.photos import Seen
from blockprop.commands.segment import _in_file
from blockprop.errors import FormatError
from blockprop.pictures.photos import Preprocessing, reading_frame
from blockprop.pictures.provenance import how_made
from blockprop.saving.storage import save
from blockprop.visualize import read_picture, read_settings, write_picture
from blockprop.visualize.attribution.segmentation import bounding_box
from tests.commands.test_cli import Output, run_json, sentence
from tests.commands.test_cli_visualize import PHOTO, _in_a_folder_of_its_own, _network_and_photo, small  # noqa: F401

WOLF = ["maximize", "gray wolf", "--steps", "3"]


# Again ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["saliency", "photo.png", "-m", "smooth_grad", "--samples", "3", "--seed", "5", "--out", "a.png"],
        ["saliency", "photo.png", "-m", "guided", "--strict", "--out", "a.jpg"],
        ["segment", "photo.png", "--out", "a.png"],
        ["sanity", "photo.png", "-m", "gradient", "--out", "a.png"],
        ["maximize", "gray wolf", "--steps", "4", "--seed", "3", "--out", "a.png"],
        ["sheet", "0-2", "--steps", "3", "--at-once", "2", "--out", "a.tiff"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_replay_makes_the_same_pixels(arguments: list[str], capsys: Output) -> None:
    run_json(capsys, *arguments)
    again = run_json(capsys, "replay", arguments[-1])
    assert again["same_pixels"] is True
    name = Path(arguments[-1])
    assert again["picture"] == f"a_again{name.suffix}"
    assert read_settings(again["picture"])["arguments"] == read_settings(name)["arguments"]


def test_another_seed_makes_another_picture(capsys: Output) -> None:
    for seed in ("1", "2"):
        run_json(capsys, "maximize", "gray wolf", "--steps", "3", "--seed", seed, "--out", f"{seed}.png")
    assert not torch.equal(read_picture("1.png"), read_picture("2.png"))


def test_replay_finds_what_has_moved_and_refuses_what_has_changed(capsys: Output) -> None:
    run_json(capsys, "saliency", PHOTO, "--out", "a.png")
    os.rename("net.safetensors", "moved.safetensors")
    assert run_json(capsys, "replay", "a.png", "-n", "moved.safetensors")["same_pixels"]
    save(small(7), "net.safetensors")
    assert "was made with another network than net.safetensors" in sentence(capsys, "replay", "a.png")
    Image.new("RGB", (60, 40)).save(PHOTO)
    assert "photo.png is another picture" in sentence(capsys, "replay", "a.png", "-n", "moved.safetensors")


def test_replay_shows_the_settings_and_looks_for_pictures_beside(capsys: Output) -> None:
    run_json(capsys, "saliency", PHOTO, "--out", "a.png")
    assert main(["replay", "a.png", "--show"]) == 0
    assert "saliency" in capsys.readouterr().out
    Path("deep").mkdir()
    for name in ("a.png", PHOTO):
        os.rename(name, f"deep/{name}")
    assert run_json(capsys, "replay", "deep/a.png")["same_pixels"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"command": "format"}, "made by a command that is not known here, 'format'"),
        ({"arguments": {"network": "net.safetensors", "steps": "many", "targets": []}}, "steps is 'many'"),
        ({"arguments": {"network": "net.safetensors", "stepz": 3}}, "maximize has no setting 'stepz'"),
        ({"arguments": {"around": 3, "network": "net.safetensors"}}, "maximize has no setting 'around'"),
        ({"arguments": None}, "there is no network among them"),
        ({"seed": None}, "seed is None"),
    ],
    ids=lambda case: "" if isinstance(case, str) else next(iter(case)),
)
def test_spoiled_settings_are_not_run(change: dict, reason: str, capsys: Output) -> None:
    good = how_made("maximize", {"network": "net.safetensors", "targets": ["gray wolf"], "steps": 2}, 0)
    write_picture("a.png", torch.rand(3, 24, 24), {**good, **change})
    assert reason in sentence(capsys, "replay", "a.png")
    assert not Path("a_again.png").exists()


# Ctrl-C ---------------------------------------------------------------------------------------------------------------


def interrupted(arguments: list[str], state: str) -> str:
    """Run a command, press Ctrl-C after a while, and return what it said."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from blockprop.cli import run; run()", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 100
    while not Path(state).exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=100)
    assert process.returncode in (130, -signal.SIGINT), told
    return told


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_picture_and_resume_goes_on(capsys: Output) -> None:
    arguments = ["maximize", "gray wolf", "--steps", "4000", "--preview-every", "1", "--out", "a.png"]
    told = interrupted(arguments, "a.preview.png")
    assert "a.png gets the picture so far" in told
    kept = read_settings("a.png")["arguments"]
    assert 1 <= kept["stop"] < 4000
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    assert Path("a.png.state").exists()
    assert not Path("a.preview.png").exists()
    more = str(kept["stop"] + 5)
    run_json(capsys, "maximize", "gray wolf", "--steps", more, "--resume", "--out", "a.png")
    run_json(capsys, "maximize", "gray wolf", "--steps", more, "--out", "b.png")
    assert torch.equal(read_picture("a.png"), read_picture("b.png"))
    assert not Path("a.png.state").exists()


@pytest.mark.slow
def test_an_interrupted_sheet_keeps_its_pictures_and_goes_on(capsys: Output) -> None:
    arguments = ["sheet", "0-3", "--steps", "300", "--at-once", "1", "--out", "a.png"]
    interrupted(arguments, "a.png.state")
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    run_json(capsys, *arguments, "--resume")
    run_json(capsys, *arguments[:-1], "b.png")
    assert torch.equal(read_picture("a.png"), read_picture("b.png"))
    assert not Path("a.png.state").exists()


# Nothing is lost ------------------------------------------------------------------------------------------------------


def fail(*_: object, **__: object) -> None:
    raise FormatError("the disk is full")


@pytest.mark.parametrize("command", [[*WOLF, "-o", "a.png"], ["sheet", "0-2", "--steps", "3", "-o", "a.png"]], ids=str)
def test_if_the_picture_cannot_be_written_the_state_stays(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(making, "write_picture", fail)
        assert main(command) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert Path("a.png.state").exists()


def test_if_judging_fails_the_state_stays(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(maximize_module, "judge", fail)
        assert main([*WOLF, "-o", "a.png"]) == 1
    run_json(capsys, *WOLF, "--resume", "-o", "a.png")
    run_json(capsys, *WOLF, "-o", "b.png")
    assert torch.equal(read_picture("a.png"), read_picture("b.png"))
    assert sorted(path for path in os.listdir() if "state" in path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["saliency", PHOTO, "-o", PHOTO],
        ["segment", PHOTO, "--mask", PHOTO],
        ["segment", PHOTO, "--mask", "a.png", "-o", "a.png"],
        ["maximize", "photo", "--start", PHOTO],
        [*WOLF, "--start", PHOTO, "-o", f"./{PHOTO}"],
    ],
    ids=" ".join,
)
def test_what_is_read_is_not_overwritten(arguments: list[str], capsys: Output) -> None:
    before = Path(PHOTO).read_bytes()
    assert main(arguments) == 1
    assert Path(PHOTO).read_bytes() == before
    assert sorted(os.listdir()) == ["net.safetensors", PHOTO]
    capsys.readouterr()


def test_a_file_that_blockprop_did_not_make_is_not_overwritten_by_default(capsys: Output) -> None:
    Image.new("RGB", (9, 9)).save("gray_wolf.png")
    assert "is there already, and blockprop did not make it" in sentence(capsys, *WOLF)
    os.remove("gray_wolf.png")
    for _ in range(2):
        run_json(capsys, *WOLF)


def test_only_previews_and_states_that_were_written_are_removed(capsys: Output) -> None:
    names = ["a.preview.png", "a.png.state.old", "a.png.stated"]  # no previews are asked for
    for name in names:
        Path(name).write_text("my own")
    run_json(capsys, *WOLF, "-o", "a.png")
    assert [Path(name).read_text() for name in names] == ["my own"] * 3


# Nothing is untrue ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (["--start", "gray"], "the start in the file"),
        (["--l2", "5"], "the objective in the file"),
        (["--steps", "2"], "it is of a run of 3 steps; here are only 2"),
        (["-n", "other.safetensors"], "the network and canvas in the file"),
    ],
    ids=lambda case: case if isinstance(case, str) else case[0],
)
def test_a_picture_does_not_go_on_from_another_run(
    other: list[str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    save(small(5), "other.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(making, "write_picture", fail)
        main([*WOLF, "-o", "a.png"])
    assert reason in sentence(capsys, *WOLF, *other, "--resume", "-o", "a.png")


@pytest.mark.parametrize("other", [["--canvas", "pixels"], ["--doubt", "0"], ["-n", "other.safetensors"]], ids=" ".join)
def test_a_sheet_does_not_go_on_from_another(other: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    save(small(5), "other.safetensors")
    sheet = ["sheet", "0-2", "--steps", "3", "--at-once", "1", "-o", "a.png"]
    with monkeypatch.context() as patch:
        patch.setattr(making, "write_picture", fail)
        main(sheet)
    assert "it is of a sheet with other settings" in sentence(capsys, *sheet, *other, "--resume")
    run_json(capsys, *sheet, "--resume")
    assert run_json(capsys, "replay", "a.png")["same_pixels"]


def test_replay_knows_that_the_classes_have_other_names(capsys: Output) -> None:
    run_json(capsys, *WOLF, "-o", "a.png")
    network = small()
    network.meta["classes"] = ["gray wolf", "red fox", "green frog", "blue whale"]
    save(network, "net.safetensors")
    assert "was made with another network" in sentence(capsys, "replay", "a.png")


def test_a_photograph_given_twice_is_one(capsys: Output) -> None:
    Image.new("RGB", (30, 30), "red").save("red.png")
    run_json(capsys, "saliency", PHOTO, PHOTO, "red.png", "-o", "a.png")
    assert run_json(capsys, "replay", "a.png")["same_pixels"]


def test_jpeg_is_not_compared_with_png(capsys: Output) -> None:
    run_json(capsys, *WOLF, "-o", "a.png")
    assert "same_pixels" not in run_json(capsys, "replay", "a.png", "-o", "b.jpg")


def test_equal_targets_add_up(capsys: Output) -> None:
    assert weighted(["goose", "goose=0.5"]) == {"goose": 1.5}
    assert "expected a name, or name=weight such as gray wolf=0.5" in sentence(capsys, "maximize", "gray wolf=nan")


def test_two_classes_may_begin_with_the_same_name(capsys: Output) -> None:
    network = small()
    network.meta["classes"] = ["crane, bird", "crane, machine", "a", "b"]
    save(network, "net.safetensors")
    found = run_json(capsys, "sheet", "0-1", "--steps", "1")["pictures"]
    assert [(each["target"], each["title"]) for each in found] == [("0", "crane"), ("1", "crane")]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["sheet", "relu1:6-9"], "'relu1' has 8 channels; there is no channel 8"),
        ([*WOLF, "--output", "relu2"], "'relu2' is no output of the network; there are scores"),
        ([*WOLF, "--other", "none.safetensors"], "none.safetensors does not exist"),
        (["maximize", "relu1", "--other", "net.safetensors"], "--other is asked about a class"),
        ([*WOLF, "--diversity-node", "relu1"], "is for diversity, which is 0"),
        ([*WOLF, "--size", "2000000"], "more than the"),
        (["saliency", PHOTO, "--raw", "a.jpg"], "--raw writes a .npy file"),
    ],
    ids=lambda case: "" if isinstance(case, str) else " ".join(case[-2:]),
)
def test_told_before_any_work_is_done(arguments: list[str], reason: str, capsys: Output) -> None:
    assert reason in sentence(capsys, *arguments)
    assert sorted(os.listdir()) == ["net.safetensors", PHOTO]


def test_top_can_be_maximized(capsys: Output) -> None:
    assert "confidence" not in run_json(capsys, "maximize", "top", "--steps", "2")


@pytest.mark.parametrize("target", ["top3", "relu1"])
def test_control_characters_of_a_stranger_are_not_printed(target: str, capsys: Output) -> None:
    how = how_made("maximize", {"network": "net.safetensors", "targets": [f"{target}\x1b[2J"]}, 0)
    write_picture("a.png", torch.rand(3, 24, 24), how)
    assert main(["replay", "a.png", "--show"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert main(["replay", "a.png"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_box_and_mask_are_in_the_photographs_own_pixels(capsys: Output) -> None:
    with Image.open(PHOTO) as photo:
        photo.resize((1800, 1200)).save("large.png")
    (found,) = run_json(capsys, "segment", "large.png", "-m", "grad_cam", "--mask", "mask.png")["boxes"]
    assert (found["width"], found["height"]) == (1800, 1200)
    mask = read_picture("mask.png")[0, 0] > 0.5
    assert mask.shape == (1200, 1800)
    assert bounding_box(mask) == tuple(found["box"])


def test_a_mask_of_the_center_lies_in_the_center_of_the_file() -> None:
    known = Preprocessing(24, shorter_side=30)
    frame = reading_frame(known, 300, 600)  # brought to 30 x 60, of which rows 3…27 and columns 18…42 are cut out
    assert frame == (30.0, 180.0, 240.0, 240.0)
    left = torch.zeros(72, 72, dtype=torch.bool)
    left[:, :36] = True
    mask = _in_file(left, Seen("a", torch.zeros(1, 3, 24, 24), torch.zeros(3, 72, 72), (300, 600), frame))
    assert mask.shape == (300, 600)
    assert bounding_box(mask) == (180, 30, 300, 270)
