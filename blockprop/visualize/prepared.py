"""The same mathematics with less work, for a network whose weights stay fixed and that nobody looks into but at `keep`.

    lean = prepared(network, keep=("relu1_1", "relu4_2"))

A convolution, the padding by reflection in front of it and the ReLU behind it become one block. Channels lie together
in memory, which suits convolutions on CPUs. Nothing is saved but what error propagation needs: of a ReLU its output, of
a convolution nothing, of a pooling its input, which a ReLU has saved already.
"""

from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Conv2d, MaxPool2d, Pad, ReLU
from blockprop.blocks.kernels import max_pool_backward, threshold_backward
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node


def prepared(network: Network, keep: Collection[str]) -> Network:
    """A network that gives the same at the nodes in `keep`, with fewer and leaner blocks. Weights are copied."""
    uses = Counter(key for node in network.nodes for key in node.inputs)
    hidden = {node.name for node in network.nodes if uses[node.name] == 1} - {*keep, *network.outputs}
    by_name = {node.name: node for node in network.nodes}
    taken: set[str] = set()
    nodes: list[Node] = []
    for node in reversed(network.nodes):
        if node.name in taken:
            continue
        chain = _chain(node, by_name, hidden)
        taken.update(link.name for link in chain)
        nodes.append(Node(node.name, _lean(chain), chain[0].inputs))
    return Network(reversed(nodes), network.inputs, network.outputs, network.meta)


class FixedConv2d(Block):
    """A convolution with fixed weights, between a reflection by one pixel and a ReLU, if there are such.

    y = max(conv(x, weight) + bias, 0)     d_x = conv(d_y where y > 0, weight turned by 180°, channels exchanged)

    A transposed convolution of stride 1 is that convolution, and torch's kernels for it are faster (by 4 for 16
    channels of 384 x 288 pixels); those of 1 x 1 are matrix products. x, y, weight, bias: as in Conv2d.
    """

    parameter_names = ("weight", "bias")
    buffer_names = ("turned",)

    def __init__(self, convolution: Conv2d, reflects: bool, rectifies: bool):
        self.convolution, self.reflects, self.rectifies = convolution, reflects, rectifies
        weight = convolution.weight
        self.bias = convolution.bias
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.turned = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        self.is_product = weight.shape[2:] == (1, 1) and convolution._stride == (1, 1) and not reflects
        self.is_product = self.is_product and convolution._padding == (0, 0) and convolution.groups == 1
        self.padding = tuple(
            reach - 1 - padding for reach, padding in zip(convolution._reach, convolution._padding, strict=True)
        )

    @property
    def settings(self) -> dict[str, Any]:
        return {"convolution": repr(self.convolution), "reflects": self.reflects, "rectifies": self.rectifies}

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        block = self.convolution
        x = x.contiguous(memory_format=torch.channels_last)
        if self.reflects:
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        block._check(x)
        if self.is_product:
            y = F.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias).permute(0, 3, 1, 2)
        else:
            y = F.conv2d(x, self.weight, self.bias, block._stride, block._padding, block._dilation, block.groups)
        return (y.relu_(), (x.shape, y)) if self.rectifies else (y, (x.shape, None))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        shape, y = saved
        if y is not None:
            d_y = threshold_backward(d_y, y, 0)  # d_y where y > 0, else 0
        d = self._back(shape, d_y)
        if not self.reflects:
            return (d,)
        for axis in (2, 3):  # the border is a copy of the second places from either side
            d.select(axis, 2).add_(d.select(axis, 0))
            d.select(axis, -3).add_(d.select(axis, -1))
        return (d[:, :, 1:-1, 1:-1],)

    def _back(self, shape: tuple[int, ...], d_y: Tensor) -> Tensor:
        block = self.convolution
        if self.is_product:
            return F.linear(d_y.permute(0, 2, 3, 1), self.turned[:, :, 0, 0]).permute(0, 3, 1, 2)
        if block._stride == (1, 1) and block.groups == 1 and min(self.padding) >= 0:
            d_y = d_y.contiguous(memory_format=torch.channels_last)
            return F.conv2d(d_y, self.turned, None, 1, self.padding, block._dilation)
        return block.propagate(torch.empty(shape, device="meta"), d_y)[0]


class FixedMaxPool2d(Block):
    """MaxPool2d that saves its input, and finds the places of the maxima once more on the way back."""

    def __init__(self, pool: MaxPool2d):
        self.pool = pool

    @property
    def settings(self) -> dict[str, Any]:
        return {"pool": repr(self.pool)}

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self.pool._require_fit(x)
        return self._pooled(x)[0], x

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        # d_x = d_y at the place of each window's first maximum, added up where windows overlap.
        return (max_pool_backward(d_y, saved, *self.pool._windows, self._pooled(saved)[1]),)

    def _pooled(self, x: Tensor) -> Any:
        return F.max_pool2d_with_indices(x, *self.pool._windows)


def _chain(node: Node, by_name: dict[str, Node], hidden: set[str]) -> list[Node]:
    """[pad, convolution, relu] or what there is of it, if this node ends it; else the node alone."""
    chain = [node]
    if type(node.block) is ReLU and _hidden(chain, hidden) and type(by_name[node.inputs[0]].block) is Conv2d:
        chain.insert(0, by_name[node.inputs[0]])
    if type(chain[0].block) is Conv2d and _hidden(chain, hidden) and _reflects(by_name[chain[0].inputs[0]].block):
        chain.insert(0, by_name[chain[0].inputs[0]])
    return chain


def _hidden(chain: list[Node], hidden: set[str]) -> bool:
    return chain[0].inputs[0] in hidden


def _reflects(block: Block) -> bool:
    return type(block) is Pad and block.mode == "reflect" and block.pads == (1, 1, 1, 1)


def _lean(chain: list[Node]) -> Block:
    blocks = [node.block for node in chain]
    convolutions = [block for block in blocks if isinstance(block, Conv2d)]
    if convolutions:
        return FixedConv2d(convolutions[0], isinstance(blocks[0], Pad), isinstance(blocks[-1], ReLU))
    return FixedMaxPool2d(blocks[0]) if type(blocks[0]) is MaxPool2d else blocks[0]
