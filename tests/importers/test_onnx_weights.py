"""What becomes of a file's sizes, names and weights."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from blockprop import check_network, mean_squared_error
from blockprop.errors import BlockpropError, FormatError, SettingError, UnsupportedError
from blockprop.importers import from_onnx
from tests.onnx_models import MODELS, chain, error, expected_of, model, node, outputs_of, random, written

# Free sizes -----------------------------------------------------------------------------------------------------------


def test_a_size_that_the_model_fixes_is_found(tmp_path: Path) -> None:
    """Two convolutions, and a matrix of 5 * 6 * 6 rows: 32 is the only one of the usual sizes that fits."""
    text = """g (float[N, 3, H, W] x) => (float[N, 2] y) {
        c = Conv<strides = [5, 5]>(x, w)
        f = Flatten(c)
        y = Gemm(f, m)
    }"""
    network = from_onnx(written(model(text, w=(5, 3, 5, 5), m=(180, 2)), tmp_path))
    assert network.meta["free"] == {"x": [0]}
    assert network.meta["shape"] == [3, 32, 32]


def test_the_user_says_the_size(tmp_path: Path) -> None:
    text = "g (float[N, 3, height, 50] x) => (float[N, 2] y) { f = Flatten(x)  y = Gemm(f, m) }"
    path = written(model(text, m=(3 * 70 * 50, 2)), tmp_path)
    with pytest.raises(BlockpropError, match=r"sizes=\{'N': …, 'height': …\} says which sizes to start with"):
        from_onnx(path)
    assert from_onnx(path, sizes={"height": 70}).meta["shape"] == [3, 70, 50]
    assert from_onnx(path, sizes={"x": (2, 3, 70, 50)}).meta["shape"] == [3, 70, 50]
    with pytest.raises(SettingError, match="no free size 'heigth'; did you mean 'height'"):
        from_onnx(path, sizes={"heigth": 70})
    with pytest.raises(SettingError, match="has 4 axes"):
        from_onnx(path, sizes={"x": (3, 70, 50)})
    with pytest.raises(SettingError, match="at least 1"):
        from_onnx(path, sizes={"height": 0})


def test_an_input_without_a_shape(tmp_path: Path) -> None:
    proto = MODELS["cnn"]()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    network = from_onnx(written(proto, tmp_path), sizes={"x": (1, 3, 20, 20)})
    assert outputs_of(network, random(1, 3, 20, 20))[0].shape == (1, 5)
    proto.graph.node[0].op_type = "Relu"
    with pytest.raises(UnsupportedError, match="does not say how many axes 'x' has"):
        from_onnx(written(proto, tmp_path))


def test_a_batch_that_is_baked_in_becomes_fixed(tmp_path: Path) -> None:
    text = "g (float[N, 4] x) => (float[2, 2, 4] y) { s = Constant<value = int64[3] {2, 2, 4}>()  y = Reshape(x, s) }"
    assert from_onnx(written(model(text), tmp_path)).meta["free"] == {"x": []}


def test_a_largest_size_leaves_the_axis_free(tmp_path: Path) -> None:
    """Positions for 20 steps: the second trial must not be longer."""
    text = """g (float[N, L, 4] x) => (float[N, L, 4] y) {
        s = Shape(x)
        one = Constant<value = int64[1] {1}>()
        zero = Constant<value = int64[1] {0}>()
        two = Constant<value = int64[1] {2}>()
        l = Slice(s, one, two)
        p = Slice(table, zero, l, zero)
        y = Add(x, p)
    }"""
    path = written(model(text, table=(20, 4)), tmp_path)
    network = from_onnx(path)
    assert network.meta["free"] == {"x": [0, 1]}
    for length in (3, 20):
        x = random(2, length, 4)
        assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6


def test_shapes_become_formulas_and_no_nodes(tmp_path: Path) -> None:
    network = from_onnx(written(MODELS["shapes"](), tmp_path))
    assert [repr(network.blocks[name]) for name in ("y", "z")] == [
        "Reshape((-1, 2))",
        "Resize(size=('a2*2', 'a3*2'))",
    ]


def test_a_shape_as_an_output_is_made_of_numbers(tmp_path: Path) -> None:
    text = """g (float[N, 4, H, 7] x) => (int64[4] y, float[2] z) {
        y = Shape(x)
        places = Constant<value = int64[2] {0, 2}>()
        s = Gather(y, places)
        f = Cast<to = 1>(s)
        half = Constant<value = float {0.5}>()
        z = Mul(f, half)
    }"""
    network = from_onnx(written(model(text), tmp_path))
    shape, half = outputs_of(network, random(3, 4, 9, 7))
    assert shape.tolist() == [3, 4, 9, 7]
    assert half.tolist() == [1.5, 4.5]


# Names and weights ----------------------------------------------------------------------------------------------------


def test_nodes_are_named_as_in_the_file(tmp_path: Path) -> None:
    nodes = [
        node("Relu", "x", outputs=("a",), name="/block one/Relu"),
        node("Relu", "a", outputs=("b",), name="/block one/Relu"),
        node("Relu", "b", outputs=("scores",)),
    ]
    path = written(chain(nodes, ["x"], ["scores"]), tmp_path)
    assert [each.name for each in from_onnx(path).nodes] == ["block_one/Relu", "block_one/Relu#2", "scores"]


def test_an_input_called_inputs_gets_another_name(tmp_path: Path) -> None:
    network = from_onnx(written(chain([node("Relu", "inputs")], ["inputs"], ["y"]), tmp_path))
    assert network.inputs == ("inputs#2",)
    assert network.meta["free"] == {"inputs#2": [0]}


def test_a_node_may_be_called_like_another_s_weight(tmp_path: Path) -> None:
    """The tied weight "fc.weight" becomes a node beside the node "fc"."""
    text = """g (float[N, 4] x) => (float[N, 4] z) {
        y = Add(x, w)
        z = Gemm(y, m)
    }"""
    proto = model(text, w=(1, 4), m=(4, 4))
    proto.graph.node[1].name = "fc"
    proto.graph.node[0].input[1] = proto.graph.initializer[0].name = "fc.weight"
    path, x = written(proto, tmp_path), random(2, 4)
    network = from_onnx(path)
    assert set(network.parameters) == {"fc.weight", "fc.weight#2.value"}
    assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6


def test_parameters_remember_their_names_in_the_file(tmp_path: Path) -> None:
    network = from_onnx(written(MODELS["cnn"](), tmp_path))
    names = network.meta["parameter_names"]
    assert names["c.weight"] == "w1"
    assert names["n.running_variance"] == "v"
    assert names["l.bias"] == "b2"


def test_what_counts_as_trained(tmp_path: Path) -> None:
    """Initializers of real numbers, but for single ones; not constants, and not whole numbers."""
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        a = Mul(x, single)
        b = Add(a, row)
        c = Constant<value = float[4] {1.0, 2.0, 3.0, 4.0}>()
        d = Mul(b, c)
        y = Gather<axis = 1>(d, places)
    }"""
    weights: Any = {"single": np.array(3, np.float32), "row": (4,), "places": np.array([3, 1, 0, 2])}
    path, x = written(model(text, **weights), tmp_path), random(2, 4)
    network = from_onnx(path)
    assert list(network.parameters) == ["row.value"]
    assert repr(network.blocks["a"]) == "Affine(factor=3.0)"
    assert repr(network.blocks["y"]) == "ChannelOrder((3, 1, 0, 2))"
    assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6


