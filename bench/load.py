"""What busy neighbors cost, by how torch's threads wait for each other: idle, and beside one and two busy processes.

Usage: python bench/load.py [--minutes M] [--spins N …] [--write]     (about six minutes; nothing else should run)

--spins: further values of GOMP_SPINCOUNT.   --write: put the table into docs/benchmarks.md
Each setting has a process of its own, since it is read when torch is loaded; they take turns.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from reporting import machine, table, write_section

sys.path.insert(0, str(Path(__file__).parent.parent))

from load_jobs import JOBS
from worker import ROOT, Worker, environment

from tests.processes import started

BUSY = "while True: pass"
NEIGHBORS = (0, 1, 2)
REST = 0.02
"""Seconds between two jobs: threads of the last one may spin for as long."""
CHOSEN, NOTHING = "blockprop's", "nothing set"


class Setting(NamedTuple):
    """How threads wait."""

    first: str
    """What is imported first: blockprop sets something only before torch."""
    environment: dict[str, str]


SETTINGS = {
    NOTHING: Setting("torch", {}),
    CHOSEN: Setting("blockprop", {}),
    "`OMP_WAIT_POLICY=PASSIVE`": Setting("blockprop", {"OMP_WAIT_POLICY": "PASSIVE"}),
    "one thread": Setting("blockprop", {"OMP_NUM_THREADS": "1"}),
}

Cell = tuple[str, str]
"""A job and a setting."""
Times = dict[Cell, list[float]]


def working(setting: Setting, stack: ExitStack) -> Worker:
    """A process that does jobs under a setting."""
    code = f"import {setting.first}, load_jobs; load_jobs.serve()"
    return Worker(["-c", code], setting.environment, stack)


def measured(workers: dict[str, Worker], seconds: float) -> Times:
    """Seconds of each job under each setting, in turns, until each has had its share of the time."""
    times: Times = {(job, setting): [] for job in JOBS for setting in workers}
    share = seconds / len(times)
    while left := [cell for cell, past in times.items() if not past or sum(past) + len(past) * REST < share]:
        for job, setting in left:
            times[job, setting].append(float(workers[setting].asked(job)))
            time.sleep(REST)
    return times


def beside(count: int, workers: dict[str, Worker], seconds: float) -> Times:
    """`measured` beside so many busy processes."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(started([sys.executable, "-c", BUSY]))
        time.sleep(1)
        return measured(workers, seconds)


def text(by_load: Sequence[Times], settings: Sequence[str]) -> str:
    """The section: a table, and what is worst in it."""
    medians = [{cell: statistics.median(past) for cell, past in times.items()} for times in by_load]
    rows, slower, busier = [], [], []
    for job in JOBS:
        for setting in settings:
            idle, *busy = (found[job, setting] for found in medians)
            ratios = [idle / medians[0][job, NOTHING], *(seconds / idle for seconds in busy)]
            if setting == CHOSEN:
                slower.append(ratios[0])
                busier.append(max(ratios[1:]))
            rows.append([job, setting, f"{idle * 1000:.0f}", *(f"{ratio:.2f}" for ratio in ratios)])
    heads = ["job", "setting", "idle, ms", "× nothing set", "one neighbor, × idle", "two neighbors, × idle"]
    return f"""## Under load

By `bench/load.py`, on {machine()}, as many threads as cores.
Threads of torch that wait for each other spin (in libgomp), by default so long that little else is done where others
want the cores. blockprop limits it (`GOMP_SPINCOUNT={spins()}`; [when, and when not](training.md#threads)).
Neighbors are busy Python loops; medians of turns. (Nothing set is so sensitive that any other process of the machine
shows, where a median is far from the other settings'.)

{table(heads, rows)}

Worst of blockprop's setting: idle {max(slower):.2f} times as slow as with nothing set (wanted: 1.03), beside neighbors
{max(busier):.1f} times as slow as idle (wanted: 3)."""


def spins() -> str:
    """What blockprop sets."""
    code = "import os, blockprop; print(os.environ['GOMP_SPINCOUNT'])"
    return subprocess.check_output([sys.executable, "-c", code], env=environment({}), cwd=ROOT, text=True).strip()


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--spins", type=int, nargs="*", default=[])
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    further = {f"`GOMP_SPINCOUNT={n}`": Setting("blockprop", {"GOMP_SPINCOUNT": str(n)}) for n in wanted.spins}
    settings = SETTINGS | further
    with ExitStack() as stack:
        workers = {name: working(setting, stack) for name, setting in settings.items()}
        for name, worker in workers.items():
            assert worker.told() == "ready", name
        by_load = [beside(count, workers, wanted.minutes * 60 / len(NEIGHBORS)) for count in NEIGHBORS]
    section = text(by_load, list(settings))
    write_section("under load", section) if wanted.write else print(section)


if __name__ == "__main__":
    main()
