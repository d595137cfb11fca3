"""The file: what it says of itself, weights in a second file, precision, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from blockprop import blocks, to_onnx
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError, FormatError, UnsupportedError
from blockprop.exporters.onnx import model as onnx_model
from blockprop.exporters.onnx_operators.table import HANDLERS, exports
from blockprop.interop.opaque import Opaque
from tests.exporters.exporting import compare, export, run, same, with_statistics
from tests.random_networks import random_network


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_the_precision_of_the_network_is_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    network = with_statistics(Sequential(blocks.Linear(6, 5), blocks.Tanh(), blocks.LayerNorm(5), blocks.Linear(5, 2)))
    network.to(dtype=dtype)
    x = torch.randn(3, 6, dtype=dtype)
    model = export(network, tmp_path, x)
    kinds = {each.data_type for each in model.graph.initializer if each.data_type != onnx.TensorProto.INT64}
    assert kinds == {{torch.float64: onnx.TensorProto.DOUBLE, torch.float16: onnx.TensorProto.FLOAT16}[dtype]}
    compare(network, run(model, x), x, tolerance={torch.float64: 1e-12, torch.float16: 1e-2}[dtype])


def test_float64_convolutions_by_the_reference(tmp_path: Path) -> None:
    network = with_statistics(random_network(3)).to(dtype=torch.float64)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    model = export(network, tmp_path, x)
    found = [torch.from_numpy(np.array(y)) for y in ReferenceEvaluator(model).run(None, {"x": x.numpy()})]
    compare(network, found, x, tolerance=1e-6)  # whose error function has no more digits


def test_a_bfloat16_network_can_be_written(tmp_path: Path) -> None:
    network = Sequential(blocks.Linear(3, 2)).to(dtype=torch.bfloat16)
    model = export(network, tmp_path, shape=(3,))
    assert {each.data_type for each in model.graph.initializer} == {onnx.TensorProto.BFLOAT16}


class Own(Block):
    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x * 2, None


class Negated(Block):
    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return -x, None


def test_all_that_has_no_form_is_listed_at_once(tmp_path: Path) -> None:
    names = {
        "a": Own(),
        "relu": blocks.ReLU(),
        "b": Own(),
        "c": Opaque("aten.sinc.default", ({"input": 0},)),
        "d": blocks.LSTM(3, 3, projection=2),
        "last": blocks.Select(0, 0),
    }
    nodes = [Node("a", names["a"], ("x",)), Node("relu", names["relu"], ("a",)), Node("b", names["b"], ("relu",))]
    nodes += [Node("c", names["c"], ("b",)), Node("d", names["d"], ("c",))]
    (tmp_path / "net.onnx").write_text("older")
    with pytest.raises(UnsupportedError) as caught:
        to_onnx(Network(nodes, outputs=("d[0]",)), tmp_path / "net.onnx", shape=(4, 3))
    text = str(caught.value)
    assert text.splitlines()[0] == "4 nodes cannot be written as ONNX (LSTM, Opaque, Own):"
    for line in ("  a: Own(): no ONNX form", "  b: Own(): no ONNX form", "  d: LSTM(3, 3, projection=2): ONNX' LSTM"):
        assert line in text
    assert "@exports(TheBlock)" in text
    assert "relu" not in text
    assert (tmp_path / "net.onnx").read_text() == "older"


def test_a_block_of_ones_own_can_be_entered(tmp_path: Path) -> None:
    @exports(Negated)
    def negated(call: Any, block: Negated, x: str) -> Any:
        assert call.block is block
        return call.add("Neg", x)

    try:
        model = same(Sequential(Negated()), tmp_path, torch.randn(2, 3))
        assert [(node.op_type, node.name) for node in model.graph.node] == [("Neg", "negated1")]
    finally:
        del HANDLERS[Negated]


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    meta = {"classes": ["cat", "dog"], "shape": [3], "free": {"x": [0]}, "low": float("-inf")}
    network = Sequential({"fc": blocks.Linear(3, 2), "out": blocks.Softmax()})
    network.meta |= meta
    model = export(network, tmp_path, opset=20)
    assert (model.producer_name, model.opset_import[0].version) == ("blockprop", 20)
    assert json.loads(model.metadata_props[0].value)["classes"] == ["cat", "dog"]
    assert model.metadata_props[0].key == "blockprop"
    assert [node.name for node in model.graph.node] == ["fc", "out"]
    assert {each.name for each in model.graph.initializer} == set(network.parameters)


def test_large_weights_stand_in_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "LARGEST", 1000)
    network = with_statistics(Sequential(blocks.Linear(64, 64), blocks.Linear(64, 3)))
    path = tmp_path / "net.onnx"
    to_onnx(network, path, shape=(64,))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert path.stat().st_size < 5000
    onnx.checker.check_model(str(path), full_check=True)
    x = torch.randn(2, 64)
    compare(network, run(path, x), x)


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Sequential(blocks.Linear(3, 3))
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(FormatError, match="not an ordinary file"):
        to_onnx(network, tmp_path / "folder.onnx", shape=(3,))
    (tmp_path / "net.onnx").write_text("older")

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(onnx_model, "put_bytes", fail)
    with pytest.raises(BlockpropError, match="the disk is full"):
        to_onnx(network, tmp_path / "net.onnx", shape=(3,))
    assert (tmp_path / "net.onnx").read_text() == "older"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.onnx", "net.onnx"]
