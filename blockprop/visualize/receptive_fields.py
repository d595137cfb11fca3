"""Receptive fields: which pixels the places of a node see. Found out by trying, whatever the blocks are.

    rows, columns = receptive_fields(network, ("inception_4c",), channels=3)
    rows.cell, rows.before, rows.after          16, 9, 9: steps of 16 pixels, 9 of them on either side

Three trials tell. How the outputs grow with the picture, on torch's "meta" device, where sizes cost nothing: in which
steps everything repeats. What becomes NaN when a part of the picture is NaN: how far a receptive field extends. And at
the end a piece is compared with the whole, because a block may depend on the place itself, or on what NaN does not
show.
"""

import itertools
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.errors import BlockpropError, SettingError
from blockprop.visualize.places import SIDES, needed, sizes

AXES = {2: "rows", 3: "columns"}
GROWTH = 2**7 * 3**4 * 5 * 7
"""So many pixels longer is the second picture: a multiple of all usual strides and their products."""
LONGEST_TRIED = 4096
"""Pixels of the longest picture that is tried; a larger receptive field is said to be the whole picture."""
LARGEST_CELL = 1024
SAME = {torch.float64: 1e-8, torch.float32: 1e-3}
"""How much a piece may differ from the whole, as a part of the largest number; 0.05 in half precision."""


class ReceptiveField(NamedTuple):
    """The receptive field of the places of some nodes, along one axis.

    cell: so many pixels later everything repeats: a picture without its first cell gives the same places, without the
        first `places` of them, but for what saw the cell.
    before, after: the receptive field of a cell's places extends over at most so many cells on either side.
    least: a piece at an edge of the picture needs so many cells, because mirrored borders make the field longer there.
    places: of each node in a cell.
    """

    cell: int
    before: int
    after: int
    least: int
    places: dict[str, int]


def receptive_fields(network: Network, nodes: Iterable[str], channels: int) -> tuple[ReceptiveField, ReceptiveField]:
    """Those of these nodes along the rows and along the columns of a picture with so many channels.

    Raises SettingError naming the node if one has no places, or they see the whole picture, depend on where they are
    or draw random numbers, and for networks that take one size of picture alone.
    """
    part = needed(network, nodes)
    for node in part.nodes:
        if hasattr(node.block, "generator") and not node.block.has_training_mode:
            raise SettingError(f"node {node.name!r} ({node.block!r}) draws anew for each tile; only the whole can pass")
    return _Trials(part, channels, 2).receptive_field(), _Trials(part, channels, 3).receptive_field()


