"""Networks of blockprop, written as modules of torch with the same weights."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop.blocks import Add, Affine, BatchNorm2d, Conv2d, GlobalAvgPool, Linear, MaxPool2d, ReLU
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from tests.architectures.googlenet import GoogLeNet


class Graph(nn.Module):
    """A network of the blocks below, node by node; ReLUs in place."""

    def __init__(self, network: Network):
        super().__init__()
        self.nodes = [(node.name, node.inputs) for node in network.nodes]
        self.input, self.output = network.inputs[0], network.outputs[0]
        self.parts = nn.ModuleDict({node.name: _module(node.block) for node in network.nodes})

    def forward(self, x: Tensor) -> Tensor:
        values = {self.input: x}
        for name, sources in self.nodes:
            values[name] = self.parts[name](*[values[source] for source in sources])
        return values[self.output]


class Sum(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Scale(nn.Module):
    def __init__(self, factor: float, shift: float):
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x + self.shift


def _module(block: Block) -> nn.Module:
    match block:
        case Conv2d():
            settings = {name: getattr(block, name) for name in ("stride", "padding", "groups")}
            settings["bias"] = block.with_bias
            module: nn.Module = nn.Conv2d(block.channels_in, block.channels_out, block.kernel, **settings)
        case BatchNorm2d():
            module = nn.BatchNorm2d(block.channels, block.epsilon)
        case Linear():
            module = nn.Linear(*block.weight.shape[::-1])
        case _:
            return OTHERS[type(block)](block)
    with torch.no_grad():
        names = {"running_variance": "running_var"}
        state = {names.get(name, name): tensor for name, tensor in (block.parameters | block.buffers).items()}
        module.load_state_dict(state, strict=False)
    return module


OTHERS: dict[type[Block], Callable[[Any], nn.Module]] = {
    ReLU: lambda _: nn.ReLU(inplace=True),
    MaxPool2d: lambda block: nn.MaxPool2d(block.kernel, block.stride, block.padding),
    GlobalAvgPool: lambda _: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    Add: lambda _: Sum(),
    Affine: lambda block: Scale(block.factor, block.shift),
}


class Until4c(nn.Module):
    """GoogLeNet's own modules, in its own order, as far as the layer that dreams."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = GoogLeNet(1.0, 1000, auxiliary=False)

    def forward(self, x: Tensor) -> Tensor:
        net = self.whole
        x = F.max_pool2d(F.relu(net.conv1(x), inplace=True), 3, 2, ceil_mode=True)
        x = F.relu(net.conv2(F.local_response_norm(x, 5, alpha=1e-4, beta=0.75)), inplace=True)
        x = F.local_response_norm(F.relu(net.conv3(x), inplace=True), 5, alpha=1e-4, beta=0.75)
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for name, stage in net.stages.items():
            x = stage(x)
            if name == "4c":
                break
        return x
