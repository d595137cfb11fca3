"""What a network says about itself: a dict for users, and for the package's own places keys that are written down."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import blockprop
from blockprop import load, save
from blockprop.blocks.linear import Linear
from blockprop.engine.about import About
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import FormatError


def is_meta(value: ast.expr) -> bool:
    """Whether it is a network's `meta`, and not that of a node of torch.fx."""
    if isinstance(value, ast.Attribute):
        return value.attr == "meta" and ast.unparse(value.value) in ("network", "net", "pipeline", "self")
    return isinstance(value, ast.Name) and value.id == "meta"


def keys(text: str) -> Iterator[str]:
    """Each key of meta["key"], meta.get("key"), meta.pop("key") and "key" in meta; mypy passes any in `get`."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Subscript(value=meta, slice=ast.Constant(value=str(key))) if is_meta(meta):
                yield key
            case ast.Call(func=ast.Attribute(value=meta), args=[ast.Constant(value=str(key)), *_]) if is_meta(meta):
                yield key
            case ast.Compare(left=ast.Constant(value=str(key)), comparators=[meta]) if is_meta(meta):
                yield key


def test_every_key_that_the_package_asks_for_is_written_down() -> None:
    asked = {key for path in Path(blockprop.__file__).parent.rglob("*.py") for key in keys(path.read_text("utf-8"))}
    assert asked >= {"shape", "free", "classes", "picture", "preprocessing", "held_out"}
    assert asked - About.__annotations__.keys() == set()


def test_a_misspelt_key_would_be_seen() -> None:
    text = 'network.meta.get("clases"); meta["shpae"] = 1; "fre" in net.meta; node.meta["val"]; meta.pop("pic", None)'
    assert set(keys(text)) == {"clases", "shpae", "fre", "pic"}


def test_meta_is_a_dict_of_its_own_that_takes_any_key() -> None:
    meta = {"classes": ["a", "b"], "note": "mine"}
    network = Network(Sequential(Linear(3, 2)).nodes, meta=meta)
    assert type(network.meta) is dict
    assert network.meta == meta
    network.meta["more"] = 1
    assert "more" not in meta


@pytest.mark.parametrize(
    "spoiled",
    [{"shape": [10**18, 8, 8]}, {"shape": [-3]}, {"sizes": {"x": [None, 2**50]}}, {"shape": [2**20, 2**20, 2]}],
    ids=str,
)
def test_sizes_that_no_tensor_has_are_refused(spoiled: dict[str, Any], tmp_path: Path) -> None:
    network = Sequential(Linear(4, 3))
    network.meta.update(spoiled)  # type: ignore[typeddict-item]
    save(network, tmp_path / "net.safetensors")
    with pytest.raises(FormatError, match="no tensor can be"):
        load(tmp_path / "net.safetensors")
