"""Blocks of a file whose settings are long lists or large numbers. Run as a program, it tries every setting of all.

Prints for each [block, setting, value, what came, seconds of work, bytes]: by how much the process has grown at most.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from blockprop.blocks import BLOCKS
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError
from blockprop.saving.files import plain
from blockprop.saving.storage import _block
from tests.blocks.running import made
from tests.cases import CASES, Case

ENTRIES = 50_000
ROOM = 3 * 2**30
"""Bytes that the process may take beyond what it has."""
WILD: dict[str, Any] = {
    "ones": [1] * ENTRIES,
    "different numbers": list(range(ENTRIES)),
    "10**9": 10**9,
    "10**18": 10**18,
    "-10**18": -(10**18),
}


def places(settings: dict[str, Any]) -> Iterator[str]:
    """Where numbers, lists and nothing stand among the settings."""
    for name, value in settings.items():
        if value is None or (isinstance(value, list | int | float) and not isinstance(value, bool)):
            yield name


def tried(case: Case, block: Block, settings: dict[str, Any]) -> str:
    """What comes of a file with these settings: the block is made, run and gone back through."""
    inputs = case.tensors()
    tensors = {f"block.{name}": tensor for name, tensor in (block.parameters | block.buffers).items()}
    try:
        entry = {"type": type(block).__name__, "settings": settings}
        wild = _block("block", entry, BLOCKS, tensors)
        names = [f"x{i}" for i in range(len(inputs))]
        network = Network([Node("y", wild, tuple(names))], names).bounded()
        trace = network.forward(*inputs)
        network.backward(trace, {key: torch.ones_like(trace[key]) for key in network.outputs}, "inputs")
    except BlockpropError as error:
        return str(error)
    return "a result"


def main() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.set_num_threads(1)
    seen = set[str]()
    for case in CASES:
        block = made(case)
        kind = type(block).__name__
        if kind in seen or kind not in BLOCKS:
            continue
        seen.add(kind)
        settings = plain(block.settings, kind)
        for name in places(settings):
            for title, value in WILD.items():
                before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
                came = tried(case, block, settings | {name: value})
                seconds = time.process_time() - start
                grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
                print(json.dumps([kind, name, title, came, seconds, grown]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
