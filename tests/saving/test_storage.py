"""Saving and loading: what comes back is what was saved, and a bad file gives one clear FormatError."""

import contextlib
import copy
import json
import math
import random
import resource
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from blockprop.blocks import Linear
from blockprop.engine.block import Block
from blockprop.engine.network import Network, Sequential
from blockprop.engine.plan import Node
from blockprop.errors import FormatError, SettingError
from blockprop.saving import files, storage
from blockprop.saving.storage import load, save
from tests.cases import CASES, Case


class Squash(Block):
    """y = clip(x, low, high), with a running count in a buffer and a table that only the constructor knows."""

    buffer_names = ("seen",)

    def __init__(self, low: float, high: float = math.inf, sizes: tuple[int, ...] = (), table: int = 3):
        self.low, self.high, self.sizes, self.table = low, high, sizes, table
        self.seen = torch.zeros((), dtype=torch.int64)
        self.ramp = torch.arange(table).float()

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x.clamp(self.low, self.high), None


class Add(Block):
    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, None]:
        return a + b, None


class Halves(Block):
    def __init__(self, count: int = 2):
        self.count = self.output_count = count

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, ...], None]:
        return x.chunk(self.count, dim=-1), None


OWN = {"Squash": Squash, "Add": Add, "Halves": Halves}


@pytest.fixture
def network() -> Network:
    """Two inputs, a block at two places, a block with two outputs, a buffer, and meta data."""
    shared, last = Linear(4, 4), Linear(2, 1, with_bias=False)
    squash = Squash(-1.0, sizes=(1, 2))
    squash.seen.fill_(7)
    nodes = [
        Node("first", shared, ("x",)),
        Node("again", shared, ("y",)),
        Node("sum", Add(), ("first", "again")),
        Node("squash", squash, ("sum",)),
        Node("halves", Halves(), ("squash",)),
        Node("last", last, ("halves[1]",)),
    ]
    network = Network(nodes, ("x", "y"), ("last", "squash"), {"classes": ["a", "ü"], "shape": [4], "scale": 0.5})
    for i, weight in enumerate(network.parameters.values()):
        weight.copy_(torch.arange(weight.numel()).reshape(weight.shape) / 10 - i)
    return network


