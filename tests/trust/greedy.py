"""Networks that say little and ask for much: gigabytes from a few numbers. Run as a program, it tries them all.

Prints for each [name, what came, seconds of work, bytes]: by how much the process has grown at most.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from blockprop import Network, blocks, load, save
from blockprop.engine.block import Block
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError
from blockprop.interop.modules import to_torch
from blockprop.interop.opaque import Opaque

ROOM = 1_500_000_000
"""Bytes that the process may take beyond what it has; each of the networks asks for more."""
PICTURE, ROW = (1, 3, 8, 8), (4, 3)
X = {"input": 0}
ONE: dict[str, tuple[tuple[int, ...], Block]] = {
    "pad": (PICTURE, blocks.Pad((0, 30_000, 0, 30_000))),
    "pad, reflected and long": (PICTURE, blocks.Pad((0, 400_000_000))),
    "repeat": (ROW, blocks.Repeat((30_000, 30_000))),
    "repeat interleave": (ROW, blocks.RepeatInterleave(400_000_000, 1)),
    "unfold": (PICTURE, blocks.Unfold(3, padding=15_000)),
    "resize": (PICTURE, blocks.Resize(size=30_000)),
    "resize by scale": (PICTURE, blocks.Resize(scale=4_000.0, mode="bilinear")),
    "resize, cubic": (PICTURE, blocks.Resize(size=30_000, mode="bicubic", antialias=True)),
    "filled": (ROW, blocks.Filled((30_000, 30_000))),
    "affine grid": ((4, 2, 3), blocks.AffineGrid((30_000, 30_000))),
    "convolution": (PICTURE, blocks.Conv2d(3, 1, 1, padding=20_000)),
    "transposed convolution": (PICTURE, blocks.ConvTranspose2d(3, 1, 1, stride=4_000)),
    "adaptive max": (PICTURE, blocks.AdaptiveMaxPool2d((30_000, 30_000))),
    "resample": (PICTURE, blocks.Resample(sizes=(30_000, 30_000))),
    "resample linear": (PICTURE, blocks.Resample(sizes=(30_000, 30_000), mode="linear")),
    "resample one line": ((1, 1, 1, 1), blocks.Resample(sizes=(1, 500_000_000), mode="cubic")),
    "adaptive": (PICTURE, blocks.AdaptiveAvgPool2d((30_000, 30_000))),
    "one_hot": (ROW, blocks.OneHot(500_000_000)),
    "einsum": ((200, 30), blocks.Einsum("ab,cd,ef->abcdef")),
    "opaque expand": (ROW, Opaque("aten.repeat.default", [X, [30_000, 30_000]])),
    "opaque one_hot": (ROW, Opaque("aten.constant_pad_nd.default", [X, [0, 30_000, 0, 30_000]])),
}


def networks() -> dict[str, tuple[tuple[int, ...], Network]]:
    """{name: (shape of the input, network)}."""
    made = {}
    for name, (shape, block) in ONE.items():
        count = 3 if name == "einsum" else 1
        made[name] = (shape, Network([Node(name.replace(" ", "_"), block, ("x",) * count)]))
    doubled = [Node(f"double{i}", blocks.Concat(0), (f"double{i - 1}" if i else "x",) * 2) for i in range(30)]
    made["doubled concat"] = (PICTURE, Network(doubled))
    made["expand"] = (
        (1, 1),
        Network([Node("expand", blocks.Expand((40_000, 40_000)), ("x",)), Node("exp", blocks.Exp(), ("expand",))]),
    )
    for reduced in (blocks.Sum((0, 1)), blocks.Mean((0, 1)), blocks.MaxOver(1), Opaque("aten.amax.default", [X])):
        nodes = [Node("one", blocks.Expand((10**6, 10**6)), ("x",)), Node("all", reduced, ("one",))]
        made[f"{reduced} of one number"] = ((1, 1), Network(nodes))  # in memory once, and computed with forever
    made["trees"] = ((2000, 3), Network([Node("trees", blocks.Trees(0, 1, 1000, 300), ("x",))]))
    made["range"] = (
        ROW,
        Network([Node("range", blocks.Range(0, 10**9), ()), Node("max", blocks.MaxOver(0), ("range",))], ("x",)),
    )
    return made


def tried(path: Path, shape: tuple[int, ...], way: str) -> str:
    """What comes of loading and running it."""
    try:
        network = load(path, opaque="opaque" in path.stem.lower() or "trusted" in way)
        x = torch.zeros(shape) if "one_hot" not in path.stem or "opaque" in path.stem else torch.zeros(shape).long()
        if way == "module":
            to_torch(network)(x)
        elif "forward" in way:
            network.forward(x)
        else:
            network(x)
    except BlockpropError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main() -> None:
    for block in (blocks.Conv2d(3, 1, 3), blocks.Pad((1, 1))):  # torch imports much at the first look
        Network([Node("first", block, ("x",))]).weightless()(torch.zeros(PICTURE, device="meta"))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name, (shape, network) in networks().items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.safetensors"
            save(network, path)
            for way in ("call", "trusted forward", "module"):
                before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
                came: Any = tried(path, shape, way)
                seconds = time.process_time() - start
                grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
                print(json.dumps([f"{name}, {way}", came, seconds, grown, path.stat().st_size]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
