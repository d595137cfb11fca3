"""`blockprop stylize`: styles, weights and masks."""

from pathlib import Path

import pytest
from PIL import Image

from blockprop.commands.stylize import mask_like
from blockprop.pictures.picture_files import read_picture, read_settings
from tests.commands.running import LAYERS, STYLIZE, Output, run_json, sentence

pytestmark = pytest.mark.usefixtures("network_and_pictures")


def test_stylize_brings_the_picture_nearer_to_the_style(capsys: Output) -> None:
    found = run_json(capsys, *STYLIZE, "--report", "page")
    assert found["picture"] == "photo_waves.png"
    assert found["size"] == "32 x 21"
    first = run_json(capsys, *["1" if word == "3" else word for word in STYLIZE], "--out", "one.png")
    assert found["loss"] < first["loss"]
    assert "How it went" in Path("page/index.html").read_text()


def test_several_styles_with_masks_and_weights_from_a_picture(capsys: Output) -> None:
    more = ["--mask", "left.png", "--mask", "right.png", "--start", "waves.png", "--colors", "luminance"]
    run_json(capsys, "stylize", "photo.png", "waves.png=2", "photo.png", *more, *LAYERS, "--steps", "2", "-o", "a.png")
    assert read_settings("a.png")["arguments"]["weights"] == [2.0, 1.0]
    assert run_json(capsys, "replay", "a.png")["same_pixels"]


def test_masks_may_be_of_another_size_but_not_of_other_proportions(capsys: Output) -> None:
    for name in ("left", "right"):
        Image.open(f"{name}.png").resize((600, 400), Image.Resampling.NEAREST).save(f"large_{name}.png")
    styles = ["stylize", "photo.png", "waves.png", "photo.png", *LAYERS, "--steps", "2"]
    run_json(capsys, *styles, "--mask", "large_left.png", "--mask", "large_right.png", "-o", "a.png")
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    cover = mask_like("large_left.png", read_picture("large_left.png"), read_picture("photo.png"))
    assert cover.shape == (40, 60)
    assert float((cover - read_picture("left.png")[0, 0]).abs().mean()) < 0.02  # its edge is soft
    Image.new("L", (60, 60), 255).save("square.png")
    told = sentence(capsys, *styles, "--mask", "left.png", "--mask", "square.png")
    assert "square.png has 60 x 60 pixels; a mask has the content's proportions, 60 x 40" in told
