"""Sequential: a network that is a chain of blocks."""

from collections import Counter

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import GraphError


class Sequential(Network):
    """A chain of blocks, each fed by the one before.

    blocks: in order, named by type and number ("linear1", "relu1", "linear2"); or dicts of names and blocks.
    """

    def __init__(self, *blocks: Block | dict[str, Block], input: str = "x"):
        named: dict[str, Block] = {}
        counts: Counter[str] = Counter()
        for block in blocks:
            if isinstance(block, dict):
                named.update(block)
            elif not isinstance(block, Block):
                came = block.__name__ + " itself" if isinstance(block, type) else f"a {type(block).__name__}"
                raise GraphError(f"expected blocks one by one, or dicts of them by name; came {came}")
            else:
                kind = type(block).__name__.lower()
                counts[kind] += 1
                named[f"{kind}{counts[kind]}"] = block
        names = [input, *named]
        super().__init__([Node(name, block, (names[i],)) for i, (name, block) in enumerate(named.items())], (input,))
