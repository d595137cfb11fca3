"""Where the numbers of a program lie: pieces of memory, and who uses which part of the arena from when to when."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from blockprop.native.program import Address

FLOAT, ALIGNMENT, SLACK = 4, 64, 256
"""Bytes of a number; of which each part of the arena begins at a multiple; behind it, for reading vectors of it."""


@dataclass(eq=False)
class Buffer:
    """Numbers in a piece of memory.

    count: of numbers, if they lie in the arena: then `first` and `last` are the operations that use them.
    """

    piece: int
    count: int = 0
    start: int = 0
    first: int = -1
    last: int = -1

    def used(self, index: int) -> None:
        """By the operation of this number; operations come in their order."""
        self.first, self.last = (index if self.first < 0 else self.first), index


class Slab(NamedTuple):
    """Numbers of a picture, (n, h, w, c), in a buffer: `ld` from one place to the next, `offset` from its beginning."""

    buffer: Buffer
    shape: tuple[int, int, int, int]
    ld: int
    offset: int = 0

    @property
    def channels(self) -> int:
        return self.shape[3]

    def slice(self, start: int, channels: int) -> "Slab":
        """Some of its channels."""
        return Slab(self.buffer, (*self.shape[:3], channels), self.ld, self.offset + start)

    @property
    def memory(self) -> Address:
        return Address(self.buffer.piece, self.buffer.start + FLOAT * self.offset)


def laid_out(buffers: Iterable[Buffer]) -> int:
    """Give each a place in the arena, where nobody else is meanwhile; returns the bytes of the arena.

    The largest first, each at the lowest place that is free for as long as it lives.
    """
    placed: list[tuple[Buffer, int]] = []
    total = 0
    for buffer in sorted(buffers, key=lambda buffer: -buffer.count):
        size = aligned(buffer.count * FLOAT + SLACK)
        buffer.start = 0
        for start, end in _taken(placed, buffer):
            if start - buffer.start >= size:
                break
            buffer.start = max(buffer.start, end)
        placed.append((buffer, size))
        total = max(total, buffer.start + size)
    return total


def _taken(placed: Iterable[tuple[Buffer, int]], buffer: Buffer) -> Iterator[tuple[int, int]]:
    """Parts of the arena that others have while a buffer lives, from below."""
    meanwhile = [
        (other.start, other.start + size)
        for other, size in placed
        if other.first <= buffer.last and buffer.first <= other.last
    ]
    return iter(sorted(meanwhile))


def aligned(size: int) -> int:
    """The next multiple."""
    return -(-size // ALIGNMENT) * ALIGNMENT
