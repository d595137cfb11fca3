"""A program while it is written: operations one after the other, on views of memory."""

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.native.program import GATE, KEEP, Address, Kind, Op, listed, op
from blockprop.preparing.native.arena import FLOAT, SLACK, Buffer, Slab, aligned, laid_out

ARENA, SAVED, OTHERS = 0, 1, 2
"""Pieces of memory: where programs work; what the way forward leaves for the way back; then those of a call, and
weights."""
Extent = tuple[int, int, int, int]
"""(n, h, w, c)"""


class Bytes(NamedTuple):
    """Bits or places that are saved: where they begin, and bytes from one place of the picture to the next."""

    start: int
    step: int

    @property
    def memory(self) -> Address:
        return Address(SAVED, self.start)

    def part(self, channels: int) -> "Bytes":
        """Bits of what stands behind so many channels, a multiple of 8."""
        return Bytes(self.start + channels // 8, self.step)


class Compiled(NamedTuple):
    """What C carries out.

    ops: the list.   others: pieces that a call brings.   constants: weights and distances, the pieces behind them.
    places: where these are in memory.   arena: bytes.
    """

    ops: Any
    others: int
    constants: tuple[Tensor, ...]
    places: tuple[int, ...]
    arena: int

    def __repr__(self) -> str:
        return brief_repr(self)

    def addresses(self, *pieces: int) -> Any:
        """Of all pieces, given those of the arena, of what is saved, and of what the call brings."""
        return (ctypes.c_void_p * (len(pieces) + len(self.places)))(*pieces, *self.places)


class OpWriter:
    """Takes operations.

    width: columns of a panel.   others: how many pieces a call brings.
    """

    def __init__(self, width: int, others: int):
        self.width, self.others = width, others
        self.constants: list[Tensor] = []
        self._places: dict[int, Address] = {}
        self._ops: list[Op] = []
        self._views: list[dict[str, Slab]] = []
        self._buffers: list[Buffer] = []

    def room(self, shape: Extent) -> Slab:
        """New memory in the arena."""
        n, h, w, c = shape
        buffer = Buffer(ARENA, n * h * w * c)
        self._buffers.append(buffer)
        return Slab(buffer, shape, c)

    def constant(self, tensor: Tensor) -> Address:
        """Where that is found; the same tensor once."""
        if id(tensor) not in self._places:
            self._places[id(tensor)] = Address(OTHERS + self.others + len(self.constants), 0)
            self.constants.append(tensor)
        return self._places[id(tensor)]

    def write(
        self,
        kind: Kind,
        x: Slab,
        y: Slab,
        add: Slab | None = None,
        kept: Bytes | None = None,
        gate: Bytes | None = None,
        flags: int = 0,
        **fields: Any,
    ) -> Slab:
        """Add an operation from x to y.   kept: where its bits are kept.   gate: bits by which y is 0 or not"""
        bits = kept or gate
        flags |= (KEEP if kept else 0) | (GATE if gate else 0)
        sizes = {
            name: size for view, names in ((x, "n h w c"), (y, "n oh ow oc")) for name, size in _sizes(view, names)
        }
        fields = {"gh": y.shape[1], "gw": y.shape[2], "ystep": 1, "xstep": 1, "sy": 1, "sx": 1} | sizes | fields
        made = op(kind, x_ld=x.ld, y_ld=y.ld, flags=flags, **fields)
        if bits:
            made.bits, made.bits_ld = bits.memory, bits.step
        views = {"x": x, "y": y}
        if add:
            views["add"] = add
            made.add_ld = add.ld
        for view in views.values():
            view.buffer.used(len(self._ops))
        self._ops.append(made)
        self._views.append(views)
        return y

    def program(self, scratch: Callable[[Op], int]) -> Compiled:
        """All of it, with a place for everything.   scratch: the bytes that an operation works in beside x and y"""
        works = [Buffer(ARENA, -(-scratch(made) // FLOAT), first=i, last=i) for i, made in enumerate(self._ops)]
        used = laid_out(buffer for buffer in (*self._buffers, *works) if buffer.first >= 0)
        for made, views, work in zip(self._ops, self._views, works, strict=True):
            for name, view in views.items():
                setattr(made, name, view.memory)
            made.scratch = Address(ARENA, work.start)
        places = tuple(tensor.data_ptr() for tensor in self.constants)
        return Compiled(listed(self._ops), self.others, tuple(self.constants), places, used + SLACK)

    def __len__(self) -> int:
        return len(self._ops)


def _sizes(view: Slab, names: str) -> list[tuple[str, int]]:
    return list(zip(names.split(), view.shape, strict=True))


class Saving:
    """Counts the bytes that the way forward leaves for the way back."""

    def __init__(self, width: int):
        self.width, self.size = width, 0

    def bits(self, view: Slab) -> Bytes:
        """A bit for each number of a picture."""
        return self._bytes(view, self._columns(view) // 8)

    def places(self, view: Slab) -> Bytes:
        """A byte for each."""
        return self._bytes(view, self._columns(view))

    def _columns(self, view: Slab) -> int:
        return -(-view.channels // self.width) * self.width

    def _bytes(self, view: Slab, step: int) -> Bytes:
        n, h, w, _ = view.shape
        start, self.size = self.size, aligned(self.size + n * h * w * step + SLACK)
        return Bytes(start, step)
