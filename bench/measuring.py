"""What one process finds out about its own work: seconds, page faults, memory."""

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

Step = Callable[[], object]
PROCESS = Path("/proc/self")


def timed(step: Step, seconds: float) -> list[tuple[float, int]]:
    """(seconds, page faults) of each call, for so long; at least of one."""
    calls: list[tuple[float, int]] = []
    end = time.perf_counter() + seconds
    while not calls or time.perf_counter() < end:
        faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        step()
        took = time.perf_counter() - start
        calls.append((took, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults))
    return calls


def process_peak(step: Step, calls: int = 3, seconds: float = 1.0) -> int | None:
    """Bytes by which the process grows at the worst moment of its first calls, without files that it maps (code).

    seconds: after which no further call is begun.   None where the system is not Linux, which alone tells.
    """
    if sys.platform != "linux":
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    (PROCESS / "clear_refs").write_text("5")  # the peak begins anew
    before = _status()
    end = time.perf_counter() + seconds
    for number in range(calls):
        if number == 0 or time.perf_counter() < end:
            step()
    after = _status()
    return max(0, after["VmHWM"] - before["VmRSS"] - (after["RssFile"] - before["RssFile"]))


def _status() -> dict[str, int]:
    lines = (line.split() for line in (PROCESS / "status").read_text().splitlines())
    return {name.rstrip(":"): 1024 * int(rest[0]) for name, *rest in lines if rest[1:] == ["kB"]}
