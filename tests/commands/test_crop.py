"""One rule for what is seen of a photograph: all commands give it the same scores, and say what they saw."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.blocks import Conv2d, Flatten, GlobalAvgPool, Linear, ReLU
from blockprop.cli import main
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from blockprop.pictures.framing import in_words, rule_in_words, sight
from blockprop.pictures.photos import read_photo, with_preprocessing
from blockprop.pictures.picture_files import read_picture, read_settings, write_picture
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import load
from tests.commands.running import CLASSES, PHOTO, Output, run_json, saved, sentence

pytestmark = pytest.mark.usefixtures("network_and_photo")

SHIPPED, TRAINED, FIXED, NAMELESS_SIZE, STRETCHED = "shipped", "trained", "fixed", "no size", "stretched"
NETWORKS = ["any size", SHIPPED, TRAINED, FIXED, NAMELESS_SIZE, STRETCHED]


def convolutional(settings: Preprocessing, shape: list[int] | None = None) -> Network:
    torch.manual_seed(3)
    layers = {"conv": Conv2d(3, 6, 3), "relu": ReLU(), "pool": GlobalAvgPool(), "flat": Flatten(), "fc": Linear(6, 4)}
    network = Sequential(layers)
    network.blocks["fc"].weight.mul_(20.0)
    if shape:
        network.meta["shape"] = shape
    return with_preprocessing(network, settings, CLASSES)


def fixed() -> Network:
    torch.manual_seed(4)
    layers = {"conv": Conv2d(3, 6, 3), "relu": ReLU(), "flat": Flatten(), "fc": Linear(6 * 14 * 14, 4)}
    return with_preprocessing(Sequential(layers), Preprocessing(16, 2.0), CLASSES)


def network_named(name: str) -> str:
    if name == SHIPPED:
        return "pictures"
    if name == TRAINED:
        for label in CLASSES:
            Path("data", label).mkdir(parents=True)
            for i in range(3):
                noise = np.random.default_rng(i).integers(0, 255, (9, 12, 3), np.uint8)
                Image.fromarray(noise).save(f"data/{label}/{i}.png")
        arguments = ["--network", "cnn", "--epochs", "1", "--validation-fraction", "0", "--out", "trained.safetensors"]
        assert main(["train", "data", *arguments]) == 0
        return "trained.safetensors"
    made = {
        FIXED: fixed,
        NAMELESS_SIZE: lambda: convolutional(Preprocessing(None, 2.0), [3, 12, 18]),
        STRETCHED: lambda: convolutional(Preprocessing((12, 20), 2.0, crop="stretch")),
    }
    return saved(made[name](), "other.safetensors") if name in made else "net.safetensors"


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, []) for name in NETWORKS), ("any size", ["--crop", "stretch"]), (STRETCHED, ["--crop", "center"])],
)
def test_all_commands_see_the_same(name: str, options: list[str], capsys: Output) -> None:
    network = network_named(name)
    named = ["--network", network, *options]
    (row,) = run_json(capsys, "predict", network, PHOTO, *options)["predictions"]
    best = row["classes"][0]
    (seen,) = run_json(capsys, "saliency", PHOTO, "-t", str(best["number"]), *named)["saliency"]
    (box,) = run_json(capsys, "segment", PHOTO, "-t", str(best["number"]), *named)["boxes"]
    looked = run_json(capsys, "sanity", PHOTO, "-m", "gradient", *named)["seen"]
    assert seen["probability"] == box["probability"] == pytest.approx(best["probability"], rel=1e-6)
    assert row["seen"] == seen["seen"] == box["seen"] == looked[PHOTO]
    classes = CLASSES if name != SHIPPED else ["cat", "frog", "ship", best["class"]]
    for folder in dict.fromkeys([best["class"], *classes]):
        Path("album", folder).mkdir(parents=True, exist_ok=True)
    for folder in Path("album").iterdir():
        shutil.copy(PHOTO, folder / "x.png")  # the same photograph as each class: the loss tells its share
    result = run_json(capsys, "evaluate", network, "album", *options)
    share = run_json(capsys, "predict", network, PHOTO, "--top", "10", *options)["predictions"][0]["classes"]
    shares = {one["class"]: one["probability"] for one in share}
    losses = [-np.log(shares[folder.name]) for folder in Path("album").iterdir()]
    assert result["loss"] == pytest.approx(np.mean(losses), rel=1e-3)


def test_what_was_seen_is_said(capsys: Output) -> None:
    assert main(["predict", "net.safetensors", PHOTO]) == 0
    assert "seen: the center 24 x 24 of 60 x 40 scaled to 40 x 27" in capsys.readouterr().err
    for command in ("saliency", "segment", "sanity"):
        assert main([command, PHOTO]) == 0
        assert "seen: the center 24 x 24 of 60 x 40 scaled to 40 x 27" in capsys.readouterr().err
    Path("album/gray wolf").mkdir(parents=True)
    shutil.copy(PHOTO, "album/gray wolf")
    found = run_json(capsys, "evaluate", "net.safetensors", "album", "--crop", "stretch")
    assert found["seen"] == "the whole, stretched to 24 x 24"


def test_the_whole_of_a_photograph(capsys: Output) -> None:
    (row,) = run_json(capsys, "predict", "net.safetensors", PHOTO, "--crop", "whole")["predictions"]
    (seen,) = run_json(capsys, "saliency", PHOTO, "--crop", "whole")["saliency"]
    assert row["classes"][0]["probability"] == pytest.approx(seen["probability"], rel=1e-6)
    assert row["seen"] == seen["seen"] == "the whole 60 x 40 scaled to 40 x 27"
    saved(fixed(), "fixed.safetensors")
    said = sentence(capsys, "predict", "fixed.safetensors", PHOTO, "--crop", "whole")
    assert "takes pictures of 16 x 16 alone, take --crop center or --crop stretch" in said
    assert "no crop 'middle'" in sentence(capsys, "predict", "net.safetensors", PHOTO, "--crop", "middle")


def test_pictures_of_several_sizes_as_a_whole_are_no_batch(capsys: Output) -> None:
    for size in (40, 50):
        Path("album/gray wolf").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, 30)).save(f"album/gray wolf/{size}.png")
    said = sentence(capsys, "evaluate", "net.safetensors", "album", "--crop", "whole")
    assert "do not go into one batch" in said


def test_side_says_how_large_the_part_is_that_is_seen(capsys: Output) -> None:
    (seen,) = run_json(capsys, "saliency", PHOTO, "--side", "12")["saliency"]
    assert seen["seen"] == "the center 12 x 12 of 60 x 40 scaled to 21 x 14"
    (seen,) = run_json(capsys, "saliency", PHOTO, "--side", "30", "--crop", "whole")["saliency"]
    assert seen["seen"] == "the whole 60 x 40 scaled to 45 x 30"


@pytest.mark.parametrize("crop", [None, "whole", "center"])
def test_pictures_made_before_are_made_again(crop: str | None, capsys: Output) -> None:
    """Older files say nothing of a crop; then networks of any size saw all of a photograph."""
    run_json(capsys, "saliency", PHOTO, "--out", "a.png", *(["--crop", crop] if crop else []))
    how = read_settings("a.png")
    assert how["arguments"]["crop"] == crop
    assert run_json(capsys, "replay", "a.png")["same_pixels"] is True
    del how["arguments"]["crop"]
    write_picture("old.png", read_picture("a.png")[0], how)
    again = run_json(capsys, "replay", "old.png")
    assert again["saliency"][0]["seen"] == "the whole 60 x 40 scaled to 40 x 27"
    assert run_json(capsys, "replay", "old_again.png", "--out", "third.png")["same_pixels"] is True


def test_python_sees_what_the_commands_see(capsys: Output) -> None:
    network = load("net.safetensors")
    (row,) = run_json(capsys, "predict", "net.safetensors", PHOTO)["predictions"]
    share = network(read_photo(PHOTO, network)).softmax(1).max()
    assert float(share) == pytest.approx(row["classes"][0]["probability"], rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "size", "words"),
    [
        (Preprocessing(224), (480, 640), "the center 224 x 224 of 640 x 480 scaled to 341 x 256"),
        (Preprocessing(224), (224, 224), "the whole 224 x 224"),
        (Preprocessing((30, 40)), (480, 640), "the center 40 x 30 of 640 x 480 scaled to 45 x 34"),
        (Preprocessing((30, 40), shorter_side=30), (480, 640), "the whole 640 x 480 scaled to 40 x 30"),
        (Preprocessing(32, crop="stretch"), (480, 640), "the whole 640 x 480 stretched to 32 x 32"),
        (Preprocessing(None), (480, 640), "the whole 640 x 480"),
        (Preprocessing(None, shorter_side=48), (480, 640), "the whole 640 x 480 scaled to 64 x 48"),
    ],
)
def test_words(settings: Preprocessing, size: tuple[int, int], words: str) -> None:
    assert in_words(settings, *size) == words
    assert rule_in_words(settings).startswith("the ")


def test_a_network_that_takes_no_pictures() -> None:
    network = Sequential(Linear(4, 2))
    network.meta["shape"] = [4]
    with pytest.raises(SettingError, match=r"takes no pictures: its examples are \(4,\)"):
        sight(network)
