"""All ways of a row, each in a process of its own, taking turns; after a guard that they compute the same."""

import json
import os
import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from speed_row import Row
from worker import ROOT, Worker

OURS = "ours"
REST = 0.02
"""Seconds between two turns: threads of the last one may spin for as long."""
TURN, TURNS = 0.25, 3
"""Seconds of a turn, and how many each has at least."""


def settings(threads: int) -> dict[str, str]:
    """What tells a process how many threads it may have."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **dict.fromkeys(names, str(threads)),
        "TORCHINDUCTOR_CACHE_DIR": str(ROOT / "build" / "inductor"),
        "KINETO_LOG_LEVEL": "99",  # torch's profiler talks
        "TF_CPP_MIN_LOG_LEVEL": "2",  # and XLA
    }


def arguments(title: str, *way: str) -> list[str]:
    """Of Python: what does a row in a way, or its guard.

    Ours imports blockprop before torch, which then chooses how threads wait; the peers do without.
    """
    first = "blockprop" if way == (OURS,) else "torch"
    return ["-c", f"import {first}, speed_worker; speed_worker.main()", title, *way]


def guarded(title: str, row: Row, threads: int) -> dict[str, Any]:
    """What there is to say of a row before it is timed, as JSON; differing: ways that compute something else."""
    with ExitStack() as stack:
        found = json.loads(Worker(arguments(title), settings(threads), stack).told())
    return {
        "group": row.group,
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
        "threads": threads,
        "steps": row.steps,
        "pixels": row.pixels,
        "size": row.size,
        "wanted": dict(row.wanted),
        **found,
    }


def measured(title: str, row: Row, seconds: float, threads: int) -> dict[str, Any]:
    """All that there is to say of a row: its ways, too, unless one differs; `summary` says what the numbers are.

    seconds: of all ways together.
    """
    about = guarded(title, row, threads)
    if about["differing"]:
        return about
    names = [name for name in row.ways if name not in about["absent"]]
    with ExitStack() as stack:
        workers = {name: Worker(arguments(title, name), settings(threads), stack) for name in names}
        memory = {name: json.loads(worker.told())["memory"] for name, worker in workers.items()}
        calls = in_turns(workers, seconds)
        tensors = {name: json.loads(worker.asked("tensors")) or None for name, worker in workers.items()}
    about["ways"] = {
        name: {**summary(calls[name], row.steps), "memory": memory[name], "tensors": tensors[name]} for name in names
    }
    return about


def in_turns(workers: Mapping[str, Worker], seconds: float) -> dict[str, list[tuple[float, int]]]:
    """(seconds, page faults) of the calls of each; of a turn with many, the first is left out, before which others had
    the caches.
    """
    calls: dict[str, list[tuple[float, int]]] = {name: [] for name in workers}
    end, turn = time.perf_counter() + seconds, 0
    while turn < TURNS or time.perf_counter() < end:
        turn += 1
        for name, worker in workers.items():
            past = json.loads(worker.asked(f"seconds {min(TURN, seconds / TURNS / len(workers))}"))
            calls[name] += past[1:] if len(past) > 3 else past
            time.sleep(REST)
    return calls


def summary(calls: list[tuple[float, int]], steps: int) -> dict[str, float]:
    """Of a step: the median of seconds, where their middle half begins and ends, page faults; and the calls counted."""
    low, middle, high = statistics.quantiles((seconds / steps for seconds, _ in calls), n=4)
    faults = statistics.median(count / steps for _, count in calls)
    return {"seconds": middle, "low": low, "high": high, "page_faults": faults, "calls": len(calls)}
