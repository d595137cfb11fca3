"""Whether nodes make a graph: their order, their names, and where their parameters are."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from blockprop.engine.block import Block
from blockprop.engine.plan import Node
from blockprop.errors import GraphError, suggestion


def sorted_nodes(nodes: Iterable[Node], inputs: tuple[str, ...]) -> tuple[Node, ...]:
    """The nodes in topological order: the given order if it is one already.

    Raises GraphError for a name used twice, an input that nothing provides, and a cycle.
    """
    graph = [
        Node(name, block, (sources,) if isinstance(sources, str) else tuple(sources)) for name, block, sources in nodes
    ]
    for node in graph:
        if not isinstance(node.block, Block):
            raise GraphError(f"node {node.name!r}: expected a block, came {type(node.block).__name__}")
    _check_names([*inputs, *(node.name for node in graph)], [key for node in graph for key in node.keys])
    producer = {key: node for node in graph for key in node.keys}
    _check_sources(graph, [*inputs], [*inputs, *producer])
    if _is_sorted(graph, set(inputs)):
        return tuple(graph)
    by_name = {node.name: node for node in graph}
    sources = {node.name: [producer[key].name for key in node.inputs if key in producer] for node in graph}
    try:
        return tuple(by_name[name] for name in TopologicalSorter(sources).static_order())
    except CycleError as error:
        raise GraphError(f"the graph has a cycle: {' -> '.join(error.args[1])}") from None


def usual_inputs(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Those of a network that names none: "x", unless no node takes it."""
    taken = {source for _, _, sources in nodes for source in ((sources,) if isinstance(sources, str) else sources)}
    return ("x",) if not nodes or "x" in taken.difference(name for name, _, _ in nodes) else ()


def _check_sources(graph: Sequence[Node], inputs: list[str], provided: list[str]) -> None:
    lacking = [(node, source) for node in graph for source in node.inputs if source not in provided]
    if lacking:
        node, source = lacking[0]
        names = [f'"{name}"' for name in dict.fromkeys([*inputs, *(name for _, name in lacking)])]
        near = suggestion(source, provided) if difflib.get_close_matches(source, provided) else ""
        raise GraphError(
            f"node {node.name!r} takes {source!r}, which is neither an input nor a node's output{near}; "
            f"if it is an input of the network, say inputs=({', '.join(names)}{',' * (len(names) == 1)})"
        )


def _check_names(names: list[str], keys: list[str]) -> None:
    for name in names:
        if not name or name in ("inputs", "parameters"):
            raise GraphError(f"{name!r} cannot name a node or an input; choose another name")
    for several in (names, keys):
        for name, count in Counter(several).items():
            if count > 1:
                raise GraphError(f"the name {name!r} is used twice; each node and input needs its own")


def _is_sorted(nodes: list[Node], ready: set[str]) -> bool:
    for node in nodes:
        if not ready.issuperset(node.inputs):
            return False
        ready.update(node.keys)
    return True


def parameter_places(blocks: Mapping[str, Block], keys: Collection[str]) -> dict[str, tuple[str, str]]:
    """Where each parameter is: its name in the network -> (node, name in the block).

    Raises GraphError for a name that a node has, too, and for one tensor that is a parameter of two blocks.
    """
    places: dict[str, tuple[str, str]] = {}
    owners: dict[int, str] = {}
    for node, block in blocks.items():
        for name, parameter in block.parameters.items():
            title = f"{node}.{name}"
            if title in keys:
                raise GraphError(f"{title!r} names both a node and a parameter; choose another name for the node")
            if (owner := owners.setdefault(id(parameter), title)) != title:
                raise GraphError(f"{owner} and {title} are one tensor; share the block, not its tensor")
            places[title] = node, name
    return places


def needed_nodes(nodes: Sequence[Node], keys: Iterable[str], stop: str = "") -> list[Node]:
    """The nodes, in their order, that these outputs depend on; not the node `stop`, nor what it alone depends on."""
    needed, kept = set(keys), []
    for node in reversed(nodes):
        if node.name != stop and not needed.isdisjoint(node.keys):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]
