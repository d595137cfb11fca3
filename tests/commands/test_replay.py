"""`blockprop replay`: the same pixels again, and nothing that is untrue."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from blockprop.cli import main
from blockprop.pictures.picture_files import read_picture, read_settings, write_picture
from blockprop.pictures.provenance import how_made
from blockprop.saving.storage import save
from tests.commands.running import PHOTO, WOLF, Output, run_json, sentence, small

pytestmark = pytest.mark.usefixtures("network_and_photo")


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


@pytest.mark.parametrize("target", ["top3", "relu1"])
def test_control_characters_of_a_stranger_are_not_printed(target: str, capsys: Output) -> None:
    how = how_made("maximize", {"network": "net.safetensors", "targets": [f"{target}\x1b[2J"]}, 0)
    write_picture("a.png", torch.rand(3, 24, 24), how)
    assert main(["replay", "a.png", "--show"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert main(["replay", "a.png"]) == 1
    assert "\x1b" not in capsys.readouterr().err
