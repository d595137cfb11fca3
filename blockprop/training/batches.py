"""The batches of an epoch: their sizes, and their order."""

import torch
from torch import Tensor

LARGE_DATA = 500_000
"""Numbers in x above which an epoch's batches are fetched one by one and not copied into their order beforehand."""


class Batches:
    """The examples in batches, in another order in each epoch.

    sizes: of an epoch's batches.   len(batches): how many examples there are.
    """

    def __init__(self, x: Tensor, y: Tensor, batch_size: int, seed: int):
        self.x, self.y, self.seed = x.detach(), y.detach(), seed
        self.sizes = batch_sizes(len(x), batch_size)
        self.is_large = x.numel() > LARGE_DATA
        self._epoch = 0
        self._parts: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self.x)

    def get(self, epoch: int, position: int) -> tuple[Tensor, Tensor]:
        """x and y of one batch. They are views, which the next epoch fills with other numbers."""
        if self._epoch != epoch:
            self._shuffle(epoch)
        x, y = self._parts[position]
        return (self.x.index_select(0, x), y) if self.is_large else (x, y)

    def whole(self, epoch: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """All examples of an epoch in its order: (x, which of its rows they are, y), None for the rows in turn."""
        if self._epoch != epoch:
            self._shuffle(epoch)
        return (self.x, self._rows, self._targets) if self.is_large else (self._rows, None, self._targets)

    def number(self, epoch: int, position: int, row: int) -> int:
        """Which example of the data stands in this row of a batch, counted from 0."""
        order = shuffled(len(self.x), self.seed, epoch)
        return int(order.split(self.sizes)[position][row])

    @torch.no_grad()
    def _shuffle(self, epoch: int) -> None:
        """Put the epoch's order into `_parts`, views of tensors that are made once: of x, or of its row numbers."""
        order = shuffled(len(self.x), self.seed, epoch).to(self.x.device)
        if not self._parts:
            self._rows = torch.empty_like(order) if self.is_large else torch.empty_like(self.x)
            self._targets = torch.empty_like(self.y)
            parts = self._rows.split(self.sizes), self._targets.split(self.sizes)
            self._parts = list(zip(*parts, strict=True))
        if self.is_large:
            self._rows.copy_(order)
        else:
            torch.index_select(self.x, 0, order, out=self._rows)
        torch.index_select(self.y, 0, order, out=self._targets)
        self._epoch = epoch


def batch_sizes(examples: int, batch_size: int) -> list[int]:
    """The sizes of an epoch's batches. A single left-over example joins the batch before: its statistics are none."""
    whole, rest = divmod(examples, batch_size)
    sizes = [batch_size] * whole + [rest] * (rest > 0)
    joined = len(sizes) > 1 and sizes[-1] == 1 < batch_size
    return [*sizes[:-2], sizes[-2] + 1] if joined else sizes


def shuffled(count: int, seed: int, epoch: int) -> Tensor:
    """The order of the examples in an epoch, a function of seed and epoch alone."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
