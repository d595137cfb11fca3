"""`blockprop dream` and `blockprop stylize`: what they write, print and refuse; again, interrupted, resumed."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.cli import main
from blockprop.storage import save
from blockprop.visualize import read_picture, read_settings
from tests.test_cli import Output, run_json, sentence
from tests.test_cli_keeping import interrupted
from tests.test_cli_visualize import small

DREAM = ["dream", "photo.png", "-l", "relu1", "--octaves", "2", "--steps", "3", "--jitter", "3"]
LAYERS = ["--content-layer", "relu2", "--style-layer", "relu1", "--style-layer", "relu2=0.5"]
STYLIZE = ["stylize", "photo.png", "waves.png", "--size", "32", "--steps", "3", *LAYERS]


@pytest.fixture(autouse=True)
def _network_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("BLOCKPROP_NETWORK", "net.safetensors")
    save(small(), "net.safetensors")
    y, x = np.mgrid[:40, :60]
    waves = np.stack([np.sin(x / 3 + shift) * 100 + 128 for shift in (0, 1, 2)], 2).astype(np.uint8)
    Image.fromarray(waves).save("waves.png")
    hills = np.stack([x * 4, y * 5, 255 - x * 3], 2).astype(np.uint8)
    Image.fromarray(hills).save("photo.png")
    half = np.where(x < 30, 255, 0).astype(np.uint8)
    Image.fromarray(half).save("left.png")
    Image.fromarray(255 - half).save("right.png")


def test_a_dream_has_the_photographs_size_and_says_how_it_went(capsys: Output) -> None:
    found = run_json(capsys, *DREAM, "--report", "page")
    assert found["picture"] == "photo_dream.png"
    assert (found["size"], found["steps"]) == ("60 x 40", 6)
    dreamed, photo = read_picture("photo_dream.png"), read_picture("photo.png")
    assert dreamed.shape == photo.shape
    assert float((dreamed - photo).abs().mean()) > 0.005
    assert "How it went" in Path("page/index.html").read_text()


def test_large_photographs_are_scaled_down(capsys: Output) -> None:
    run_json(capsys, *DREAM, "--size", "45")
    assert read_picture("photo_dream.png").shape == (1, 3, 30, 45)


def test_dreams_from_noise_guided_and_weighted(capsys: Output) -> None:
    more = ["--octaves", "1", "--steps", "2", "--guide", "waves.png", "-l", "relu1=2", "-l", "relu2:3=0.5"]
    run_json(capsys, "dream", "noise", "--size", "48x32", *more)
    assert read_picture("noise_dream.png").shape == (1, 3, 32, 48)
    assert list(read_settings("noise_dream.png")["pictures"]) == ["waves.png"]
    assert run_json(capsys, "replay", "noise_dream.png")["same_pixels"]


@pytest.mark.parametrize("film", ["film.gif", "film.webp", "film.png", "frames"])
def test_a_film_zooms_on(film: str, capsys: Output) -> None:
    found = run_json(capsys, *DREAM, "--frames", "3", "--zoom", "1.2", "--film", film)
    assert found["frames"] == 3
    if film == "frames":
        assert sorted(os.listdir(film)) == ["0001.png", "0002.png", "0003.png"]
        assert torch.equal(read_picture("frames/0003.png"), read_picture("photo_dream.png"))
        assert run_json(capsys, "replay", "frames/0002.png", "--out", "again.png")["same_pixels"]
    else:
        with Image.open(film) as moving:
            assert moving.n_frames == 3
            assert moving.size == (60, 40)


@pytest.mark.parametrize("command", [DREAM, STYLIZE], ids=lambda command: command[0])
def test_replay_makes_the_same_pixels(command: list[str], capsys: Output) -> None:
    run_json(capsys, *command, "--seed", "4", "--out", "a.png")
    assert run_json(capsys, "replay", "a.png")["same_pixels"] is True


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [[*DREAM, "--steps", "5000"], [*STYLIZE, "--steps", "5000", "--scales", "1", "--optimizer", "adam"]],
    ids=lambda command: command[0],
)
def test_ctrl_c_keeps_the_picture_and_resume_goes_on(command: list[str], capsys: Output) -> None:
    told = interrupted([*command, "--preview-every", "1", "--out", "a.png"], "a.preview.png")
    assert "stopped after" in told
    stop = read_settings("a.png")["arguments"]["stop"]
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    assert Path("a.png.state").exists()
    if command[0] == "stylize":  # a dream's steps are of each octave, so that a shorter one is another dream
        command = [*command, "--steps", str(stop + 3)]
        assert main([*command, "--resume", "--out", "a.png"]) in (0, 1)


def test_stylize_brings_the_picture_nearer_to_the_style(capsys: Output) -> None:
    found = run_json(capsys, *STYLIZE, "--report", "page")
    assert found["picture"] == "photo_waves.png"
    assert found["size"] == "32 x 21"
    first = run_json(capsys, *STYLIZE[: -len(LAYERS)], *LAYERS, "--steps", "1", "--out", "one.png")
    assert found["loss"] < first["loss"]
    assert "How it went" in Path("page/index.html").read_text()


def test_several_styles_with_masks_and_weights_from_a_picture(capsys: Output) -> None:
    more = ["--mask", "left.png", "--mask", "right.png", "--start", "waves.png", "--colors", "luminance"]
    run_json(capsys, "stylize", "photo.png", "waves.png=2", "photo.png", *more, *LAYERS, "--steps", "2", "-o", "a.png")
    assert read_settings("a.png")["arguments"]["weights"] == [2.0, 1.0]
    assert run_json(capsys, "replay", "a.png")["same_pixels"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["dream", "photo.png", "-l", "relu9"], "did you mean 'relu2'"),
        (["dream", "photo.png"], "say which layers of this network dream"),
        (["dream", "photo.png", "-l", "scores"], "scores"),
        (["dream", "photo.png", "-l", "relu1", "--size", "64x48"], "a photograph keeps its proportions"),
        (["dream", "missing.png", "-l", "relu1"], "missing.png does not exist"),
        (["dream", "photo.png", "-l", "relu1", "--film", "a.gif"], "--film needs --frames 2"),
        (["dream", "photo.png", "-l", "relu1", "--frames", "2", "--film", "a.mp4"], "films are written as .gif"),
        (["dream", "photo.png", "-l", "relu1", "--resume"], "there is no state photo_dream.png.state"),
        (["dream", "photo.png", "-l", "relu2", "--octaves", "30"], "too small"),
        (["stylize", "photo.png", "waves.png=much"], "expected a picture, or picture=weight"),
        (["stylize", "photo.png", "waves.png", "--mask", "left.png", "--mask", "left.png"], "a --mask for each style"),
        (["stylize", "photo.png", "waves.png", "--style-layer", "relu9"], "did you mean 'relu2'"),
        (["stylize", "photo.png", "waves.png", "--colors", "pink"], "colors must be one of"),
        (["stylize", "photo.png", "missing.png"], "missing.png does not exist"),
    ],
    ids=lambda case: "" if isinstance(case, str) else " ".join(case[-2:]),
)
def test_wrong_use_says_what_to_do_and_writes_nothing(arguments: list[str], reason: str, capsys: Output) -> None:
    before = sorted(os.listdir())
    assert reason in sentence(capsys, *arguments)
    assert sorted(os.listdir()) == before
