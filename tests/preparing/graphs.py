"""Networks with all that the rewrites look for, and the comparison of what was prepared with what it was made of."""

import torch
from torch import Tensor

from blockprop.blocks import (
    AdaptiveAvgPool2d,
    Add,
    BatchNorm2d,
    Clamp,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    MaxPool2d,
    Pad,
    ReLU,
)
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.preparing.convolution import FixedConv2d


def test_convolutions(convolution: Conv2d, rectified: bool, reflected: bool) -> None:
    before = {"pad": Pad((1, 1, 1, 1), mode="reflect")} if reflected else {}
    after = {"relu": ReLU()} if rectified else {}
    network = alone(convolution, before, after)
    x = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    lean = same(network, network.outputs, x)
    assert [type(node.block) for node in lean.nodes] == [FixedConv2d]
    before_weights = convolution.weight.clone()
    assert torch.equal(convolution.weight, before_weights)


def same(
    network: Network, keep: tuple[str, ...], x: Tensor, tolerance: float = 1e-12, lean: Network | None = None
) -> Network:
    """Compare everything, and return the prepared network."""
    lean = lean or network.prepare(keep)
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


def residual() -> Network:
    """With all that the rewrites look for: normalizations, sums, ReLU6, depthwise and strided convolutions, dropout."""
    torch.manual_seed(0)
    blocks: dict[str, tuple[Block, str | tuple[str, ...]]] = {
        "conv1": (Conv2d(3, 8, 7, stride=2, padding=3, with_bias=False), "x"),
        "norm1": (BatchNorm2d(8), "conv1"),
        "relu1": (ReLU(), "norm1"),
        "pool1": (MaxPool2d(3, 2, 1), "relu1"),
        "conv2": (Conv2d(8, 8, 3, padding=1, groups=8), "pool1"),
        "norm2": (BatchNorm2d(8), "conv2"),
        "clamp2": (Clamp(0, 6), "norm2"),
        "conv3": (Conv2d(8, 8, 3, stride=2, padding=1, groups=4), "clamp2"),
        "norm3": (BatchNorm2d(8, affine=False), "conv3"),
        "short": (Conv2d(8, 8, 1, stride=2), "pool1"),
        "sum": (Add(), ("norm3", "short")),
        "relu3": (ReLU(), "sum"),
        "drop": (Dropout(0.5), "relu3"),
        "conv4": (Conv2d(8, 10, 1), "drop"),
        "relu4": (ReLU(), "conv4"),
        "pool4": (AdaptiveAvgPool2d(1), "relu4"),
        "flat": (Flatten(), "pool4"),
    }
    network = Network([Node(name, block, inputs) for name, (block, inputs) in blocks.items()])  # type: ignore[arg-type]
    for name, tensor in network.state.items():
        tensor.copy_(torch.rand_like(tensor) + 0.5 if "variance" in name else torch.randn_like(tensor) / 3)
    return network.to(dtype=torch.float64)
