"""Which nodes of a graph in a file are needed, and an order in which they can run."""

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter

from onnx import AttributeProto, GraphProto, NodeProto

from blockprop.errors import GraphError, suggestion
from blockprop.importers.graph import MOST_NODES


def needed_nodes(nodes: Iterable[NodeProto], outputs: Iterable[str], provided: set[str]) -> list[NodeProto]:
    """The nodes that the outputs depend on, each after what it takes.

    Raises GraphError for a value that two nodes provide, or none, and for a cycle.
    """
    makers: dict[str, int] = {}
    nodes = list(nodes)
    if len(nodes) > MOST_NODES:
        raise GraphError(f"the graph has {len(nodes)} nodes; {MOST_NODES} are allowed")
    for i, node in enumerate(nodes):
        for name in node.output:
            if name and (name in makers or name in provided):
                raise GraphError(f"{name!r} is provided twice, by {describe(node)} and another")
            makers[name] = i
    makers.pop("", None)
    taken = [[name for name in names_in(node) if name] for node in nodes]
    order: dict[int, set[int]] = {}
    waiting = [(name, None) for name in outputs]
    while waiting:
        name, taker = waiting.pop()
        if name in makers:
            maker = makers[name]
            if maker not in order:
                order[maker] = {makers[source] for source in taken[maker] if source in makers}
                waiting += [(source, maker) for source in taken[maker]]  # type: ignore[misc]
        elif name not in provided:
            who = "an output of the graph" if taker is None else f"taken by {describe(nodes[taker])}"
            raise GraphError(f"{name!r}, {who}, comes from nowhere{suggestion(name, [*makers, *provided])}")
    if all(maker < taker for taker, sources in order.items() for maker in sources):
        return [nodes[i] for i in sorted(order)]  # the usual case: the file has them in order
    try:
        return [nodes[i] for i in TopologicalSorter(order).static_order()]
    except CycleError as error:
        path = " -> ".join(describe(nodes[i]) for i in error.args[1][:6])
        raise GraphError(f"the graph has a cycle: {path}") from None


def names_in(node: NodeProto) -> list[str]:
    """The values that a node takes, and those that its branches take from around it."""
    names = list(node.input)
    for graph in branches(node):
        inner = {o for n in graph.node for o in n.output} | {t.name for t in graph.initializer}
        inner |= {i.name for i in graph.input}
        inside = [name for n in graph.node for name in names_in(n)] + [o.name for o in graph.output]
        names += [name for name in inside if name not in inner]
    return names


def branches(node: NodeProto) -> list[GraphProto]:
    """The graphs among the node's attributes."""
    graphs = [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
    return graphs + [g for a in node.attribute if a.type == AttributeProto.GRAPHS for g in a.graphs]


def nested(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """The nodes, and those of the graphs within them."""
    for node in nodes:
        yield node
        for graph in branches(node):
            yield from nested(graph.node)


def describe(node: NodeProto) -> str:
    """The node as messages call it."""
    return f"{node.name or (node.output[0] if node.output else '')!r} ({node.op_type})"
