"""How often the check finds one wrong element of a derivative, by how many elements that has.

Usage: python bench/detection.py
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from reporting import machine, table, write_section

from blockprop import Sequential, check_block, check_network, check_objective, mean_squared_error
from blockprop.engine.check import CheckReport

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.engine.mutations import Gain, MutatedError

TRIALS = {10: 200, 100: 200, 1_000: 100, 10_000: 50, 100_000: 10, 1_000_000: 2}
"""Of each size: how often each of the rates is tried, with another element and other numbers."""
MUTATIONS = ("zeroed", "halved", "off by 1 %")

Check = Callable[[int, str, int, torch.Tensor, int], CheckReport]


def by_block(method: str) -> Check:
    return lambda size, mutation, at, x, seed: check_block(Gain(size, method, mutation, at), x, seed=seed)


def by_network(size: int, mutation: str, at: int, x: torch.Tensor, _seed: int) -> CheckReport:
    network = Sequential(Gain(size), Gain(size, "gradients", mutation, at), Gain(size))
    return check_network(network, x, objective=mean_squared_error(), target=torch.zeros(size))


def by_objective(_size: int, mutation: str, at: int, x: torch.Tensor, _seed: int) -> CheckReport:
    return check_objective(MutatedError(mutation, at), x, torch.zeros(len(x)))


CHECKS: dict[str, Check] = {
    "`propagate`": by_block("propagate"),
    "`gradients`": by_block("gradients"),
    "a network": by_network,
    "an objective": by_objective,
}


def rate(check: Check, size: int, mutation: str) -> float:
    """The share of trials in which the check fails, as it should."""
    generator = torch.Generator().manual_seed(size)
    failed = 0
    for seed in range(TRIALS[size]):
        at = int(torch.randint(0, size, (1,), generator=generator))
        failed += not check(size, mutation, at, torch.randn(size, generator=generator), seed).passed
    return failed / TRIALS[size]


def main() -> None:
    rows = []
    for size in TRIALS:
        rates = {name: min(rate(check, size, mutation) for mutation in MUTATIONS) for name, check in CHECKS.items()}
        start = time.perf_counter()
        right = check_block(Gain(size), torch.randn(size)).passed
        seconds = time.perf_counter() - start
        cells = [f"{share:.0%}" for share in rates.values()]
        rows.append([f"{size:,}", *cells, "right" if right else "WRONG", f"{seconds:.2f} s"])
        print(rows[-1], flush=True)
    text = f"""## What the check finds

By `bench/detection.py`, on {machine()}:
one element of a derivative, at a random place, is zeroed, halved, or off by 1 %; the share of the trials in which the
check finds it, of the three the lowest. Trials for the sizes: {", ".join(map(str, TRIALS.values()))}. At the end
a right block for comparison, and its time.

{table(["elements", *CHECKS, "right block", "time"], rows)}
"""
    write_section("detection", text)


if __name__ == "__main__":
    main()
