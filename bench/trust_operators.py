"""Wild calls of every operator of torch that a network file may name: does one end the process?

Usage: python bench/trust.py operators     (about four minutes)
"""

from collections.abc import Iterator

from trust_outcome import Outcome

from tests.trust.wild_calls import deaths, titles

CASES = 200_000


def tried(cases: int, seed: int) -> Iterator[Outcome]:
    """The calls of which a process died, or that took too long, among so many."""
    died = 0
    for death in deaths(0, cases, seed):
        print(death, flush=True)
        died += 1
    what = f"wild calls of the {len(titles())} operators that files may name"
    yield Outcome(what, cases, died, "the process died" if died else "an error that was caught")
