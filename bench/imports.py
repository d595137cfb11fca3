"""How long an import from torch takes, beside plain torch.export of the same module, each in a process of its own.

Usage: python bench/imports.py
"""

import subprocess
import sys
from pathlib import Path

from reporting import machine, table, write_section

ROOT = Path(__file__).parent.parent
ROUNDS = 5
NETWORKS = {
    "SqueezeNet 1.1, 227 × 227": ("squeezenet.SqueezeNet", 227, 2.0),
    "GoogLeNet, 224 × 224": ("googlenet.GoogLeNet", 224, 5.0),
}
SCRIPT = """
import importlib, sys, time
import torch
name, side, ours = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "ours"
file, kind = name.split(".")
module = getattr(importlib.import_module(f"tests.architectures.{file}"), kind)(1.0, 1000).eval()
x = torch.randn(1, 3, side, side)
if ours:
    import blockprop
start = time.perf_counter()
if ours:
    from blockprop.importers import from_torch
    from_torch(module, x)
else:
    torch.export.export(module, (x,))
first = time.perf_counter() - start
start = time.perf_counter()
from_torch(module, x) if ours else torch.export.export(module, (x,))
print(first, time.perf_counter() - start)
"""


def seconds(name: str, side: int, whose: str) -> tuple[float, float]:
    """(the first time in a process, the second time)"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, name, str(side), whose],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.split()
    return float(first), float(second)


def main() -> None:
    rows = []
    for title, (name, side, wanted) in NETWORKS.items():
        best = {whose: [float("inf"), float("inf")] for whose in ("ours", "torch")}
        for _ in range(ROUNDS):  # taking turns, so that other loads hit both alike
            for whose in best:
                found = seconds(name, side, whose)
                best[whose] = [min(pair) for pair in zip(best[whose], found, strict=True)]
        ours, theirs = best["ours"], best["torch"]
        ratios = [f"{mine / its:.1f}" for mine, its in zip(ours, theirs, strict=True)]
        rows.append([title, f"{ours[0]:.1f} s", f"{wanted:.0f} s", ratios[0], f"{ours[1]:.1f} s", ratios[1]])
    heads = ["network", "first import", "wanted", "times torch.export", "second import", "times torch.export"]
    text = f"""## Imports

By `bench/imports.py`, on {machine()}: `from_torch` of networks in full size, with free batch, height and width,
without `import torch`; the best of {ROUNDS} processes. Beside it plain `torch.export` of the same module with fixed
sizes, which the import runs twice or more, and each time for the first time loads a good part of torch.

{table(heads, rows)}
"""
    write_section("imports", text)


if __name__ == "__main__":
    main()