def test_initializers_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    proto = MODELS["cnn"]()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    assert from_onnx(written(proto, tmp_path)).inputs == ("x",)


def test_operators_on_weights_alone_stay_where_they_can(tmp_path: Path) -> None:
    """exp(scale) is trained through; a convolution's weight must be its own, and is worked out."""
    text = """g (float[N, 2, H, W] x) => (float[N, 3, H, W] z) {
        e = Exp(scale)
        y = Mul(x, e)
        w = Transpose<perm = [1, 0, 2, 3]>(turned)
        z = Conv(y, w)
    }"""
    path, x = written(model(text, scale=(2, 1, 1), turned=(2, 3, 1, 1)), tmp_path), random(2, 2, 3, 3)
    network = from_onnx(path)
    assert [each.name for each in network.nodes] == ["scale", "e", "y", "z"]
    assert set(network.parameters) == {"scale.value", "z.weight"}
    assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6


def test_a_constant_part_is_worked_out(tmp_path: Path) -> None:
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        a = Constant<value = float[4] {1.0, 2.0, 3.0, 4.0}>()
        b = Sqrt(a)
        c = Add(b, a)
        d = Concat<axis = 0>(c, a)
        e, f = Split<axis = 0>(d)
        y = Mul(x, e)
    }"""
    network = from_onnx(written(model(text, 11), tmp_path))
    assert [type(block).__name__ for block in network.blocks.values()] == ["Constant", "Mul"]
    assert network(torch.ones(1, 4)).tolist()[0] == pytest.approx([n + math.sqrt(n) for n in (1, 2, 3, 4)])


def test_a_weight_of_different_operators_is_one_parameter(tmp_path: Path) -> None:
    """A table of rows that is multiplied with, too, as in language models: its gradients add up."""
    text = """g (int64[N, L] x) => (float[N, L, 9] y) {
        r = Gather(table, x)
        t = Transpose<perm = [1, 0]>(table)
        y = MatMul(r, t)
    }"""
    path, x = written(model(text, table=(9, 4)), tmp_path), torch.tensor([[1, 4], [8, 0]])
    network = from_onnx(path)
    assert list(network.parameters) == ["table.value"]
    assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6
    target = random(2, 2, 9, seed=1)
    check_network(network, x, objective=mean_squared_error(), target=target, wrt="parameters").verify()


def test_a_weight_of_equal_operators_is_one_block(tmp_path: Path) -> None:
    text = "g (float[N, 4] x) => (float[N, 4] z) { y = Gemm(x, w, b)  z = Gemm(y, w, b) }"
    network = from_onnx(written(model(text, w=(4, 4), b=(4,)), tmp_path))
    assert network.blocks["y"] is network.blocks["z"]
    assert set(network.parameters) == {"y.weight", "y.bias"}


def test_a_kernel_of_different_convolutions_becomes_two(tmp_path: Path) -> None:
    """No block takes its kernel from elsewhere; the file's name is kept in meta."""
    text = """g (float[N, 2, 9, 9] x) => (float[N, 2, a, b] y, float[N, 2, c, d] z) {
        y = Conv(x, w)
        z = Conv<strides = [2, 2]>(x, w)
    }"""
    path, x = written(model(text, w=(2, 2, 3, 3)), tmp_path), random(1, 2, 9, 9)
    network = from_onnx(path)
    assert set(network.parameters) == {"y.weight", "z.weight"}
    assert network.meta["untied"] == ["w"]
    assert error(outputs_of(network, x), expected_of(path, x)) < 1e-5


