"""Weights and constants of ONNX models: their names, what counts as trained, and what is worked out at once."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

from blockprop import check_network, mean_squared_error
from blockprop.errors import SettingError
from blockprop.importers import from_onnx
from tests.importers.onnx_models import MODELS, chain, error, expected_of, model, node, outputs_of, random, written


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


def test_nodes_that_no_output_needs_are_left_out(tmp_path: Path) -> None:
    nodes = [node("Relu", "x"), node("NonMaxSuppression", "x", "x", outputs=("z",))]
    assert [each.name for each in from_onnx(written(chain(nodes, ["x"], ["y"]), tmp_path)).nodes] == ["y"]


def test_nodes_may_stand_in_any_order(tmp_path: Path) -> None:
    nodes = [node("Relu", "a"), node("Sigmoid", "x", outputs=("a",))]
    assert [each.name for each in from_onnx(written(chain(nodes, ["x"], ["y"]), tmp_path)).nodes] == ["a", "y"]
