"""A network as training runs it: the same nodes and weights, with blocks of native_blocks.py where there are such."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from blockprop.blocks import Add, BatchNorm2d, Conv2d, MaxPool2d, ReLU
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.preparing.draft import is_as_made
from blockprop.preparing.native.convolutions import CHANNELS
from blockprop.preparing.native.kernels import Kernels
from blockprop.training.native_blocks import NativeAdd, NativeBlock, NativeConv2d, NativeMaxPool2d, Passing
from blockprop.training.native_normalizing import NativeBatchNorm2d
from blockprop.training.native_pictures import Pictures

NATIVE: dict[type[Block], Any] = {Conv2d: NativeConv2d, MaxPool2d: NativeMaxPool2d, Add: NativeAdd}


def with_native_blocks(network: Network, visible: Collection[str], kernels: Kernels) -> Network:
    """The network in which only the nodes in `visible` have to give what they gave; itself, if kernels gain nothing.

    They do if it has a convolution of the kind that native/winograd.c is for.
    """
    if not any(map(_is_worth, network.blocks.values())):
        return network
    readers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for key in node.inputs:
            readers.setdefault(key, []).append(node)
    places, pictures = Counter(map(id, network.blocks.values())), Pictures()
    blocks: dict[str, Block] = {}
    made: dict[int, NativeBlock] = {}
    for node in network.nodes:
        block: Any = node.block
        if node.name in blocks or not is_as_made(block) or getattr(block, "groups", 1) > 1:
            continue
        if type(block) is BatchNorm2d and places[id(block)] == 1:
            relu, next_ones = None, readers.get(node.name, [])
            if node.name not in visible and len(next_ones) == 1:
                (reader,) = next_ones
                if isinstance(reader.block, ReLU) and is_as_made(reader.block):
                    relu, blocks[reader.name] = reader.block, Passing()
            blocks[node.name] = NativeBatchNorm2d(block, relu, kernels, pictures)
        elif type(block) in NATIVE:
            blocks[node.name] = native = made.setdefault(id(block), NATIVE[type(block)](block, kernels, pictures))
            if isinstance(native, NativeConv2d) and places[id(block)] == 1:
                native.is_normalized = all(type(reader.block) is BatchNorm2d for reader in readers.get(node.name, []))
    nodes = [Node(node.name, blocks.get(node.name, node.block), node.inputs) for node in network.nodes]
    return Network(nodes, network.inputs, network.outputs, network.meta)


def _is_worth(block: Any) -> bool:
    if type(block) is not Conv2d or block._kernel != (3, 3) or min(block.channels_in, block.channels_out) < CHANNELS:
        return False
    return block.groups == 1 and block._stride == block._dilation == (1, 1)
