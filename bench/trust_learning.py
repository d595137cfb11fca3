"""Plain networks at random, which learn by the native kernel: do they learn as formulas in float64 say?

Usage: python bench/trust.py learning     (about ten minutes)
"""

import os
from collections.abc import Iterator

from trust_outcome import Outcome

from blockprop.native.library import usable_sets
from tests.trust.plain_networks import differences

CASES = 10_000


def tried(cases: int, seed: int) -> Iterator[Outcome]:
    """In each instruction set of this machine, single steps and five."""
    for name in usable_sets():
        os.environ["BLOCKPROP_NATIVE"] = name
        for steps in (1, 5):
            faults, worst = 0, 0.0
            for difference in differences(seed, range(cases // 6), steps):
                worst = max(worst, difference.kernel)
                if difference.is_fault:
                    faults += 1
                    print(f"{name}, seed {seed}, {steps} steps: {difference}", flush=True)
            what = f"plain networks that learn natively ({name}), {steps} step{'s' * (steps > 1)}"
            yield Outcome(what, cases // 6, faults, f"{worst:.0e} of the largest number")
