"""The networks that come with the package: what they hold, how good they are, and that commands need no other."""

import io
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop import networks
from blockprop.blocks import Conv2d
from blockprop.cli import main
from blockprop.commands.showcase import photographs, sized
from blockprop.data.reading import read_data
from blockprop.errors import SettingError
from blockprop.networks.shipped import NAMES, is_shipped, shipped
from blockprop.pictures.picture_files import read_picture, read_settings
from blockprop.saving.storage import load, save
from blockprop.training.evaluation import predict
from tests.commands.running import Output, run_json, sentence
from tests.conftest import DataFile

SIZES = {"pictures": 3_000_000, "digits": 300_000}


@pytest.mark.parametrize("name", NAMES)
def test_they_are_small_and_have_stages_without_strides(name: str) -> None:
    file = Path(networks.__file__).parent / "shipped" / f"{name}.safetensors"
    assert file.stat().st_size <= SIZES[name]
    network = shipped(name)
    assert all(p.dtype == torch.float32 for p in network.parameters.values())
    convolutions = [node.block for node in network.nodes if isinstance(node.block, Conv2d)]
    assert all(block._stride == (1, 1) for block in convolutions)
    count = 5 if name == "pictures" else 4
    assert [node.name for node in network.nodes if node.name.startswith("stage")] == [
        f"stage{i}" for i in range(1, count + 1)
    ]
    channels = 3 if name == "pictures" else 1
    for size in ((16, 16), (32, 32), (45, 70)):
        assert network(torch.rand(2, channels, *size)).shape == (2, 10)


def test_another_name_is_refused() -> None:
    with pytest.raises(SettingError, match="did you mean 'digits'"):
        shipped("digit")


def test_a_network_that_somebody_saved_under_that_name_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_shipped("digits")
    Path("digits").mkdir()
    assert is_shipped("digits")  # any folder may have this name
    save(shipped("pictures"), "digits")
    assert not is_shipped("digits")


@pytest.mark.slow
def test_digits_are_read_as_well_as_documented(capsys: Output, data_file: DataFile) -> None:
    assert run_json(capsys, "evaluate", str(data_file("datasets/mnist.npz")))["accuracy"] >= 0.993


@pytest.mark.slow
def test_pictures_are_told_apart_as_well_as_documented(data_file: DataFile) -> None:
    data = np.load(data_file("datasets/cifar10_20k_jpeg.npz"))
    starts, content = data["start_test"], data["jpeg_test"].tobytes()
    x = torch.stack([decoded(content[a:b]) for a, b in itertools.pairwise(starts)])
    right = predict(shipped("pictures"), x).argmax(1) == torch.from_numpy(data["y_test"].astype(np.int64))
    assert float(right.float().mean()) >= 0.86


def decoded(jpeg: bytes) -> torch.Tensor:
    return torch.tensor(np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))).permute(2, 0, 1).float() / 255


def test_the_photographs_of_the_demo_are_what_it_says() -> None:
    cat, flower, temple = photographs()
    assert all(photo.shape[:2] == (1, 3) for photo in (cat, flower, temple))
    network = shipped("pictures")
    assert network.meta["classes"][int(network(sized(cat, shorter=32)).argmax())] == "cat"


@pytest.fixture
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BLOCKPROP_NETWORK", raising=False)
    y, x = np.mgrid[:48, :64]
    Image.fromarray(np.stack([x * 4, y * 5, 255 - x * 3], 2).astype(np.uint8)).save("photo.png")
    Image.fromarray(np.where((x[:28, :28] - 14) ** 2 < 9, 255, 0).astype(np.uint8)).save("one.png")


@pytest.mark.usefixtures("_pictures")
@pytest.mark.parametrize(
    "command",
    [
        ["saliency", "photo.png"],
        ["segment", "photo.png"],
        ["sanity", "photo.png"],
        ["maximize", "frog", "--steps", "2"],
        ["sheet", "frog", "cat", "--steps", "2"],
        ["dream", "photo.png", "--steps", "1", "--octaves", "1"],
        ["stylize", "photo.png", "photo.png", "--steps", "1", "--size", "64"],
    ],
    ids=lambda command: command[0],
)
def test_commands_need_no_network(command: list[str], capsys: Output) -> None:
    assert main(command) == 0
    assert "the network is pictures, which comes with blockprop" in capsys.readouterr().err
    (made,) = set(os.listdir()) - {"photo.png", "one.png"}
    assert read_settings(made)["arguments"]["network"] == "pictures"
    assert run_json(capsys, "replay", made)["same_pixels"]


