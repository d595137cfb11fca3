"""Folders where photographs are, and several pictures by one command: each for itself, and a sheet."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from blockprop.cli import main
from blockprop.commands import making
from blockprop.pictures.picture_files import read_picture, read_settings
from tests.commands.running import DREAM, LAYERS, Output, run_json, sentence

pytestmark = pytest.mark.usefixtures("network_and_pictures")
QUICK = ["-l", "relu1", "--octaves", "1", "--steps", "2", "--jitter", "2"]
PAINT = ["--size", "32", "--steps", "1", "--scales", "1", *LAYERS]


@pytest.fixture
def album() -> str:
    """A folder with two pictures, one of them in a folder inside, and something else."""
    os.makedirs("album/inner")
    shutil.copy("photo.png", "album/b.png")
    shutil.copy("waves.png", "album/inner/a.png")
    Path("album/readme.txt").write_text("none")
    return "album"


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (["saliency"], "album_saliency.png"),
        (["segment"], "album_segment.png"),
        (["sanity", "-m", "gradient"], "album_sanity.png"),
    ],
    ids=lambda case: case[0],
)
def test_a_folder_is_every_picture_in_it(command: list[str], out: str, album: str, capsys: Output) -> None:
    assert main([*command, album]) == 0
    assert "album: 1 file is no picture, or hidden, and is left out: readme.txt" in capsys.readouterr().err
    files = ["album/b.png", "album/inner/a.png"]
    assert read_settings(out)["arguments"]["pictures"] == files
    run_json(capsys, *command, *files, "-o", "by_name.png")
    assert torch.equal(read_picture(out), read_picture("by_name.png"))
    assert run_json(capsys, "replay", out)["same_pixels"]


def test_several_photographs_dream_each_for_itself(capsys: Output) -> None:
    found = run_json(capsys, "dream", "photo.png", "waves.png", *QUICK)
    files = ["photo_dream.png", "waves_dream.png"]
    assert [one["picture"] for one in found["pictures"]] == files
    assert found["picture"] == "dream_sheet.png"
    run_json(capsys, "dream", "waves.png", *QUICK, "-o", "alone.png")
    assert torch.equal(read_picture("waves_dream.png"), read_picture("alone.png"))
    for file in files:
        assert run_json(capsys, "replay", file)["same_pixels"]
    told = sentence(capsys, "replay", "dream_sheet.png")
    assert "replay one of these: ['photo_dream.png', 'waves_dream.png']" in told


def test_a_folder_dreams_and_the_sheet_goes_where_it_is_wanted(album: str, capsys: Output) -> None:
    os.mkdir("dreams")
    found = run_json(capsys, "dream", album, *QUICK, "-o", "dreams/all.png")
    assert found["picture"] == "dreams/all.png"
    assert sorted(os.listdir("dreams")) == ["a_dream.png", "all.png", "b_dream.png"]


def test_equal_names_get_files_of_their_own_even_by_force(album: str, capsys: Output) -> None:
    shutil.copy("photo.png", "album/inner/b.png")
    found = run_json(capsys, "dream", f"{album}/b.png", f"{album}/inner/b.png", *QUICK, "--force")
    assert len({one["picture"] for one in found["pictures"]}) == 2
    assert len({one["picture"] for one in found["pictures"]} & set(os.listdir())) == 2


def test_each_style_for_itself(capsys: Output) -> None:
    found = run_json(capsys, "stylize", "photo.png", "waves.png", "left.png", "--each", *PAINT)
    assert [one["picture"] for one in found["pictures"]] == ["photo_waves.png", "photo_left.png"]
    run_json(capsys, "stylize", "photo.png", "left.png", *PAINT, "-o", "alone.png")
    assert torch.equal(read_picture("photo_left.png"), read_picture("alone.png"))
    assert run_json(capsys, "replay", "photo_waves.png")["same_pixels"]
    assert read_picture(found["picture"]).shape[3] > 2 * 384


def test_folders_of_photographs_and_of_styles(album: str, capsys: Output) -> None:
    found = run_json(capsys, "stylize", album, "left.png", *PAINT)
    assert [one["picture"] for one in found["pictures"]] == ["b_left.png", "a_left.png"]
    found = run_json(capsys, "stylize", "left.png", album, *PAINT)
    assert found["picture"] == "left_b.png"
    assert read_settings("left_b.png")["arguments"]["weights"] == [1.0, 1.0]
    found = run_json(capsys, "stylize", album, album, "--each", *PAINT, "--force")
    assert [one["picture"] for one in found["pictures"]] == ["b_b.png", "b_a.png", "a_b.png", "a_a.png"]


def test_stopped_and_resumed_what_is_finished_stays(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    several = ["dream", "photo.png", "waves.png", *QUICK]
    run_json(capsys, *several, "-o", "all.png")
    expected = [read_picture(name) for name in ("photo_dream.png", "waves_dream.png", "all.png")]
    for name in ("waves_dream.png", "all.png"):
        os.remove(name)
    written = os.stat("photo_dream.png").st_mtime_ns
    whole = making.run_with_previews
    with monkeypatch.context() as patch:
        patch.setattr(making, "run_with_previews", lambda *a, **k: (whole(*a[:3], 1, *a[4:], **k)[0], True))
        assert main([*several, "-o", "all.png", "--resume"]) == 130
    assert not os.path.exists("all.png")
    run_json(capsys, *several, "-o", "all.png", "--resume")
    assert os.stat("photo_dream.png").st_mtime_ns == written
    resumed = [read_picture(name) for name in ("photo_dream.png", "waves_dream.png", "all.png")]
    assert all(torch.equal(a, b) for a, b in zip(resumed, expected, strict=True))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([*DREAM, "waves.png", "--frames", "2", "--film", "a.gif"], "--film is of one dream, and this makes 2"),
        ([*DREAM, "waves.png", "missing.png"], "missing.png does not exist"),
        ([*DREAM, "broken.png"], "broken.png: cannot be read as a picture"),
        ([*DREAM, "waves.png", "--force", "-o", "waves.png"], "waves.png is read for this, and would be overwritten"),
        ([*DREAM, "waves.png", "-o", "waves_dream.png"], "waves_dream.png is read or written for this"),
        ([*DREAM, "waves.png", "--report", "page"], "--report is about one picture"),
        ([*DREAM, "empty"], "empty: there are no pictures in this folder"),
        (["saliency", "empty"], "empty: there are no pictures in this folder"),
        (["stylize", "photo.png", "empty"], "empty: there are no pictures in this folder"),
        (["stylize", "photo.png", "waves.png=2", "left.png", "--each"], "leave out one"),
        (["stylize", "photo.png", "waves.png", "left.png", "--each", "--mask", "left.png"], "a --mask for each style"),
        ([*DREAM, "--guide", "empty"], "empty is a folder; expected one picture"),
        (["maximize", "frog", "--start", "empty"], "empty is a folder"),
    ],
    ids=lambda case: "" if isinstance(case, str) else " ".join(case[:2] + case[-2:]),
)
def test_wrong_use_is_told_before_any_work(arguments: list[str], reason: str, capsys: Output) -> None:
    os.mkdir("empty")
    Path("broken.png").write_bytes(Path("photo.png").read_bytes()[:60])
    before = sorted(os.listdir())
    assert reason in sentence(capsys, *arguments)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    ("command", "files"),
    [
        (["dream", "photo.png", *QUICK], ["photo_dream.png"]),
        (["dream", "photo.png", "waves.png", *QUICK], ["photo_dream.png", "waves_dream.png", "dream_sheet.png"]),
        (["stylize", "photo.png", "waves.png", *PAINT], ["photo_waves.png"]),
        (
            ["stylize", "photo.png", "waves.png", "photo.png", "--each", *PAINT],
            ["photo_waves.png", "photo_photo.png", "stylize_sheet.png"],
        ),
        (["saliency", "photo.png", "waves.png"], ["photo_saliency.png"]),
        (["segment", "photo.png", "--mask", "results/"], ["photo_segment.png", "photo_mask.png"]),
        (["sanity", "photo.png", "-m", "gradient"], ["photo_sanity.png"]),
        (["maximize", "gray wolf", "--steps", "1"], ["gray_wolf.png"]),
        (["sheet", "0-1", "--steps", "1"], ["sheet.png"]),
    ],
    ids=lambda case: "_".join(case[:3]),
)
def test_a_folder_takes_all_results(command: list[str], files: list[str], there: bool, capsys: Output) -> None:
    if there:
        os.makedirs("results")
    before = set(os.listdir())
    run_json(capsys, *command, "-o", "results/")
    assert sorted(os.listdir("results")) == sorted(files)
    assert set(os.listdir()) - before <= {"results"}


def test_replay_writes_into_a_folder(capsys: Output) -> None:
    run_json(capsys, "saliency", "photo.png", "-o", "a.png")
    assert run_json(capsys, "replay", "a.png", "-o", "again/")["picture"] == os.path.join("again", "a_again.png")
