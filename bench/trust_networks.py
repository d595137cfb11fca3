"""Random networks of all blocks in all layouts of memory: is each output and each gradient right?

Usage: python bench/trust.py networks     (about a quarter of an hour)
"""

from collections import Counter
from collections.abc import Iterator

from trust_outcome import Outcome

from tests.trust.random_networks import KINDS, faults, worst

CASES = 40_000


def tried(cases: int, seed: int) -> Iterator[Outcome]:
    """The wrong ones among so many, each kind of block in turn at the front."""
    seen: Counter[str] = Counter()
    wrong = 0
    worst.clear()
    for number in range(cases):
        found = [*faults(number + 1_000_000 * seed, KINDS[number % len(KINDS)], seen)]
        for fault in found:
            print(f"faults({number + 1_000_000 * seed}, {KINDS[number % len(KINDS)]!r}): {fault}", flush=True)
        wrong += bool(found)
    missing = KINDS if not cases else [kind for kind in KINDS if kind not in seen]
    if missing:
        print(f"in no network: {', '.join(missing)}", flush=True)
    what = f"random networks of {len(KINDS) - len(missing)} of {len(KINDS)} blocks, in all orders of memory"
    largest = ", ".join(f"{off:.0e} in {dtype}" for dtype, off in sorted(worst.items()))
    yield Outcome(what, cases, wrong + len(missing), f"off by {largest}")
