"""Networks to draw, and diagrams read back as XML: what stands in them, and where."""

import itertools
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor

from blockprop.blocks.linear import Linear
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node

SPACE = "{http://www.w3.org/2000/svg}"


class Convolve2d(Block):
    """Only its settings and its weight matter here."""

    kind = "weights"
    parameter_names = ("weight",)

    def __init__(self, channels_in: int, channels_out: int, kernel: Any, stride: Any = 1, with_bias: bool = True):
        self.channels_in, self.channels_out, self.kernel = channels_in, channels_out, kernel
        self.stride, self.with_bias = stride, with_bias
        self.weight = torch.ones(channels_out, channels_in)


class Tenfold(Block):
    """y = 10 x: gradients grow tenfold on their way back."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return 10 * x, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (10 * d_y,)


class Join(Block):
    kind = "joining"

    def forward(self, *xs: Tensor) -> tuple[Tensor, Any]:
        return sum(xs[1:], xs[0]), None


class Halves(Block):
    kind = "reshaping"
    output_count = 2

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, ...], Any]:
        return x.chunk(2, 1), None


def rectangles(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each box, by its tooltip."""
    boxes = {}
    for group in ElementTree.fromstring(svg).iter(f"{SPACE}g"):
        title, rectangle = group.find(f"{SPACE}title"), group.find(f"{SPACE}rect")
        if title is not None and rectangle is not None:
            x, y, width, height = (float(rectangle.attrib[name]) for name in ("x", "y", "width", "height"))
            boxes[str(title.text)] = (x, y, x + width, y + height)
    return boxes


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SPACE}text")]


def overlapping(boxes: dict[str, tuple[float, float, float, float]]) -> list[tuple[str, str]]:
    return [
        (a, b)
        for (a, one), (b, two) in itertools.combinations(boxes.items(), 2)
        if one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
    ]


def points_of_arrows(svg: str) -> Iterator[tuple[float, float]]:
    """Points along all arrows, the curves sampled."""
    path = next(e for e in ElementTree.fromstring(svg).iter(f"{SPACE}path") if e.get("fill") == "none")
    here = (0.0, 0.0)
    for command, numbers in re.findall(r"([MVHLC])([-\d. ]*)", path.attrib["d"]):
        n = [float(number) for number in numbers.split()]
        if command == "C":
            for t in (0.1, 0.3, 0.5, 0.7, 0.9):
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
                controls = [here, (n[0], n[1]), (n[2], n[3]), (n[4], n[5])]
                yield tuple(sum(w * c[i] for w, c in zip(weights, controls, strict=True)) for i in (0, 1))  # type: ignore[misc]
        there = {"V": (here[0], n[0]), "H": (n[0], here[1])}.get(command, (n[-2], n[-1]) if len(n) > 1 else here)
        if command != "M":
            for t in (0.2, 0.5, 0.8) if command != "C" else ():
                yield here[0] + t * (there[0] - here[0]), here[1] + t * (there[1] - here[1])
        here = there


def inside(boxes: dict[str, tuple[float, float, float, float]], x: float, y: float) -> list[str]:
    return [name for name, (left, top, right, bottom) in boxes.items() if left < x < right and top + 1 < y < bottom - 1]


def branches(modules: int) -> Network:
    """Modules of four branches of 1, 2, 3 and 0 blocks, joined: long arrows on both sides, boxes of several heights."""
    nodes, last = [Node("stem", Tenfold(), ("x",))], "stem"
    for m in range(modules):
        ends = [last]
        for branch in range(1, 4):
            source = last
            for i in range(branch):
                name = f"m{m}.branch{branch}.{i}"
                nodes.append(Node(name, Linear(40, 40) if branch == 1 else Tenfold(), (source,)))
                source = name
            ends.append(source)
        last = f"m{m}.join"
        nodes.append(Node(last, Join(), tuple(ends)))
    return Network(nodes)


def skips(blocks: int) -> Network:
    """Each block takes all outputs before it: the worst case for routing."""
    names = [f"block{i}" for i in range(blocks)]
    return Network([Node(name, Join(), ("x", *names[:i])) for i, name in enumerate(names)])
