"""Where the places of a picture lie in what a node gives: in maps (n, c, h, w), in (n, h, w, c), or in rows of tokens.

A shape does not tell: attention has four axes, too. What a tensor holds follows from the blocks that it came through.
Convolutions, pooling and the norms of channels give maps; a norm of the last axis says that it holds the channels; a
row of tokens has places if it is as long as a grid of the picture, beside further tokens (class, registers) whose place
is known from where they were joined to it.
"""

import math
from typing import NamedTuple

from torch import Tensor

from blockprop.blocks import (
    BatchNorm2d,
    Concat,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    Pad,
    RMSNorm,
    Slice,
    Split,
    Transpose,
)
from blockprop.blocks.convolution import _Convolution
from blockprop.blocks.folding import _Shuffle
from blockprop.engine.block import Block
from blockprop.engine.plan import Node
from blockprop.errors import SettingError, shape

Grid = tuple[int, int]
"""(height, width) in places."""
MOST_OTHERS = 16
"""So many tokens at most are none of the grid's."""
FIRST, LAST, TOKENS = "channels first", "channels last", "tokens"
NORMS_OF_LAST = (LayerNorm, RMSNorm)
MAPPING = (_Convolution, _Shuffle, BatchNorm2d, GroupNorm, InstanceNorm, LocalResponseNorm)
ELEMENTWISE = ("activation", "joining", "normalization", "other")
"""Kinds of blocks that leave each place where it is, if their output has the shape of an input."""


class PictureAxes(NamedTuple):
    """Where the places of a picture lie in a tensor: kind (FIRST, LAST or TOKENS), and of tokens where they begin."""

    kind: str
    grid: Grid
    start: int = 0

    def maps(self, y: Tensor) -> Tensor:
        """(n, c, h, w), a view of y as far as that goes; other tokens are left out."""
        if self.kind == FIRST:
            return y
        if self.kind == LAST:
            return y.movedim(3, 1)
        rows, columns = self.grid
        tokens = y[:, self.start : self.start + rows * columns]
        return tokens.transpose(1, 2).reshape(len(y), -1, rows, columns)


