"""`blockprop sheet`: classes, layers and ranges side by side."""

import pytest

from blockprop.saving.storage import save
from tests.commands.running import Output, run_json, small

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
