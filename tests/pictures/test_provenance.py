"""How a picture was made: the settings, and fingerprints of networks and files."""

import json
from pathlib import Path

import pytest
import torch

import blockprop
from blockprop.blocks import BatchNorm2d, Conv2d, ReLU
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import DataError
from blockprop.pictures.picture_files import (
    read_settings,
    write_picture,
)
from blockprop.pictures.provenance import file_digest, how_made
from blockprop.saving import storage
from blockprop.saving.fingerprints import fingerprint
from tests.pictures.examples import colors


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Sequential(Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU())


def test_how_made_says_what_is_needed_and_keeps_paths_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_picture("in.png", colors())
    made = how_made("saliency", {"photo": Path("in.png"), "sizes": (1, Path("b"))}, 7, network(), [Path("in.png")])
    assert str(tmp_path) not in json.dumps(made)
    assert made == {
        "command": "saliency",
        "arguments": {"photo": "in.png", "sizes": [1, "b"]},
        "seed": 7,
        "versions": {"blockprop": blockprop.__version__, "torch": torch.__version__},
        "network": fingerprint(network()),
        "classes": None,
        "pictures": {"in.png": file_digest("in.png")},
    }
    write_picture("out.jpg", colors(), made)
    assert read_settings("out.jpg") == made
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        how_made("saliency", {}, pictures=["gone.png"])


def test_a_fingerprint_is_of_weights_buffers_and_graph(tmp_path: Path) -> None:
    first = network()
    assert len(fingerprint(first)) == 16
    assert fingerprint(first) == fingerprint(network()) == fingerprint(first.copy())
    storage.save(first, tmp_path / "n.safetensors")
    assert fingerprint(storage.load(tmp_path / "n.safetensors")) == fingerprint(first)
    first.meta["note"] = "changes nothing"
    assert fingerprint(first) == fingerprint(network())
    others = [network(1), network().to(dtype=torch.float64), network(), network()]
    others[2].state["batchnorm2d1.running_mean"][0] = 1e-9
    others[3] = Network(others[3].nodes, others[3].inputs, ["batchnorm2d1"])
    torch.manual_seed(0)
    others.append(Sequential(Conv2d(3, 4, 3, padding=2), BatchNorm2d(4), ReLU()))
    assert len({fingerprint(each) for each in [first, *others]}) == 6
    assert fingerprint(network().to(dtype=torch.bfloat16)) != fingerprint(network().to(dtype=torch.float16))
