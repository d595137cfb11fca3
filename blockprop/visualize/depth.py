"""Layers by how deep they lie, for networks of which nothing else is known."""

from blockprop.engine.network import Network
from blockprop.errors import BlockpropError
from blockprop.pictures.photos import picture_channels
from blockprop.rules.rectifiers import rectifier
from blockprop.visualize.places import SIDES, sizes


def spatial_rectifiers(network: Network) -> list[str]:
    """The rectifiers whose outputs have rows and columns, (n, c, h, w), from the input on."""
    producers = {key: node for node in network.nodes for key in node.keys}
    rectifiers = [node.name for node in network.nodes if rectifier(node, producers)]
    shapes = _shapes(network)
    return [name for name in rectifiers if len(shapes.get(name, (1, 1, 1, 1))) == 4]


def at_depth(names: list[str], depth: float) -> str:
    """The one that lies so deep, as a part (0…1) of all."""
    return names[min(int(depth * len(names)), len(names) - 1)]


def _shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Of all outputs, for the smallest picture that goes in; nothing if none of those tried does."""
    shape = network.meta.get("shape") or []
    trained_on = [(shape[1], shape[2])] if len(shape) == 3 else []
    for height, width in (*trained_on, *((side, side) for side in SIDES)):
        try:
            return sizes(network, picture_channels(network), height, width)
        except BlockpropError:
            continue
    return {}
