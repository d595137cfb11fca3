"""Saving and loading: what comes back is what was saved, and what cannot be saved leaves the old file as it was."""

import contextlib
import json
import math
import resource
from pathlib import Path

import pytest
import torch

from blockprop.blocks import Linear
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import FormatError, SettingError
from blockprop.saving import files
from blockprop.saving.storage import load, save
from tests.cases import CASES, Case
from tests.saving.odd_blocks import OWN


@pytest.mark.parametrize("name", ["net.safetensors", "net", "new/folder/net.bp", "new/folder/net"])
def test_round_trip_keeps_graph_numbers_and_meta(network: Network, tmp_path: Path, name: str) -> None:
    save(network, tmp_path / name)
    loaded = load(tmp_path / name, OWN)
    assert repr(loaded) == repr(network)
    assert loaded.meta == {"classes": ["a", "ü"], "shape": [4], "scale": 0.5}
    assert loaded.blocks["first"] is loaded.blocks["again"]
    assert loaded.blocks["squash"].settings == {"low": -1.0, "high": math.inf, "sizes": (1, 2), "table": 3}
    assert list(loaded.state) == list(network.state) == ["first.weight", "first.bias", "last.weight", "squash.seen"]
    for key, tensor in network.state.items():
        assert loaded.state[key].dtype == tensor.dtype
        assert torch.equal(loaded.state[key], tensor)
    x, y = torch.ones(2, 4), torch.zeros(2, 4)
    for ours, theirs in zip(network(x, y), loaded(x, y), strict=True):
        assert torch.equal(ours, theirs)


def test_tensors_that_only_the_constructor_knows_are_computed_again(saved: Path) -> None:
    assert load(saved, OWN).blocks["squash"].ramp.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision_is_the_file_s(network: Network, tmp_path: Path, dtype: torch.dtype) -> None:
    save(network.to(dtype=dtype), tmp_path / "net.safetensors")
    loaded = load(tmp_path / "net.safetensors", OWN)
    assert {t.dtype for t in loaded.parameters.values()} == {dtype}
    assert loaded.state["squash.seen"].dtype == torch.int64
    assert loaded.state["squash.seen"].item() == 7


def test_the_folder_can_be_read_and_edited(network: Network, tmp_path: Path) -> None:
    save(network, tmp_path / "net")
    assert sorted(p.name for p in (tmp_path / "net").iterdir()) == ["network.json", "weights.safetensors"]
    document = json.loads((tmp_path / "net" / "network.json").read_text())
    assert document["format"] == "blockprop network"
    assert document["nodes"][1] == {"name": "again", "block": "first", "inputs": ["y"]}
    assert document["blocks"]["last"] == {
        "type": "Linear",
        "settings": {"features_in": 2, "features_out": 1, "with_bias": False},
    }
    document["meta"]["classes"] = ["cat", "dog"]
    (tmp_path / "net" / "network.json").write_text(json.dumps(document))
    assert load(tmp_path / "net", OWN).meta["classes"] == ["cat", "dog"]


def test_weights_are_separate_from_the_file(saved: Path) -> None:
    loaded = load(saved, OWN)
    before = loaded.state["first.weight"].clone()
    saved.write_bytes(b"")
    assert torch.equal(loaded.state["first.weight"], before)
    loaded.state["first.weight"].add_(1)


def test_loading_leaves_the_random_numbers_alone(saved: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load(saved, OWN)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_block_comes_back(tmp_path: Path, case: Case) -> None:
    block, inputs = case.make(), case.tensors(torch.float32)
    names = tuple(f"x{i}" for i in range(len(inputs)))
    network = Network([Node("block", block, names)], names)
    save(network, tmp_path / "net.safetensors")
    loaded = load(tmp_path / "net.safetensors", {type(block).__name__: type(block)})
    assert repr(loaded) == repr(network)
    ours, theirs = network.seed(1)(*inputs), loaded.seed(1)(*inputs)
    for before, after in zip(*((y if isinstance(y, tuple) else (y,)) for y in (ours, theirs)), strict=True):
        assert torch.equal(before, after)


HOSTILE = (10**9, 10**12, 10**18, -1, "x", [], [10**9, 10**9], {}, None, 1e308)


@pytest.mark.parametrize("case", {type(case.make()): case for case in CASES}.values(), ids=str)
def test_hostile_settings_take_no_memory(tmp_path: Path, case: Case) -> None:
    names = tuple(f"x{i}" for i in range(len(case.tensors())))
    path = tmp_path / "net.safetensors"
    save(Network([Node("block", case.make(), names)], names), path)
    tensors, document = files.read_tensors(path)
    settings = document["blocks"]["block"]["settings"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, honest in list(settings.items()):
        for value in HOSTILE:
            settings[name] = value
            files.write_tensors(path, tensors, document)
            with contextlib.suppress(FormatError):
                load(path)
        settings[name] = honest
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes


def test_blocks_must_be_block_classes(saved: Path) -> None:
    with pytest.raises(SettingError, match="subclass of Block under 'Add'"):
        load(saved, {"Add": print})


def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(network: Network, saved: Path) -> None:
    before = saved.read_bytes()
    network.meta["classes"] = {"a": [torch.zeros(1)]}
    with pytest.raises(FormatError, match=r"network\.meta\['classes'\]\['a'\]\[0\] is a Tensor"):
        save(network, saved)
    network.meta = {3: "three"}
    with pytest.raises(FormatError, match=r"network\.meta is a dict"):
        save(network, saved)
    network.meta = {}
    network.blocks["squash"].low = torch.float32
    with pytest.raises(FormatError, match=r"'squash'.*\['low'\] is a dtype"):
        save(network, saved)
    assert saved.read_bytes() == before


def test_a_sequential_is_loaded_as_a_network(tmp_path: Path) -> None:
    save(Sequential(Linear(3, 2)), tmp_path / "net.safetensors")
    loaded = load(tmp_path / "net.safetensors")
    assert type(loaded) is Network
    assert loaded.outputs == ("linear1",)