@pytest.mark.usefixtures("_pictures")
def test_small_gray_pictures_are_digits(capsys: Output) -> None:
    found = run_json(capsys, "predict", "one.png")
    assert (found["network"], found["predictions"][0]["classes"][0]["class"]) == ("digits", "1")
    run_json(capsys, "saliency", "one.png", "-t", "1")
    assert read_settings("one_saliency.png")["arguments"]["network"] == "digits"
    assert run_json(capsys, "predict", "one.png", "photo.png")["network"] == "pictures"
    assert run_json(capsys, "predict", "pictures", "one.png")["network"] == "pictures"
    assert run_json(capsys, "maximize", "7", "-n", "digits", "--steps", "2")
    assert read_picture("7.png").shape == (1, 3, 280, 280)  # 28 x 28, written ten times as large


@pytest.mark.usefixtures("_pictures")
def test_commands_about_networks_and_data(capsys: Output) -> None:
    assert run_json(capsys, "info")["parameters"] == run_json(capsys, "info", "pictures")["parameters"]
    assert run_json(capsys, "info", "digits")["parameters"] < 100_000
    assert run_json(capsys, "export", "--out", "p.onnx")["nodes"] == len(shipped("pictures").nodes)
    assert run_json(capsys, "diagram")["nodes"] == len(shipped("pictures").nodes)
    assert run_json(capsys, "check", "--examples", "2")["right"]
    found = run_json(capsys, "evaluate", "digits")  # scikit-learn's digits of 8 x 8 pixels
    assert (found["network"], found["examples"]) == ("digits", 1797)
    assert "say which network" in sentence(capsys, "evaluate", "iris")
    assert "expected photographs or other data" in sentence(capsys, "predict", "digits")


@pytest.mark.usefixtures("_pictures")
def test_the_environment_names_another_and_folders_may_have_any_name(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    Path("pictures").mkdir()
    run_json(capsys, "saliency", "photo.png")
    run_json(capsys, "dream", "photo.png", "--steps", "1", "--octaves", "1", "--frames", "2", "--film", "pictures")
    assert len(list(Path("pictures").iterdir())) == 2
    save(shipped("digits"), "mine.net")
    assert run_json(capsys, "predict", "mine.net", "one.png")["network"] == "mine.net"
    assert "expected photographs or other data" in sentence(capsys, "predict", "mine.net")
    assert "expected data after the network" in sentence(capsys, "evaluate", "mine.net")
    monkeypatch.setenv("BLOCKPROP_NETWORK", "mine.net")
    assert run_json(capsys, "predict", "photo.png")["network"] == "mine.net"
    assert run_json(capsys, "info")["parameters"] < 100_000


@pytest.mark.usefixtures("_pictures")
def test_a_folder_is_judged_by_its_first_picture(capsys: Output) -> None:
    for name in ("a", "b"):
        Path("mixed", name).mkdir(parents=True)
        Image.open("one.png").save(f"mixed/{name}/2.png")
        Image.open("photo.png").save(f"mixed/{name}/1.png")
    assert main(["evaluate", "mixed"]) == 1  # its classes are others
    assert "mixed" in capsys.readouterr().err
    run_json(capsys, "stylize", "one.png", "one.png", "--steps", "1", "--size", "32")


@pytest.mark.usefixtures("_pictures")
def test_training_goes_on_from_one(capsys: Output) -> None:
    data = read_data("digits").train
    np.savez("few.npz", x_train=(data.x[:40, 0] * 255).numpy().astype(np.uint8), y_train=data.y[:40].numpy())
    found = run_json(capsys, "train", "few.npz", "--network", "digits", "--epochs", "1", "--out", "mine.safetensors")
    assert found["training_examples"] > 20
    assert load("mine.safetensors").meta["shape"] == [1, 28, 28]  # as the network takes them
    assert any("8 x 8 pixels" in note for note in found["notes"])
