"""What one process finds out about its own work: seconds, page faults, memory."""

import resource
import time
from collections.abc import Callable

from blockprop.preparing.resident import ResidentPeak

Step = Callable[[], object]


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
    """Bytes by which the process grows at the worst moment of its first calls.

    seconds: after which no further call is begun.   None where the system does not tell.
    """
    peak = ResidentPeak()
    if not peak.is_exact:
        return None
    end = time.perf_counter() + seconds
    for number in range(calls):
        if number == 0 or time.perf_counter() < end:
            step()
    return peak.taken()
