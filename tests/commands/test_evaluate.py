"""`blockprop evaluate`: what it prints is what the network says, counted by hand."""

import numpy as np
import pytest
import torch

from blockprop.blocks import Flatten, Linear
from blockprop.cli import main
from blockprop.engine.sequential import Sequential
from blockprop.pictures.scaling import scaled
from blockprop.saving.storage import save
from tests.commands.running import Output, run_json, sentence


@pytest.fixture(autouse=True)
def _network_and_rows(_in_a_folder_of_its_own: None) -> None:
    """net.safetensors, whose scores are its inputs, and four rows of which it gets the last one wrong."""
    network = Sequential(Linear(2, 2))
    with torch.no_grad():
        network.parameters["linear1.weight"].copy_(torch.eye(2))
        network.parameters["linear1.bias"].zero_()
    network.meta |= {"shape": [2], "classes": ["left", "right"]}
    save(network, "net.safetensors")
    x = np.array([[1, 0], [2, 1], [0, 1], [3, 2]], np.float32)
    np.savez("rows.npz", x=x, y=np.array([0, 0, 1, 1]))


def test_loss_and_accuracy_by_hand(capsys: Output) -> None:
    result = run_json(capsys, "evaluate", "net.safetensors", "rows.npz")
    losses = [torch.nn.functional.softplus(torch.tensor(d)).item() for d in (-1.0, -1.0, -1.0, 1.0)]
    assert result["loss"] == pytest.approx(sum(losses) / 4)
    assert result["accuracy"] == 0.75
    assert {name: part["recall"] for name, part in result["by_class"].items()} == {"left": 1.0, "right": 0.5}
    assert [result[name] for name in ("majority_share", "balanced_accuracy", "recall")] == [0.5, 0.75, 0.75]
    assert result["precision"] == pytest.approx((2 / 3 + 1) / 2)
    assert result["f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert result["auc"] == 0.75  # of the four pairs, the last row's score of "right" is below those of two on the left
    assert (result["examples"], result["part"]) == (4, "all")


def test_people_get_a_table(capsys: Output) -> None:
    assert main(["evaluate", "net.safetensors", "rows.npz"]) == 0
    printed = capsys.readouterr().out
    assert "75" in printed
    assert "50.00%" in printed


def test_a_network_without_data_is_refused(capsys: Output) -> None:
    assert "expected data after the network" in sentence(capsys, "evaluate", "net.safetensors")
    assert "data alone" in sentence(capsys, "evaluate", "net.safetensors", "rows.npz", "more")


def test_only_the_pictures_that_are_evaluated_are_brought_to_the_networks_size(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large training parts, enlarged for nothing, took more memory than there is."""
    network = Sequential({"flat": Flatten(), "fc": Linear(3 * 8 * 6, 2)})
    network.meta |= {"shape": [3, 8, 6], "classes": ["left", "right"]}
    save(network, "pictures.safetensors")
    x, y = np.random.default_rng(0).random((9, 4, 3), np.float32), np.arange(9) % 2
    np.savez("pictures.npz", x_train=x[:7], y_train=y[:7], x_test=x[7:], y_test=y[7:])
    sizes: list[torch.Size] = []

    def noted(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        sizes.append(x.shape)
        return scaled(x, height, width)

    monkeypatch.setattr("blockprop.data.sizing.scaled", noted)
    result = run_json(capsys, "evaluate", "pictures.safetensors", "pictures.npz")
    assert (result["examples"], result["part"], sizes) == (2, "test part", [(2, 3, 4, 3)])
