"""Pictures of a data set that cannot be read: named all at once, and left out with a word where that is asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.cli import main
from blockprop.data.reading import read_data
from blockprop.errors import BlockpropWarning, DataError, SettingError
from tests.commands.running import Output, run_json

OPTION = "--skip-unreadable"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(folder: str, broken: dict[str, list[int]], kinds: tuple[str, ...] = ("blue", "red"), count: int = 6) -> None:
    """Pictures of each kind, those by these numbers damaged in several ways."""
    ways = [b"", b"no picture", None]
    for kind in kinds:
        Path(folder, kind).mkdir(parents=True)
        for i in range(count):
            path = Path(folder, kind, f"{i}.png")
            noise = np.random.default_rng(i).integers(0, 255, (20, 20, 3), np.uint8)
            Image.fromarray(noise).save(path)
            if i in broken.get(kind, ()):
                way = ways[i % 3]
                path.write_bytes(path.read_bytes()[:500] if way is None else way)


def refused(folder: str, **settings: bool) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_data(folder, **settings, warn=False)
    return str(caught.value).splitlines()


def test_all_of_them_are_named_with_their_reasons_and_what_to_do() -> None:
    saved("album", {"blue": [0, 2], "red": [1]})
    head, *lines = refused("album")
    assert (
        head
        == "album: 3 of 12 pictures cannot be read; mend or remove them, or leave them out with skip_unreadable=True:"
    )
    assert [line.partition(": cannot be read as a picture (")[0] for line in lines] == [
        "album/blue/0.png", "album/blue/2.png", "album/red/1.png",
    ]  # fmt: skip
    assert all(line.endswith(")") and "()" not in line for line in lines)


def test_those_of_all_parts_are_named() -> None:
    for part, broken in (("train", {"red": [3]}), ("val", {"blue": [0, 1, 2, 3, 4, 5]}), ("test", {"red": [4]})):
        saved(f"parts/{part}", broken)
    head, *lines = refused("parts")
    assert head.startswith("parts: 8 of 36 pictures cannot be read")
    assert {line.split("/")[1] for line in lines} == {"train", "val", "test"}


def test_of_many_ten_are_named() -> None:
    saved("album", {"blue": list(range(1, 15))}, count=15)
    head, *lines = refused("album")
    assert head.startswith("album: 14 of 30 ")
    assert len(lines) == 11
    assert lines[-1] == "… and 4 more"


def test_broken_ones_are_named_before_those_of_another_kind() -> None:
    saved("album", {"red": [5]})
    Image.new("L", (20, 20)).save("album/blue/3.png")
    assert "album/red/5.png" in refused("album")[1]
    assert "is gray, but album/blue/0.png is colored" in refused("album", skip_unreadable=True)[0]


def test_left_out_where_it_is_asked_for_with_a_word() -> None:
    saved("album", {"blue": [0, 2], "red": [1]})
    with pytest.warns(
        BlockpropWarning, match=r"album: 3 of 12 pictures cannot be read, and are left out: album/blue/0"
    ):
        data = read_data("album", skip_unreadable=True)
    for kind, number in (("blue", 0), ("blue", 2), ("red", 1)):
        Path(f"album/{kind}/{number}.png").unlink()
    expected = read_data("album").train
    assert torch.equal(data.train.x, expected.x)
    assert torch.equal(data.train.y, expected.y)
    assert data.train.y.tolist() == [0] * 4 + [1] * 5
    assert not read_data("album", skip_unreadable=True).notes


@pytest.mark.parametrize(
    ("all_of", "told"), [(["red"], "of the class 'red' can be read"), (["blue", "red"], "can be read:")]
)
def test_nothing_is_left_of_a_class(all_of: list[str], told: str) -> None:
    saved("album", dict.fromkeys(all_of, range(6)))
    assert refused("album")[0].startswith(f"album: {6 * len(all_of)} of 12 pictures")
    (sentence,) = refused("album", skip_unreadable=True)
    assert "album: none of " in sentence
    assert told in sentence


def test_one_picture_and_one_folder_without_classes() -> None:
    saved("album", {"blue": [0, 2]}, kinds=("blue",))
    for source, start in (
        ("album/blue/2.png", "album/blue/2.png: cannot be read"),
        ("album/blue", "album/blue: 2 of 6"),
    ):
        with pytest.raises(DataError) as caught:
            read_data(source, need_labels=False)
        assert str(caught.value).startswith(start)
    assert len(read_data("album/blue", need_labels=False, skip_unreadable=True, warn=False).train) == 4
    with pytest.raises(SettingError, match="iris: skip_unreadable=True is of photographs, and these are none"):
        read_data("iris", skip_unreadable=True)


def test_on_the_command_line(capsys: Output) -> None:
    saved("album", {"blue": [0], "red": [1]})
    train = ["train", "album", "--epochs", "1", "--validation-fraction", "0"]
    others = [["evaluate", "network.safetensors", "album"], ["diagram", "network.safetensors", "--data", "album"]]
    others.append(["check", "network.safetensors", "--data", "album"])
    for command in (train, *others):
        assert main(command) == 1
        head, *lines = capsys.readouterr().err.strip().splitlines()
        assert head.endswith(
            f"album: 2 of 12 pictures cannot be read; mend or remove them, or leave them out with {OPTION}:"
        )
        assert len(lines) == 2
        if command is train:
            assert run_json(capsys, *train, OPTION)["notes"][0].startswith(
                "album: 2 of 12 pictures cannot be read, and"
            )
            continue
        assert main([*command, OPTION]) == 0
        assert "album: 2 of 12 pictures cannot be read, and are left out" in capsys.readouterr().err
    found = run_json(capsys, *others[0], OPTION)
    assert (found["examples"], found["part"]) == (2, "held out in training")
