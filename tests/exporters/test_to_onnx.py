"""to_onnx: whole networks, run by onnxruntime; their names, inputs and outputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor

from blockprop import blocks, from_torch, to_onnx
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.networks.architectures import googlenet, resnet20_cifar10, squeezenet1_1, vgg19
from blockprop.networks.build import build_network
from tests.architectures import ARCHITECTURES, resized
from tests.exporters.exporting import compare, export, names_of_axes, run, same, with_statistics
from tests.random_networks import random_network

OPSETS = range(17, 22)


@pytest.mark.parametrize("name", ["lenet", "cnn", "mlp:16,8"])
def test_networks_for_training(name: str, tmp_path: Path) -> None:
    network = with_statistics(build_network(name, (1, 28, 28), 10, seed=1))
    same(network, tmp_path, torch.randn(3, 1, 28, 28))


@pytest.mark.parametrize("opset", OPSETS)
def test_random_networks(opset: int, tmp_path: Path) -> None:
    for seed in range(8):
        same(with_statistics(random_network(seed)), tmp_path, torch.randn(3, 4, 8, 8), opset=opset)


@pytest.mark.parametrize("make", [squeezenet1_1, googlenet, vgg19, resnet20_cifar10])
def test_networks_by_name_with_free_height_and_width(make: Any, tmp_path: Path) -> None:
    until = {"until": "conv4_1"} if make is vgg19 else {}
    network = with_statistics(make(**until))
    size = 32 if make is resnet20_cifar10 else 96
    to_onnx(network, tmp_path / "net.onnx", shape=(3, size, size))
    model = onnx.load(tmp_path / "net.onnx")
    assert names_of_axes(model.graph.input[0]) == ["batch", 3, "height", "width"]
    for shape in ((2, 3, size, size), (1, 3, size + 16, size + 8)):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        compare(network, run(tmp_path / "net.onnx", x), x, tolerance=1e-4)


MODULES = ("resnet18", "mobilenet_v3_small", "vit_sdpa", "gpt", "lstm", "unet_bilinear")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("opset", [17, 21])
def test_imported_torch_modules(name: str, opset: int, tmp_path: Path) -> None:
    architecture = ARCHITECTURES[name]
    inputs = architecture.inputs(torch.Generator().manual_seed(1))
    network = from_torch(architecture.make(), inputs)
    model = same(network, tmp_path, *inputs, opset=opset, tolerance=1e-4)
    other = resized(architecture, inputs, {"batch": 3})
    compare(network, run(model, *other), *other, tolerance=1e-4)
    free = {names_of_axes(model.graph.input[0])[axis] for axis in network.meta["free"][network.inputs[0]]}
    assert all(isinstance(each, str) for each in free)


def test_a_network_that_reads_numbers_of_words_takes_integers_of_any_length(tmp_path: Path) -> None:
    architecture = ARCHITECTURES["gpt"]
    inputs = architecture.inputs(torch.Generator().manual_seed(1))
    network = from_torch(architecture.make(), inputs)
    model = export(network, tmp_path)
    (words,) = model.graph.input
    assert words.type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert names_of_axes(words) == ["batch", f"{network.inputs[0]}_1"]
    for sizes in ({"length": 5}, {"length": 9, "batch": 1}):
        other = resized(architecture, inputs, sizes)
        compare(network, run(model, *other), *other, tolerance=1e-4)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    nodes = [
        Node("sum", blocks.Add(), ("a", "b")),
        Node("parts", blocks.Split((1, 2), 1), ("sum",)),
        Node("index", blocks.ArgMax(1), ("sum",)),
        Node("where", blocks.Where(), ("mask", "a", "b")),
    ]
    outputs = ("parts[1]", "sum", "index", "where", "parts[0]")
    network = Network(nodes, ("a", "b", "mask"), outputs)
    to_onnx(network, tmp_path / "net.onnx", shape={"b": (3,), "a": (3,), "mask": (3,)})
    model = onnx.load(tmp_path / "net.onnx")
    assert [each.name for each in model.graph.input] == ["a", "b", "mask"]
    assert [each.name for each in model.graph.output] == list(outputs)
    assert [each.type.tensor_type.elem_type for each in model.graph.input][2] == onnx.TensorProto.BOOL
    inputs = torch.randn(4, 3), torch.randn(4, 3), torch.rand(4, 3) < 0.5
    compare(network, run(model, *inputs), *inputs)


def test_a_shared_block_has_one_weight(tmp_path: Path) -> None:
    shared = blocks.Linear(3, 3)
    network = Sequential({"first": shared, "relu": blocks.ReLU(), "second": shared})
    model = same(network, tmp_path, torch.randn(2, 3))
    assert sorted(each.name for each in model.graph.initializer) == ["first.bias", "first.weight"]
    assert [list(node.input)[1:] for node in model.graph.node if node.op_type == "Gemm"] == [
        ["first.weight", "first.bias"]
    ] * 2


def test_parameters_and_constants_stand_in_the_file(tmp_path: Path) -> None:
    nodes = [
        Node("position", blocks.Parameter((3,)), ()),
        Node("mask", blocks.Constant((3,)), ()),
        Node("sum", blocks.Add(), ("x", "position", "mask")),
    ]
    network = with_statistics(Network(nodes, outputs=("sum", "position", "mask")))
    model = same(network, tmp_path, torch.randn(2, 3))
    assert [each.name for each in model.graph.initializer] == ["position.value"]


def test_a_parameter_that_is_no_output_is_the_node_itself(tmp_path: Path) -> None:
    shared = blocks.Parameter((3,))
    nodes = [Node("position", shared, ()), Node("again", shared, ()), Node("sum", blocks.Add(), ("x", "position"))]
    network = with_statistics(Network([*nodes, Node("y", blocks.Mul(), ("sum", "again"))]))
    model = same(network, tmp_path, torch.randn(2, 3))
    assert [each.name for each in model.graph.initializer] == ["position"]


def test_an_input_that_is_an_output_and_one_output_twice(tmp_path: Path) -> None:
    network = Network([Node("double", blocks.Affine(2.0), ("x",))], outputs=("x", "double", "double"))
    model = same(network, tmp_path, torch.randn(2, 3))
    assert [each.name for each in model.graph.output] == ["x#2", "double", "double#2"]


def test_names_that_weights_and_nodes_share(tmp_path: Path) -> None:
    names = {"fc": blocks.Linear(3, 3), "fc.weights": blocks.ReLU(), "number_2.0_float32": blocks.Affine(2.0)}
    same(Sequential(names, {"row_1": blocks.Affine(2.0), "fc/Gemm": blocks.Mean(1)}), tmp_path, torch.randn(2, 3))


def test_the_network_is_not_changed(tmp_path: Path) -> None:
    network = with_statistics(build_network("cnn", (1, 12, 12), 3, seed=0))
    before: Mapping[str, Tensor] = {name: tensor.clone() for name, tensor in network.state.items()}
    pointers = {name: tensor.data_ptr() for name, tensor in network.state.items()}
    export(network, tmp_path, shape=(1, 12, 12))
    for name, tensor in network.state.items():
        assert tensor.data_ptr() == pointers[name]
        assert torch.equal(tensor, before[name])
