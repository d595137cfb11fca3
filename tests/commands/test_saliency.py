"""`blockprop saliency`: maps as Python gives them, on sheets and alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.pictures.photos import read_photo
from blockprop.pictures.picture_files import read_picture, read_settings, write_picture
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.visualize import saliency
from tests.commands.running import PHOTO, Output, run_json, sentence, small

pytestmark = pytest.mark.usefixtures("network_and_photo")


def test_saliency_writes_the_map_that_python_gives(capsys: Output) -> None:
    found = run_json(capsys, "saliency", PHOTO, "-t", "green frog", "--as", "overlay", "--raw", "map.npy")
    assert found["picture"] == "photo_saliency.png"
    (row,) = found["saliency"]
    assert (row["picture"], row["target"], row["method"]) == ("photo.png", "green frog", "gradient")
    assert 0 < row["probability"] < 1
    raw = np.load("map.npy")
    assert raw.shape == (3, 24, 24)
    assert raw.dtype == np.float32
    expected = saliency(small(), read_photo(PHOTO, small()), "green frog").attribution[0]
    torch.testing.assert_close(torch.from_numpy(raw), expected)
    assert row["seen"] == "the center 24 x 24 of 60 x 40 scaled to 40 x 27"
    assert read_picture(found["picture"]).shape == (1, 3, 36, 36)  # of 40 pixels, 27 of which 24 are seen


def test_saliency_of_the_whole_photograph(capsys: Output) -> None:
    found = run_json(capsys, "saliency", PHOTO, "--crop", "whole", "--as", "overlay", "--raw", "map.npy")
    raw = np.load("map.npy")
    assert raw.shape == (3, 27, 40)  # 24 · 256/224 for the shorter side
    x = read_photo(PHOTO, Preprocessing(None, shorter_side=27))
    torch.testing.assert_close(torch.from_numpy(raw), saliency(small(), x).attribution[0])
    assert found["saliency"][0]["seen"] == "the whole 60 x 40 scaled to 40 x 27"
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


def test_each_target_has_its_own_map_side_by_side(capsys: Output) -> None:
    both = run_json(capsys, "saliency", PHOTO, "-t", "red fox", "-t", "gray wolf", "-m", "gradient", "-m", "guided")
    rows = [(row["target"], row["method"]) for row in both["saliency"]]
    assert rows == [(target, method) for target in ("red fox", "gray wolf") for method in ("gradient", "guided")]
    assert both["saliency"][0]["probability"] != both["saliency"][2]["probability"]
    width = read_picture("photo_saliency.png").shape[3]
    assert width > 4 * 384  # the photograph, and a map for each target and method
    assert sentence(capsys, "saliency", PHOTO, "-t", "0", "-t", "1", "--as", "map").endswith(
        "--as map is for one target, came 2"
    )


def test_a_picture_from_when_there_was_one_target_is_made_again(capsys: Output) -> None:
    run_json(capsys, "saliency", PHOTO, "-t", "red fox", "--crop", "whole", "--out", "a.png")
    how = read_settings("a.png")
    assert how["arguments"].pop("targets") == ["red fox"]
    how["arguments"]["target"] = "red fox"
    write_picture("old.png", read_picture("a.png")[0], how)
    assert run_json(capsys, "replay", "old.png")["same_pixels"] is True
    how["arguments"]["target"] = 3
    write_picture("forged.png", read_picture("a.png")[0], how)
    assert "its settings are spoiled: targets is [3]" in sentence(capsys, "replay", "forged.png")
