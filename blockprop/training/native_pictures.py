"""Pictures as kernels in C read them, (n, c, h, w) with the channels of a place side by side, and memory for them."""

import weakref
from typing import Any

import torch
from torch import Tensor

from blockprop.native.memory import floats, is_in_memory
from blockprop.preparing.native.writing import Extent

LINE = 16
"""Numbers that kernels read at once, behind the last of a picture, too."""


def is_taken(x: Tensor) -> bool:
    """Whether kernels take its numbers."""
    return x.dim() == 4 and x.dtype is torch.float32 and is_in_memory(x) and x.numel() > 0


def lies_so(x: Tensor) -> bool:
    """Whether they may read it where it lies."""
    _, c, h, w = x.shape
    behind = x.untyped_storage().nbytes() - 4 * (x.storage_offset() + x.numel())
    return x.stride() == (h * w * c, 1, w * c, c) and (c % LINE == 0 or behind >= 4 * LINE)


def extent(x: Tensor) -> Extent:
    n, c, h, w = x.shape
    return n, h, w, c


class Pictures:
    """Memory for pictures, used again as soon as the last tensor that lies in it is gone.

    Each step wants what the one before it wanted. Memory that goes back to the system in between comes page by page:
    for a network of convolutions that was up to a third of the step.
    """

    def __init__(self) -> None:
        self._free: list[Any] = []

    def new(self, shape: Extent) -> Tensor:
        """Numbers that nobody has set yet."""
        n, h, w, c = shape
        count = n * h * w * c + LINE
        fitting = [i for i, memory in enumerate(self._free) if count <= memory.size <= 2 * count]
        best = min(fitting, key=lambda i: int(self._free[i].size), default=None)
        memory = floats(count).numpy() if best is None else self._free.pop(best)
        lent = memory[:]  # a tensor's memory keeps it, however many views there are
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return torch.from_numpy(lent).as_strided((n, c, h, w), (h * w * c, 1, w * c, c))

    def laid_out(self, x: Tensor) -> Tensor:
        """x itself, or a copy that kernels may read."""
        return x if lies_so(x) else self.new(extent(x)).copy_(x)
