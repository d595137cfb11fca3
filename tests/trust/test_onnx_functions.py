"""Functions in an ONNX file that call themselves, or each other without measure, from inside of branches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from blockprop.errors import GraphError
from blockprop.importers import from_onnx

OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]


def call(name: str, source: str = "x", target: str = "y") -> NodeProto:
    return helper.make_node(name, [source], [target], domain="own")


def branching(name: str, inside: Sequence[NodeProto]) -> FunctionProto:
    """A function whose only work stands in a branch, in which the last node gives "z"."""
    output = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    graphs = {side: helper.make_graph(inside, side, [], output) for side in ("then_branch", "else_branch")}
    true = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True), "c"))
    return helper.make_function(
        "own", name, ["x"], ["y"], [true, helper.make_node("If", ["c"], ["y"], **graphs)], OPSETS
    )


def refused(functions: Sequence[FunctionProto], nodes: Sequence[NodeProto], match: str, path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, functions=functions), path)
    with pytest.raises(GraphError, match=match):
        from_onnx(path)


def test_one_that_calls_itself_in_a_branch(tmp_path: Path) -> None:
    """ONNX' own inliner ends the process over it."""
    refused([branching("f", [call("f", "x", "z")])], [call("f")], "'f' calls itself", tmp_path / "a.onnx")


def test_one_of_two_of_one_name_that_calls_itself(tmp_path: Path) -> None:
    plain = helper.make_function("own", "f", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], OPSETS)
    refused([branching("f", [call("f", "x", "z")]), plain], [call("f")], "'f' calls itself", tmp_path / "a.onnx")


def test_those_that_multiply_in_branches(tmp_path: Path) -> None:
    functions = [branching(f"f{i}", [call(f"f{i + 1}", "x", "t"), call(f"f{i + 1}", "t", "z")]) for i in range(30)]
    last = helper.make_function("own", "f30", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], OPSETS)
    refused([*functions, last], [call("f0")], "more than 100000 nodes", tmp_path / "a.onnx")


def test_a_graph_that_calls_a_large_one_again_and_again(tmp_path: Path) -> None:
    chain = [helper.make_node("Relu", [f"t{i}" if i else "x"], [f"t{i + 1}" if i < 1999 else "y"]) for i in range(2000)]
    calls = [call("f", f"t{i}" if i else "x", f"t{i + 1}" if i < 99 else "y") for i in range(100)]
    function = helper.make_function("own", "f", ["x"], ["y"], chain, OPSETS)
    refused([function], calls, "written out the graph has more than 100000 nodes", tmp_path / "a.onnx")
