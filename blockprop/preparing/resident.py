"""What a piece of work is expected to take of memory, and what it did take, as the system tells."""

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from blockprop.engine.room import in_bytes

PROCESS = Path("/proc/self")
FROM_NOW_ON = "5"
"""Written to clear_refs, it makes the peak of resident memory begin anew (proc(5))."""


class Expected(NamedTuple):
    """What a step, or a gradient, is expected to take beside the weights.   bytes: at most.   how: in which pieces"""

    bytes: int
    how: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (f"{in_bytes(self.bytes)} expected beside the weights", self.how)))


class ResidentPeak:
    """By how much memory grows at the worst moment from now on, without files that are mapped (code).

    On a GPU its tensors are counted. On the CPU it is the resident memory of the whole process, so that other work that
    it does meanwhile counts, too. Where Linux tells it in /proc, it is the peak above what is there now; elsewhere the
    growth of the highest peak since the process began, which is less if there was a higher one before.
    """

    is_exact = True
    """Whether the peak is from now on."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
            return
        if sys.platform == "linux":
            with suppress(OSError, AttributeError):  # another C library
                ctypes.CDLL(None).malloc_trim(0)
        self._highest = _highest()
        self.is_exact = _begins_anew()
        self._status = _status() if self.is_exact else {}

    def taken(self) -> int | None:
        """Bytes, so far; None where nothing tells."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self._before
        if self.is_exact:
            before, now = self._status, _status()
            return max(0, now["VmHWM"] - before["VmRSS"] - (now["RssFile"] - before["RssFile"]))
        highest = _highest()
        grown = 0 if highest is None or self._highest is None else highest - self._highest
        return grown or None


def _begins_anew() -> bool:
    """Whether the system's peak is from now on."""
    with suppress(OSError, KeyError, ValueError):
        (PROCESS / "clear_refs").write_text(FROM_NOW_ON)
        status = _status()
        return bool(status["VmRSS"] and status["RssFile"]) and status["VmHWM"] < 1.1 * status["VmRSS"]
    return False


def _status() -> dict[str, int]:
    """What /proc says of memory, in bytes."""
    lines = (line.split() for line in (PROCESS / "status").read_text().splitlines())
    return {name.rstrip(":"): 1024 * int(rest[0]) for name, *rest in lines if rest[1:] == ["kB"]}


def _highest() -> int | None:
    """The highest peak since the process began, in bytes."""
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None
