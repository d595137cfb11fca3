"""A step of training whose batch several processes share: each goes through its rows, and all make the same update."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.batch_normalizing import BatchNorm
from blockprop.engine.means import BatchMean, shares
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.shared_batch import SharedBatch
from blockprop.errors import SettingError
from blockprop.training.buckets import Summing
from blockprop.training.ranks import Ranks
from blockprop.training.settings import Settings
from blockprop.training.step import Gradients, TrainingStep


class SharedStep(TrainingStep):
    """What each process does with every batch, all of which it is given.

    The gradients of all are summed while the sweep goes on, and the update is made from the sums: so whatever follows
    (clipping, any optimizer) is what one process does. Running statistics become the means of all processes', by how
    many rows each has.

    wants_to_stop: asks, in each step, whether this process is to stop after it.   is_to_stop: whether one of them is.
    """

    def __init__(self, network: Network, objective: Objective, optimizer: Any, settings: Settings, ranks: Ranks):
        super().__init__(network, objective, optimizer, settings)
        self.ranks, self.device = ranks, next(iter(self.parameters.values())).device
        self.wants_to_stop: Callable[[], bool] = bool
        self.is_to_stop = False
        synchronized = settings.sync_batch_norm
        blocks = network.unique_blocks.values()
        self.batch = SharedBatch(ranks.gather)
        self.sharing = [b for b in blocks if hasattr(b, "batch") and (synchronized or not isinstance(b, BatchNorm))]
        own = any(isinstance(block, BatchNorm) for block in blocks) and not synchronized
        self.least = 2 if own else 1
        """Rows of which a process has so many, or none: the statistics of a single one are none."""
        _require_random_rows(network)
        if settings.batch_size < ranks.count * self.least:
            why = " of which batch normalization takes the statistics (or sync_batch_norm=True)" if own else ""
            raise SettingError(
                f"batch_size {settings.batch_size} is that of all {ranks.count} processes: expected at least "
                f"{ranks.count * self.least}, {self.least} for each{why}"
            )
        buffers = {id(buffer): buffer for _, block in self.remembering for buffer in block.buffers.values()}
        self.buffers = list(buffers.values())
        plan = network.backward_plan(self.nodes, self.trained)
        names = [title for step in plan if step.is_last_use for _, title in step.gradients_wanted]
        self.summing = Summing(names, self.parameters, ranks.start_sum, ranks.wait, self._sum)

    def _sum(self, numbers: list[float]) -> list[float]:
        return self.ranks.sum(numbers, self.device)

    def share(self) -> None:
        """From now on the blocks know that a batch is shared."""
        for block in self.sharing:
            block.batch = self.batch

    def end_sharing(self) -> None:
        for block in self.sharing:
            block.batch = None

    def _pass(self, x: Tensor, y: Tensor, factors: list[float] | None = None) -> tuple[list[float], Gradients]:
        first, last = rows_of(self.ranks, len(x), self.least)
        self.batch.first, self.batch.rows, self.batch.total = first, last - first, len(x)
        own_x, own_y, mean = x[first:last], y[first:last], BatchMean(self.objective)
        sweep: Gradients = ()
        if last > first or self.settings.sync_batch_norm:
            values, sweep = super()._pass(own_x, own_y, shares(self.objective, own_y, y, factors))
            mean.add(values if last > first else [0.0] * len(values), own_y)
        self._hear(mean, (last - first) / len(x))
        if len(x) < self.ranks.count * self.least:
            self._draw_level()
        return mean.values, sweep

    def _draw_level(self) -> None:
        """Where some had nothing to draw random numbers for, all go on as the first process does."""
        for generator in self.network.generators.values():
            state = generator.get_state()
            generator.set_state(self.ranks.gather(state.to(self.device))[0].to(state.device))

    def _hear(self, mean: BatchMean, share: float) -> None:
        """Make the values, the running statistics and the wish to stop those of all processes."""
        numbers = torch.tensor(
            [*mean.sums, *mean.weights, float(self.wants_to_stop())], dtype=torch.float64, device=self.device
        )
        buffers = [share * buffer.double().flatten() if share else self._nothing(buffer) for buffer in self.buffers]
        total = torch.cat([numbers, *buffers])
        self.ranks.wait(self.ranks.start_sum(total))
        terms, said = len(mean.sums), total[: len(numbers)].tolist()
        mean.sums, mean.weights, self.is_to_stop = said[:terms], said[terms:-1], said[-1] > 0
        parts = total[len(numbers) :].split([buffer.numel() for buffer in self.buffers])
        for buffer, part in zip(self.buffers, parts, strict=True):
            buffer.copy_((part if buffer.is_floating_point() else part.round()).view(buffer.shape))

    def _nothing(self, buffer: Tensor) -> Tensor:
        return torch.zeros(buffer.numel(), dtype=torch.float64, device=self.device)

    def _descend(self, sweep: Gradients) -> None:
        super()._descend(self.summing.summed(sweep))


def rows_of(ranks: Ranks, rows: int, least: int = 1) -> tuple[int, int]:
    """The first row of this process, and that after its last one: as even a part of the batch as can be.

    least: so many rows a process has, or none.
    """
    count = min(ranks.count, max(1, rows // least))
    if ranks.rank >= count:
        return rows, rows
    each, more = divmod(rows, count)
    first = ranks.rank * each + min(ranks.rank, more)
    return first, first + each + (ranks.rank < more)


def _require_random_rows(network: Network) -> None:
    """SettingError for blocks whose random numbers would be the same in each process."""
    for name, block in network.unique_blocks.items():
        if hasattr(block, "generator") and not hasattr(block, "batch") and getattr(block, "dropout", True):
            raise SettingError(
                f"node {name!r}: {block!r} draws its random numbers for a whole batch, which several "
                "processes cannot share (but for Dropout): train with distributed=False"
            )
