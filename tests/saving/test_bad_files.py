"""A file that is damaged, incomplete or something else gives one clear FormatError, and costs no memory."""

import copy
import json
import random
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from blockprop.engine.network import Network
from blockprop.errors import FormatError
from blockprop.saving import files
from blockprop.saving.storage import load, save
from tests.saving.odd_blocks import OWN


def edited(path: Path, edit) -> Path:
    """The file with its contents, {"document": …, "tensors": …}, changed by edit(contents)."""
    tensors, document = files.read_tensors(path)
    contents = {"document": document, "tensors": tensors}
    edit(contents)
    files.write_tensors(path, **contents)
    return path


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
        r"'Liner'.*blocks=\{'Liner'.*did you mean 'Linear'",
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
    "classes that are numbers": (set_in("meta", "classes", value=["a", 1.5]), "spoiled: 'classes' is \\['a', 1.5\\]"),
    "a shape that is text": (set_in("meta", "shape", value="3"), "spoiled: 'shape' is '3'"),
    "axes that are true": (set_in("meta", "free", value={"x": [True]}), "spoiled: 'free' is"),
    "notes that are one": (set_in("meta", "notes", value=3), "spoiled: 'notes' is 3"),
    "a part that is nothing": (set_in("meta", "held_out", value={"fraction": "x"}), "spoiled: 'held_out' is"),
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
    with pytest.raises(FormatError, match=r"network\.json does not exist"):
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
    tensors, document = files.read_tensors(saved)
    draw, refused = random.Random(1), 0
    for _ in range(400):
        odd = json.loads(json.dumps(document))
        for _ in range(draw.randrange(1, 3)):
            places = [*inner_places(odd)]
            holder, key = draw.choice(places)
            holder[key] = copy.deepcopy(draw.choice(ODD_VALUES))
        files.write_tensors(saved, tensors, odd)
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
