"""`blockprop maximize`: pictures of classes, sums and several at once."""

import os
from pathlib import Path

import pytest

from blockprop.commands.parsing import weighted
from blockprop.pictures.picture_files import read_picture, read_settings, write_picture
from blockprop.saving.storage import save
from tests.commands.running import PHOTO, Output, run_json, sentence, small

pytestmark = pytest.mark.usefixtures("network_and_photo")


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
    assert read_picture("red_fox.png").shape == (1, 3, 264, 264)
    assert found["size"] == "24 x 24, written 11 times as large"
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


def test_equal_targets_add_up(capsys: Output) -> None:
    assert weighted(["goose", "goose=0.5"]) == {"goose": 1.5}
    assert "expected a name, or name=weight such as gray wolf=0.5" in sentence(capsys, "maximize", "gray wolf=nan")


def test_top_can_be_maximized(capsys: Output) -> None:
    assert "confidence" not in run_json(capsys, "maximize", "top", "--steps", "2")


@pytest.mark.parametrize(
    ("name", "target", "made", "written"), [("pictures", "cat", "64 x 64", 256), ("digits", "3", "28 x 28", 280)]
)
def test_small_pictures_are_made_with_room_and_written_as_large_as_people_look_at_them(
    name: str, target: str, made: str, written: int, capsys: Output
) -> None:
    command = ["maximize", target, "-n", name, "--steps", "2"]
    assert run_json(capsys, *command, "-o", "a.png")["size"].startswith(made)
    assert read_picture("a.png").shape[2:] == (written, written)
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    run_json(capsys, *command, "--size", "32", "-o", "b.png")
    assert read_picture("b.png").shape[2:] == (32, 32)
    run_json(capsys, "sheet", target, "-n", name, "--steps", "2", "-o", "c.png")
    assert min(read_picture("c.png").shape[2:]) > 256


def test_pictures_of_before_are_made_in_their_size(capsys: Output) -> None:
    run_json(capsys, "maximize", "cat", "-n", "pictures", "--steps", "2", "-o", "a.png")
    how = read_settings("a.png")
    del how["arguments"]["roomy"]
    write_picture("before.png", read_picture("a.png"), how)
    run_json(capsys, "replay", "before.png", "-o", "again.png")
    assert read_picture("again.png").shape == (1, 3, 32, 32)
