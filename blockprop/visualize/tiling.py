"""Gradients by a picture of any size in bounded memory: the computation goes in tiles, the result is that of the whole.

    tiling = Tiling(network, ("inception_4c",), tile=1024)
    d_picture = tiling.gradient(picture, lambda tile, outputs: {"inception_4c": outputs["inception_4c"]})

The places of the nodes are dealt out to tiles, each place to one. A tile computes its own places from a crop of the
picture that holds their receptive fields; what padding spoils at the crop's edges is nobody's own place and gets no
seed. So each tile gives exactly what its places contribute, and the gradient is the sum. There can be no seam.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Seeds
from blockprop.engine.room import in_bytes
from blockprop.engine.trace import Trace
from blockprop.errors import GraphError, SettingError, ShapeError, no_such, shape
from blockprop.preparing.budget import Budget, TooLittleMemory, bytes_named, rounded_up
from blockprop.visualize.places import needed, require_places, sizes
from blockprop.visualize.receptive_fields import ReceptiveField, receptive_fields

TILE = 1024
"""Pixels of a side of a tile, halo included, unless something else is said."""

COPIES = 5
"""Of the picture, that a step makes besides: moved, its gradient, and what scaling needs."""
SMALLER = 0.8
"""How much smaller a tile is tried where one takes too much."""

Region = tuple[slice, slice]
"""Rows and columns."""


class Tile(NamedTuple):
    """One piece of the computation.

    number: from 0 on.   crop: what it computes from, in the picture.
    places: its own ones, of each node, in the output of the whole.
    own: the same in the output of the crop.
    """

    number: int
    crop: Region
    places: dict[str, Region]
    own: dict[str, Region]


Outputs = Mapping[str, Tensor]
SeedsOf = Callable[[Tile, Outputs], Seeds]
"""(tile, {node: its own places of the output, (n, c, h, w)}) -> ∂L/∂(these places), for any of the nodes."""


class Span(NamedTuple):
    """A tile along one axis, in cells: [start, stop) is computed, of which [first, last) are its own.

    is_end: whether what lies beyond the last cell is its own, too.
    """

    start: int
    stop: int
    first: int
    last: int
    is_end: bool


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
    Blocks may be anything with places: convolutions, pooling, whatever works place by place, padding, scaling by whole
    numbers. Receptive fields are found out by trying, see receptive_fields.py. Preprocessing in front is part of the
    network.
    lean: what computes them, prepared.   network: as it was given, but for what they do not need.
    Raises GraphError for unknown nodes, SettingError for a tile below 1, several inputs, and too little memory.
    """

    def __init__(
        self, network: Network, nodes: Iterable[str], tile: int | None = None, memory: int | str | None = None
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
        self.network, self.tile = needed(network, self.nodes), tile
        self.memory = None if memory is None else bytes_named(memory)
        self._fits: dict[tuple[int, ...], TileFit] = {}
        self.lean = network.prepare(self.nodes)
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

    def expectation(self, picture: Tensor) -> str:
        """How the memory is kept to, in words."""
        fit, count = self.fit(picture), len(self.tiles(picture))
        pieces = "at once" if count == 1 else f"in {count} pieces of up to {fit.tile} pixels"
        return f"memory: {in_bytes(fit.taken)} expected for a step, {pieces}"

    def _fit(self, picture: Tensor, memory: int) -> "TileFit":
        copies = COPIES * picture.numel() * picture.element_size()
        budget, least = Budget(self.lean, max(memory - copies, 1)), math.inf
        side = max(picture.shape[2:]) if self.tile is None else min(self.tile, max(picture.shape[2:]))
        while side:
            try:
                crops = [picture[_region(tile.crop)] for tile in self._tiles(picture, side)]
            except SettingError:  # the tile is smaller than what its places see
                if math.isinf(least):
                    raise
                break
            taken, short = 0, 0
            for crop in {crop.shape: crop for crop in crops}.values():
                try:
                    taken = max(taken, budget.chosen((crop,), self.nodes)[2])
                except TooLittleMemory as error:
                    short = max(short, error.least)
            if not short:
                return TileFit(side, budget, taken + copies)
            least = min(least, copies + max(taken, short))
            side = int(SMALLER * side)
        raise SettingError(
            f"{in_bytes(memory)} of memory are too little for a picture of {shape(picture)}: it takes at least "
            f"{in_bytes(rounded_up(int(least)))} beside the weights, in the best tiles"
        )

    def _forward(self, picture: Tensor, tile: Tile) -> Trace:
        crop = picture[_region(tile.crop)]
        if self.memory is None:
            return self.lean.forward(crop, keep=self.nodes)
        return self.fit(picture).budget.record((crop,), self.nodes)

    def _tiles(self, picture: Tensor, side: int | None) -> list[Tile]:
        whole = self.sizes(picture)
        height, width = picture.shape[2:]
        if side is None or (height <= side and width <= side):
            everything = {node: (slice(0, h), slice(0, w)) for node, (_, h, w) in whole.items()}
            return [Tile(0, (slice(0, height), slice(0, width)), everything, everything)]
        channels = picture.shape[1]
        if channels not in self._fields:
            self._fields[channels] = receptive_fields(self.network, self.nodes, channels)
        rows, columns = self._fields[channels]
        tiles: list[Tile] = []
        for y in spans(rows, height, side):
            for x in spans(columns, width, side):
                crop = _pixels(rows, y, height), _pixels(columns, x, width)
                places = {
                    node: (_places(rows, y, node, h), _places(columns, x, node, w)) for node, (_, h, w) in whole.items()
                }
                own_places = {
                    node: (_moved(a, y.start * rows.places[node]), _moved(b, x.start * columns.places[node]))
                    for node, (a, b) in places.items()
                }
                tiles.append(Tile(len(tiles), crop, places, own_places))
        return tiles

    @torch.no_grad()
    def outputs(self, picture: Tensor) -> Iterator[tuple[Tile, dict[str, Tensor]]]:
        """Forward alone: for each tile its own places of each node. Together they are the outputs, each place once."""
        for tile in self.tiles(self._checked(picture)):
            values = self.lean.values(picture[_region(tile.crop)], keep=self.nodes)
            yield tile, {node: values[node][_region(tile.own[node])] for node in self.nodes}

    @torch.no_grad()
    def gradient(self, picture: Tensor, seeds: SeedsOf, look: Callable[[Tile, Outputs], None] | None = None) -> Tensor:
        """∂L/∂picture, the sum over all tiles.

        picture: (n, channels, h, w)   seeds: is called once for each tile, in order.
        look: called for each tile before any seeds are asked for, when these depend on something of the whole (a Gram
            matrix). Costs another forward pass if there are several tiles.
        Raises ShapeError for seeds of another shape than the places that they are for.
        """
        tiles, network = self.tiles(self._checked(picture)), self.lean
        if look is not None and len(tiles) > 1:
            for tile, outputs in self.outputs(picture):
                look(tile, outputs)
        d_picture = torch.zeros_like(picture)
        for tile in tiles:
            trace = self._forward(picture, tile)
            outputs = {node: trace[node][_region(tile.own[node])] for node in self.nodes}
            if look is not None and len(tiles) == 1:
                look(tile, outputs)
            whole_seeds = {
                node: _spread(seed, outputs, trace[node], tile, node) for node, seed in seeds(tile, outputs).items()
            }
            if whole_seeds:
                del outputs
                d = network.backward(trace, whole_seeds, wrt=self.input)[self.input]
                d_picture[_region(tile.crop)] += d
        return d_picture

    def _checked(self, picture: Tensor) -> Tensor:
        if picture.dim() != 4 or not picture.numel():
            raise ShapeError(f"expected pictures (n, channels, h, w), came {shape(picture)}")
        return picture


def spans(field: ReceptiveField, size: int, tile: int) -> list[Span]:
    """The fewest tiles along an axis of so many pixels, about equally long. SettingError if they cannot be so short."""
    total = math.ceil(size / field.cell)
    if size <= tile:
        return [Span(0, total, 0, total, True)]
    halo, ragged = field.before + field.after, int(size % field.cell > 0)
    # The last tile may have a part of a cell, and is one longer then.
    least, most = max(field.least, halo + 1), tile // field.cell - ragged
    if most < least:
        raise SettingError(
            f"tile must be at least {(least + 1) * field.cell} pixels for these nodes, came {tile}: their places see "
            f"{halo * field.cell} pixels around them"
        )
    count = math.ceil((total - halo) / (most - halo))
    length = max(math.ceil((total - halo) / count) + halo, least)
    tiles: list[Span] = []
    start = last = 0
    while start + length < total:
        tiles.append(Span(start, start + length, last, start + length - field.after, False))
        last = tiles[-1].last
        start = last - field.before
    start = max(0, min(start, total - length - ragged))
    return [*tiles, Span(start, total, last, total, True)]


def _pixels(field: ReceptiveField, span: Span, size: int) -> slice:
    return slice(span.start * field.cell, min(span.stop * field.cell, size))


def _places(field: ReceptiveField, span: Span, node: str, size: int) -> slice:
    """A tile's own places; the last tile has also what lies beyond the last cell."""
    per_cell = field.places[node]
    return slice(span.first * per_cell, size if span.is_end else span.last * per_cell)


def _moved(places: slice, start: int) -> slice:
    return slice(places.start - start, places.stop - start)


def _region(region: Region) -> tuple[slice, slice, slice, slice]:
    return (slice(None), slice(None), *region)


def _spread(seed: Tensor, outputs: Outputs, y: Tensor, tile: Tile, node: str) -> Tensor:
    """A seed for the whole output of a crop: nothing comes from places that are not the tile's own."""
    if seed.shape != outputs[node].shape:
        raise ShapeError(
            f"the seed for {node!r} is {shape(seed)}, but tile {tile.number} has {shape(outputs[node])} of its places"
        )
    if seed.shape == y.shape:
        return seed
    spread = torch.zeros_like(y)
    spread[_region(tile.own[node])] = seed
    return spread
