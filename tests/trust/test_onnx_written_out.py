"""Small ONNX files that ask for much at import: rounds of loops, tensors that share the bytes of a file."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from blockprop.errors import FormatError, UnsupportedError
from blockprop.importers import from_onnx
from blockprop.importers.onnx import bodies

WORK = 5.0
"""Seconds of processor time, for what takes a tenth."""


def written(nodes: list[NodeProto], tensors: list[TensorProto], path: Path) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    onnx.save(helper.make_model(helper.make_graph(nodes, "graph", [x], [y], initializer=tensors)), path)
    return path


def loop(nodes: list[NodeProto], source: str, target: str, prefix: str = "") -> NodeProto:
    """So often as "count" says; the nodes make `prefix`s2 of `prefix`s."""
    kinds = {"i": ((), TensorProto.INT64), "go": ((), TensorProto.BOOL), "s": ((1, 4), TensorProto.FLOAT)}
    ins = [helper.make_tensor_value_info(prefix + name, kind, shape) for name, (shape, kind) in kinds.items()]
    outs = [
        helper.make_tensor_value_info(f"{value.name}2", value.type.tensor_type.elem_type, None) for value in ins[1:]
    ]
    go_on = helper.make_node("Identity", [f"{prefix}go"], [f"{prefix}go2"])
    return helper.make_node(
        "Loop", ["count", "true", source], [target], body=helper.make_graph([go_on, *nodes], "body", ins, outs)
    )


def constants(count: int) -> list[TensorProto]:
    return [numpy_helper.from_array(np.array(value), name) for name, value in (("count", count), ("true", True))]


def refused(kind: Any, match: str, path: Path) -> None:
    start = time.process_time()
    with pytest.raises(kind, match=match):
        from_onnx(path)
    assert time.process_time() - start < WORK


def test_loops_of_many_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bodies.MOST_WRITTEN <= 5_000  # which take 5 s
    monkeypatch.setattr(bodies, "MOST_WRITTEN", 500)
    chain = [helper.make_node("Relu", [f"t{i}" if i else "s"], [f"t{i + 1}" if i < 8 else "s2"]) for i in range(9)]
    inner = loop([helper.make_node("Identity", ["in.s"], ["in.s2"])], "s", "s2", "in.")
    for nodes in (chain, [inner]):
        path = written([loop(nodes, "x", "y")], constants(9_000), tmp_path / "a.onnx")
        refused(UnsupportedError, "more than 500 nodes, when all rounds of its loops are written out", path)


def test_loops_of_some_rounds_are_written_out_and_their_weights_are_read_once(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    branch = helper.make_graph(
        [helper.make_node("Add", ["s", "w"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        initializer=[weight],
    )
    choice = helper.make_node("If", ["true"], ["s2"], then_branch=branch, else_branch=branch)
    network = from_onnx(written([loop([choice], "x", "y")], constants(50), tmp_path / "a.onnx"))
    assert len(network.parameters) == 1


def test_tensors_that_share_the_bytes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(4 * 10**6))
    tensors = []
    for i in range(100):
        tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        tensor.dims.append(10**6)
        tensor.external_data.add(key="location", value="w.bin")
        tensors.append(tensor)
    sums = helper.make_node("Sum", [tensor.name for tensor in tensors], ["y"])
    refused(
        FormatError,
        "its tensors take 400,000,000 bytes of w.bin, which has 4,000,000",
        written([sums], tensors, tmp_path / "a.onnx"),
    )
