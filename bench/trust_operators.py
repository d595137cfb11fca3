"""Wild calls of every operator of torch that a network file may name: does one end the process?

Usage: python bench/trust_operators.py [CALLS] [SEED]     (by default 200000 calls: about four minutes)
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.trust.wild_calls import Death, deaths, titles


def operators(calls: int = 200_000, seed: int = 0) -> list[Death]:
    """The calls of which a process died, or that took too long, among so many."""
    found = []
    for death in deaths(0, calls, seed):
        print(death, flush=True)
        found.append(death)
    return found


if __name__ == "__main__":
    start, wanted = time.perf_counter(), [int(text) for text in sys.argv[1:3]]
    died = operators(*wanted)
    print(f"{len(titles())} operators, {len(died)} deaths, {time.perf_counter() - start:.0f} s")
    sys.exit(bool(died))
