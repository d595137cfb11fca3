"""Derivatives written out: of random networks of all blocks, do they come to what the sweep finds?

Usage: python bench/trust.py explanations     (about a quarter of an hour)
"""

from collections.abc import Iterator

from trust_outcome import Outcome

from tests.trust.explanations import faults, worst
from tests.trust.random_networks import KINDS

CASES = 4_000


def tried(cases: int, seed: int) -> Iterator[Outcome]:
    """The wrong ones among so many, each kind of block in turn at the front."""
    wrong = 0
    worst[0] = 0.0
    for number in range(cases):
        found = [*faults(number + 1_000_000 * seed, KINDS[number % len(KINDS)])]
        for fault in found:
            print(f"faults({number + 1_000_000 * seed}, {KINDS[number % len(KINDS)]!r}): {fault}", flush=True)
        wrong += bool(found)
    yield Outcome("derivatives written out, of random networks of all blocks", cases, wrong, f"off by {worst[0]:.0e}")
