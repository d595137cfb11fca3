"""The processes that train one network together, as torchrun starts them: who they are, and what they tell each other.

    torchrun --standalone --nproc-per-node=2 train.py

torch.distributed carries what they say: gloo between CPUs, nccl between GPUs.
"""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from blockprop.errors import BlockpropError, SettingError

ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells its processes."""
STEP_SECONDS = 20.0
"""How long the others wait for a process that does not come: what it does between two steps may take so long."""
START_SECONDS = 600.0
"""How long they wait for it before the first step: data are read in the meantime."""
ROLL_CALL_SECONDS = 3.0
"""How long it takes to find out who is missing."""
LOOK_SECONDS = 1.0
"""How often who waits looks whether others have given up."""
FAILED = "failed"
"""What the first process that notices leaves for the others."""
_opened = 0
"""Groups that this process has made so far: each has a place of its own where addresses are exchanged."""

T = TypeVar("T")


class RankError(BlockpropError):
    """The processes of a training cannot go on together: all raise it."""

    is_of_stopping = False
    """Whether somebody wanted this process to stop before it came to that."""


def ranks_for(distributed: bool | None) -> "Ranks | None":
    """The processes that train together, None for this one alone.

    distributed: None for whatever torchrun's environment, or a process group that is there, says.
    Raises SettingError for True where there is neither.
    """
    if distributed is False:
        return None
    if dist.is_available() and dist.is_initialized():
        ranks = Ranks(dist.get_rank(), dist.get_world_size())
    elif all(name in os.environ for name in ENVIRONMENT):
        ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    elif distributed:
        raise SettingError(
            "distributed=True is for processes that torchrun has started (docs/training.md), "
            "or that have a process group of torch.distributed; here is neither"
        )
    else:
        return None
    return ranks if ranks.count > 1 or distributed else None


class Ranks:
    """This process among those that train together.

    rank: its number, from 0 on.   count: how many there are.
    `open` makes the process group, or one like that which is there, and `close` ends what `open` has made.
    """

    def __init__(self, rank: int, count: int):
        self.rank, self.count = rank, count
        self.is_stopping: Callable[[], bool] = bool
        """Whether somebody wants this process to stop: then the others are gone for the same reason."""
        self._group: Any = None
        self._store: Any = None
        self._looks = False

    def __repr__(self) -> str:
        return f"rank {self.rank} of {self.count} processes"

    def open(self, device: torch.device) -> None:
        """Meet the others: in a process group that is there, with its own timeout, or in a new one.

        Raises RankError if they cannot be met where torchrun says.
        """
        if dist.is_initialized():
            return
        try:
            self._meet("gloo" if device.type == "cpu" else "nccl")
        except RuntimeError as error:
            place = ":".join(os.environ[name] for name in ENVIRONMENT[2:])
            raise RankError(
                f"rank {self.rank} of {self.count} cannot meet the others at {place}: {_line(error)}"
            ) from error

    def _meet(self, backend: str) -> None:
        global _opened
        start = timedelta(seconds=START_SECONDS)
        found, _, _ = next(iter(dist.rendezvous("env://", timeout=start)))
        self._store = dist.PrefixStore(f"blockprop {_opened}", found)
        _opened += 1
        dist.init_process_group(backend, store=self._store, rank=self.rank, world_size=self.count, timeout=start)
        self._group = dist.new_group(timeout=timedelta(seconds=STEP_SECONDS))
        self._looks = backend == "gloo"  # nccl gives up at the first look

    def close(self) -> None:
        """Leave the others."""
        if self._group is not None:
            dist.destroy_process_group()
        self._group, self._store, self._looks = None, None, False

    def start_sum(self, numbers: Tensor) -> Any:
        """Begin to add up the same tensor of all processes, in place. `wait` for what comes back before reading it."""
        return self._asked(lambda: dist.all_reduce(numbers, group=self._group, async_op=True))

    def wait(self, work: Any) -> None:
        """Until what was begun is done."""
        self._asked(lambda: self._watched(work))

    def _watched(self, work: Any) -> None:
        """Wait, and look meanwhile whether another process has noticed that one is missing.

        Those that wait for a process which has noticed would not hear of it otherwise.
        """
        while self._looks:
            try:
                work.wait(timedelta(seconds=LOOK_SECONDS))
                return
            except RuntimeError:
                if work.is_completed() or self._store.check([FAILED]):
                    raise
        work.wait()

    def gather(self, numbers: Tensor) -> Tensor:
        """The same tensor of all processes, in their order: (processes, …)."""
        parts = [torch.empty_like(numbers) for _ in range(self.count)]
        own = numbers.contiguous()
        self.wait(self._asked(lambda: dist.all_gather(parts, own, group=self._group, async_op=True)))
        return torch.stack(parts)

    def sum(self, numbers: list[float], device: torch.device) -> list[float]:
        """These numbers of all processes, each added up."""
        total = torch.tensor(numbers, dtype=torch.float64, device=device)
        self.wait(self.start_sum(total))
        found: list[float] = total.tolist()
        return found

    def sum_rows(self, rows: list[list[float]], device: torch.device) -> list[list[float]]:
        """Rows of equally many numbers, of which each process has filled in some and left 0 in the others."""
        numbers, width = self.sum([number for row in rows for number in row], device), len(rows[0])
        return [numbers[first : first + width] for first in range(0, len(numbers), width)]

    def texts(self, text: str, device: torch.device) -> list[str]:
        """This text of all processes, in their order."""
        own = torch.frombuffer(bytearray(text.encode() + b"\0"), dtype=torch.uint8).to(device)
        sizes = self.gather(torch.tensor([len(own)], device=device)).flatten().tolist()
        padded = torch.zeros(max(sizes), dtype=torch.uint8, device=device)
        padded[: len(own)] = own
        return [
            part[: size - 1].cpu().numpy().tobytes().decode()
            for part, size in zip(self.gather(padded), sizes, strict=True)
        ]

    def _asked(self, ask: Any) -> Any:
        """What it gives; RankError that names who is missing if it fails."""
        try:
            return ask()
        except RuntimeError as error:
            raise self._missing(error) from error

    def _missing(self, error: RuntimeError) -> RankError:
        """Who is not there any more: all others come to the store within a moment, and say so."""
        is_of_stopping = self.is_stopping()
        there = None if self._store is None or is_of_stopping else self._roll_call()
        if there is None:
            who = "another process has ended, or does not answer"
        elif len(there) == self.count:
            who = f"the processes do not understand each other ({_line(error)})"
        else:
            names = ", ".join(str(rank) for rank in range(self.count) if rank not in there)
            who = f"rank {names} of {self.count} has ended, or has not answered for {STEP_SECONDS:g} seconds"
        goes_on = "training cannot go on; a checkpoint, if there is one, can be resumed"
        said = self.error(f"{who}: {goes_on}", min(there or {self.rank}))
        said.is_of_stopping = is_of_stopping
        return said

    def error(self, said: str, teller: int = 0) -> RankError:
        """What all processes raise, and one of them tells."""
        error = RankError(said)
        error.is_told_here = self.rank == teller
        return error

    def _roll_call(self) -> set[int] | None:
        """The processes that are there; None if the place where they meet has gone, as it does with rank 0."""
        keys = {rank: f"there/{rank}" for rank in range(self.count)}
        there = {self.rank}
        try:
            self._store.set(FAILED, "")
            self._store.set(keys[self.rank], "")
            until = time.monotonic() + ROLL_CALL_SECONDS
            while len(there) < self.count and time.monotonic() < until:
                there |= {rank for rank, key in keys.items() if rank not in there and self._store.check([key])}
                time.sleep(0.05)
        except RuntimeError:  # in the end it may be gone for others who have seen enough
            return there if len(there) > 1 else None
        return there


def _line(error: Exception) -> str:
    """The first line of what torch says."""
    return (str(error).splitlines() or [type(error).__name__])[0]
