"""`blockprop train --crop`: which part of photographs a network learns from, and all commands see from then on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.blocks import Conv2d, Flatten, GlobalAvgPool
from blockprop.cli import main
from blockprop.data.reading import read_data
from blockprop.engine.sequential import Sequential
from blockprop.errors import DataError, FormatError, SettingError
from blockprop.pictures.framing import sight
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import load, save
from tests.commands.running import Output, run_json, sentence

NETWORK = "network.safetensors"
ALL = ["--test-fraction", "0", "--validation-fraction", "0"]
FEW = [*ALL, "--epochs", "1"]


@pytest.fixture(autouse=True)
def _edges() -> None:
    """edges/: what tells the two kinds apart lies at both ends of oblong pictures, 30 x 12; their center is noise."""
    save_pictures("edges", [(30, 12)])


def save_pictures(place: str, sizes: list[tuple[int, int]]) -> None:
    generator = np.random.default_rng(0)
    for kind, color in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
        Path(place, kind).mkdir(parents=True)
        for i in range(12):
            width, height = sizes[i % len(sizes)]
            pixels = generator.integers(0, 255, (height, width, 3), np.uint8)
            pixels[:, :8] = pixels[:, -8:] = color
            Image.fromarray(pixels).save(f"{place}/{kind}/{i}.png")


def network_for_photographs(sees: Preprocessing) -> None:
    torch.manual_seed(0)
    blocks = {"conv": Conv2d(3, 2, 3), "pool": GlobalAvgPool(), "flat": Flatten()}
    save(with_preprocessing(Sequential(blocks), sees), "saved.safetensors")


def trained(capsys: Output, *more: str) -> dict:
    return run_json(capsys, "train", "edges", *FEW, "--size", "12", *more)


def seen_by_all(capsys: Output, network: str, *options: str) -> str:
    """What evaluate, predict and saliency say that they have seen of the same photograph; and it is the same."""
    photo = "edges/red/0.png"
    (row,) = run_json(capsys, "predict", network, photo, *options)["predictions"]
    number = str(row["classes"][0]["number"])
    (drawn,) = run_json(capsys, "saliency", photo, "-n", network, "-t", number, *options)["saliency"]
    assert drawn["seen"] == row["seen"]
    assert drawn["probability"] == pytest.approx(row["classes"][0]["probability"], rel=1e-5)
    assert run_json(capsys, "evaluate", network, "edges", *options)["examples"] == 24
    return row["seen"]


def test_a_new_network_that_learned_from_stretched_pictures_sees_them_so(capsys: Output) -> None:
    told = run_json(capsys, "train", "edges", *ALL, "--size", "12", "--crop", "stretch", "--epochs", "40")
    assert told["seen"] == "the whole, stretched to 12 x 12"
    result = run_json(capsys, "evaluate", NETWORK, "edges")
    assert (result["seen"], result["accuracy"]) == (told["seen"], 1.0)
    assert (
        run_json(capsys, "evaluate", NETWORK, "edges", "--crop", "center")["accuracy"] < 0.9
    )  # it tells noise from noise
    assert seen_by_all(capsys, NETWORK) == "the whole 30 x 12 stretched to 12 x 12"
    assert seen_by_all(capsys, NETWORK, "--crop", "center") == "the center 12 x 12 of 30 x 12"
    assert main(["predict", NETWORK, "edges/red/0.png"]) == 0
    assert "seen: the whole 30 x 12 stretched to 12 x 12" in capsys.readouterr().err
    assert run_json(capsys, "train", "edges", *FEW, "-n", NETWORK)["seen"] == told["seen"]  # going on from it
    again = run_json(capsys, "train", "edges", *FEW, "-n", NETWORK, "--crop", "center", "-o", "center.safetensors")
    assert again["seen"] == "the center 12 x 12, the shorter side scaled to 12"
    assert seen_by_all(capsys, "center.safetensors") == "the center 12 x 12 of 30 x 12"


def test_the_center_is_what_is_learned_without_a_word(capsys: Output) -> None:
    plain = trained(capsys)
    named = trained(capsys, "--crop", "center", "--out", "named.safetensors")
    assert plain["seen"] == named["seen"] == "the center 12 x 12, the shorter side scaled to 12"
    assert plain["training_loss_last_epoch"] == named["training_loss_last_epoch"]
    assert load(NETWORK).meta == load("named.safetensors").meta
    other = trained(capsys, "--crop", "stretch", "--out", "stretched.safetensors")
    assert other["training_loss_last_epoch"] != plain["training_loss_last_epoch"]


def test_without_a_size_pictures_are_stretched_to_the_first(capsys: Output) -> None:
    save_pictures("several", [(30, 12), (20, 20)])
    told = run_json(capsys, "train", "several", *FEW, "--crop", "stretch")
    assert told["seen"] == "the whole, stretched to 30 x 12"
    (note,) = told["notes"]
    assert note.endswith("pictures are brought to 30 x 12, the size of the first; 12 of 24 are stretched")


def test_whole_pictures_are_learned_from_if_all_have_one_size(capsys: Output) -> None:
    told = run_json(capsys, "train", "edges", *FEW, "--crop", "whole")
    assert load(NETWORK).meta["shape"] == [3, 12, 30]
    assert told["seen"] == "the center 30 x 12, the shorter side scaled to 12"
    assert seen_by_all(capsys, NETWORK) == "the whole 30 x 12"
    save_pictures("several", [(30, 12), (20, 20)])
    said = sentence(capsys, "train", "several", *FEW, "--crop", "whole")
    assert (
        "as a whole are 20 x 20 and 30 x 12, and do not go into one batch; take --crop center or --crop stretch" in said
    )
    said = sentence(capsys, "train", "edges", *FEW, "--crop", "whole", "--size", "12")
    assert "--crop whole leaves pictures their own proportions, which no size changes: leave --size out" in said


def test_a_saved_network_of_any_size_learns_from_whole_photographs(capsys: Output) -> None:
    network_for_photographs(Preprocessing((10, 10), 2.0, shorter_side=12))
    on_all = ["train", "edges", *FEW, "--rate", "0.001", "-n"]
    told = run_json(capsys, *on_all, "saved.safetensors", "--crop", "whole")
    assert told["seen"] == "the whole, the shorter side scaled to 12"
    assert seen_by_all(capsys, NETWORK) == "the whole 30 x 12"
    assert run_json(capsys, *on_all, NETWORK, "-o", "again.safetensors")["seen"] == told["seen"]
    told = run_json(capsys, *on_all, NETWORK, "--crop", "stretch", "-o", "stretched.safetensors")
    assert told["seen"] == run_json(capsys, "evaluate", "stretched.safetensors", "edges")["seen"]
    assert told["seen"].startswith("the whole, stretched to ")
    said = sentence(capsys, *on_all, "saved.safetensors", "--crop", "whole", "--size", "24")
    assert "--crop whole leaves pictures their own proportions" in said


def test_a_network_of_one_size_learns_from_no_whole_photographs(capsys: Output) -> None:
    trained(capsys)
    said = sentence(capsys, "train", "edges", *FEW, "-n", NETWORK, "--crop", "whole")
    assert "the network takes pictures of 12 x 12 alone, take --crop center or --crop stretch" in said


def test_a_settings_file_says_it_and_an_onnx_file_keeps_it(capsys: Output) -> None:
    Path("run.toml").write_text('crop = "stretch"\nsize = 12\n')
    assert run_json(capsys, "train", "edges", *FEW, "--config", "run.toml")["seen"] == "the whole, stretched to 12 x 12"
    run_json(capsys, "export", NETWORK, "-o", "model.onnx")
    run_json(capsys, "import", "model.onnx", "-o", "back.safetensors")
    before = run_json(capsys, "evaluate", NETWORK, "edges")
    for network in ("back.safetensors", "model.onnx"):
        assert seen_by_all(capsys, network) == "the whole 30 x 12 stretched to 12 x 12"
        assert run_json(capsys, "evaluate", network, "edges")["loss"] == pytest.approx(before["loss"], rel=1e-5)


@pytest.mark.parametrize("size", ["12", "30x12"])
@pytest.mark.parametrize(("crop", "other"), [("stretch", None), ("stretch", "center"), (None, "stretch")])
def test_another_crop_is_refused_by_name_when_a_run_goes_on(
    size: str, crop: str | None, other: str | None, capsys: Output
) -> None:
    """Also where all pictures have the size, so that what is learned is the same: later pictures have not."""
    first, second = (["--crop", one] if one else [] for one in (crop, other))
    command = ["train", "edges", *ALL, "--size", size, "--epochs"]
    run_json(capsys, *command, "2", *first)
    said = sentence(capsys, *command, "3", *second, "--resume")
    told = f"learns from --crop {crop or 'center'} of photographs, this one from --crop {other or 'center'}"
    assert said == f"blockprop: {NETWORK}.checkpoint: cannot resume, the file's run {told}"
    assert run_json(capsys, *command, "3", *first, "--resume")["steps"] == 3


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_a_crop_of_what_is_no_photograph_is_refused(command: str, capsys: Output) -> None:
    x = np.random.default_rng(0).random((8, 1, 6, 6), np.float32)
    np.savez("arrays.npz", x=x, y=np.arange(8) % 2)
    run_json(capsys, "train", "arrays.npz", "--epochs", "1")
    network = [] if command == "train" else [NETWORK]
    said = sentence(capsys, command, *network, "arrays.npz", "--crop", "stretch")
    assert said == "blockprop: arrays.npz: --crop stretch is of photographs, and these are none; leave it out"
    said = sentence(capsys, command, *network, "edges" if command != "train" else "arrays.npz", "--crop", "middle")
    assert "no crop 'middle'" in said


def test_python_reads_and_sees_the_same() -> None:
    assert read_data("edges", crop="stretch").train.shape == read_data("edges", crop="whole").train.shape == (3, 12, 30)
    with pytest.raises(SettingError, match="iris: crop='whole' is of photographs"):
        read_data("iris", crop="whole")
    with pytest.raises(SettingError, match="there is no crop 'strech'; did you mean 'stretch'"):
        read_data("edges", crop="strech")
    save_pictures("parts/train", [(30, 12)])
    save_pictures("parts/test", [(20, 12)])
    with pytest.raises(DataError, match="gone: there is no such file"):
        read_data("gone", crop="whole")
    spoiled = Sequential(Conv2d(3, 2, 3))
    spoiled.meta |= {"shape": [3, 8, 8], "crop": "middle"}
    with pytest.raises(FormatError, match="meta data, crop: there is no crop 'middle'"):
        sight(spoiled)


@pytest.mark.parametrize(("part", "use"), [("test", "test"), ("val", "validation")])
def test_whole_pictures_of_all_parts_have_one_size(part: str, use: str, capsys: Output) -> None:
    save_pictures("parts/train", [(30, 12)])
    save_pictures("parts/test", [(30, 12) if part == "val" else (20, 12)])
    save_pictures("parts/val", [(30, 12) if part == "test" else (20, 12)])
    said = sentence(capsys, "train", "parts", "--epochs", "1", "--crop", "whole")
    assert "the training examples are (3, 12, 30), those of the " + use + " part (3, 12, 20)" in said


def test_preprocessing_in_front_says_it_in_place_of_the_training() -> None:
    network = Sequential(Conv2d(3, 2, 3))
    network.meta |= {"shape": [3, 8, 8], "crop": "stretch"}
    assert sight(network).crop == "stretch"
    assert sight(with_preprocessing(network, Preprocessing(8, 2.0))).crop == "center"
