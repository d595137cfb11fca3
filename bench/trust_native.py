"""Random networks on kernels in C: does each set of instructions of this machine give what blocks give in float64?

Usage: python bench/trust.py native     (some twenty minutes)
"""

import os
from collections import Counter
from collections.abc import Iterator

from trust_outcome import Outcome

from blockprop.native.library import usable_sets
from blockprop.native.sources import SWITCH
from tests.trust.native_networks import faults, worst

CASES = 20_000


def tried(cases: int, seed: int) -> Iterator[Outcome]:
    """The wrong ones among so many for each set."""
    before = os.environ.get(SWITCH)
    try:
        for name in usable_sets():
            os.environ[SWITCH] = name
            yield _outcome(name, cases, seed)
    finally:
        os.environ.pop(SWITCH)
        os.environ.update({} if before is None else {SWITCH: before})


def _outcome(name: str, cases: int, seed: int) -> Outcome:
    seen: Counter[str] = Counter()
    worst.clear()
    wrong = 0
    for number in range(1_000_000 * seed, 1_000_000 * seed + cases):
        found = [*faults(number, seen)]
        for fault in found:
            print(f"{SWITCH}={name} faults({number}): {fault}", flush=True)
        wrong += bool(found)
    what = f"random networks on native kernels, {name}: {seen.total():,} nodes"
    largest = ", ".join(f"{off:.0e} of the {kind}" for kind, off in sorted(worst.items()))
    return Outcome(what, cases, wrong, largest or "nothing")
