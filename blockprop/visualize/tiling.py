"""Gradients by a picture of any size in bounded memory: the computation goes in tiles, the result is that of the whole.

    tiling = Tiling(network, ("inception_4c",), tile=1024)
    d_picture = tiling.gradient(picture, lambda tile, outputs: {"inception_4c": outputs["inception_4c"]})

The places of the nodes are dealt out to tiles, each place to one. A tile computes its own places from a crop of the
picture that holds their receptive fields; what padding spoils at the crop's edges is nobody's own place and gets no
seed. So each tile gives exactly what its places contribute, and the gradient is the sum. There can be no seam.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import Seeds
from blockprop.engine.plan import Rule, RuleMap, RuleOfAny, plan_forward
from blockprop.engine.room import in_bytes
from blockprop.engine.trace import Trace
from blockprop.errors import GraphError, SettingError, ShapeError, no_such, shape
from blockprop.preparing.budget import Back, Budget, TooLittleMemory, bytes_named, kernels_weights, rounded_up
from blockprop.preparing.job import for_budget
from blockprop.preparing.resident import Expected
from blockprop.visualize.places import needed, require_places, sizes
from blockprop.visualize.receptive_fields import ReceptiveField, receptive_fields
from blockprop.visualize.tiles import Tile, at, laid_out, whole_as_tile

TILE = 1024
"""Pixels of a side of a tile, halo included, unless something else is said."""

COPIES = 3
"""Of the picture, that a step makes besides: moved, in another size, and its gradient, to which tiles add."""
SMALLER = 0.8
"""How much smaller a tile is tried where one takes too much."""

Outputs = Mapping[str, Tensor]
SeedsOf = Callable[[Tile, Outputs], Seeds]
"""(tile, {node: its own places of the output, (n, c, h, w)}) -> ∂L/∂(these places), for any of the nodes."""


class TileFit(NamedTuple):
    """How a memory is kept to: in tiles of that side, each within a budget.   taken: bytes that are expected"""

    tile: int
    budget: Budget
    taken: int

    def __repr__(self) -> str:
        return f"TileFit(tiles of {self.tile}, {in_bytes(self.taken)})"


class Tiling:
    """Some nodes of a network, computed in tiles of at most so many pixels a side, their halo included.

    nodes: those with seeds or whose outputs are looked at; (n, channels, h, w) each.
    tile: None for pictures as a whole. A picture that is not larger is one tile, whatever the network.
    memory: bytes that a gradient may take beside the weights, some copies of the picture among them, or None. Tiles are
        made as small as that asks for; before, what the blocks save is computed again (preparing/budget.py).
    besides: bytes of these that something else takes all the while; to be set before any pictures.
    apart: whether seeds are asked for one node at a time, when the error arrives there, and its output is forgotten
        then; so fewer of them live at once. Without, they are asked for of all nodes together.
    Blocks may be anything with places: convolutions, pooling, whatever works place by place, padding, scaling by whole
    numbers. Receptive fields are found out by trying, see receptive_fields.py. Preprocessing in front is part of the
    network.
    lean: what computes them, prepared.   network: as it was given, but for what they do not need.
    Raises GraphError for unknown nodes, SettingError for a tile below 1, several inputs, and too little memory.
    """

    def __init__(
        self,
        network: Network,
        nodes: Iterable[str],
        tile: int | None = None,
        memory: int | str | None = None,
        apart: bool = False,
    ):
        self.nodes = tuple(dict.fromkeys(nodes))
        keys = [key for node in network.nodes for key in node.keys]
        for name in self.nodes:
            if name not in keys:
                raise GraphError(no_such("node", name, keys))
        if len(network.inputs) != 1 or not self.nodes:
            raise SettingError(f"expected a network with one input, the picture, and nodes; came {network.inputs}")
        if tile is not None and tile < 1:
            raise SettingError(f"tile must be at least 1 pixel, came {tile}")
        self.network, self.tile, self.besides, self.apart = needed(network, self.nodes), tile, 0, apart
        self.memory = None if memory is None else bytes_named(memory)
        self._fits: dict[tuple[int, ...], TileFit] = {}
        self.lean = for_budget(network, self.nodes, None, self.memory)
        (self.input,) = network.inputs
        self._fields: dict[int, tuple[ReceptiveField, ReceptiveField]] = {}
        self._sizes: dict[tuple[int, int, int], dict[str, tuple[int, ...]]] = {}

    def sizes(self, picture: Tensor) -> dict[str, tuple[int, int, int]]:
        """(channels, h, w) of each node for a picture as a whole. ShapeError for a node without h and w."""
        _, channels, height, width = picture.shape
        by_node = self._sizes.get((channels, height, width))
        if by_node is None:
            by_node = self._sizes[channels, height, width] = sizes(self.network, channels, height, width)
        for node in self.nodes:
            require_places(node, by_node[node])
        return {node: by_node[node][1:] for node in self.nodes}  # type: ignore[misc]

    def tiles(self, picture: Tensor) -> list[Tile]:
        """The tiles of a picture, row by row. Raises SettingError for a tile below its receptive fields."""
        return self._tiles(picture, self.tile if self.memory is None else self.fit(picture).tile)

    def fit(self, picture: Tensor) -> "TileFit":
        """How the memory is kept to for a picture. SettingError if it cannot be, with the least that can."""
        assert self.memory is not None
        key = tuple(picture.shape)
        if key not in self._fits:
            self._fits[key] = self._fit(picture, self.memory)
        return self._fits[key]

    def expected(self, picture: Tensor) -> Expected | None:
        """What a gradient by a picture takes, where a memory was given. SettingError if that is too little."""
        if self.memory is None:
            return None
        fit, count = self.fit(picture), len(self.tiles(picture))
        how = "at once" if count == 1 else f"in {count} pieces of up to {fit.tile} pixels"
        return Expected(fit.taken + kernels_weights(self.lean), how)

    def _fit(self, picture: Tensor, memory: int) -> "TileFit":
        copies = COPIES * picture.numel() * picture.element_size()
        budget, least = Budget(self.lean, memory, copies + self.besides), math.inf
        side = max(picture.shape[2:]) if self.tile is None else min(self.tile, max(picture.shape[2:]))
        while side:
            try:
                tiles = self._tiles(picture, side)
            except SettingError:  # the tile is smaller than what its places see
                if math.isinf(least):
                    raise
                break
            taken, short = 0, 0
            for tile in {picture[at(tile.crop)].shape: tile for tile in tiles}.values():
                try:
                    x = picture[at(tile.crop)]
                    taken = max(taken, budget.chosen((x,), self.nodes, self._back_without_numbers(tile)).peak)
                except TooLittleMemory as error:
                    short = max(short, error.least)
            if not short:
                return TileFit(side, budget, taken)
            least = min(least, max(taken, short))
            side = int(SMALLER * side)
        raise SettingError(
            f"{in_bytes(memory)} of memory are too little for a picture of {shape(picture)}: it takes at least "
            f"{in_bytes(rounded_up(int(least)))} beside the weights, in the best tiles"
        )

    def _forward(self, picture: Tensor, tile: Tile) -> Trace:
        crop = picture[at(tile.crop)]
        if self.memory is None:
            return self.lean.forward(crop, keep=self.nodes)
        return self.fit(picture).budget.record((crop,), self.nodes, self._back_without_numbers(tile))

    def _tiles(self, picture: Tensor, side: int | None) -> list[Tile]:
        whole, (channels, height, width) = self.sizes(picture), picture.shape[1:]
        if side is None or (height <= side and width <= side):
            return [whole_as_tile(height, width, whole)]
        if channels not in self._fields:
            self._fields[channels] = receptive_fields(self.network, self.nodes, channels)
        return laid_out(self._fields[channels], height, width, whole, side)

    @torch.no_grad()
    def outputs(self, picture: Tensor) -> Iterator[tuple[Tile, dict[str, Tensor]]]:
        """Forward alone: for each tile its own places of each node. Together they are the outputs, each place once."""
        for tile in self.tiles(self._checked(picture)):
            values = self.lean.values(picture[at(tile.crop)], keep=self.nodes)
            yield tile, {node: values[node][at(tile.own[node])] for node in self.nodes}

    @torch.no_grad()
    def gradient(self, picture: Tensor, seeds: SeedsOf, look: Callable[[Tile, Outputs], None] | None = None) -> Tensor:
        """∂L/∂picture, the sum over all tiles.

        picture: (n, channels, h, w)   seeds: is called once for each tile, in order.
        look: called for each tile before any seeds are asked for, when these depend on something of the whole (a Gram
            matrix). Costs another forward pass if there are several tiles.
        Raises ShapeError for seeds of another shape than the places that they are for.
        """
        tiles = self.tiles(self._checked(picture))
        if look is not None and len(tiles) > 1:
            for tile, outputs in self.outputs(picture):
                look(tile, outputs)
                del outputs
        d_picture = torch.zeros_like(picture)
        for tile in tiles:
            trace = self._forward(picture, tile)
            if look is not None and len(tiles) == 1:
                look(tile, _own(trace, tile, self.nodes))
            d = self._back(self.lean, trace, tile, seeds)
            if d is not None:
                d_picture[at(tile.crop)] += d
            del trace, d
        return d_picture

    def _back(self, network: Network, trace: Trace, tile: Tile, seeds: SeedsOf) -> Tensor | None:
        """∂L/∂crop; None without any seeds.   network: the lean one, or its twin without numbers."""
        first = self.last if self.apart else self.nodes
        whole_seeds, asked = _forgetting(trace, tile, seeds, first), set(first)

        def adding(node: str) -> Rule:
            def rule(block: Block, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
                if node not in first:
                    asked.add(node)
                    for seed in _forgetting(trace, tile, seeds, (node,)).values():
                        d_y = seed.add_(d_y)
                return block.propagate(saved, d_y)

            return RuleOfAny(rule)

        if not whole_seeds:
            return None
        rules: RuleMap = {node: adding(node) for node in self.nodes if self.apart}
        d = network.backward(trace, whole_seeds, wrt=self.input, rules=rules)[self.input]
        if without := [node for node in self.nodes if node not in asked]:
            raise GraphError(f"no error comes back to {', '.join(without)}: compare other layers")
        return d

    def _back_without_numbers(self, tile: Tile) -> Back:
        def seeds(_: Tile, outputs: Outputs) -> Seeds:
            return {node: y.flatten(2).mul(1).view_as(y) for node, y in outputs.items()}  # as Gram matrices need them

        return lambda network, trace: (self._back(network, trace, tile, seeds),)

    @cached_property
    def last(self) -> tuple[str, ...]:
        """The nodes that no other of them depends on. The error arrives from them at all others."""
        steps = {node: plan_forward(self.lean.nodes, (node,), False) for node in self.nodes}
        above = {node: {step.name for step in plan} - {node} for node, plan in steps.items()}
        return tuple(node for node in self.nodes if not any(node in above[other] for other in self.nodes))

    def _checked(self, picture: Tensor) -> Tensor:
        if picture.dim() != 4 or not picture.numel():
            raise ShapeError(f"expected pictures (n, channels, h, w), came {shape(picture)}")
        return picture


def _own(trace: Trace, tile: Tile, nodes: Iterable[str]) -> dict[str, Tensor]:
    """A tile's own places of what nodes gave."""
    return {node: trace[node][at(tile.own[node])] for node in nodes}


def _forgetting(trace: Trace, tile: Tile, seeds: SeedsOf, nodes: Iterable[str]) -> Seeds:
    """The seeds of nodes, for the whole outputs of a crop, which are forgotten."""
    own = dict(seeds(tile, _own(trace, tile, nodes)))
    layouts = {node: _layout(trace.values.pop(node)) for node in nodes}
    return {node: _spread(own.pop(node), layouts[node], tile, node) for node in [*own]}


class Layout(NamedTuple):
    """How the numbers of a tensor lie."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _layout(x: Tensor) -> Layout:
    return Layout(tuple(x.shape), x.stride())


def _spread(seed: Tensor, whole: Layout, tile: Tile, node: str) -> Tensor:
    """A seed for the whole output of a crop: nothing comes from places that are not the tile's own."""
    own = (*whole.shape[:2], *(places.stop - places.start for places in tile.own[node]))
    if seed.shape != own:
        came = " x ".join(map(str, own))
        raise ShapeError(f"the seed for {node!r} is {shape(seed)}, but tile {tile.number} has {came} of its places")
    if own == whole.shape:
        return seed
    spread = torch.empty_strided(*whole, dtype=seed.dtype, device=seed.device).zero_()
    spread[at(tile.own[node])] = seed
    return spread
