"""Frozen networks give the same values and the same errors at their input as those that they are made of."""

import pytest
import torch
from torch import Tensor

from blockprop.blocks import BatchNorm2d, Concat, Conv2d, MaxPool2d, Pad, ReLU
from blockprop.engine.network import Network, Sequential
from blockprop.engine.plan import Node
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import with_preprocessing
from blockprop.visualize.prepared import FixedConv2d, prepared
from tests.conftest import DataFile


def same(network: Network, keep: tuple[str, ...], x: Tensor, tolerance: float = 1e-12) -> Network:
    """Compare everything, and return the prepared network."""
    lean = prepared(network, keep)
    theirs, ours = network.forward(x, keep=keep), lean.forward(x, keep=keep)
    seeds = {name: torch.randn(theirs[name].shape, dtype=x.dtype) for name in keep}
    for name in keep:
        torch.testing.assert_close(ours[name], theirs[name], rtol=tolerance, atol=tolerance)
    d = [each.backward(trace, seeds, wrt="inputs") for each, trace in ((network, theirs), (lean, ours))]
    for name in network.inputs:
        assert float((d[1][name] - d[0][name]).norm() / d[0][name].norm()) < tolerance
    return lean


def alone(block: Conv2d | MaxPool2d, *others: dict[str, Pad | ReLU]) -> Network:
    before, after = others or ({}, {})
    network = Sequential({**before, "block": block, **after})
    return network.to(dtype=torch.float64)


@pytest.mark.parametrize(
    "convolution",
    [
        Conv2d(3, 5, 3),
        Conv2d(3, 5, 3, padding=1),
        Conv2d(3, 5, 1),
        Conv2d(3, 5, 1, padding=1),
        Conv2d(3, 5, (1, 3), padding=(0, 1)),
        Conv2d(3, 5, 5, padding=2, with_bias=False),
        Conv2d(3, 5, 3, stride=2),
        Conv2d(3, 5, 2, stride=3, padding=1),
        Conv2d(3, 5, 1, stride=2),
        Conv2d(3, 5, 3, padding=2, dilation=2),
        Conv2d(3, 5, 3, padding=4),
        Conv2d(3, 6, 3, padding=1, groups=3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("reflected", [False, True])
def test_convolutions(convolution: Conv2d, rectified: bool, reflected: bool) -> None:
    before = {"pad": Pad((1, 1, 1, 1), mode="reflect")} if reflected else {}
    after = {"relu": ReLU()} if rectified else {}
    network = alone(convolution, before, after)
    x = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    lean = same(network, network.outputs, x)
    assert [type(node.block) for node in lean.nodes] == [FixedConv2d]
    before_weights = convolution.weight.clone()
    assert torch.equal(convolution.weight, before_weights)


@pytest.mark.parametrize(
    "pool", [MaxPool2d(2), MaxPool2d(3, 2, ceil_mode=True), MaxPool2d(3, 1, 1), MaxPool2d(2, dilation=2)], ids=repr
)
def test_pooling(pool: MaxPool2d) -> None:
    x = torch.randint(0, 4, (2, 3, 9, 12)).double()  # with ties
    same(alone(pool), ("block",), x)


def fork() -> Network:
    """conv1 has two readers, relu2 is read twice, and what comes before the ReLU of conv3 is wanted."""
    blocks = {
        "conv1": (Conv2d(3, 4, 3), "x"),
        "relu1": (ReLU(), "conv1"),
        "conv2": (Conv2d(4, 4, 3, padding=1), "conv1"),
        "relu2": (ReLU(), "conv2"),
        "both": (Concat(), "relu1", "relu2"),
        "pad3": (Pad((1, 1, 1, 1), mode="reflect"), "both"),
        "conv3": (Conv2d(8, 4, 3), "pad3"),
        "relu3": (ReLU(), "conv3"),
        "norm": (BatchNorm2d(4), "relu3"),
    }
    nodes = [Node(name, block, tuple(inputs)) for name, (block, *inputs) in blocks.items()]  # type: ignore[arg-type]
    return Network(nodes).to(dtype=torch.float64)


@pytest.mark.parametrize(
    ("keep", "names"),
    [
        (("norm",), ["conv1", "relu1", "relu2", "both", "relu3", "norm"]),
        (("conv3", "norm"), ["conv1", "relu1", "relu2", "both", "conv3", "relu3", "norm"]),
        (("relu2", "pad3", "norm"), ["conv1", "relu1", "relu2", "both", "pad3", "relu3", "norm"]),
    ],
    ids=str,
)
def test_what_is_read_elsewhere_stays(keep: tuple[str, ...], names: list[str]) -> None:
    lean = same(fork(), keep, torch.randn(1, 3, 8, 9, dtype=torch.float64))
    assert [node.name for node in lean.nodes] == names


def test_nothing_but_what_is_needed_is_saved() -> None:
    network = Sequential({"conv": Conv2d(3, 4, 3), "relu": ReLU(), "pool": MaxPool2d(2)})
    trace = prepared(network, ("relu", "pool")).forward(torch.randn(1, 3, 8, 9), keep=("relu", "pool"))
    storage = trace["relu"].data_ptr()
    _, rectified = trace.saved["relu"]
    assert rectified.data_ptr() == trace.saved["pool"].data_ptr() == storage


@pytest.mark.parametrize(
    ("name", "file", "keep"),
    [
        ("squeezenet1_1", "squeezenet1_1", ("relu_conv1", "fire3", "fire9")),
        ("googlenet", "googlenet_bvlc", ("relu_conv2_3x3", "inception_3b", "inception_4a_3x3", "inception_4d")),
        ("vgg19", "vgg19_distilled16x_conv5_1", ("relu1_1", "relu3_1", "relu4_2", "relu5_1")),
    ],
)
def test_published_networks(name: str, file: str, keep: tuple[str, ...], data_file: DataFile) -> None:
    path = data_file(f"weights/{file}.safetensors")
    network = with_preprocessing(pretrained(name, path)).to(dtype=torch.float64)
    same(network, keep, torch.rand(1, 3, 64, 80, dtype=torch.float64), 1e-9)
