"""What a network expects of a photograph is said by an option, by itself, by a file, or known of its weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image

from blockprop import from_onnx, to_onnx
from blockprop.cli import COMMANDS, app, main
from blockprop.networks import known
from blockprop.networks.known import digest
from blockprop.saving.storage import load, save
from tests.commands.running import CLASSES, SEES, Output, run_json, sentence, small
from tests.conftest import DataFile

CLICK: Any = typer.main.get_command(app)
READ_PICTURES = {"predict", "evaluate", "check", "diagram", "import", "train"}
READ_PICTURES |= {"saliency", "segment", "sanity", "maximize", "sheet", "dream", "stylize"}
LOOK = (
    ["predict", "net.safetensors", "red.png"],
    ["evaluate", "net.safetensors", "album"],
    ["check", "net.safetensors", "--data", "album", "--examples", "1"],
    ["diagram", "net.safetensors", "--data", "album", "-o", "a.svg"],
    ["saliency", "red.png", "-n", "net.safetensors", "-o", "a.png"],
    ["maximize", "1", "-n", "net.safetensors", "--steps", "1", "-o", "a.png"],
    ["dream", "red.png", "-n", "net.safetensors", "--steps", "1", "--octaves", "1", "-o", "a.png"],
)


@pytest.fixture
def bare() -> None:
    """net.safetensors, which says nothing of pictures; red.png; and a folder of pictures, one for each class."""
    network = small()
    nodes = [node for node in network.nodes if not node.name.startswith("picture.")]
    first = nodes[0]
    nodes[0] = type(first)(first.name, first.block, ("x",))
    save(type(network)(nodes, meta={"classes": CLASSES}), "net.safetensors")
    Image.new("RGB", (24, 24), "red").save("red.png")
    for name in CLASSES:
        folder = Path("album", name)
        folder.mkdir(parents=True)
        shutil.copy("red.png", folder / "a.png")
        shutil.copy("red.png", folder / "b.png")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_reads_pictures_takes_the_option(command: str) -> None:
    spellings = {spelling for param in CLICK.commands[command].params for spelling in param.opts}
    assert ("--preprocessing" in spellings) == (command in READ_PICTURES)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("arguments", LOOK, ids=lambda arguments: arguments[0])
def test_a_network_that_says_nothing_is_refused_with_the_option_to_pass(arguments: list[str], capsys: Output) -> None:
    said = sentence(capsys, *arguments)
    assert "net.safetensors does not say what it expects of a photograph" in said
    assert "--preprocessing imagenet" in said
    Path("how.json").write_text(json.dumps(SEES.to_dict()))
    run_json(capsys, *arguments, "--preprocessing", "how.json")


@pytest.mark.usefixtures("bare")
def test_preprocessing_by_name_is_that_of_torchvision_in_the_networks_size(capsys: Output) -> None:
    network = load("net.safetensors")
    network.meta["shape"] = [3, 24, 24]
    save(network, "net.safetensors")
    (row,) = run_json(capsys, "predict", "net.safetensors", "red.png", "--preprocessing", "imagenet")["predictions"]
    red = torch.tensor([1.0, 0.0, 0.0])
    x = (red - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    scores = network(x.view(1, 3, 1, 1).expand(1, 3, 24, 24)).softmax(1)[0]
    assert row["classes"][0]["probability"] == pytest.approx(float(scores.max()), rel=1e-5)


@pytest.mark.usefixtures("bare")
def test_a_known_network_needs_no_option(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    network = load("net.safetensors")
    del network.meta["classes"]
    save(network, "net.safetensors")
    network.meta["shape"] = [3, 24, 24]
    to_onnx(network, "whatever.onnx")
    for same in (network, from_onnx("whatever.onnx")):
        monkeypatch.setitem(known.KNOWN, digest(same), ("a small one", SEES.to_dict(), "cifar10"))
    monkeypatch.setattr(known, "CIFAR10", tuple(CLASSES))
    assert run_json(capsys, "predict", "net.safetensors", "red.png")["predictions"][0]["classes"][0]["class"] in CLASSES
    capsys.readouterr()
    assert main(["import", "whatever.onnx", "-o", "known.safetensors"]) == 0
    said = capsys.readouterr().err
    assert "as a small one, of which blockprop knows what it expects of a picture and the names of its 4" in said
    imported = load("known.safetensors")
    assert imported.meta["classes"] == CLASSES
    assert "photographs are brought to 24 x 24, the size that the import fixed; usual is 8 x 8" in said
    assert imported.meta["picture"] == SEES.in_size((24, 24)).to_dict()
    assert imported.meta["picture"]["shorter_side"] == 27
    (row,) = run_json(capsys, "predict", "known.safetensors", "red.png")["predictions"]
    assert row["classes"][0]["class"] in CLASSES
    assert "the center 24 x 24" in row["seen"]


@pytest.mark.usefixtures("bare")
def test_a_picture_made_with_the_option_is_made_again(capsys: Output) -> None:
    Path("how.json").write_text(json.dumps(SEES.to_dict()))
    run_json(capsys, *LOOK[4], "--preprocessing", "how.json")
    assert run_json(capsys, "replay", "a.png")["same_pixels"]
    Path("deep").mkdir()
    for name in ("a.png", "how.json", "red.png"):
        Path(name).rename(f"deep/{name}")
    assert run_json(capsys, "replay", "deep/a.png", "-n", "net.safetensors")["same_pixels"]
    Path("deep/how.json").write_text(json.dumps(SEES.to_dict() | {"mean": 0.2}))
    assert "with another network" in sentence(capsys, "replay", "deep/a.png", "-n", "net.safetensors")


def test_squeezenet_is_known_under_any_name(capsys: Output, data_file: DataFile) -> None:
    shutil.copy(data_file("onnx/squeezenet1_1.onnx"), "model.onnx")
    run_json(capsys, "import", "model.onnx", "-o", "net.safetensors")
    goose = str(data_file("photos/n01855672_goose.jpg"))
    (row,) = run_json(capsys, "predict", "net.safetensors", goose, "--top", "1")["predictions"]
    assert row["classes"][0]["class"] == "goose"
    assert row["classes"][0]["probability"] > 0.5
