"""`blockprop saliency`, `segment`, `sanity`, `maximize`, `sheet` and `replay`: what they write, print and refuse."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.blocks import Conv2d, Flatten, GlobalAvgPool, Linear, MaxPool2d, ReLU
from blockprop.cli import main
from blockprop.engine.network import Network, Sequential
from blockprop.pictures.photos import Preprocessing, with_preprocessing
from blockprop.saving.storage import save
from blockprop.visualize import read_picture, read_settings, saliency
from tests.commands.test_cli import Output, run_json, sentence

PHOTO = "photo.png"
CLASSES = ["red fox", "green frog", "blue whale", "gray wolf"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def small(seed: int = 0, dead: bool = False) -> Network:
    """Takes pictures of any size; the score of a class is that of its color, more or less."""
    torch.manual_seed(seed)
    blocks = {
        "conv1": Conv2d(3, 8, 3, padding=1),
        "relu1": ReLU(),
        "pool1": MaxPool2d(2),
        "conv2": Conv2d(8, 8, 3, padding=1),
        "relu2": ReLU(),
        "pool": GlobalAvgPool(),
        "flat": Flatten(),
        "scores": Linear(8, 4),
    }
    blocks["scores"].weight.mul_(50.0)
    if dead:  # nothing gets through conv2's ReLU
        blocks["conv2"].bias.fill_(-100.0)
    return with_preprocessing(Sequential(blocks), Preprocessing(24, 2.0, 1.0, 0.5), CLASSES)


@pytest.fixture(autouse=True)
def _network_and_photo(_in_a_folder_of_its_own: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """net.safetensors, which commands take by default, and a red disc on green, 60 x 40."""
    save(small(), "net.safetensors")
    monkeypatch.setenv("BLOCKPROP_NETWORK", "net.safetensors")
    y, x = np.mgrid[:40, :60]
    pixels = np.full((40, 60, 3), (40, 160, 60), np.uint8)
    pixels[(y - 20) ** 2 + (x - 25) ** 2 < 120] = (220, 30, 40)
    Image.fromarray(pixels).save(PHOTO)


# What is written ------------------------------------------------------------------------------------------------------


def test_saliency_writes_the_map_that_python_gives(capsys: Output) -> None:
    found = run_json(capsys, "saliency", PHOTO, "-t", "green frog", "--as", "overlay", "--raw", "map.npy")
    assert found["picture"] == "photo_saliency.png"
    (row,) = found["saliency"]
    assert (row["picture"], row["target"], row["method"]) == ("photo.png", "green frog", "gradient")
    assert 0 < row["probability"] < 1
    raw = np.load("map.npy")
    assert raw.shape == (3, 27, 40)  # 24 · 256/224 for the shorter side, and the whole photograph
    assert raw.dtype == np.float32
    from blockprop.pictures.photos import read_photo

    x = read_photo(PHOTO, Preprocessing(None, shorter_side=27))
    expected = saliency(small(), x, "green frog").attribution[0]
    torch.testing.assert_close(torch.from_numpy(raw), expected)
    assert read_picture(found["picture"]).shape == (1, 3, 40, 60)


def test_a_sheet_has_a_row_for_each_photograph_and_a_column_for_each_method(capsys: Output) -> None:
    found = run_json(capsys, "saliency", PHOTO, PHOTO, "-m", "all", "--samples", "2", "--report", "page")
    assert len(found["saliency"]) == 2 * 9
    assert found["coverage"] == [
        "deconvnet: replaced 2 of 2 nodes that rectify or gate",
        "guided: replaced 2 of 2 nodes that rectify or gate",
    ]
    _, _, height, width = read_picture("photo_saliency.png").shape
    assert height > 384
    assert width > 3 * 384
    page = Path("page/index.html").read_text()
    assert "smooth_grad" in page
    assert "data:image/png" in page


def test_segment_finds_the_disc(capsys: Output) -> None:
    found = run_json(capsys, "segment", PHOTO, "--mask", "mask.png", "-m", "grad_cam")
    mask = read_picture("mask.png")[0, 0]
    assert mask.shape == (40, 60)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    left, top, right, bottom = found["boxes"][0]["box"]
    assert bool(mask[top:bottom, left:right].any())
    assert float(mask.sum()) == float(mask[top:bottom, left:right].sum())


def test_sanity_draws_a_curve_for_each_method(capsys: Output) -> None:
    found = run_json(capsys, "sanity", PHOTO, "-m", "gradient", "-m", "guided")
    assert found["layers"] == 3
    assert {method: len(values) for method, values in found["correlations"].items()} == {"gradient": 3, "guided": 3}
    assert min(read_picture("photo_sanity.png").shape[2:]) > 300


def test_maximize_makes_the_network_sure(capsys: Output) -> None:
    save(small(1), "other.safetensors")
    found = run_json(
        capsys,
        *("maximize", "red fox", "--l2", "0", "--total-variation", "0", "--rate", "0.2"),
        *("--other", "other.safetensors", "--report", "page"),
    )
    assert found["picture"] == "red_fox.png"
    assert found["confidence"] > 0.9
    assert isinstance(found["among_the_best_five_of_the_other"], bool)
    assert read_picture("red_fox.png").shape == (1, 3, 24, 24)
    assert "How it went" in Path("page/index.html").read_text()
    assert sorted(os.listdir()) == ["net.safetensors", "other.safetensors", "page", PHOTO, "red_fox.png"]


def test_maximize_a_weighted_sum_from_a_picture_with_own_transforms(capsys: Output) -> None:
    arguments = ["blue whale=2", "relu2:3=-0.5", "--start", PHOTO, "--transform", "Jitter(2)", "--size", "32x16"]
    run_json(capsys, "maximize", *arguments, "--steps", "3", "--out", "a.tif", "--canvas", "pixels")
    assert read_picture("a.tif").shape == (1, 3, 16, 32)
    kept = read_settings("a.tif")
    assert kept["arguments"]["transforms"] == ["Jitter(2)"]
    assert list(kept["pictures"]) == [PHOTO]
    assert run_json(capsys, "replay", "a.tif")["same_pixels"]


def test_several_diverse_pictures_stand_on_one_sheet(capsys: Output) -> None:
    run_json(
        capsys,
        *("maximize", "gray wolf", "--count", "3", "--diversity", "2", "--diversity-node", "relu1", "--steps", "2"),
    )
    assert read_picture("gray_wolf.png").shape[3] > 3 * 128


def test_a_sheet_over_classes_layers_and_ranges(capsys: Output) -> None:
    found = run_json(capsys, "sheet", "classes", "layers", "relu1:2-4", "--steps", "2", "--most", "3", "--at-once", "2")
    named = [picture["title"] for picture in found["pictures"]]
    assert named == ["red fox", "green frog", "blue whale", "relu1", "relu2", "relu1:2", "relu1:3", "relu1:4"]


# What is refused ------------------------------------------------------------------------------------------------------


def strange(name: str) -> str:
    """A file that is hard to read as a picture."""
    if name == "text.jpg":
        Path(name).write_text("no picture")
    elif name == "cut.png":
        Image.effect_noise((90, 90), 50).convert("RGB").save("whole.png")
        Path(name).write_bytes(Path("whole.png").read_bytes()[:3000])
    elif name == "dot.png":
        Image.new("RGB", (1, 1)).save(name)
    elif name == "bomb.png":
        Image.new("1", (30_000, 30_000)).save(name)
    return name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.jpg", "cannot be read as a picture"),
        ("cut.png", "cannot be read as a picture"),
        ("dot.png", "dot.png: 1 x 1 pixels; each side needs at least 2"),
        ("bomb.png", "900000000 pixels"),
        ("missing.jpg", "missing.jpg does not exist"),
    ],
)
@pytest.mark.parametrize("command", ["saliency", "segment", "sanity", "maximize"])
def test_what_is_no_picture(command: str, name: str, reason: str, capsys: Output) -> None:
    file = strange(name)
    Path("out.png").write_text("what was there before")
    arguments = [command, "gray wolf", "--start", file] if command == "maximize" else [command, file]
    assert reason in sentence(capsys, *arguments, "--out", "out.png")
    assert Path("out.png").read_text() == "what was there before"


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "LA", "L", "P", "1", "RGBA"])
def test_every_kind_of_picture_is_seen(mode: str, capsys: Output) -> None:
    picture = Image.open(PHOTO)
    if mode == "I;16":
        deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        Image.fromarray(deep).save("kind.tif")
    else:
        picture.convert(mode).save("kind.tif" if mode == "CMYK" else "kind.png")
    run_json(capsys, "saliency", "kind.tif" if mode in ("CMYK", "I;16") else "kind.png", "--out", "a.png")
    assert read_picture("a.png").shape[1] == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["saliency", "photo.png", "-t", "gren frog"], "did you mean 'green frog'"),
        (["saliency", "photo.png", "-t", "relu9"], "its nodes are picture.scale, conv1, relu1"),
        (["saliency", "photo.png", "-t", "relu1:99"], "'relu1' has 8 channels; there is no channel 99"),
        (["saliency", "photo.png", "-m", "grad-cam"], "did you mean 'grad_cam'"),
        (["saliency", "photo.png", "--as", "overly"], "did you mean 'overlay'"),
        (["saliency", "photo.png", "photo.png", "--as", "map"], "--as map is for one photograph, came 2"),
        (["saliency", "photo.png", "--out", "a.gif"], "pictures are written as .png"),
        (["saliency", "photo.png", "-n", "none.safetensors"], "none.safetensors does not exist"),
        (["maximize", "purple cow"], "there is no class and no node 'purple cow'"),
        (["maximize", "gray wolf", "--size", "big"], "expected a size such as 224"),
        (["maximize", "gray wolf", "--transform", "Blurr(3)"], "expected a block such as 'Jitter(8)'"),
        (["maximize", "gray wolf", "--resume"], "there is no state gray_wolf.png.state"),
        (["maximize", "gray wolf=x"], "expected a name, or name=weight such as gray wolf=0.5"),
        (["sheet", "gray wolf", "cow"], "there is no class and no node 'cow'"),
        (["sheet", "8-5"], "expected the smaller number first"),
        (["replay", "photo.png"], "does not say how it was made"),
        (["segment", "photo.png", "--foreground", "0.2"], "expected 0 ≤ background ≤ foreground ≤ 1"),
    ],
    ids=lambda case: "" if isinstance(case, str) else " ".join(case[-2:]),
)
def test_wrong_use_says_what_to_do_and_writes_nothing(arguments: list[str], reason: str, capsys: Output) -> None:
    before = sorted(os.listdir())
    capsys.readouterr()
    assert main(arguments) == 1
    assert reason in " ".join(capsys.readouterr().err.split())
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("command", ["saliency", "maximize"])
def test_a_target_that_the_picture_cannot_influence(command: str, capsys: Output) -> None:
    save(small(dead=True), "dead.safetensors")
    what = ["saliency", PHOTO, "-t", "gray wolf"] if command == "saliency" else ["maximize", "gray wolf"]
    capsys.readouterr()
    more = [] if command == "saliency" else ["--redirect-steps", "2"]
    assert main([*what, "-n", "dead.safetensors", "--out", "a.png", *more]) == 1
    assert "the gradient" in (told := capsys.readouterr().err)
    assert "zero everywhere" in " ".join(told.split())
    assert not Path("a.png").exists()


def test_a_full_disk_loses_nothing() -> None:
    Path("a.png").write_text("what was there before")
    code = (  # no file may be larger than 4 KiB: what the operating system then says is what it says of a full disk
        "import resource, sys; from blockprop.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        f"sys.exit(main(['saliency', '{PHOTO}', '--out', 'a.png']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a.png" in done.stderr
    assert "this should not have happened" not in done.stderr
    assert Path("a.png").read_text() == "what was there before"
    assert sorted(os.listdir()) == ["a.png", "net.safetensors", "photo.png"]


def test_json_is_one_object_also_for_errors(capsys: Output) -> None:
    assert main(["maximize", "purple cow", "--json"]) == 1
    assert "purple cow" in json.loads(capsys.readouterr().out)["error"]
