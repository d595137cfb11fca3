"""Where rules apply: the nodes of any network that rectify."""

from collections.abc import Sequence

from blockprop.blocks import BLOCKS
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.interop.opaque import Opaque
from blockprop.rules.composites import Selection, Where
from blockprop.rules.rectifiers import Rectifier, other_gate, rectifier


def _rectifiers(network: Network, nodes: Sequence[Node]) -> Selection:
    producers = {key: node for node in network.nodes for key in node.keys}
    places: dict[str, Rectifier] = {}
    others: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for node in nodes:
        if isinstance(node.block, Opaque):
            unknown[node.name] = f"{node.block.operator} is opaque"
        elif type(node.block) not in BLOCKS.values():
            unknown[node.name] = f"{type(node.block).__name__} is not one of blockprop's blocks"
        elif (place := rectifier(node, producers)) is not None:
            places[node.name] = place
        elif reason := other_gate(node, producers):
            others[node.name] = reason
    return Selection(places, others, unknown)


RECTIFIERS = Where(_rectifiers, "rectify or gate", "nothing in the network rectifies")
"""Each call of a ReLU, whichever object it calls and however it was written, and Clamp(0, high)."""
