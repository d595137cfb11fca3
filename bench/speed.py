"""Speed and memory, ours beside its peers: autograd, torch.compile, Captum, onnxruntime, scikit-learn, JAX.

Usage: python bench/speed.py [--only WORDS …] [--seconds S] [--threads N] [--write | --tables | --check]
Nothing else should run meanwhile.

--only: rows whose titles or groups begin so.   --seconds: of a row, all ways together, without getting ready.
--write: keep the numbers in docs/benchmarks.json, beside those of other rows there from the same machine with the same
versions, and put the tables into docs/benchmarks.md.   --tables: put them there from the numbers as they are.
--check: time nothing, only try whether all compute the same; what torch.compile makes is kept for later runs.
Peers that are not installed are named; scripts/install bench installs all.
Exits with 1 if a row failed, or if a way of it computed something else: then it is not timed.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from reporting import PAGE, machine, write_section
from speed_picture import drawn
from speed_rows import ROWS
from speed_tables import duration, section
from turns import guarded, measured, settings
from worker import ROOT, Worker

from blockprop.saving.files import replaced

NUMBERS = PAGE.with_suffix(".json")
PACKAGES = ("captum", "onnxruntime", "scikit-learn", "jax")


def about(threads: int) -> dict[str, Any]:
    """What must be the same for numbers to stand beside each other."""
    return {"machine": machine(), "threads": threads, "versions": {name: found(name) for name in PACKAGES}}


def found(package: str) -> str | None:
    """Its version; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def limits(threads: int) -> dict[str, float]:
    """Of the machine, by a process of its own."""
    with ExitStack() as stack:
        worker = Worker([str(ROOT / "bench" / "limits.py")], settings(threads), stack)
        measure: dict[str, float] = json.loads(worker.told())
    return measure


def highest(measures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The best of several: what else a machine does makes it slower, never faster."""
    return {name: max(measure[name] for measure in measures if name in measure) for name in measures[-1]}


def told(row: dict[str, Any]) -> str:
    """In a line, while others are still measured."""
    if row["differing"]:
        return f"not timed, for another result comes from {', '.join(row['differing'])}"
    if "ways" not in row:
        errors = (f"{name} {error:.0e}" for name, error in row["errors"].items())
        return ", ".join([*errors, *(f"no {name} ({why})" for name, why in row["absent"].items())])
    return ", ".join(f"{name} {duration(way['seconds'])}" for name, way in row["ways"].items())


def chosen(words: list[str]) -> list[str]:
    """Titles of rows. Raises SystemExit if there are none."""
    titles = [
        title for title, row in ROWS.items() if not words or any(w == row.group or title.startswith(w) for w in words)
    ]
    return titles or sys.exit(f"no row begins with {' or '.join(words)}; there are:\n" + "\n".join(ROWS))


def kept(path: Path, here: dict[str, Any]) -> dict[str, Any]:
    """What was measured before, if on the same machine: limits and rows."""
    if path.exists():
        before: dict[str, Any] = json.loads(path.read_text())
        if {name: before[name] for name in here} == here:
            return before
        print(f"{path.name} is of another machine, or of other versions: it is begun anew", file=sys.stderr)
    return {**here, "limits": {}, "rows": {}}


def keep(results: dict[str, Any]) -> None:
    """Write the numbers, rows in the order of the page."""
    results["rows"] = {title: results["rows"][title] for title in ROWS if title in results["rows"]}
    with replaced(NUMBERS) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")


def publish(results: Mapping[str, Any]) -> None:
    """Put tables and picture into docs/."""
    drawn(results["rows"])
    write_section("speed", section(results))


def main() -> int:
    """Measure, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="WORDS", default=[])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--check", action="store_true")
    wanted = parser.parse_args()
    if wanted.tables:
        publish(json.loads(NUMBERS.read_text()))
        return 0
    titles, here = chosen(wanted.only), about(wanted.threads)
    if wanted.check:
        rows = {title: guarded(title, ROWS[title], wanted.threads) for title in titles}
        print("\n".join(f"{title}: {told(row)}" for title, row in rows.items()))
        return int(any(row["differing"] for row in rows.values()))
    results = kept(NUMBERS, here) if wanted.write else {**here, "limits": {}, "rows": {}}
    results["limits"] = highest([results["limits"], limits(wanted.threads)])
    failed = []
    for title in titles:
        try:
            results["rows"][title] = row = measured(title, ROWS[title], wanted.seconds, wanted.threads)
        except RuntimeError as error:  # its process has said why
            failed.append(title)
            print(f"{title}: {error}", file=sys.stderr, flush=True)
            continue
        print(f"{title}: {told(row)}", file=sys.stderr, flush=True)
        failed += [title] if row["differing"] else []
        if wanted.write:
            keep(results)
    results["limits"] = highest([results["limits"], limits(wanted.threads)])
    if wanted.write:
        keep(results)
        publish(results)
    else:
        print(section(results))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
