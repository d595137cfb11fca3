"""How long it takes until something begins: the help, the version, `import blockprop`; beside `import torch`.

Usage: python bench/start.py [--turns N] [--before FOLDER] [--write]     (about two minutes; nothing else should run)

--before: a checkout of the project as it was, for a column beside.   --write: put the table into docs/benchmarks.md
Each start is a process of its own, and they take turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from reporting import machine, table, write_section

ROOT = Path(__file__).parent.parent
LIMIT, RATIO = 0.4, 1.1
"""Wanted: seconds of any help; `import blockprop`, × `import torch`."""
TORCH, PYTHON, IMPORT = "`import torch`", "`python`, with nothing to do", "`import blockprop`"
STARTS = {
    PYTHON: ["-c", "pass"],
    TORCH: ["-c", "import torch"],
    IMPORT: ["-c", "import blockprop"],
    "`from blockprop import Network`": ["-c", "from blockprop import Network"],
    "`from blockprop import *`, all its names": ["-c", "from blockprop import *"],
    "`blockprop --version`": ["-m", "blockprop", "--version"],
    "`blockprop --help`": ["-m", "blockprop", "--help"],
}
"""What Python is started with."""

Times = dict[tuple[str, Path], list[float]]


def commands() -> list[str]:
    """The names of all commands."""
    code = "from blockprop.cli import COMMANDS; print(*COMMANDS)"
    return subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()


def seconds(arguments: list[str], root: Path) -> float:
    """How long a process takes from its start to its end."""
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "100"}
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measured(starts: dict[str, list[str]], roots: list[Path], turns: int) -> Times:
    """Seconds of each start of each checkout, in turns; a first one of each, which fills caches, does not count."""
    times: Times = {(name, root): [] for name in starts for root in roots}
    for turn in range(turns + 1):
        for (name, root), past in times.items():
            took = seconds(starts[name], root)
            if turn:
                past.append(took)
    return times


def told(past: list[float]) -> str:
    """The median, and from where to where the middle half of the times goes, in ms."""
    low, middle, high = (1000 * number for number in statistics.quantiles(past, n=4))
    return f"{middle:.0f} ({low:.0f}…{high:.0f})"


def text(times: Times, helps: list[str], before: Path | None) -> str:
    """The section: a table, and whether it is what was wanted."""
    medians = {key: statistics.median(past) for key, past in times.items()}
    rows = []
    for name, root in times:
        if root == ROOT:
            row = [name, told(times[name, ROOT]), f"{medians[name, ROOT] / medians[TORCH, ROOT]:.2f}"]
            rows.append([*row, told(times[name, before])] if before else row)
    slowest = max(helps, key=lambda name: medians[name, ROOT])
    heads = ["start", "ms: median (middle half)", "× `import torch`", *(["before, ms"] if before else [])]
    return f"""## Start

By `bench/start.py`, on {machine()}: whole processes, {len(times[TORCH, ROOT])} turns of each.
What takes long is loaded when it is first needed (`blockprop/__init__.py`), and the help needs none of it.

{table(heads, rows)}

The slowest help is {slowest} with {1000 * medians[slowest, ROOT]:.0f} ms (wanted: at most {1000 * LIMIT:.0f});
`import blockprop` takes {medians[IMPORT, ROOT] / medians[TORCH, ROOT]:.2f} times as long as `import torch`
(wanted: at most {RATIO})."""


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    helps = {f"`blockprop {name} --help`": ["-m", "blockprop", name, "--help"] for name in commands()}
    roots = [ROOT, *([wanted.before.resolve()] if wanted.before else [])]
    section = text(measured(STARTS | helps, roots, wanted.turns), ["`blockprop --help`", *helps], wanted.before)
    write_section("start", section) if wanted.write else print(section)


if __name__ == "__main__":
    main()
