"""Trust, tried for long: random networks, damaged files, kills, full disks, repeated calls. Writes docs/reliability.md.

Usage: python bench/trust.py [BATTERY …] [--cases N] [--seed S] [--write]

Each battery is the file trust_BATTERY.py beside this one: its CASES says how many are tried by default, its `tried`
yields what came out. A fault is printed when it is found, with what repeats it. Outcomes are kept in
build/trust.jsonl, the newest of each; --write puts the table of all into docs/reliability.md.
"""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from reporting import machine, table, write_section

HERE = Path(__file__).parent
RESULTS = HERE.parent / "build" / "trust.jsonl"
PAGE = HERE.parent / "docs" / "reliability.md"
BATTERIES = ("operators", "networks", "native", "learning", "explanations", "kills", "disks", "files", "calls")
"""In the order of the page."""


def section() -> str:
    """The table of the newest outcome of everything that was tried."""
    newest = {}
    for line in RESULTS.read_text().splitlines():
        outcome = json.loads(line)
        newest[outcome["battery"], outcome["what"]] = outcome
    known = sorted(newest.values(), key=lambda outcome: BATTERIES.index(outcome["battery"]))
    rows = [[o["what"], f"{o['cases']:,}", o["faults"], o["worst"]] for o in known]
    return f"On {machine()}.\n\n{table(('what was tried', 'cases', 'faults', 'the worst'), rows)}"


def main() -> int:
    """Try the batteries that are wanted; 1 if a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("batteries", nargs="*", metavar="BATTERY", help=", ".join(BATTERIES))
    parser.add_argument("--cases", type=int, help="how many of each, instead of its own number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table of all outcomes into docs/reliability.md")
    wanted = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    found = 0
    for name in wanted.batteries or ([] if wanted.write else BATTERIES):
        battery = importlib.import_module(f"trust_{name}")
        start = time.perf_counter()
        for outcome in battery.tried(wanted.cases or battery.CASES, wanted.seed):
            print(f"{name}: {outcome} {time.perf_counter() - start:.0f} s", flush=True)
            found += outcome.faults
            with RESULTS.open("a") as file:
                file.write(json.dumps({"battery": name, **outcome._asdict()}) + "\n")
    if wanted.write:
        write_section("trust", section(), PAGE)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
