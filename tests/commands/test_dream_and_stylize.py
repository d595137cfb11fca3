"""What `blockprop dream` and `blockprop stylize` have in common: again, interrupted, resumed, refused."""

import os
import signal
from pathlib import Path

import pytest
import torch

from blockprop.cli import main
from blockprop.networks.build import build_network
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.picture_files import read_picture, read_settings, write_picture
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.pictures.provenance import how_made
from blockprop.saving.storage import save
from tests.commands.running import DREAM, STYLIZE, Output, interrupted, run_json, sentence, with_steps

pytestmark = pytest.mark.usefixtures("network_and_pictures")
GOOD = {"network": "net.safetensors", "layers": ["relu1"], "content_layers": ["relu2"], "style_layers": ["relu1"]}


@pytest.mark.parametrize("command", [DREAM, STYLIZE], ids=lambda command: command[0])
def test_replay_makes_the_same_pixels(command: list[str], capsys: Output) -> None:
    run_json(capsys, *command, "--seed", "4", "--out", "a.png")
    assert run_json(capsys, "replay", "a.png")["same_pixels"] is True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "by"),
    [
        (with_steps(DREAM, 5000), signal.SIGINT),
        ([*with_steps(STYLIZE, 5000), "--scales", "1", "--optimizer", "adam"], signal.SIGTERM),
    ],
    ids=["dream", "stylize"],
)
def test_a_signal_keeps_the_picture_and_resume_goes_on(command: list[str], by: signal.Signals, capsys: Output) -> None:
    told = interrupted([*command, "--preview-every", "1", "--out", "a.png"], "a.preview.png", by)
    assert "stopped after" in told
    stop = read_settings("a.png")["arguments"]["stop"]
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    assert Path("a.png.state").exists()
    if command[0] == "stylize":  # a dream's steps are of each octave, so that a shorter one is another dream
        command = with_steps(command, stop + 3)
        assert main([*command, "--resume", "--out", "a.png"]) in (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "by"),
    [(with_steps(DREAM, 500), signal.SIGTERM), (with_steps(STYLIZE, 500), signal.SIGINT)],
    ids=["dream", "stylize"],
)
def test_after_a_signal_it_goes_on_to_the_same_pixels(command: list[str], by: signal.Signals, capsys: Output) -> None:
    interrupted([*command, "--preview-every", "1", "--out", "a.png"], "a.preview.png", by)
    assert read_settings("a.png")["arguments"]["stop"] < 500
    run_json(capsys, *command, "--resume", "--out", "a.png")
    run_json(capsys, *command, "--out", "b.png")
    assert torch.equal(read_picture("a.png"), read_picture("b.png"))
    assert not Path("a.png.state").exists()


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("dream", {"pictures": []}),
        ("dream", {"guided": True}),
        ("dream", {"start": "fog"}),
        ("dream", {"octaves": 5000}),
        ("stylize", {"weights": [1.0, 2.0]}),
        ("stylize", {"weights": []}),
        ("stylize", {"masks": 1}),
        ("stylize", {"masks": -1}),
        ("stylize", {"start": "picture"}),
        ("stylize", {"start": "fog"}),
    ],
    ids=str,
)
def test_forged_pictures_are_refused_in_a_sentence(command: str, change: dict, capsys: Output) -> None:
    own = {"dream": {"pictures": ["photo.png"]}, "stylize": {"pictures": ["photo.png", "waves.png"], "weights": [1.0]}}
    needed = ("network", "layers") if command == "dream" else ("network", "content_layers", "style_layers")
    arguments = {name: GOOD[name] for name in needed} | own[command] | change
    how = how_made(command, arguments, 0, pictures=("photo.png", "waves.png"))
    write_picture("forged.png", torch.rand(3, 24, 24), how)
    told = sentence(capsys, "replay", "forged.png")
    assert "this should not have happened" not in told
    assert not Path("forged_again.png").exists()


def test_a_network_for_gray_pictures_dreams_on_a_photograph_in_gray(capsys: Output) -> None:
    network = build_network("stages:4,6", (1, 8, 8), 3)
    save(with_preprocessing(network, Preprocessing(channels="gray")), "gray.safetensors")
    capsys.readouterr()
    run_json(capsys, "dream", "photo.png", "-n", "gray.safetensors", "--octaves", "1", "--steps", "1")
    assert read_picture("photo_dream.png").shape == (1, 3, 40, 60)
    assert "pictures of 1 channels" in sentence(capsys, "stylize", "photo.png", "waves.png", "-n", "gray.safetensors")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["dream", "photo.png", "-l", "relu9"], "did you mean 'relu2'"),
        (["dream", "photo.png", "-l", "scores"], "scores"),
        (["dream", "photo.png", "-l", "relu1", "--size", "64x48"], "a photograph keeps its proportions"),
        (["dream", "missing.png", "-l", "relu1"], "missing.png does not exist"),
        (["dream", "photo.png", "-l", "relu1", "--film", "a.gif"], "--film needs --frames 2"),
        (["dream", "photo.png", "-l", "relu1", "--frames", "2", "--film", "a.mp4"], "films are written as .gif"),
        (["dream", "photo.png", "-l", "relu1", "--resume"], "there is no state photo_dream.png.state"),
        (["dream", "photo.png", "-l", "relu2", "--octaves", "30"], "too small"),
        (["dream", "noise", "--size", "1", "-l", "relu2"], "the picture of 1 x 1 pixels is too small"),
        (["stylize", "photo.png", "=2"], "expected a picture, or picture=weight"),
        (["stylize", "photo.png", "waves.png", "--size", "200000"], "makes more than 80,000,000"),
        (["stylize", "photo.png", "waves.png", "--style-scale", "20000"], "choose a smaller style scale"),
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
