"""Decision trees: each tree leads a row of features to one of its leaves, whose values are added up."""

from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

AGGREGATES = ("sum", "mean", "min", "max")
DEEPEST = 10_000
"""Nodes between a root and a leaf."""


class Trees(Block):
    """An ensemble of decision trees:  y = Σ_t values[leaf_t(x)], or their mean, or the smallest or largest value.

    d_x = 0: y changes in steps      d_values[l] = Σ d_y over the rows and trees that end at leaf l
    (for the mean divided by the number of trees; for min and max from where the value stands alone)

    At a node the row goes on to `yes` if x[feature] < threshold and the node's `below` is set, and likewise `equal`,
    `above`, and `missing` for NaN; else to `no`. Numbers of 0 and more are nodes, −1, −2, … the leaves 0, 1, …

    x: (n, features)   y: (n, outputs)   values: (leaves, outputs), trained, start at 0
    nodes, leaves, trees: how many there are   depth: the most nodes between a root and a leaf
    feature, yes, no: (nodes,) int64   threshold: (nodes,)   below, equal, above, missing: (nodes,) of booleans
    roots: (trees,) int64, a node or a leaf of each tree
    Raises ShapeError for rows without these features, SettingError for sizes below 1, a depth above the number of nodes
    or DEEPEST, or another aggregate.
    Source: Breiman et al. 1984; Friedman 2001.
    """

    kind = "weights"
    parameter_names = ("values",)
    buffer_names = ("feature", "threshold", "below", "equal", "above", "missing", "yes", "no", "roots")

    def __init__(self, nodes: int, leaves: int, outputs: int, trees: int = 1, depth: int = 1, aggregate: str = "sum"):
        if min(leaves, outputs, trees) < 1 or min(nodes, depth) < 0:
            raise SettingError(f"expected at least one leaf, output and tree, came {leaves}, {outputs} and {trees}")
        if depth > min(max(nodes, 1), DEEPEST):
            raise SettingError(f"expected a depth of at most the {nodes} nodes, and of {DEEPEST}, came {depth}")
        if aggregate not in AGGREGATES:
            raise SettingError(f"aggregate must be one of {', '.join(AGGREGATES)}, came {aggregate!r}")
        self.nodes, self.leaves, self.outputs, self.trees = nodes, leaves, outputs, trees
        self.depth, self.aggregate = depth, aggregate
        self.values = torch.zeros(leaves, outputs)
        self.threshold = torch.zeros(nodes)
        self.feature, self.yes, self.no = (torch.full((nodes,), -1 * i, dtype=torch.int64) for i in (0, 1, 1))
        self.below, self.equal, self.above, self.missing = (torch.zeros(nodes, dtype=torch.bool) for _ in range(4))
        self.roots = torch.full((trees,), -1, dtype=torch.int64)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 2:
            raise ShapeError(f"expected (n, features), came {tuple(x.shape)}")
        if x.is_meta:  # which holds no numbers to go by, so that what they need is made at once
            ways = [x.new_empty(len(x), self.trees, dtype=torch.int64) for _ in range(6)]
            values = self.values.new_empty(len(x), self.trees, self.outputs, device="meta")
            return values.new_empty(len(x), self.outputs), (ways[0], None, x)
        leaves = self._leaves(x)
        values = self.values[leaves]
        if self.aggregate in ("sum", "mean"):
            y = values.sum(1) if self.aggregate == "sum" else values.mean(1)
            return y, (leaves, None, x)
        y, places = values.max(1) if self.aggregate == "max" else values.min(1)
        return y, (leaves, places, x)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None]:
        x = saved[2]
        return (torch.zeros_like(x) if x.is_floating_point() else None,)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        leaves, places, _ = saved
        d_values = torch.zeros_like(self.values)
        if places is not None:
            winners = leaves.gather(1, places)  # (n, outputs)
            return {"values": d_values.scatter_add_(0, winners, d_y)}
        if self.aggregate == "mean":
            d_y = d_y / self.trees
        for leaf in leaves.unbind(1):
            d_values.index_add_(0, leaf, d_y)
        return {"values": d_values}

    def _leaves(self, x: Tensor) -> Tensor:
        """The leaf of each tree at which each row ends: (n, trees)."""
        if self.nodes and x.shape[1] <= int(self.feature.max()):
            raise ShapeError(f"expected rows of at least {int(self.feature.max()) + 1} features, came {tuple(x.shape)}")
        x = x if x.is_floating_point() else x.to(self.threshold.dtype)
        at = self.roots.expand(len(x), -1)
        for _ in range(self.depth if self.nodes else 0):
            node = at.clamp(min=0)
            value, threshold = x.gather(1, self.feature[node]), self.threshold[node]
            is_yes = (value < threshold) & self.below[node] | (value == threshold) & self.equal[node]
            is_yes |= (value > threshold) & self.above[node] | value.isnan() & self.missing[node]
            at = torch.where(at < 0, at, torch.where(is_yes, self.yes[node], self.no[node]))
        return -1 - at
