"""Some 10,000 calls of public functions, again and again: does the process grow? And thousands from several threads.

Usage: python bench/trust.py calls     (about a quarter of an hour)

Each function is called in a process of its own. The first quarter of its calls fills caches; what the least of the
other quarters grows by counts: a leak goes on.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trust_outcome import Outcome

from tests.trust.repeated_calls import ACTIONS, STRETCHES, growth, scene
from tests.trust.threads import TOGETHER, differences

CASES = sum(count for _, count in ACTIONS.values())
MOST = 1000
"""Bytes that a call may leave behind: 1 MB in 1,000 calls."""
THREADS = 4


def tried(cases: int, seed: int) -> Iterator[Outcome]:
    """Those that grow, and what threads get otherwise."""
    share, grown, worst = cases / CASES, 0, (0.0, "")
    done = 0
    for name, (_, count) in ACTIONS.items():
        calls = max(2, round(count * share) // (STRETCHES + 1))
        memory, objects = _measured(name, calls)
        done += calls * (STRETCHES + 1)
        worst = max(worst, (memory, name))
        grown += memory > MOST
        print(f"{name}: {memory / 1000:.2f} kB and {objects:.2f} objects a call", flush=True)
    kind = f"calls of {len(ACTIONS)} functions for leaks"
    yield Outcome(kind, done, grown, f"{worst[0] / 1000:.2f} kB a call ({worst[1]})")
    yield from _threads(max(30, cases // 3), seed)


def _measured(name: str, calls: int) -> tuple[float, float]:
    """(bytes, objects) a call, in a fresh process."""
    command = [sys.executable, __file__, name, str(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    memory, objects = done.stdout.split()[-2:]
    return float(memory), float(objects)


def _threads(calls: int, seed: int) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        given = scene(Path(folder))
        for names, count, tolerance in (
            (TOGETHER, calls, 0.0),
            (("from_torch",), calls // 15, 0.0),
            (("from_torch", "forward and backward"), calls // 10, 1e-5),
        ):
            found = [*differences(given, names, THREADS, count, seed, tolerance)]
            print("\n".join(found), flush=True)
            title = ", ".join(names) if len(names) < 3 else f"{len(names)} functions of one network"
            bits = "other numbers" if found else "the same to the bit" if not tolerance else f"off by below {tolerance}"
            yield Outcome(f"calls from {THREADS} threads at once: {title}", count, len(found), bits)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as own:
        result = growth(ACTIONS[sys.argv[1]][0], scene(Path(own)), int(sys.argv[2]))
        print(result.memory, result.objects)
