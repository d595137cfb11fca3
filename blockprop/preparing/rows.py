"""Of an output whose channels come from a convolution, only some channels: the score of one class needs one row."""

from collections.abc import Collection, Iterable, Mapping

from blockprop.blocks import AdaptiveAvgPool2d, Flatten, GlobalAvgPool
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.preparing.convolution import FixedConv2d
from blockprop.preparing.draft import Draft, free_name
from blockprop.preparing.prepare import Prepared
from blockprop.preparing.sums import Spread

SHARE = 0.5
"""Of the channels; where more are wanted, all are computed."""


def narrowed(lean: Network, rows: Mapping[str, Collection[int]]) -> Network:
    """A prepared network of which only these channels of these outputs are computed, where that saves work.

    The other channels are NaN.   rows: channels by node.
    """
    if not isinstance(lean, Prepared):
        return lean
    wanted = tuple((key, tuple(sorted(set(numbers)))) for key, numbers in rows.items())
    known = lean.narrowed.get(wanted)
    if known is None and (nodes := _narrow(lean.draft, wanted)):
        limit = lean.budget.limit if lean.budget else None
        known = Prepared(lean.origin, lean.outputs, lean.draft, nodes, limit, lean.is_native)
        lean.narrowed = {wanted: known}
    return known or lean


def _narrow(draft: Draft, rows: Iterable[tuple[str, tuple[int, ...]]]) -> list[Node] | None:
    """The draft's nodes with those that make only these channels; None if there are none."""
    nodes = dict(draft.nodes)
    for key, wanted in rows:
        chain = _chain(draft, key)
        if not chain:
            continue
        first, block = chain[0], chain[0].block
        assert isinstance(block, FixedConv2d)
        channels = block.convolution.channels_out
        if not wanted or wanted[-1] >= channels or wanted[0] < 0 or len(wanted) > SHARE * channels:
            continue
        narrow = FixedConv2d(block.convolution, block.reflects, block.norm, block.rectifier, wanted)
        nodes[first.name] = Node(first.name, narrow, first.inputs)
        last = chain[-1]
        hidden = free_name(f"{last.name} of {len(wanted)}", nodes.values())
        nodes[last.name] = Node(hidden, nodes[last.name].block, last.inputs)
        nodes[hidden] = Node(last.name, Spread(wanted, channels), (hidden,))
    return [*nodes.values()] if nodes.keys() != draft.nodes.keys() else None


def _chain(draft: Draft, key: str) -> list[Node]:
    """The convolution that makes the channels of this output, and what comes after it, which works channel by channel.

    The output has no place but one, or is the convolution's own.
    """
    chain: list[Node] = []
    node = draft.nodes.get(key)
    while node is not None and node.name not in draft.untouched:
        chain.insert(0, node)
        if type(node.block) is FixedConv2d:
            pooled = any(_pools_all(link) for link in chain) or len(chain) == 1
            return chain if pooled and node.block.convolution.groups == 1 else []
        if not (_pools_all(node) or (type(node.block) is Flatten and node.block.start_axis == 1)):
            return []
        node = draft.before(node)
    return []


def _pools_all(node: Node) -> bool:
    block = node.block
    whole = type(block) is AdaptiveAvgPool2d and set(_sizes(block.output_size)) == {1}
    return whole or type(block) is GlobalAvgPool


def _sizes(size: object) -> tuple[object, ...]:
    return tuple(size) if isinstance(size, tuple | list) else (size,)
