"""`blockprop sheet`: classes, layers and ranges side by side."""

import pytest

from blockprop.blocks import Conv2d, Flatten, GlobalAvgPool, Linear, ReLU
from blockprop.cli import main
from blockprop.engine.sequential import Sequential
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import save
from tests.commands.running import PHOTO, Output, run_json, small

pytestmark = pytest.mark.usefixtures("network_and_photo")


def test_a_sheet_over_classes_layers_and_ranges(capsys: Output) -> None:
    found = run_json(capsys, "sheet", "classes", "layers", "relu1:2-4", "--steps", "2", "--most", "3", "--at-once", "2")
    named = [picture["title"] for picture in found["pictures"]]
    assert named == ["red fox", "green frog", "blue whale", "relu1", "relu2", "relu1:2", "relu1:3", "relu1:4"]


def test_two_classes_may_begin_with_the_same_name(capsys: Output) -> None:
    network = small()
    network.meta["classes"] = ["crane, bird", "crane, machine", "a", "b"]
    save(network, "net.safetensors")
    found = run_json(capsys, "sheet", "0-1", "--steps", "1")["pictures"]
    assert [(each["target"], each["title"]) for each in found] == [("0", "crane"), ("1", "crane")]


def test_nodes_that_are_called_by_numbers_are_layers_and_numbers_are_classes(capsys: Output) -> None:
    chain = {"0": Conv2d(3, 4, 3, padding=1), "1": ReLU(), "2": ReLU(), "3": GlobalAvgPool(), "4": Flatten()}
    network = with_preprocessing(Sequential(chain | {"5": Linear(4, 4)}), Preprocessing(8), ["2", "1", "4", "5"])
    save(network, "net.safetensors")
    found = run_json(capsys, "sheet", "layers", "classes", "0-1", "--steps", "1")["pictures"]
    assert [each["title"] for each in found] == ["node 1", "node 2", "2", "1", "4", "5"]
    assert main(["maximize", "1", "--steps", "1"]) == 0
    said = capsys.readouterr().err.replace("\n", " ")
    assert "the target 1 is the class 1; the node of this name is '1:'" in said
    assert run_json(capsys, "saliency", PHOTO, "-t", "1:", "-t", "1")["saliency"][0]["target"] == "node 1"