class _Trials:
    """What strips of random pictures tell, long along one axis and narrow along the other."""

    def __init__(self, part: Network, channels: int, axis: int):
        self.part, self.channels, self.axis = part, channels, axis
        self.side = self._smallest_side()
        self.cell, self.places = self._repetition()

    @torch.no_grad()
    def receptive_field(self) -> ReceptiveField:
        cells = max(4, math.ceil(2 * self.side / self.cell))
        while (extent := self._extent(cells)) is None:
            cells *= 2
            if cells * self.cell > LONGEST_TRIED:
                raise SettingError(self._mixing(cells // 2))
        least = self._least(max(cells, 4 * max(extent) + 8), *extent)
        field = ReceptiveField(self.cell, *extent, least, self.places)
        self._compare(field)
        return field

    def _smallest_side(self) -> int:
        for side in SIDES:
            try:
                sizes(self.part, self.channels, side, side)
            except BlockpropError as error:
                refused = error
            else:
                return side
        raise SettingError(f"the network takes no picture of another size, so that it cannot work in tiles: {refused}")

    def _repetition(self) -> tuple[int, dict[str, int]]:
        """(pixels in which everything repeats, places of each wanted node in them)."""
        first, second, third = (self._grown(i * GROWTH) for i in range(3))
        cell, along = 1, AXES[self.axis]
        rates: dict[str, dict[int, Fraction]] = {}
        for key, shape in first.items():
            steps = [(b - a, c - b) for a, b, c in zip(shape, second[key], third[key], strict=True)]
            rates[key] = {i: Fraction(step, GROWTH) for i, (step, _) in enumerate(steps) if step}
            cell = math.lcm(cell, *(rate.denominator for rate in rates[key].values()))
            if cell > LARGEST_CELL or any(a != b for a, b in steps):
                raise SettingError(f"the size of {key!r} does not follow the {along} of the picture in even steps")
        for key in self.part.outputs:
            if len(first[key]) != 4 or set(rates[key]) != {self.axis}:
                raise SettingError(
                    f"node {key!r} gives {' x '.join(map(str, first[key]))} for a picture of {self.side} x "
                    f"{self.side}: it has no places that follow the {along} of the picture, so it cannot work in tiles"
                )
        return cell, {key: int(rates[key][self.axis] * cell) for key in self.part.outputs}

    def _grown(self, more: int) -> dict[str, tuple[int, ...]]:
        side, is_rows = self.side, self.axis == 2
        try:
            return sizes(self.part, self.channels, side + more * is_rows, side + more * (not is_rows))
        except BlockpropError as error:
            told = f"the network takes no larger pictures, so that it cannot work in tiles: {error}"
            raise SettingError(told) from None

    def _strip(self, cells: int) -> Tensor:
        """A random picture of so many cells; the same each time."""
        size = (cells * self.cell, self.side) if self.axis == 2 else (self.side, cells * self.cell)
        return fitting(torch.rand(1, self.channels, *size, generator=torch.Generator().manual_seed(cells)), self.part)

    def _spoiled(self, cells: int, start: int, stop: int) -> Tensor:
        """A strip with NaN from cell to cell."""
        x = self._strip(cells)
        x.narrow(self.axis, start * self.cell, (stop - start) * self.cell).fill_(math.nan)
        return x

    def _clean(self, cells: int, start: int, stop: int) -> dict[str, tuple[int, int]]:
        """Of each node, with NaN in these cells: (places, clean places in a run at the end that is not spoiled)."""
        trace = self.part.forward(self._spoiled(cells, start, stop), keep=self.part.outputs)
        clean_places = {}
        for key in self.part.outputs:
            clean = trace[key].isnan().logical_not().movedim(self.axis, 0).flatten(1).all(1).tolist()
            run = itertools.takewhile(bool, clean if start else reversed(clean))
            clean_places[key] = len(clean), sum(1 for _ in run)
        return clean_places

    def _extent(self, cells: int) -> tuple[int, int] | None:
        """(cells before, cells after) of a cell's receptive field; None if hardly any place of the strip is clean."""
        cut, before, after = cells // 2, 0, 0
        for key, (count, clean) in self._clean(cells, 0, cut).items():
            if clean < 2 * self.places[key]:
                return None
            before = max(before, math.ceil((count - clean) / self.places[key]) - cut)
        for key, (count, clean) in self._clean(cells, cut, cells).items():
            if clean < 2 * self.places[key]:
                return None
            # A piece may have fewer places than those that are clean, if something is cut off at its end.
            after = max(after, cut - clean // self.places[key], cells - count // self.places[key])
        return before, after

    def _least(self, cells: int, before: int, after: int) -> int:
        """Cells from which on a piece at either edge has the clean places that it should have, and one to be safe."""
        for least in range(max(before, after) + 1, cells // 2 + 1):
            start = self._clean(cells, least, cells)
            end = self._clean(cells, 0, cells - least)
            if all(
                start[key][1] >= (least - after) * per_cell
                and end[key][1] >= end[key][0] - (cells - least + before) * per_cell
                for key, per_cell in self.places.items()
            ):
                return least + 1
        raise SettingError(self._mixing(cells))

    def _mixing(self, cells: int) -> str:
        """What to say about the first node without any clean place."""
        half, along = cells // 2 * self.cell, AXES[self.axis]
        for start in (0, cells // 2):
            trace = self.part.forward(self._spoiled(cells, start, start + cells // 2))
            for node in self.part.nodes:
                values = [trace[key] for key in node.keys if trace[key].is_floating_point()]
                if values and all(bool(value.isnan().all()) for value in values):
                    return (
                        f"node {node.name!r} ({node.block!r}) mixes all places of a picture, or more than {half} "
                        f"{along} of it: it cannot work in tiles, only on a picture as a whole "
                        "(tile=None)"
                    )
        return (
            f"the places of {', '.join(map(repr, self.part.outputs))} see more than {half} {along} of a picture, or do "
            "not lie like these: no tiles are possible, only the picture as a whole (tile=None)"
        )

    def _compare(self, field: ReceptiveField) -> None:
        """That the places of a piece out of the middle are those of the whole."""
        before, after = field.before, field.after
        inner = max(2, math.ceil(self.side / self.cell) - before - after)
        x = self._strip(before + inner + 2 * after + 3)
        crop = x.narrow(self.axis, self.cell, (before + inner + after) * self.cell)
        whole, piece = (self.part.forward(picture, keep=self.part.outputs) for picture in (x, crop))
        for key, per_cell in self.places.items():
            expected = whole[key].narrow(self.axis, (before + 1) * per_cell, inner * per_cell)
            came = piece[key].narrow(self.axis, before * per_cell, inner * per_cell)
            error = float((came - expected).abs().max())
            if not error <= SAME.get(came.dtype, 0.05) * float(expected.abs().max()):
                raise SettingError(
                    f"node {key!r} gives something else for a piece of a picture than for the whole (by {error:.3g}): "
                    "a block in front of it depends on where it is, so that it cannot work in tiles"
                )
