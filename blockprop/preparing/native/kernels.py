"""The kernels in C as prepared networks call them."""

import ctypes
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from blockprop.errors import NativeError
from blockprop.native.library import Library, library, torch_parallel_for
from blockprop.native.memory import bytes_, floats, is_in_memory
from blockprop.native.program import Op
from blockprop.native.sources import SWITCH
from blockprop.preparing.native.writing import Compiled, OpWriter

KEPT = 2**28
"""Bytes of all of them; where one takes more, to have it made anew is a small part of the work."""
PIECE = 2**20
"""Bytes that one thread adds up at once."""
MOST = 4
"""Arenas that are kept for the next run; more are in use only where more threads of Python run networks."""


class Kernels:
    """Those of one instruction set.   width: columns of a panel, and channels that are read at once"""

    def __init__(self, found: Library):
        self._library, self.set = found, found.set
        self.width = 2 * int(found.function("vector", returns=ctypes.c_int64)())
        self._run = found.function(
            "run", ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p
        )
        self._sum_words = found.function(
            "sum_words", ctypes.c_int64, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_void_p
        )
        self._scratch = found.function("scratch", ctypes.c_void_p, ctypes.c_int64, returns=ctypes.c_int64)

    def call(self, name: str, *arguments: Tensor | int) -> None:
        """A function of C that takes these, and then the number of threads and Parallel (vector.h)."""
        numbers = [each if isinstance(each, int) else each.data_ptr() for each in arguments]
        kinds = [ctypes.c_int64 if isinstance(each, int) else ctypes.c_void_p for each in arguments]
        function = self._library.function(name, *kinds, ctypes.c_int64, ctypes.c_void_p)
        function(*numbers, torch.get_num_threads(), torch_parallel_for())

    def program(self, writer: OpWriter, threads: int) -> Compiled:
        """What was written, for so many threads."""
        return writer.program(lambda op: self.scratch(op, threads))

    def scratch(self, op: Op, threads: int) -> int:
        """Bytes in which an operation works."""
        return int(self._scratch(ctypes.byref(op), threads))

    def sums(self, addresses: Sequence[int], sizes: Sequence[int]) -> list[int]:
        """Over memory, modulo 2⁶⁴, one of each PIECE, as sums.c says.   sizes: in bytes"""
        parts = [
            (address + start, min(PIECE, size - start))
            for address, size in zip(addresses, sizes, strict=True)
            for start in range(0, size, PIECE)
        ]
        addresses, sizes = [part[0] for part in parts], [part[1] for part in parts]
        count = len(parts)
        sums = (ctypes.c_uint64 * count)()
        where, bytes_of = (ctypes.c_void_p * count)(*addresses), (ctypes.c_int64 * count)(*sizes)
        self._sum_words(count, where, bytes_of, sums, torch.get_num_threads(), torch_parallel_for())
        return [*sums]

    def run(self, program: Compiled, threads: int, saved: Tensor, others: Sequence[Tensor]) -> None:
        """Carry it out. NativeError for numbers of another type, which no caller brings."""
        if not all(is_in_memory(tensor) and tensor.dtype is torch.float32 for tensor in others):
            raise NativeError("kernels in C were given what are no pictures of torch.float32 in memory")
        with _arena(program.arena) as arena:
            pieces = program.addresses(arena.data_ptr(), saved.data_ptr(), *(tensor.data_ptr() for tensor in others))
            self._run(program.ops, len(program.ops), pieces, threads, torch_parallel_for())


@cache
def _asked(_: str | None) -> Kernels | None:
    found = library()
    return None if found is None else Kernels(found)


def kernels() -> Kernels | None:
    """Those that this machine has; None where torch does all. The same as long as nobody asks for another set."""
    return _asked(os.environ.get(SWITCH))


_free: list[Tensor] = []
_guard = threading.Lock()


@contextmanager
def _arena(size: int) -> Iterator[Tensor]:
    """Memory for one run, used again for the next."""
    with _guard:
        arena = _free.pop() if _free else None
    if arena is None or len(arena) < size:
        arena = None  # before the new one is made
        arena = bytes_(size)
    yield arena
    with _guard:
        if len(_free) < MOST and sum(map(len, _free)) + len(arena) <= KEPT:
            _free.append(arena)


def release() -> None:
    """Give back the memory that is kept for the next run."""
    with _guard:
        _free.clear()


def picture(shape: tuple[int, int, int, int], slack: int = 64) -> Tensor:
    """New memory, (n, c, h, w), with the channels of a place beside each other, and room behind them for a vector."""
    n, h, w, c = shape
    numbers: Any = floats(n * h * w * c + slack)
    return numbers.as_strided((n, c, h, w), (h * w * c, 1, w * c, c))
