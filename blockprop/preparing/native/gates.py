"""Where the bits of rectifiers are kept: for each by itself, for several joined ones together, or behind a pooling."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from blockprop.blocks import Concat
from blockprop.engine.plan import Node
from blockprop.preparing.convolution import FixedConv2d
from blockprop.preparing.native.writing import Extent
from blockprop.preparing.pooling import FixedMaxPool2d
from blockprop.preparing.sums import FixedReLU, RectifiedSum


class GatePlan:
    """What follows from the graph alone.

    heights: of the keys that a rectifier makes, where it cuts, 0 for nowhere.
    behind: keys whose bits are not kept, since the pooling that alone reads them keeps them, with fewer places: where a
    maximum is not above 0, nothing in its window is.   pools: the heights of these, by pooling.
    """

    def __init__(self, nodes: Sequence[Node], outputs: Collection[str]):
        self._nodes = {node.name: node for node in nodes}
        self._uses = Counter(key for node in nodes for key in node.inputs)
        self._outputs = outputs
        self.heights: dict[str, float] = {}
        for node in nodes:
            height = _height(node)
            if height is not None:
                self.heights[node.name] = height
        self.behind: set[str] = set()
        self.pools: dict[str, float] = {}
        for node in nodes:
            if isinstance(node.block, FixedMaxPool2d) and (found := self._rectified(node.inputs[0])):
                self.behind |= found.keys()
                (self.pools[node.name],) = set(found.values())

    def together(self, concat: Node, homes: Mapping[str, str], shapes: Mapping[str, Extent], width: int) -> bool:
        """Whether the bits of all that is joined can be kept side by side."""
        start = 0
        for key in concat.inputs:
            own = key in self.heights and homes.get(key) == concat.name and self._uses[key] == 1
            if not own or start % width or key in self.behind:
                return False
            start += shapes[key][3]
        return True

    def _rectified(self, key: str) -> dict[str, float] | None:
        """The heights of all that this is joined of, if a rectifier made it and nobody else reads it, all of one."""
        if self._uses[key] != 1 or key in self._outputs or key not in self._nodes:
            return None
        if key in self.heights:
            return {key: self.heights[key]}
        node = self._nodes[key]
        parts = [self._rectified(part) for part in node.inputs] if isinstance(node.block, Concat) else [None]
        found: dict[str, float] = {}
        for part in parts:
            if part is None:
                return None
            found |= part
        return found if len({*found.values()}) == 1 else None


def _height(node: Node) -> float | None:
    block = node.block
    if isinstance(block, RectifiedSum):
        return 0.0
    if isinstance(block, FixedReLU):
        return block.high or 0.0
    if isinstance(block, FixedConv2d) and block.rectifier is not None:
        return block._high or 0.0
    return None
