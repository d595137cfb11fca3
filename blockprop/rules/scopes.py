"""Scope rules apply: the nodes of any network that rectify."""

from collections.abc import Sequence

from blockprop.blocks import BLOCKS
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.interop.opaque import Opaque
from blockprop.rules.composites import Scope, Selection
from blockprop.rules.rectifiers import Rectifier, other_gate, rectifier


def _rectifiers(network: Network, nodes: Sequence[Node]) -> Selection:
    producers = {key: node for node in network.nodes for key in node.keys}
    places: dict[str, Rectifier] = {}
    others: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for node in nodes:
        if doubt := _doubt(node.block):
            unknown[node.name] = doubt
        elif (place := rectifier(node, producers)) is not None:
            places[node.name] = place
        elif reason := other_gate(node, producers):
            others[node.name] = reason
    return Selection(places, others, unknown)


def _doubt(block: Block) -> str | None:
    """Why nobody can say whether a block rectifies or gates; None if its class says so itself."""
    name = type(block).__name__
    if isinstance(block, Opaque):
        return f"{block.operator} is opaque"
    if isinstance(vars(type(block)).get("gate"), str):  # what a class inherits was said of another forward pass
        return None
    if type(block) not in BLOCKS.values():
        return f"{name} is not one of blockprop's blocks"
    return f"{name} does not say whether it gates" if block.kind == "activation" else None


RECTIFIERS = Scope(_rectifiers, "rectify or gate", "nothing in the network rectifies")
"""Each call of a ReLU, whichever object it calls and however it was written, and Clamp(0, high)."""
