"""What from_onnx refuses: unsupported operators, broken graphs, other files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from blockprop.errors import BlockpropError, FormatError, GraphError, UnsupportedError
from blockprop.importers import from_onnx
from tests.importers.onnx_models import MODELS, chain, model, node, written


def test_everything_unsupported_is_listed_at_once(tmp_path: Path) -> None:
    nodes = [
        node("StringNormalizer", "x", outputs=("a",), name="text"),
        node("Relu", "a", outputs=("b",)),
        node("FusedThing", "x", outputs=("c",), domain="com.example", name="fused"),
        node("RandomNormalLike", "x", outputs=("d",), name="like"),
        node("BatchNormalization", *"xxxxx", outputs=("e",), training_mode=1, name="norm"),
        node("Sum", "b", "c", "d", "e"),
    ]
    with pytest.raises(UnsupportedError) as caught:
        from_onnx(written(chain(nodes, ["x"], ["y"], domains="com.example"), tmp_path))
    text = str(caught.value)
    for part in (
        "'text' (node 1 of 6): StringNormalizer (opset 17): no block",
        "'fused' (node 3 of 6): com.example.FusedThing (opset 1)",
        "'like' (node 4 of 6): RandomNormalLike (opset 17): no block",
        "'norm' (node 5 of 6): BatchNormalization (opset 17): training mode",
        "CONTRIBUTING.md",
    ):
        assert part in text
    assert "Relu" not in text


def test_a_version_that_the_table_lacks_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"Add \(opset 6\): version 6; there are 7, 13, 14"):
        from_onnx(written(chain([node("Add", "x", "x")], ["x"], ["y"], opset=6), tmp_path))
    with pytest.raises(UnsupportedError, match=r"Upsample \(opset 10\): withdrawn in opset 10"):
        from_onnx(written(chain([node("Upsample", "x", "x")], ["x"], ["y"], opset=10), tmp_path))
    with pytest.raises(UnsupportedError, match="opset 1000; the installed onnx"):
        from_onnx(written(chain([node("Relu", "x")], ["x"], ["y"], opset=1000), tmp_path))


def test_an_attribute_that_the_operator_lacks(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="Relu has no attribute 'alpha'"):
        from_onnx(written(chain([node("Relu", "x", alpha=1.0)], ["x"], ["y"]), tmp_path))
    with pytest.raises(GraphError, match="axis should be INT, and is FLOAT"):
        from_onnx(written(chain([node("Softmax", "x", axis=1.0)], ["x"], ["y"]), tmp_path))
    with pytest.raises(GraphError, match="lacks the attribute 'axis'"):
        from_onnx(written(chain([node("Concat", "x", "x")], ["x"], ["y"]), tmp_path))
    with pytest.raises(GraphError, match="takes 2 to 2 inputs, not 1"):
        from_onnx(written(chain([node("Add", "x")], ["x"], ["y"]), tmp_path))


def test_broken_graphs(tmp_path: Path) -> None:
    def refused(nodes: list[onnx.NodeProto], match: str, outputs: tuple[str, ...] = ("y",)) -> None:
        with pytest.raises(GraphError, match=match):
            from_onnx(written(chain(nodes, ["x"], list(outputs)), tmp_path))

    refused([node("Add", "x", "b", outputs=("a",)), node("Relu", "a", outputs=("b",)), node("Relu", "b")], "a cycle: ")
    refused([node("Relu", "z")], "'z', taken by 'y' .Relu., comes from nowhere")
    refused([node("Relu", "x")], "'q', an output of the graph, comes from nowhere", ("q",))
    refused([node("Relu", "x"), node("Tanh", "x")], "'y' is provided twice")
    refused([node("Relu", "y", outputs=("x",)), node("Tanh", "x")], "'x' is provided twice")
    refused([node("Relu", "x")], "no outputs", ())


def test_a_function_that_calls_itself(tmp_path: Path) -> None:
    proto = MODELS["with_function"]()
    proto.functions[0].node[1].op_type, proto.functions[0].node[1].domain = "twice", "own"
    with pytest.raises(GraphError, match="'twice' calls itself"):
        from_onnx(written(proto, tmp_path))


def test_functions_that_multiply_beyond_measure(tmp_path: Path) -> None:
    proto = MODELS["with_function"]()
    for i in range(20):
        more = onnx.FunctionProto()
        more.CopyFrom(proto.functions[0])
        more.name = f"twice{i}"
        for each in more.node:
            each.op_type, each.domain = (f"twice{i - 1}" if i else "twice"), "own"
            del each.input[1:]
        proto.functions.append(more)
    proto.graph.node[0].op_type = "twice19"
    with pytest.raises(GraphError, match="more than 100000 nodes"):
        from_onnx(written(proto, tmp_path))


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"not a model", b"\x08\x07", b"PK\x03\x04" * 20])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.onnx").write_bytes(content)
    with pytest.raises(FormatError, match=r"file\.onnx: expected an ONNX model"):
        from_onnx(tmp_path / "file.onnx")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        from_onnx(tmp_path / "nothing.onnx")
    with pytest.raises(FormatError, match="not an ordinary file"):
        from_onnx(tmp_path)


def test_a_file_cut_short(tmp_path: Path) -> None:
    content = MODELS["cnn"]().SerializeToString()
    for length in range(0, len(content) - 1, 7):
        (tmp_path / "model.onnx").write_bytes(content[:length])
        with pytest.raises(BlockpropError):
            from_onnx(tmp_path / "model.onnx")


def test_claims_that_no_memory_holds(tmp_path: Path) -> None:
    proto = MODELS["cnn"]()
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**40
    with pytest.raises(GraphError, match="larger than any that can be meant"):
        from_onnx(written(proto, tmp_path))
    proto = MODELS["cnn"]()
    proto.graph.initializer[0].dims[0] = 2**40
    with pytest.raises(FormatError, match="claims a shape of"):
        from_onnx(written(proto, tmp_path))
    proto.graph.initializer[0].dims[0] = 8
    with pytest.raises(FormatError, match="432 bytes, not 864"):
        from_onnx(written(proto, tmp_path))


def test_constants_beyond_the_limit_are_not_worked_out(tmp_path: Path) -> None:
    """Each is 4 GiB: it stays a node, which makes it when the network runs."""
    text = """g (float[N, 1] x) => (float[a, b] y) {
        s = Constant<value = int64[2] {32768, 32768}>()
        o = ConstantOfShape(s)
        p = Exp(o)
        y = Add(p, x)
    }"""
    network = from_onnx(written(model(text), tmp_path), sizes={"N": 1})
    assert [type(block).__name__ for block in network.blocks.values()] == ["Filled", "Exp", "Add"]
    text = """g (float[N, 1] x) => (float[a] y) {
        a = Constant<value = int64 {0}>()
        b = Constant<value = int64 {9223372036854775807}>()
        c = Constant<value = int64 {1}>()
        r = Range(a, b, c)
        f = Cast<to = 1>(r)
        y = Add(f, x)
    }"""
    with pytest.raises(GraphError, match="numbers from 0 to"):
        from_onnx(written(model(text), tmp_path))


def test_a_condition_that_depends_on_the_input(tmp_path: Path) -> None:
    proto = MODELS["branching"]()
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "C"
    text = """g (bool c, float[N, 4] x) => (float[N, 4] y) {
        y = If(c) <
            then_branch = t () => (float[N, 4] u) { u = Relu(x) },
            else_branch = e () => (float[N, 4] o) { o = Identity(x) }
        >
    }"""
    match = r"its condition must be a constant, and is computed from the input 'c'; constants=\{'c': …\} settles it"
    with pytest.raises(UnsupportedError, match=match):
        from_onnx(written(model(text), tmp_path))
    network = from_onnx(written(model(text), tmp_path), constants={"c": np.array(True)})
    assert [type(block).__name__ for block in network.blocks.values()] == ["ReLU"]


SETTINGS = {
    "TopK": ("k", "g (float[N, 4] x, int64[1] k) => (float[N, k] y) { y, i = TopK(x, k) }", "K"),
    "Reshape": ("to", "g (float[N, 4] x, int64[2] to) => (float[N, 4] y) { y = Reshape(x, to) }", "shape"),
    "Pad": ("by", "g (float[N, 4] x, int64[4] by) => (float[N, M] y) { y = Pad(x, by) }", "pads"),
    "Slice": ("a", "g (float[N, 4] x, int64[1] a) => (float[N, M] y) { y = Slice(x, a, a) }", "starts"),
    "Tile": ("r", "g (float[N, 4] x, int64[2] r) => (float[N, M] y) { y = Tile(x, r) }", "repeats"),
    "CumSum": ("along", "g (float[N, 4] x, int64 along) => (float[N, 4] y) { y = CumSum(x, along) }", "axis"),
}


@pytest.mark.parametrize("operator", SETTINGS)
def test_an_input_that_says_how_to_compute_is_named(operator: str, tmp_path: Path) -> None:
    """What a constant settles is said with the input's name, and with the operator's own word for it."""
    name, text, title = SETTINGS[operator]
    with pytest.raises(UnsupportedError) as caught:
        from_onnx(written(model(text), tmp_path))
    assert f"{operator} (opset 17): its {title} must be a constant, and is computed from the input {name!r}" in str(
        caught.value
    )
    assert f"constants={{{name!r}: …}} settles it" in str(caught.value)


def test_a_decision_about_the_data_is_not_to_be_settled(tmp_path: Path) -> None:
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        largest = ReduceMax<keepdims = 0>(x)
        zero = Constant<value = float {0.0}>()
        c = Greater(largest, zero)
        y = If(c) <
            then_branch = t () => (float[N, 4] u) { u = Relu(x) },
            else_branch = e () => (float[N, 4] o) { o = Identity(x) }
        >
    }"""
    with pytest.raises(UnsupportedError, match=r"\(node 4 of 4\): If .* computed from the input 'x'\n"):
        from_onnx(written(model(text), tmp_path))


def test_the_place_of_a_node_in_a_branch(tmp_path: Path) -> None:
    proto = MODELS["branching"]()
    proto.graph.node[5].attribute[0].g.node[0].op_type = "StringNormalizer"
    with pytest.raises(UnsupportedError, match=r"'u' \(node 1 of 1 in 'r' \(If\)\): StringNormalizer"):
        from_onnx(written(proto, tmp_path))


def test_inputs_that_are_no_tensors(tmp_path: Path) -> None:
    proto = chain([node("Relu", "x")], ["x"], ["y"])
    proto.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
    with pytest.raises(UnsupportedError, match="'x' is no tensor, but a sequence"):
        from_onnx(written(proto, tmp_path))
    proto = chain([node("Relu", "x")], ["x"], ["y"])
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    with pytest.raises(UnsupportedError, match=r"Relu \(opset 17\): texts, which no tensor holds"):
        from_onnx(written(proto, tmp_path))
