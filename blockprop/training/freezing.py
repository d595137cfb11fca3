"""Training the upper part of a network: what lies below stays as it is, and is computed as in evaluation."""

from typing import NamedTuple

from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.graph import needed_nodes
from blockprop.engine.network import Network
from blockprop.errors import GraphError, SettingError, no_such
from blockprop.training.evaluation import predict

MOST_FEATURES = 2**28
"""Numbers that are kept of the frozen part's outputs, 1 GiB; of more, each batch's are computed anew."""
BATCH = 32
"""Examples that go through the frozen part at a time."""


class Parted(NamedTuple):
    """The frozen lower part of a network, and the upper one that learns from its outputs; both share its blocks."""

    body: Network
    head: Network


def parted(network: Network, layer: str) -> Parted:
    """The network in two: up to and with the node `layer`, and from there on.

    Everything has to pass through that node. Raises SettingError, naming the nearest nodes of that kind, if something
    goes around it, or if nothing with weights is left above.
    """
    if layer not in {node.name for node in network.nodes}:
        raise GraphError(no_such("layer", layer, [node.name for node in network.nodes]))
    if len(network.inputs) != 1:
        raise SettingError(f"freeze: expected a network with one input, this one has {', '.join(network.inputs)}")
    necks = bottlenecks(network)
    if layer not in necks:
        raise SettingError(f"freeze: not everything passes through {layer!r}; {_nearest(network, necks, layer)}")
    body = Network(needed_nodes(network.nodes, (layer,)), network.inputs, (layer,), network.meta)
    head = Network(needed_nodes(network.nodes, network.outputs, stop=layer), (layer,), network.outputs)
    if not head.parameters:
        raise SettingError(f"freeze: above {layer!r} there are no weights left to train")
    return Parted(body, head)


def bottlenecks(network: Network) -> list[str]:
    """The nodes, in order, through which everything passes that comes from the input and reaches the outputs."""
    last_use = {key: i for i, node in enumerate(network.nodes) for key in node.inputs}
    last_use |= dict.fromkeys(network.outputs, len(network.nodes))
    alive, moving, necks = set(network.inputs), set(network.inputs), []
    for i, node in enumerate(network.nodes):
        if not moving.isdisjoint(node.inputs):  # constants and weights that stand by themselves come from nowhere
            moving.update(node.keys)
            alive.update(node.keys)
        alive = {key for key in alive if last_use.get(key, -1) > i}
        if alive == {node.name} and node.name not in network.outputs:
            necks.append(node.name)
    return necks


class Frozen(NamedTuple):
    """What training needs when the lower part of a network is frozen: the upper part, and its data.

    body: the lower part, through which each batch has to go; None if `data` have been through it already.
    """

    head: Network
    data: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor] | None
    body: Network | None

    def __repr__(self) -> str:
        return brief_repr(self)


def frozen(
    network: Network,
    layer: str,
    data: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor] | None,
    changing: bool,
) -> Frozen:
    """The network frozen up to `layer`, with what its lower part makes of the data.

    changing: whether each step changes its examples at random, so that nothing can be computed beforehand.
    """
    body, head = parted(network, layer)
    (x, y), kept = data, None
    if not changing and predict(body, x[:1]).numel() * len(x) <= max(MOST_FEATURES, x.numel()):
        kept = predict(body, x, BATCH)
    if validation is not None:
        validation = predict(body, validation[0], BATCH), validation[1]
    return Frozen(head, (x if kept is None else kept, y), validation, body if kept is None else None)


def _nearest(network: Network, necks: list[str], layer: str) -> str:
    order = {node.name: i for i, node in enumerate(network.nodes)}
    below = [name for name in necks if order[name] < order[layer]][-1:]
    above = [name for name in necks if order[name] > order[layer]][:1]
    return f"the nearest where it does: {' and '.join(map(repr, below + above)) or 'none'}"
