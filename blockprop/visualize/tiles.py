"""Where tiles lie: the places of nodes dealt out to pieces of a picture, with what these see around them."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from blockprop.errors import SettingError
from blockprop.visualize.receptive_fields import ReceptiveField

Region = tuple[slice, slice]
"""Rows and columns."""


NodeSizes = Mapping[str, tuple[int, int, int]]
"""(channels, h, w) of what each node gives for a picture as a whole."""


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


class Span(NamedTuple):
    """A tile along one axis, in cells: [start, stop) is computed, of which [first, last) are its own.

    is_end: whether what lies beyond the last cell is its own, too.
    """

    start: int
    stop: int
    first: int
    last: int
    is_end: bool


def whole_as_tile(height: int, width: int, whole: NodeSizes) -> Tile:
    """A picture that is one tile."""
    everything = {node: (slice(0, h), slice(0, w)) for node, (_, h, w) in whole.items()}
    return Tile(0, (slice(0, height), slice(0, width)), everything, everything)


def laid_out(
    fields: tuple[ReceptiveField, ReceptiveField], height: int, width: int, whole: NodeSizes, side: int
) -> list[Tile]:
    """The tiles of a picture, row by row, of at most so many pixels a side. SettingError if they cannot be so short."""
    rows, columns = fields
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


def at(region: Region) -> tuple[slice, slice, slice, slice]:
    """The index of a region in (n, channels, h, w)."""
    return (slice(None), slice(None), *region)
