"""`blockprop segment`: the object, its box and its mask."""

import pytest
import torch
from PIL import Image

from blockprop.commands.photos import Seen
from blockprop.commands.segment import _in_file
from blockprop.pictures.framing import reading_frame
from blockprop.pictures.picture_files import read_picture
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.visualize.attribution.segmentation import bounding_box
from tests.commands.running import PHOTO, Output, run_json

pytestmark = pytest.mark.usefixtures("network_and_photo")


def test_segment_finds_the_disc(capsys: Output) -> None:
    found = run_json(capsys, "segment", PHOTO, "--mask", "mask.png", "-m", "grad_cam")
    mask = read_picture("mask.png")[0, 0]
    assert mask.shape == (40, 60)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    left, top, right, bottom = found["boxes"][0]["box"]
    assert bool(mask[top:bottom, left:right].any())
    assert float(mask.sum()) == float(mask[top:bottom, left:right].sum())


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
