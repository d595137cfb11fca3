"""Each convolution and pooling of the benchmark's networks by its kernel in C and by torch's: forward, and its errors.

Usage: python bench/kernels.py [--only WORDS …] [--batches N …] [--seconds S] [--threads N] [--write]

Nothing else should run meanwhile (three minutes). --only: networks whose names begin so.   --seconds: of a shape.
Both take turns in one process, and the fastest calls count: what else a machine does makes them slower, never faster.
Of a program that does the node alone only its own operations are timed, not the copies at its ends, which are not there
in a program of many.
"""

import argparse
import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from reporting import machine, table, write_section
from speed_gradients import MODELS, SHIPPED, VGG19
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.plan import Node
from blockprop.native.library import library, torch_parallel_for
from blockprop.native.program import Kind
from blockprop.preparing.convolution import FixedConv2d
from blockprop.preparing.native.kernels import Kernels, _arena
from blockprop.preparing.native.region import NativeRegion
from blockprop.preparing.native.writing import Compiled
from blockprop.preparing.pooling import FixedMaxPool2d

NETWORKS = {**MODELS, "VGG-19 to conv5_1": VGG19, "shipped network": SHIPPED}
SIDES = {"VGG-19 to conv5_1": 256, "shipped network": 64}
WORST = 10
"""Rows of the table: the shapes where kernels gain least."""
FEWEST = 5
"""Calls of each."""
Seconds = tuple[float, float]
"""Forward and back."""


class OneByOne(Kernels):
    """Operations one after the other; seconds: of all that are no copies, since it was set to 0."""

    seconds = 0.0

    def run(self, program: Compiled, threads: int, saved: Tensor, others: Sequence[Tensor]) -> None:
        with _arena(program.arena) as arena:
            pieces = program.addresses(arena.data_ptr(), saved.data_ptr(), *(tensor.data_ptr() for tensor in others))
            for op in program.ops:
                begun = time.perf_counter()
                self._run(ctypes.byref(op), 1, pieces, threads, torch_parallel_for())
                self.seconds += (time.perf_counter() - begun) * (op.kind != Kind.PASS)


class Case(NamedTuple):
    """A node, and the inputs it gets."""

    network: str
    node: Node
    inputs: list[Tensor]

    @property
    def title(self) -> str:
        """The same for nodes that do the same."""
        block = self.node.block
        assert isinstance(block, FixedConv2d | FixedMaxPool2d)
        what = block.convolution if isinstance(block, FixedConv2d) else block.pool
        more = getattr(block, "rectifier", None)
        return f"{what!r}{f', {more!r}' if more else ''} of {' x '.join(map(str, self.inputs[0].shape))}"


class Times(NamedTuple):
    case: Case
    ours: Seconds
    torch: Seconds

    @property
    def ratio(self) -> float:
        """How many times as fast ours is, both ways together."""
        return sum(self.torch) / sum(self.ours)


def cases(only: Sequence[str], batches: Sequence[int]) -> Iterator[Case]:
    """Each shape once."""
    seen: set[str] = set()
    for name, model in NETWORKS.items():
        side, lean = SIDES.get(name, 224), model.network().prepare()
        for batch in batches if not only or name.startswith(tuple(only)) else ():
            trace = lean.forward(torch.rand(batch, 3, side, side), keep=lean.keys)
            for region in (node for node in lean.nodes if isinstance(node.block, NativeRegion)):
                inner = trace.values | region.block._blocks.values(*(trace[key] for key in region.inputs))
                for node in region.block.nodes:
                    inputs = [inner[key].contiguous(memory_format=torch.channels_last) for key in node.inputs]
                    case = Case(name, node, inputs)
                    if isinstance(node.block, FixedConv2d | FixedMaxPool2d) and case.title not in seen:
                        seen.add(case.title)
                        yield case


def by_kernels(node: Node, x: Tensor, d_y: Tensor, found: OneByOne) -> Callable[[], Seconds]:
    region = NativeRegion((node,), node.inputs, (node.name,), found)

    def run() -> Seconds:
        found.seconds = 0.0
        _, saved = region.forward(x)
        forward, found.seconds = found.seconds, 0.0
        region.propagate(saved, d_y)
        return forward, found.seconds

    return run


def by_torch(block: Block, x: Tensor, d_y: Tensor) -> Callable[[], Seconds]:
    def run() -> Seconds:
        begun = time.perf_counter()
        _, saved = block.forward(x)
        middle = time.perf_counter()
        block.propagate(saved, d_y)
        return middle - begun, time.perf_counter() - middle

    return run


@torch.no_grad()
def measured(case: Case, seconds: float, found: OneByOne) -> Times:
    """The fastest call of each."""
    (x,), block = case.inputs, case.node.block
    d_y = torch.randn_like(block.forward(x)[0])
    ways = by_kernels(case.node, x, d_y, found), by_torch(block, x, d_y)
    past: tuple[list[Seconds], list[Seconds]] = ([], [])
    end = time.perf_counter() + seconds
    while len(past[0]) < FEWEST or time.perf_counter() < end:
        for way, calls in zip(ways, past, strict=True):
            calls.append(way())
    ours, others = ((min(forward for forward, _ in calls), min(back for _, back in calls)) for calls in past)
    return Times(case, ours, others)


def text(found: Sequence[Times], threads: int) -> str:
    """The section."""
    ordered = sorted(found, key=lambda times: times.ratio)
    ratios = [times.ratio for times in ordered]
    median, together = statistics.median(ratios), sum(sum(t.torch) for t in found) / sum(sum(t.ours) for t in found)
    slower, much_slower = (sum(ratio < bound for ratio in ratios) for bound in (1, 0.9))
    rows = [
        [
            times.case.title,
            times.case.network,
            *(f"{1000 * seconds:.2f}" for pair in (times.ours, times.torch) for seconds in pair),
            f"{times.ratio:.2f}",
        ]
        for times in ordered[:WORST]
    ]
    heads = ["shape", "of", "kernel, ms", "back", "torch, ms", "back", "× torch"]
    return f"""### Kernel by kernel

By `bench/kernels.py`, on {machine()}; threads: {threads}.
Each convolution (with what is fused with it) and max pooling of these networks by its kernel in C and by torch's,
channels last, forward and back, batch 1 and 8: {len(found)} shapes.
The kernel is {median:.2f} times as fast in the median, {together:.2f} times all together.
It is slower than torch in {slower} of them, by more than a tenth in {much_slower}.
To leave a program for one node would cost two copies of its pictures besides. The least:

{table(heads, rows)}"""


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="WORDS", default=[])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    native = library() or sys.exit("there are no kernels in C here; blockprop info says why")
    kernels, found = OneByOne(native), []
    for case in cases(wanted.only, wanted.batches):
        found.append(measured(case, wanted.seconds, kernels))
        print(f"{found[-1].ratio:5.2f}  {case.title}", file=sys.stderr, flush=True)
    section = text(found, wanted.threads)
    write_section("kernels", section) if wanted.write else print(section)


if __name__ == "__main__":
    main()