class Finder:
    """Watches a forward pass, and says where places lie in what each node gives.

    size: (h, w) of the picture.   grid: the only one that tokens may have, if it is known.
    """

    def __init__(self, input: str, x: Tensor, grid: Grid | None = None):
        self.size, self.grid = (int(x.shape[2]), int(x.shape[3])), grid
        self.count = len(x)
        self.places: dict[str, PictureAxes] = {input: PictureAxes(FIRST, self.size)}
        self.grids: set[Grid] = _patches(self.size) | ({grid} if grid else set())
        self.starts: dict[int, tuple[int, int]] = {}
        """By length of a row of tokens that were joined: where the grid begins in it, and how many places it has."""

    def see(self, node: Node, block: Block, inputs: list[Tensor], outputs: dict[str, Tensor]) -> None:
        """Note what a node gives, after all that stands before it."""
        if isinstance(block, Concat) and inputs[0].dim() == 3 and block.axis % 3 == 1:
            self._join(inputs)
        for key, y in outputs.items():
            places = self._of(node, block, inputs, y) if y.dim() in (3, 4) and len(y) == self.count else None
            if places is not None:
                self.places[key] = places
                self.grids |= _halved(places.grid)

    def _of(self, node: Node, block: Block, inputs: list[Tensor], y: Tensor) -> PictureAxes | None:
        before = [self.places.get(key) for key in node.inputs]
        if isinstance(block, NORMS_OF_LAST) and len(block.shape) == 1:
            return self.of_norm(y)
        maps = isinstance(block, MAPPING) or (block.kind in ("pooling", "image") and not isinstance(block, Pad))
        if y.dim() == 4 and maps:
            return PictureAxes(FIRST, _sides(y, FIRST))
        if isinstance(block, Transpose):
            return _turned(block.axes, before[0], y)
        same = [places for places, x in zip(before, inputs, strict=True) if places and _alike(block, x, y)]
        if not same:
            return None
        return same[0] if same[0].kind == TOKENS else PictureAxes(same[0].kind, _sides(y, same[0].kind))

    def of_norm(self, y: Tensor) -> PictureAxes | None:
        """Places in a tensor whose last axis holds the channels, if it has any."""
        if y.dim() == 4:
            sides = _sides(y, LAST)
            return PictureAxes(LAST, sides) if sides in self.grids else None
        length = int(y.shape[1])
        all_are_places = length not in self.starts and any(h * w == length for h, w in self.grids)
        if self.grid is not None and math.prod(self.grid) != length and all_are_places:
            return None
        possible = self.grids if self.grid is None else {self.grid}
        fitting = {(length - h * w, (h, w)) for h, w in possible if 0 <= length - h * w <= MOST_OTHERS}
        fewest = min((others for others, _ in fitting), default=0)
        grids = [grid for others, grid in fitting if others == fewest]
        if len(grids) != 1:
            return None
        start, count = self.starts.get(length, (0 if self.grid is None else fewest, length - fewest))
        joined = length in self.starts or self.grid is not None or fewest == 0
        return PictureAxes(TOKENS, grids[0], start) if joined and count == math.prod(grids[0]) else None

    def said(self, node: str, y: Tensor) -> PictureAxes:
        """Where places lie in what a node gives, as it is known or as the grid says. SettingError if it is neither."""
        known = self.places.get(node)
        if known is not None and self.grid in (None, known.grid):
            return known
        if self.grid is not None:
            for kind in (FIRST, LAST) if y.dim() == 4 else ():
                if _sides(y, kind) == self.grid:
                    return PictureAxes(kind, self.grid)
            others = y.shape[1] - math.prod(self.grid)
            if y.dim() == 3 and others >= 0:
                start, count = self.starts.get(int(y.shape[1]), (others, 0))
                return PictureAxes(TOKENS, self.grid, start if count == math.prod(self.grid) else others)
            raise SettingError(
                f"a grid of {self.grid[0]} x {self.grid[1]} does not fit {node!r}, which gives {shape(y)}"
            )
        if places := self.of_norm(y) if y.dim() == 3 else None:
            return places
        text = f"Grad-CAM needs a node with channels, height and width; {node!r} gives {shape(y)}"
        if y.dim() < 3:
            raise SettingError(text)
        raise SettingError(f"{text}, whose axes may be others; say which places these are, grid=(height, width)")

    def _join(self, inputs: list[Tensor]) -> None:
        """Note where the grid begins in tokens that are joined: in the longest part that may be one."""
        lengths = [int(x.shape[1]) for x in inputs]
        grids = {h * w: (0, h * w) for h, w in self.grids if h * w > 1} | self.starts
        longest = max((length for length in lengths if length in grids), default=None)
        if longest is not None and lengths.count(longest) == 1:
            start, places = grids[longest]
            before = sum(lengths[: lengths.index(longest)])
            self.starts.setdefault(sum(lengths), (before + start, places))


def _sides(y: Tensor, kind: str) -> Grid:
    rows, columns = y.shape[2:] if kind == FIRST else y.shape[1:3]
    return int(rows), int(columns)


def _alike(block: Block, x: Tensor, y: Tensor) -> bool:
    """Whether a block leaves the places of x where they are in y: all of them, or a part."""
    if x.dim() != y.dim():
        return False
    if isinstance(block, Slice | Split | Pad):
        return y.dim() == 4
    if isinstance(block, Concat):
        return y.dim() == 4 and block.axis % 4 in (1, 3)
    if isinstance(block, Linear):
        return x.shape[:-1] == y.shape[:-1]
    return block.kind in ELEMENTWISE and x.shape == y.shape


def _turned(axes: tuple[int, ...], before: PictureAxes | None, y: Tensor) -> PictureAxes | None:
    order = tuple(axis % len(axes) for axis in axes)
    if before and before.kind == FIRST and order == (0, 2, 3, 1):
        return PictureAxes(LAST, _sides(y, LAST))
    if before and before.kind == LAST and order == (0, 3, 1, 2):
        return PictureAxes(FIRST, _sides(y, FIRST))
    return None


def _patches(size: Grid) -> set[Grid]:
    """The grids of square patches that a picture can be cut into."""
    height, width = size
    return {(height // p, width // p) for p in range(2, min(size) + 1) if height % p == width % p == 0} - {(1, 1)}


def _halved(grid: Grid) -> set[Grid]:
    """The grid, and what is left of it when it is halved again and again, as between the stages of a network."""
    grids = set()
    while max(grid) > 1:
        grids.add(grid)
        grid = (-(-grid[0] // 2), -(-grid[1] // 2))
    return grids
