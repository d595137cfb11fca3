"""Network -> ONNX file -> network: the same outputs, the same gradients, and the same names where ONNX leaves them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from blockprop import blocks, from_onnx, from_torch, to_onnx
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.networks.architectures import googlenet, resnet20_cifar10, squeezenet1_1
from blockprop.networks.build import build_network
from tests.architectures import ARCHITECTURES
from tests.cases import CASES, Case
from tests.exporters.exporting import CLOSE, compare, network_of, refused, with_statistics
from tests.random_networks import random_network

ROWS = [case for case in CASES if not refused(case, 18)]
"""The rows that are refused are in exporting.py."""


def back(network: Network, folder: Path, *inputs: Tensor, opset: int = 18) -> Network:
    """The network that is read from the file of this one."""
    path = folder / "net.onnx"
    to_onnx(network, path, opset, dict(zip(network.inputs, inputs, strict=True)) if inputs else None)
    return from_onnx(path)


def derivatives(network: Network, *inputs: Tensor) -> dict[str, Tensor]:
    """∂L/∂(each input and parameter), L a sum of all outputs of real numbers with random factors."""
    trace = network.forward(*inputs)
    seeds = {}
    for i, key in enumerate(dict.fromkeys(network.outputs)):
        if trace[key].is_floating_point():
            generator = torch.Generator().manual_seed(i)
            seeds[key] = torch.randn(trace[key].shape, generator=generator).to(trace[key].dtype)
    real = [name for name in network.inputs if trace[name].is_floating_point()]
    return network.backward(trace, seeds, wrt=(*real, "parameters")) if seeds else {}


def _outputs(network: Network, *inputs: Tensor) -> tuple[Tensor, ...]:
    found = network(*inputs)
    return found if isinstance(found, tuple) else (found,)


def same_derivatives(network: Network, other: Network, *inputs: Tensor, tolerance: float, names: set[str]) -> None:
    mine, theirs = derivatives(network, *inputs), derivatives(other, *inputs)
    if not any(y.is_floating_point() for y in _outputs(network, *inputs)):
        assert mine == theirs == {}
        return
    assert names <= mine.keys() & theirs.keys()
    for name in names:
        scale = tolerance * max(mine[name].abs().max().item(), 1.0) if mine[name].numel() else 0.0
        torch.testing.assert_close(theirs[name], mine[name], rtol=tolerance, atol=scale)


@pytest.mark.slow
@pytest.mark.parametrize("case", ROWS, ids=str)
def test_every_block_comes_back(case: Case, tmp_path: Path) -> None:
    network, inputs = network_of(case)
    other = back(network, tmp_path, *inputs)
    assert other.inputs == network.inputs
    compare(network, _outputs(other, *inputs), *inputs)
    if case.differentiable:
        names = {name for name, x in zip(network.inputs, inputs, strict=True) if x.is_floating_point()}
        same_derivatives(network, other, *inputs, tolerance=1e-4, names=names)


def test_single_operators_come_back_as_the_block_that_they_were(tmp_path: Path) -> None:
    network = Sequential(
        {"conv": blocks.Conv2d(3, 4, 3, 2, 1), "bn": blocks.BatchNorm2d(4), "relu": blocks.ReLU()},
        {"transposed": blocks.ConvTranspose2d(4, 2, 2, 2), "prelu": blocks.PReLU(2), "in": blocks.InstanceNorm(2)},
        {"max": blocks.MaxPool2d(2), "avg": blocks.AvgPool2d(3, 1, 1), "pad": blocks.Pad((1, 1, 1, 1), "reflect")},
        {"lrn": blocks.LocalResponseNorm(3), "drop": blocks.Dropout(0.3), "flat": blocks.Flatten()},
        {"fc": blocks.Linear(72, 3), "softmax": blocks.Softmax()},
    )
    x = torch.rand(2, 3, 8, 8)
    other = back(with_statistics(network), tmp_path, x)
    assert [node.name for node in other.nodes] == [node.name for node in network.nodes]
    assert [type(node.block) for node in other.nodes] == [type(node.block) for node in network.nodes]
    names = set(network.parameters)
    assert names <= set(other.parameters)
    same_derivatives(network, other, x, tolerance=CLOSE, names=names | {"x"})


@pytest.mark.parametrize("opset", [17, 21])
def test_random_networks(opset: int, tmp_path: Path) -> None:
    for seed in range(6):
        network = with_statistics(random_network(seed))
        x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        other = back(network, tmp_path, x, opset=opset)
        compare(network, (other(x),), x)
        names = {name for name in network.parameters if name in other.parameters}
        assert {"fc1.weight", "fc2.bias"} <= names
        same_derivatives(network, other, x, tolerance=1e-4, names=names | {"x"})


@pytest.mark.parametrize("name", ["lenet", "cnn", "mlp:8,6"])
def test_networks_for_training(name: str, tmp_path: Path) -> None:
    network = with_statistics(build_network(name, (1, 20, 20), 4, seed=1))
    x = torch.rand(2, 1, 20, 20)
    other = back(network, tmp_path, x)
    compare(network, (other(x),), x)
    assert set(other.parameters) == set(network.parameters)
    same_derivatives(network, other, x, tolerance=1e-4, names={*network.parameters, "x"})


def test_networks_by_name(tmp_path: Path) -> None:
    for make, size in ((squeezenet1_1, 64), (googlenet, 64), (resnet20_cifar10, 32)):
        network = with_statistics(make())
        x = torch.rand(1, 3, size, size)
        to_onnx(network, tmp_path / "net.onnx", shape=(3, size, size))
        other = from_onnx(tmp_path / "net.onnx", {"height": size, "width": size})
        compare(network, (other(x),), x, tolerance=1e-4)
        assert set(network.parameters) == set(other.parameters)
        assert other.meta["free"] == {"x": [0, 2, 3]}
        same_derivatives(network, other, x, tolerance=1e-3, names={"x"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_sdpa", "gpt", "lstm", "unet_bilinear"])
def test_torch_modules_come_back(name: str, tmp_path: Path) -> None:
    architecture = ARCHITECTURES[name]
    inputs = architecture.inputs(torch.Generator().manual_seed(1))
    network = from_torch(architecture.make(), inputs)
    to_onnx(network, tmp_path / "net.onnx", shape=dict(zip(network.inputs, inputs, strict=True)))
    other = from_onnx(
        tmp_path / "net.onnx", {key: tuple(x.shape) for key, x in zip(network.inputs, inputs, strict=True)}
    )
    compare(network, (other(*inputs),), *inputs, tolerance=1e-4)
    names = {key for key in network.parameters if key in other.parameters}
    assert names
    real = {key for key, x in zip(network.inputs, inputs, strict=True) if x.is_floating_point()}
    same_derivatives(network, other, *inputs, tolerance=1e-3, names=names | real)