@pytest.fixture
def saved(network: Network, tmp_path: Path) -> Path:
    save(network, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def edited(path: Path, edit) -> Path:
    """The file with its contents, {"document": …, "tensors": …}, changed by edit(contents)."""
    tensors, document = storage.read_tensors(path)
    contents = {"document": document, "tensors": tensors}
    edit(contents)
    storage.write_tensors(path, **contents)
    return path


# What was saved comes back --------------------------------------------------------------------------------------------


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
    tensors, document = storage.read_tensors(path)
    settings = document["blocks"]["block"]["settings"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, honest in list(settings.items()):
        for value in HOSTILE:
            settings[name] = value
            storage.write_tensors(path, tensors, document)
            with contextlib.suppress(FormatError):
                load(path)
        settings[name] = honest
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes


# Files that cannot be used --------------------------------------------------------------------------------------------


def set_in(*keys, value, part="document"):
    def edit(contents):
        place = contents[part]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return edit


def set_tensor(name, value):
    return set_in(name, value=value, part="tensors")


BAD = {
    "another format": (set_in("format", value="checkpoint"), "expected a saved network.*calls itself checkpoint"),
    "no format": (lambda c: c["document"].clear(), "calls itself None"),
    "newer version": (set_in("version", value=99), "version 99.*update blockprop"),
    "version is text": (set_in("version", value="1"), "'version' to be a whole number, got text"),
    "version is true": (set_in("version", value=True), "'version' to be a whole number, got true or false"),
    "no nodes": (lambda c: c["document"].pop("nodes"), "'nodes' to be a list, got nothing"),
    "nodes is text": (set_in("nodes", value="first"), "'nodes' to be a list, got text"),
    "a node is a number": (set_in("nodes", 0, value=3), "expected an object with 'name', got a whole number"),
    "node without name": (set_in("nodes", 0, value={}), "'name' to be text, got nothing"),
    "inputs of a node": (set_in("nodes", 0, "inputs", value=[1]), "'inputs' to be a list of names"),
    "unknown block": (set_in("nodes", 0, "block", value="fifth"), "'first' stands for the block 'fifth'"),
    "unknown node": (set_in("nodes", 0, "inputs", value=["z"]), "node 'first' takes 'z'"),
    "cycle": (set_in("nodes", 0, "inputs", value=["last"]), "cycle"),
    "name used twice": (set_in("nodes", 1, "name", value="first"), "'first' is used twice"),
    "unknown output": (set_in("outputs", value=["end"]), "has no 'end'"),
    "blocks is a list": (set_in("blocks", value=[]), "'blocks' to be an object, got a list"),
    "a block is text": (set_in("blocks", "last", value="Linear"), "expected an object with 'type', got text"),
    "unknown type": (
        set_in("blocks", "last", "type", value="Liner"),
        r"'Liner'; did you mean 'Linear'.*blocks=\{'Liner'",
    ),
    "unknown setting": (set_in("blocks", "last", "settings", value={"size": 3}), "'last': Linear refuses the settings"),
    "setting of a wrong type": (set_in("blocks", "last", "settings", "features_in", value="many"), "Linear refuses"),
    "negative size": (set_in("blocks", "last", "settings", "features_in", value=-2), "Linear refuses"),
    "overflowing size": (
        set_in("blocks", "last", "settings", value={"features_in": 10**12, "features_out": 10**12}),
        "Linear refuses",
    ),
    "huge size": (
        set_in("blocks", "last", "settings", value={"features_in": 10**6, "features_out": 10**9, "with_bias": False}),
        "'last.weight' is 1 x 2; its block takes 1000000000 x 1000000",
    ),
    "huge table": (set_in("blocks", "squash", "settings", "table", value=10**10), "table of 10000000000 numbers"),
    "many outputs": (set_in("blocks", "halves", "settings", "count", value=10**9), "more than 10000 outputs"),
    "outputs that are no number": (set_in("blocks", "halves", "settings", "count", value="x"), "Halves refuses"),
    "missing tensor": (lambda c: c["tensors"].pop("last.weight"), r"'last.weight' \(1 x 2\) is missing"),
    "extra tensor": (set_tensor("more", torch.zeros(1)), "tensors that no block has: more"),
    "wrong shape": (set_tensor("last.weight", torch.zeros(2, 1)), "is 2 x 1; its block takes 1 x 2"),
    "whole numbers": (
        set_tensor("last.weight", torch.zeros(1, 2, dtype=torch.int64)),
        "holds torch.int64; its block takes torch.float32",
    ),
    "float counts": (
        set_tensor("squash.seen", torch.zeros(())),
        "holds torch.float32; its block takes torch.int64",
    ),
    "meta is a list": (set_in("meta", value=[]), "'meta' to be an object, got a list"),
    "not a number": (set_in("meta", "scale", value={"$number": "one"}), "as a \\$number, got one"),
}


@pytest.mark.parametrize(("edit", "message"), BAD.values(), ids=BAD)
def test_a_wrong_document_is_refused_with_its_reason(saved: Path, edit, message: str) -> None:
    path = edited(saved, edit)
    with pytest.raises(FormatError, match=message) as caught:
        load(path, OWN)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_foreign_safetensors_file_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(FormatError, match="not one that blockprop wrote"):
        load(tmp_path / "foreign.safetensors")


def test_missing_files_and_folders_are_named(network: Network, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.safetensors does not exist"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(FormatError, match=r"weights\.safetensors does not exist"):
        load(tmp_path)
    save(network, tmp_path / "net")
    (tmp_path / "net" / "network.json").unlink()
    with pytest.raises(FormatError, match=r"network\.json does not exist"):
        load(tmp_path / "net", OWN)
    with pytest.raises(FormatError, match="not an ordinary file"):
        load("/dev/null")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected JSON"),
        (b"[1, 2]", "expected a JSON object, got a list"),
        (b"\xff\xfe", "expected JSON text"),
        (b"[" * 100_000, "expected JSON"),
        (b'{"a":' * 100_000, "expected JSON"),
        (b'{"version": ' + b"9" * 5000 + b"}", "expected JSON"),
        (b" " * (files.LARGEST_DOCUMENT + 1), "longer than"),
    ],
    ids=["empty", "list", "not text", "deep list", "deep object", "long number", "too long"],
)
def test_a_wrong_json_file_is_refused(network: Network, tmp_path: Path, content: bytes, message: str) -> None:
    save(network, tmp_path / "net")
    (tmp_path / "net" / "network.json").write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        load(tmp_path / "net", OWN)
    assert "network.json: " in str(caught.value)


def test_a_file_cut_short_at_any_byte_is_refused(saved: Path) -> None:
    content = saved.read_bytes()
    for length in [*range(0, len(content), 7), len(content) - 1]:
        saved.write_bytes(content[:length])
        with pytest.raises(FormatError, match=r"net\.safetensors"):
            load(saved, OWN)


def test_damaged_files_give_a_network_or_a_format_error(saved: Path) -> None:
    content, draw, refused = saved.read_bytes(), random.Random(0), 0
    for _ in range(400):
        saved.write_bytes(mutated(content, draw))
        try:
            load(saved, OWN)
        except FormatError:
            refused += 1
    assert refused > 200


ODD_VALUES = (None, True, 0, -1, 10**12, 2.5, "", "x", "last", [], {}, [[]], {"$number": "nan"}, {"type": "Linear"})


def test_odd_documents_give_a_network_or_a_format_error(saved: Path) -> None:
    tensors, document = storage.read_tensors(saved)
    draw, refused = random.Random(1), 0
    for _ in range(400):
        odd = json.loads(json.dumps(document))
        for _ in range(draw.randrange(1, 3)):
            places = [*inner_places(odd)]
            holder, key = draw.choice(places)
            holder[key] = copy.deepcopy(draw.choice(ODD_VALUES))
        storage.write_tensors(saved, tensors, odd)
        try:
            load(saved, OWN)
        except FormatError:
            refused += 1
    assert refused > 200


def inner_places(value):
    """Every (list or dict, index or key) inside the value."""
    if isinstance(value, list | dict):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from inner_places(value[key])


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The content with bytes overwritten, cut out, or doubled, or with a different length of the header."""
    data, kind = bytearray(content), draw.randrange(5)
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.randrange(1, 30))
    if kind == 0:
        for _ in range(draw.randrange(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == 1:
        del data[start:end]
    elif kind == 2:
        data[start:start] = data[start:end]
    elif kind == 3:
        data[:8] = struct.pack("<Q", draw.choice([0, 1, 2**63, 2**64 - 1, len(data), draw.randrange(3000)]))
    else:
        data = bytearray(draw.randbytes(draw.randrange(200)))
    return bytes(data)


def test_blocks_must_be_block_classes(saved: Path) -> None:
    with pytest.raises(SettingError, match="subclass of Block under 'Add'"):
        load(saved, {"Add": print})


# Writing that fails ---------------------------------------------------------------------------------------------------


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
