"""Networks whose places have different strides and receptive fields."""

from collections.abc import Callable

import torch

from blockprop.blocks import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    GlobalAvgPool,
    LocalResponseNorm,
    MaxPool2d,
    Pad,
    PixelUnshuffle,
    ReLU,
    Resize,
    Sigmoid,
    Slice,
    Transpose,
)
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential


def numbered(network: Network, seed: int = 0) -> Network:
    """The network in float64, with weights, biases and running statistics that are not 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    network.to(dtype=torch.float64)
    for name, tensor in network.state.items():
        noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(0.5 + noise if "variance" in name or "var" in name else (noise - 0.45) * 0.8)
    return network


def chain(*blocks: Block) -> Network:
    return numbered(Sequential(*blocks))


def inception() -> Network:
    """Two branches of the same stride, behind a pool with a ragged edge; two nodes of different strides are wanted."""
    nodes = [
        Node("conv1", Conv2d(3, 6, 7, 2, 3), ("x",)),
        Node("relu1", ReLU(), ("conv1",)),
        Node("pool1", MaxPool2d(3, 2, ceil_mode=True), ("relu1",)),
        Node("norm1", LocalResponseNorm(5, alpha=0.5), ("pool1",)),
        Node("a", Conv2d(6, 3, 1), ("norm1",)),
        Node("b", Conv2d(6, 4, 5, padding=2), ("norm1",)),
        Node("c", MaxPool2d(3, 1, padding=1), ("norm1",)),
        Node("mixed", Concat(), ("a", "b", "c")),
        Node("drop", Dropout(0.5), ("mixed",)),
        Node("pool2", AvgPool2d(3, 2, padding=1, count_include_pad=False, ceil_mode=True), ("drop",)),
        Node("last", Conv2d(13, 5, 3, dilation=2, padding=2), ("pool2",)),
        Node("scores", GlobalAvgPool(), ("last",)),
    ]
    return numbered(Network(nodes))


def residual() -> Network:
    """Batch norm in evaluation mode, and a shortcut that takes every second pixel."""
    nodes = [
        Node("conv1", Conv2d(3, 4, 3, padding=1, with_bias=False), ("x",)),
        Node("bn1", BatchNorm2d(4), ("conv1",)),
        Node("relu1", ReLU(), ("bn1",)),
        Node("conv2", Conv2d(4, 8, 3, 2, 1), ("relu1",)),
        Node("rows", Slice(2, step=2), ("relu1",)),
        Node("columns", Slice(3, step=2), ("rows",)),
        Node("wider", Pad((0, 0, 0, 0, 2, 2)), ("columns",)),
        Node("sum", Add(), ("conv2", "wider")),
    ]
    return numbered(Network(nodes))


NETWORKS: dict[str, Callable[[], tuple[Network, tuple[str, ...]]]] = {
    "inception": lambda: (inception(), ("mixed", "last")),
    "inception, one": lambda: (inception(), ("last",)),
    "residual": lambda: (residual(), ("sum", "relu1")),
    "pixel by pixel": lambda: (chain(Conv2d(3, 2, 1), Sigmoid()), ("sigmoid1",)),
    "without padding": lambda: (chain(Conv2d(3, 4, 5), ReLU(), MaxPool2d(2), Conv2d(4, 3, 3)), ("conv2d2", "relu1")),
    "large kernel": lambda: (chain(Conv2d(3, 4, 11), ReLU()), ("relu1",)),
    "cut off": lambda: (chain(Pad((-4, -5, -2, -4)), Conv2d(3, 4, 2, 2), Slice(2, start=3)), ("slice1",)),
    "even kernels": lambda: (chain(Conv2d(3, 4, 4, 2, 1), ReLU(), Conv2d(4, 2, 2, padding=1)), ("conv2d2",)),
    "stride 3": lambda: (chain(Conv2d(3, 4, 3, 3, 1), ReLU(), MaxPool2d(2), Conv2d(4, 3, 3, padding=1)), ("conv2d2",)),
    "oblong": lambda: (chain(Conv2d(3, 4, (1, 7), (1, 2), (0, 3)), ReLU(), MaxPool2d((3, 2), (2, 1))), ("maxpool2d1",)),
    "reflection": lambda: (
        chain(Pad((1, 1, 1, 1), "reflect"), Conv2d(3, 4, 3), ReLU(), MaxPool2d(2), Pad((2, 2, 2, 2), "reflect")),
        ("pad2",),
    ),
    "one-sided": lambda: (
        chain(Pad((3, 0, 0, 2)), Conv2d(3, 4, 3), Pad((-1, 1, 1, -1)), Conv2d(4, 2, 2)),
        ("conv2d2",),
    ),
    "down and up": lambda: (
        chain(
            Conv2d(3, 4, 3, 2, 1), ReLU(), ConvTranspose2d(4, 3, 4, 2, 1), Resize(scale=2), Conv2d(3, 2, 3, padding=1)
        ),
        ("conv2d2", "relu1"),
    ),
    "smooth up": lambda: (chain(Conv2d(3, 4, 3, 2, 1), Resize(scale=2, mode="bilinear"), Sigmoid()), ("sigmoid1",)),
    "shuffled": lambda: (
        chain(
            PixelUnshuffle(2), Conv2d(12, 6, 3, padding=1, groups=2), Transpose((0, 2, 3, 1)), Transpose((0, 3, 1, 2))
        ),
        ("transpose2",),
    ),
}
