"""Draft: a graph while it is rewritten."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from types import FunctionType
from typing import Any

from blockprop.engine.block import Block
from blockprop.engine.graph import needed_nodes
from blockprop.engine.plan import Node

METHODS = ("forward", "propagate", "gradients", "both")


class Draft:
    """The nodes of a network, some of which may go or be joined.

    visible: keys that somebody looks at, or at whose error; they keep their names and values.
    untouched: nodes that a rule may look into; they keep their blocks.
    made: leaner blocks by the ids of those that they were made of.
    rewritten: how many nodes each rewrite has changed, by its name.
    """

    def __init__(
        self, nodes: Iterable[Node], visible: Collection[str], untouched: Collection[str], made: dict[Any, Block]
    ):
        self.visible, self.untouched = frozenset(visible), frozenset(untouched)
        self.nodes = {node.name: node for node in needed_nodes(tuple(nodes), visible)}
        self.made = made
        self.rewritten: dict[str, int] = {}
        self._uses = Counter(key for node in self.nodes.values() for key in node.inputs)

    def is_inner(self, key: str) -> bool:
        """Whether one node alone reads it, and nobody looks at it."""
        return self._uses[key] == 1 and key in self.nodes and key not in self.visible

    def may_change(self, node: Node, *kinds: type[Block]) -> bool:
        """Whether it is a block of just these kinds, with the methods that these came with."""
        return type(node.block) in kinds and node.name not in self.untouched and is_as_made(node.block)

    def before(self, node: Node) -> Node | None:
        """The node before one with a single input, if it is inner."""
        (key,) = node.inputs if len(node.inputs) == 1 else ("",)
        return self.nodes[key] if self.is_inner(key) else None

    def join(self, chain: list[Node], make: Callable[[], Block]) -> None:
        """Put a block in the place of nodes that follow each other; it has the last one's name."""
        parts = tuple(id(node.block) for node in chain)
        if parts not in self.made:
            self.made[parts] = make()
        block = self.made[parts]
        for node in chain[:-1]:
            del self.nodes[node.name]
        self.nodes[chain[-1].name] = Node(chain[-1].name, block, chain[0].inputs)

    def skip(self, node: Node) -> None:
        """Leave out a node with one input, which gives just what it takes."""
        del self.nodes[node.name]
        (source,) = node.inputs
        self._uses[source] += self._uses.pop(node.name) - 1
        for name, reader in self.nodes.items():
            if node.name in reader.inputs:
                inputs = tuple(source if key == node.name else key for key in reader.inputs)
                self.nodes[name] = Node(name, reader.block, inputs)


Rewrite = Callable[[Draft], int]
"""Changes a draft without changing what its visible nodes give; returns how many nodes it has changed."""


def is_as_made(block: Block) -> bool:
    """Whether its methods are those that its file has, so that a leaner block may do what they do."""
    own = not any(name in vars(block) for name in METHODS)
    return own and all(_is_of_its_file(type(block), name) for name in METHODS)


def _is_of_its_file(kind: type[Block], name: str) -> bool:
    """By the function's code and globals: others may bear its names (functools.wraps), and pretend its class (Mock)."""
    owner = next(place for place in kind.__mro__ if name in vars(place))
    method, module = vars(owner)[name], owner.__module__
    if type(method) is not FunctionType or not module.startswith("blockprop."):
        return False
    names = method.__globals__["__name__"], method.__code__.co_qualname
    return names == (module, f"{owner.__qualname__}.{name}")


def free_name(name: str, nodes: Iterable[Node]) -> str:
    """The name, with strokes behind it if these nodes, or what they read, have it already."""
    taken = {part for node in nodes for key in (*node.keys, *node.inputs) for part in (key, key.partition("[")[0])}
    while name in taken:
        name += "′"
    return name
