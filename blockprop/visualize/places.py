"""The places of a node: the part of a network in front of it, and the sizes of what comes out."""

from collections.abc import Iterable

import torch
from torch import Tensor

from blockprop.engine.graph import needed_nodes
from blockprop.engine.network import Network
from blockprop.errors import ShapeError

SIDES = (32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Of the smallest pictures that are tried; some networks take no smaller ones."""


def needed(network: Network, nodes: Iterable[str]) -> Network:
    """The part of a network that these nodes depend on."""
    names = tuple(nodes)
    return Network(needed_nodes(network.nodes, names), network.inputs, names)


def sizes(part: Network, channels: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """The shape of every output for one picture, without computing any."""
    (parameter, *_) = (*part.parameters.values(), torch.empty(0))
    x = torch.empty(1, channels, height, width, dtype=parameter.dtype, device="meta")
    values = part.weightless().values(x)
    return {key: tuple(value.shape) for key, value in values.items() if isinstance(value, Tensor)}


def require_places(node: str, sizes_of_node: tuple[int, ...]) -> None:
    """Raise ShapeError for an output that is no map of a picture."""
    if len(sizes_of_node) != 4:
        came = " x ".join(map(str, sizes_of_node))
        raise ShapeError(f"expected of node {node!r} an output (n, channels, h, w), came {came}")
