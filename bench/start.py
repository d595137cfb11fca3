"""How long it takes until something begins: the help, the version, `import blockprop`; beside `import torch`.

Usage: python bench/start.py [--turns N] [--before FOLDER] [--write]     (about two minutes; nothing else should run)

--before: a checkout of the project as it was, for columns beside.   --write: put the table into docs/benchmarks.md
Each start is a process of its own, and they take turns. Processor time tells more where others want the cores.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from reporting import machine, table, write_section

ROOT = Path(__file__).parent.parent
LIMIT, RATIO = 0.4, 1.1
"""Wanted: seconds of any help; `import blockprop`, × `import torch`."""
TORCH, PYTHON, IMPORT = "`import torch`", "`python`, with nothing to do", "`import blockprop`"
HELP, TRAIN = "`blockprop --help`", "`blockprop train --help`"
STARTS = {
    PYTHON: ["-c", "pass"],
    TORCH: ["-c", "import torch"],
    IMPORT: ["-c", "import blockprop"],
    "`from blockprop import Network`": ["-c", "from blockprop import Network"],
    "`from blockprop import *`, all its names": ["-c", "from blockprop import *"],
    "`blockprop --version`": ["-m", "blockprop", "--version"],
    HELP: ["-m", "blockprop", "--help"],
    TRAIN: ["-m", "blockprop", "train", "--help"],
}
"""What Python is started with."""


class Took(NamedTuple):
    """Seconds that a process took."""

    wall: float
    processor: float


Times = dict[tuple[str, Path], list[Took]]


def commands() -> list[str]:
    """The names of all commands."""
    code = "from blockprop.cli import COMMANDS; print(*COMMANDS)"
    return subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()


def took(arguments: list[str], root: Path) -> Took:
    """How long a process takes from its start to its end, alone or beside others."""
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "100"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def measured(starts: dict[str, list[str]], before: Path | None, turns: int) -> Times:
    """Seconds of each start, in turns; a first one of each, which fills caches, does not count.

    before: another checkout, of which those of STARTS are measured, too.
    """
    times: Times = {(name, ROOT): [] for name in starts}
    times |= {(name, before): [] for name in STARTS if before and name not in (PYTHON, TORCH)}
    for turn in range(turns + 1):
        for (name, root), past in times.items():
            seconds = took(starts[name], root)
            if turn:
                past.append(seconds)
    return times


def told(past: list[Took]) -> list[str]:
    """(wall, processor): the median, and from where to where the middle half of the times goes, in ms."""
    quarters = [statistics.quantiles(seconds, n=4) for seconds in zip(*past, strict=True)]
    return [f"{1000 * middle:.0f} ({1000 * low:.0f}…{1000 * high:.0f})" for low, middle, high in quarters]


def text(times: Times, before: Path | None) -> str:
    """The section: a table, and whether it is what was wanted."""
    medians = {key: Took(*map(statistics.median, zip(*past, strict=True))) for key, past in times.items()}
    torch, rows = medians[TORCH, ROOT], []
    for name in STARTS:
        row = [name, *told(times[name, ROOT]), f"{medians[name, ROOT].processor / torch.processor:.2f}"]
        earlier = told(times[name, before]) if before and (name, before) in times else ["–", "–"]
        rows.append([*row, *(earlier if before else [])])
    helps = [name for name, root in times if root == ROOT and name.endswith("--help`")]
    slowest = max(helps, key=lambda name: medians[name, ROOT].processor)
    heads = ["start", "ms", "processor, ms", "× `import torch`", *(["before, ms", "processor, ms"] if before else [])]
    wall, processor = (1000 * number for number in medians[slowest, ROOT])
    ratio = medians[IMPORT, ROOT].processor / torch.processor
    return f"""## Start

By `bench/start.py`, on {machine()}: whole processes,
{len(times[TORCH, ROOT])} turns of each, medians and in brackets the middle half; the ratio is that of processor times.
The machine's load was {os.getloadavg()[2]:.0f} at the end: beside so many others a process takes longer than its work.
What takes long is loaded when it is first needed (`blockprop/__init__.py`), and the help needs none of it.

{table(heads, rows)}

Of all {len(helps)} helps, {slowest} takes longest: {processor:.0f} ms of a processor, {wall:.0f} ms until it
ends (wanted: at most {1000 * LIMIT:.0f}). `import blockprop` takes {ratio:.2f}
times as long as `import torch` (wanted: at most {RATIO})."""


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    helps = {f"`blockprop {name} --help`": ["-m", "blockprop", name, "--help"] for name in commands()}
    before = wanted.before and wanted.before.resolve()
    section = text(measured(STARTS | helps, before, wanted.turns), before)
    write_section("start", section) if wanted.write else print(section)


if __name__ == "__main__":
    main()
