"""Exact gradients of large pictures within a budget of memory: what was expected, what the process took, how far off.

Usage: python bench/budgets.py [--side N] [--threads N] [--write]
Each way has a process of its own, one after the other, and computes once. 10 to 20 minutes with one thread.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from reporting import machine, table, write_section
from speed_gradients import CLASS, SQUARES, SQUEEZENET, VGG19, Model, Score, by_autograd, pictures
from torch import Tensor
from turns import settings
from worker import ROOT, Worker

from blockprop.engine.objectives import Seeds
from blockprop.engine.room import in_bytes
from blockprop.preparing.resident import Expected, ResidentPeak
from blockprop.visualize import saliency
from blockprop.visualize.style.stylize import stylize
from blockprop.visualize.tiles import Tile
from blockprop.visualize.tiling import Outputs, Tiling

BUDGET, PLENTY = "2 GB", "1000 GB"
AUTOGRAD = "tuned autograd"
Gradient = Callable[[Tensor, str], tuple[Tensor, Expected | None]]
"""(picture, memory) -> (∂L/∂picture, what was expected)."""


class Work(NamedTuple):
    """ours: made once, called once.   peer: the network and the score of autograd's, if there is one."""

    ours: Callable[[], Gradient]
    peer: tuple[Model, Score] | None = None


def explained() -> Gradient:
    network = SQUEEZENET.network()

    def gradient(x: Tensor, memory: str) -> tuple[Tensor, Expected | None]:
        told: list[Expected] = []
        found = saliency(network, x, 0, memory=memory, expecting=told.append)
        return found.attribution, max(told, default=None)

    return gradient


def dreamed() -> Gradient:
    network = VGG19.network()

    def seeds(_: Tile, outputs: Outputs) -> Seeds:
        return dict(outputs)

    def gradient(x: Tensor, memory: str) -> tuple[Tensor, Expected | None]:
        tiling = Tiling(network, network.outputs, memory=memory)
        return tiling.gradient(x, seeds), tiling.expected(x)

    return gradient


def painted() -> Gradient:
    network = VGG19.network()

    def gradient(x: Tensor, memory: str) -> tuple[Tensor, Expected | None]:
        run = stylize(network, x, x.flip(2), scales=1, tile=None, start=x.flip(3), memory=memory)
        run.enter(0)
        assert run.point is not None
        return run.point.d, run.expected

    return gradient


WORKS = {
    "SqueezeNet 1.1, a class": Work(explained, (SQUEEZENET, CLASS)),
    "VGG-19 to conv5_1, a dream": Work(dreamed, (VGG19, SQUARES)),
    "VGG-19 to conv5_1, a style": Work(painted),
}
SMALL = 64
"""Pixels of a side of what is computed before, so that all code is loaded."""


def worker(title: str, memory: str, side: int, path: Path) -> None:
    """Compute a gradient once, and keep it; say how that went.   memory: for ours, or AUTOGRAD"""
    work = WORKS[title]
    if memory == AUTOGRAD:
        assert work.peer is not None
        by_autograd(*work.peer, pictures(1, 3, SMALL, SMALL), torch.float32, tuned=True)()
        run, expected = by_autograd(*work.peer, pictures(1, 3, side, side), torch.float32, tuned=True), None
        peak, start = ResidentPeak(), time.perf_counter()
        gradient = run()
    else:
        ours, x = work.ours(), pictures(1, 3, side, side)(torch.float32)
        ours(pictures(1, 3, SMALL, SMALL)(torch.float32), memory)
        peak, start = ResidentPeak(), time.perf_counter()
        gradient, expected = ours(x, memory)
    seconds, taken = time.perf_counter() - start, peak.taken()
    np.save(path, gradient.contiguous().numpy())
    about = {"seconds": seconds, "taken": taken}
    print(json.dumps(about | ({"expected": expected.bytes, "how": expected.how} if expected else {})), flush=True)


def asked(title: str, memory: str, side: int, threads: int, path: Path) -> dict[str, Any]:
    """What a process of its own says."""
    with ExitStack() as stack:
        arguments = [str(ROOT / "bench" / "budgets.py"), "--worker", title, memory, str(side), str(path)]
        found: dict[str, Any] = json.loads(Worker(arguments, settings(threads), stack).told())
    return found


def rows(side: int, threads: int) -> tuple[list[list[str]], list[float]]:
    """(one for each way, the machine's load after each)."""
    lines, loads = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gradient.npy")
        for title, work in WORKS.items():
            names = {PLENTY: "ours, as much as it takes", BUDGET: f"ours, {BUDGET}", AUTOGRAD: AUTOGRAD}
            whole: np.ndarray[Any, Any] | None = None
            for memory, name in names.items():
                if memory == AUTOGRAD and work.peer is None:
                    continue
                found = asked(title, memory, side, threads, path)
                gradient = np.load(path)
                whole = gradient if whole is None else whole
                off = float(np.linalg.norm(gradient - whole) / np.linalg.norm(whole))
                taken = "unknown" if found["taken"] is None else in_bytes(found["taken"])
                expected = in_bytes(found["expected"]) if "expected" in found else "–"
                cells = [title, name, taken, expected, found.get("how") or "at once", f"{found['seconds']:.0f} s"]
                lines.append([*cells, f"{off:.0e}" if gradient is not whole else "–"])
                print(*lines[-1], sep=", ", file=sys.stderr, flush=True)
                loads.append(os.getloadavg()[0])
    return lines, loads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.worker:
        title, memory, side, path = wanted.worker
        worker(title, memory, int(side), Path(path))
        return
    lines, loads = rows(wanted.side, wanted.threads)
    heads = ["", "", "taken", "expected", "", "time", "off by"]
    text = f"""### One gradient of {wanted.side} × {wanted.side} pixels within {BUDGET}

By `bench/budgets.py`, on {machine()}; threads: {wanted.threads}.
The machine's load was {min(loads):.1f} to {max(loads):.1f}: times are rough. One call in a process of its own.
Taken: by how much its resident memory grew at the worst moment. Off by: |a − b| / |b| from the first, in float32, where
rounding closes some ReLUs; in float64 tests find 1e-12. A style is one evaluation of its loss and gradient, with what
it is compared with, and room for what L-BFGS remembers; its pictures are noise, whose Gram matrices differ by little.

{table(heads, lines)}"""
    if wanted.write:
        write_section("budgets", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
