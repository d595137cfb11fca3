"""Random networks of all that kernels in C take, in all sizes and orders of memory, beside their blocks in float64.

A fault is off in its outputs, or in its errors for each of three pictures: a number that is 0 but for rounding opens a
rectifier in one precision and not in the other, and then the errors differ by more than rounding, once.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import ShapeError
from blockprop.preparing.native.region import NativeRegion
from tests.trust.layouts import any_layout, off_by

TOLERANCE = 2e-4
"""Of the largest number of a tensor."""
CHANNELS = (1, 2, 3, 4, 5, 8, 13, 16, 17, 31, 32, 33, 48, 64, 65, 100, 130)
SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 17, 20)
PIXELS = 40_000
"""Numbers that the output of a node has at most."""
worst: Counter[str] = Counter()
"""The largest difference that counts as none, of outputs and of errors."""


class _Growing:
    """Nodes as they are added, with what they give of a picture, so that each fits what is there."""

    def __init__(self, chance: random.Random, inputs: dict[str, Tensor]):
        self.chance, self.values, self.nodes = chance, dict(inputs), list[Node]()

    def add(self, block: Block, *inputs: str) -> str | None:
        """The new node's name; None if its block does not take them, or gives too much."""
        for tensor in block.parameters.values():
            torch.nn.init.normal_(tensor, std=max(tensor[0].numel(), 1) ** -0.5)
        for name, tensor in block.buffers.items():
            tensor.uniform_(0.5, 1.5) if "variance" in name else tensor.normal_()
        try:
            y, _ = block.forward(*(self.values[key] for key in inputs))
        except ShapeError:
            return None
        if not 0 < y.numel() <= PIXELS:
            return None
        name = f"n{len(self.nodes)}"
        self.nodes.append(Node(name, block, inputs))
        self.values[name] = y
        return name

    def some(self) -> str:
        """A key, rather a late one."""
        keys = [*self.values]
        return self.chance.choice(keys[-4:] if self.chance.random() < 0.7 else keys)

    def like(self, key: str, axes: tuple[int, ...]) -> str:
        """A key, perhaps the same, whose lengths along these axes are the same."""
        shape = self.values[key].shape
        return self.chance.choice([k for k, x in self.values.items() if all(x.shape[i] == shape[i] for i in axes)])

    def convolution(self) -> None:
        chance, key = self.chance, self.some()
        c = self.values[key].shape[1]
        if chance.random() < 0.15 and (pad := self.add(blocks.Pad((1, 1, 1, 1), mode="reflect"), key)):
            self.after(self.add(blocks.Conv2d(c, chance.choice(CHANNELS), 3), pad))
            return
        kernel = tuple(chance.choice((1, 2, 3, 3, 3, 4, 5, 7, 11)) for _ in "hw")
        kernel = kernel if chance.random() < 0.3 else kernel[:1] * 2
        usual = chance.random() < 0.5
        stride, dilation = (1, 1) if usual else (self._pair((1, 1, 2, 3, 4)), self._pair((1, 1, 1, 2, 3)))
        padding = tuple(chance.choice((k // 2, k // 2, 0, k - 1, k, k + 2)) for k in kernel)
        kind, out = chance.random(), chance.choice(CHANNELS)
        groups = c if kind < 0.2 else 2 if kind < 0.25 and c % 2 == 0 else 1
        out = c if groups == c > 1 and chance.random() < 0.8 else out * groups
        self.after(
            self.add(blocks.Conv2d(c, out, kernel, stride, padding, dilation, groups, chance.random() < 0.7), key)
        )

    def after(self, key: str | None) -> None:
        """What often stands behind a convolution."""
        if key and self.chance.random() < 0.3:
            key = self.add(blocks.BatchNorm2d(self.values[key].shape[1]), key)
        if key and self.chance.random() < 0.7:
            self.add(self._rectifier(), key)

    def rectifier(self) -> None:
        self.add(self._rectifier(), self.some())

    def pool(self) -> None:
        chance = self.chance
        kernel = self._pair((1, 2, 3, 3, 5))
        padding = tuple(chance.randint(0, k // 2) for k in kernel)
        stride, dilation = self._pair((1, 2, 2, 3, 4)), self._pair((1, 1, 1, 2, 3))
        self.add(blocks.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=chance.random() < 0.4), self.some())

    def concat(self) -> None:
        first = self.some()
        self.add(
            blocks.Concat(self.chance.choice((1, 1, -3, 2))),
            first,
            *(self.like(first, (2, 3)) for _ in range(self.chance.randint(1, 3))),
        )

    def sum(self) -> None:
        first = self.some()
        axes = (1, 2, 3) if self.chance.random() < 0.9 else (2, 3)
        others = [self.like(first, axes) for _ in range(1 if self.chance.random() < 0.8 else 2)]
        key = self.add(blocks.Add(), *self.chance.sample([first, *others], 1 + len(others)))
        if key and self.chance.random() < 0.5:
            self.add(blocks.ReLU(), key)

    def other(self) -> None:
        """What no kernel does, so that regions end."""
        self.add(self.chance.choice([blocks.Tanh(), blocks.AvgPool2d(2, 1), blocks.Affine(0.5)]), self.some())

    def _pair(self, choices: tuple[int, ...]) -> tuple[int, int]:
        one = self.chance.choice(choices)
        return one, one if self.chance.random() < 0.6 else self.chance.choice(choices)

    def _rectifier(self) -> Block:
        return blocks.ReLU() if self.chance.random() < 0.6 else blocks.Clamp(0, self.chance.choice((1, 2, 6, 0.5)))


def grown(seed: int) -> tuple[Network, list[Tensor]]:
    """The network of this number, in float32, and pictures that it takes."""
    chance = random.Random(seed)
    torch.manual_seed(seed)
    size = chance.choice(SIZES), chance.choice(SIZES)
    batch = chance.choice((1, 1, 1, 2, 3, 9))
    inputs = {
        name: torch.randn(batch, chance.choice(CHANNELS), *size) for name in ("x", "z")[: chance.choice((1, 1, 2))]
    }
    growing = _Growing(chance, inputs)
    steps = [*[growing.convolution] * 5, growing.rectifier, *[growing.pool, growing.concat, growing.sum] * 2]
    for _ in range(chance.randint(3, 16)):
        chance.choice([*steps, growing.other])()
    if not growing.nodes:
        growing.add(blocks.ReLU(), "x")
    return Network(growing.nodes, tuple(inputs)), [*inputs.values()]


def faults(seed: int, seen: Counter[str] | None = None) -> Iterator[str]:
    """What this network gives otherwise than its blocks in float64, in words; `seen` counts nodes of regions."""
    network, pictures = grown(seed)
    chance = random.Random(seed + 1)
    exact = network.copy().to(torch.float64)
    inner = [node.name for node in network.nodes if chance.random() < 0.15]
    keep = (*network.outputs, *(key for key in inner if key not in network.outputs))
    seeded = chance.sample(keep, chance.randint(1, len(keep)))
    held = (*network.inputs, *keep)
    wrt = tuple(key for key in held if chance.random() < 0.6) or network.inputs
    lean, plain = network.prepare(keep, wrt), exact.prepare(keep, wrt, without=["join_regions"])
    if seen is not None:
        seen.update(_in_regions(lean))
    wrong: list[str] = []
    for _ in range(3):
        before = [x.clone() for x in pictures]
        given = [any_layout(x, chance) for x in pictures]
        trace, other = lean.forward(*given, keep=held), plain.forward(*(x.double() for x in pictures), keep=held)
        found = {key: trace[key].clone() for key in keep}
        seeds = {key: torch.randn_like(found[key]) for key in seeded}
        laid = {key: any_layout(d, chance) for key, d in seeds.items()}
        ours, theirs = (
            lean.backward(trace, laid, wrt),
            plain.backward(other, {key: d.double() for key, d in seeds.items()}, wrt),
        )
        for what, mine, wanted in [("outputs", found, other), ("errors", ours, theirs)]:
            off = {key: off_by(mine[key].double(), wanted[key]) for key in (keep if what == "outputs" else wrt)}
            if bad := {key: f"{by:.3g}" for key, by in off.items() if not by <= TOLERANCE}:
                wrong.append(f"network {seed}: {what} of {bad} are off\n{network}\n{[x.shape for x in pictures]}")
                if what == "outputs":
                    yield wrong[-1]
                    return
            else:
                worst[what] = max(worst[what], *off.values())  # type: ignore[assignment]
        if any(
            not torch.equal(x, y) for x, y in zip((*given, *laid.values()), (*before, *seeds.values()), strict=True)
        ):
            yield f"network {seed} changes what it is given"
            return
        if not wrong:
            return
        pictures = [torch.randn_like(x) for x in pictures]
    if len(wrong) == 3:
        yield wrong[0]


def _in_regions(lean: Network) -> list[str]:
    regions: list[Any] = [node.block for node in lean.nodes if isinstance(node.block, NativeRegion)]
    return [type(node.block).__name__ for region in regions for node in region.nodes]
