"""Damaged files of every kind, read as a user would: a sentence or a result, in bounded time and memory.

Usage: python bench/trust.py files     (about ten minutes)
"""

from collections import defaultdict
from collections.abc import Iterator

from trust_outcome import Outcome

from tests.trust.damaged_runs import Case
from tests.trust.damaged_runs import tried as cases_tried

CASES = 8000


def tried(cases: int, seed: int) -> Iterator[Outcome]:
    """An outcome for each kind of file, of so many cases in all."""
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases_tried(range(cases), seed):
        found[case.kind.split(",")[0]].append(case)
        if case.fault:
            print(f"seed {seed}, case {case.number}, {case.kind}: {case.fault}", flush=True)
    for kind, those in sorted(found.items()):
        refused = sum(bool(case.came) for case in those)
        seconds, grown = max(case.seconds for case in those), max(case.grown for case in those)
        worst = f"{seconds:.1f} s, {grown / 1e6:,.0f} MB; {refused / len(those):.0%} refused"
        yield Outcome(f"damaged {kind}", len(those), sum(bool(case.fault) for case in those), worst)