def test_constants_fix_inputs(tmp_path: Path) -> None:
    text = "g (float[N, 4] x, float[4, 2] w) => (float[N, 2] y) { y = MatMul(x, w) }"
    path, x, w = written(model(text), tmp_path), random(3, 4), random(4, 2, seed=1)
    assert from_onnx(path).inputs == ("x", "w")
    network = from_onnx(path, constants={"w": w.double().numpy()})
    assert network.inputs == ("x",)
    assert network.parameters["y.weight"].dtype == torch.float32
    torch.testing.assert_close(network(x), x @ w)
    with pytest.raises(SettingError, match="no input 'v' to be constant; there are w, x"):
        from_onnx(path, constants={"v": w})


@pytest.mark.parametrize("number", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_types_of_number_are_kept(number: int, tmp_path: Path) -> None:
    dtype = {TensorProto.FLOAT16: torch.float16, TensorProto.BFLOAT16: torch.bfloat16}.get(number, torch.float64)
    weight = helper.make_tensor("w", number, (4, 2), [0.5, 1, 2, -1, 0.25, 3, -2, 1])
    graph = helper.make_graph(
        [node("MatMul", "x", "w")],
        "g",
        [helper.make_tensor_value_info("x", number, ("N", 4))],
        [helper.make_tensor_value_info("y", number, ("N", 2))],
        [weight],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    network = from_onnx(written(proto, tmp_path))
    y = network(torch.ones(1, 4, dtype=dtype))
    assert y.dtype == dtype
    assert y.tolist() == [[0.75, 4.0]]


def test_nodes_that_no_output_needs_are_left_out(tmp_path: Path) -> None:
    nodes = [node("Relu", "x"), node("NonMaxSuppression", "x", "x", outputs=("z",))]
    assert [each.name for each in from_onnx(written(chain(nodes, ["x"], ["y"]), tmp_path)).nodes] == ["y"]


def test_nodes_may_stand_in_any_order(tmp_path: Path) -> None:
    nodes = [node("Relu", "a"), node("Sigmoid", "x", outputs=("a",))]
    assert [each.name for each in from_onnx(written(chain(nodes, ["x"], ["y"]), tmp_path)).nodes] == ["a", "y"]


# External data --------------------------------------------------------------------------------------------------------


def _with_external_data(folder: Path, **entries: str) -> Path:
    """A model whose weight lies in weights.bin; entries change what the model says of that file."""
    proto = model("g (float[N, 4] x) => (float[N, 2] y) { y = Gemm(x, w) }", w=(4, 2))
    tensor = proto.graph.initializer[0]
    (folder / "weights.bin").write_bytes(b"1234" + tensor.raw_data)
    for key, value in ({"location": "weights.bin", "offset": "4", "length": "32"} | entries).items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return written(proto, folder)


def test_weights_beside_the_file(tmp_path: Path) -> None:
    path, x = _with_external_data(tmp_path), random(3, 4)
    assert error(outputs_of(from_onnx(path), x), expected_of(path, x)) < 1e-6
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(FormatError, match=r"kept in .*weights\.bin, which does not exist"):
        from_onnx(path)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../weights.bin", "", "a\0b"])
def test_no_weights_from_outside_the_model_s_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    with pytest.raises(FormatError, match="does not lie in the model's folder"):
        from_onnx(_with_external_data(tmp_path / "inner", location=location))


def test_no_weights_through_a_link_that_leads_out(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(100))
    (tmp_path / "inner" / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(FormatError, match="a link that leads out"):
        from_onnx(_with_external_data(tmp_path / "inner", location="link.bin"))


@pytest.mark.parametrize("entry", ["length 31", f"length {2**60}", "offset -1", "offset 5", "offset a"])
def test_external_data_of_another_size(entry: str, tmp_path: Path) -> None:
    key, value = entry.split()
    with pytest.raises(FormatError, match=r"weights\.bin"):
        from_onnx(_with_external_data(tmp_path, **{key: value}))
