"""One graph from numbers to scores: numbers → image → transforms → preprocessing → network.

    canvas = fourier(224, 224)
    graph = pipeline(network, canvas, robust(224, 224))
    trace = graph.forward(canvas.start(1))
    d = graph.backward(trace, seeds, wrt="inputs")          how each number should change
    trace["image"]                                          the picture, (1, 3, 224, 224) in 0…1

An objective for the network is one for the pipeline, too: all of the network's nodes keep their names.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import ColorMix, Jitter, Pad, RandomAffine, Sigmoid, Spectrum
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import GraphError, SettingError, ShapeError, shape, suggestion

IMAGE = "image"
"""The node that gives the picture."""
EXTREME = 1e-3
"""How near to 0 and 1 the colors of a picture come that a canvas starts from: the logits of 0 and 1 are infinite."""
DEVIATION = 0.01
"""Of the numbers that a canvas starts from, if they are noise."""

Start = str | Tensor


@dataclass(frozen=True)
class Canvas:
    """How a picture is made from numbers.

    blocks: by node name, each fed by the one before; the last is "image".
    shape: of one picture, (channels, h, w).   numbers: the shape of what it is made from.
    of: numbers that give these pictures, (n, *shape) -> (n, *numbers).
    """

    kind: str
    blocks: Mapping[str, Block]
    shape: tuple[int, int, int]
    numbers: tuple[int, ...]
    of: Callable[[Tensor], Tensor]

    def start(self, count: int = 1, start: Start = "noise", seed: int = 0) -> Tensor:
        """The first numbers of so many pictures: (count, *numbers).

        start: "noise", of which each picture has its own, on gray; "gray"; or a picture, (1 or count, *shape): the
            numbers that give it, with its colors in 0.001…0.999.
        Raises SettingError for another word and no pictures, ShapeError for a picture of another size.
        """
        if count < 1:
            raise SettingError(f"expected at least one picture, came count={count}")
        if isinstance(start, Tensor):
            return self._from_picture(start, count)
        if start == "gray":
            return torch.zeros(count, *self.numbers)
        if start != "noise":
            raise SettingError(f"start must be noise, gray or a picture, came {start!r}")
        generator = torch.Generator().manual_seed(seed)
        # One by one, so that a picture starts from the same noise whatever their number.
        noise = [torch.randn(1, *self.numbers, generator=generator) for _ in range(count)]
        return torch.cat(noise).mul_(DEVIATION)

    def picture(self, numbers: Tensor) -> Tensor:
        """What these numbers give: (n, *shape) in 0…1."""
        x = numbers
        for block in self.blocks.values():
            x = block(x)
        return x

    @torch.no_grad()
    def _from_picture(self, picture: Tensor, count: int) -> Tensor:
        if picture.dim() != 4 or picture.shape[1:] != self.shape or len(picture) not in (1, count):
            expected = " x ".join(map(str, self.shape))
            raise ShapeError(f"expected 1 or {count} pictures of {expected} to start from, came {shape(picture)}")
        return self.of(picture.detach().float()).expand(count, *self.numbers).clone()


def pixels(height: int, width: int, channels: int = 3) -> Canvas:
    """Each pixel by itself:  image = σ(numbers),  numbers: (n, channels, height, width)."""
    size = (channels, height, width)
    return Canvas("pixels", {IMAGE: Sigmoid()}, size, size, _logits)


def fourier(height: int, width: int, channels: int = 3) -> Canvas:
    """From a spectrum of colors that vary independently:  image = σ(M spectrum(numbers)).

    Blocks Spectrum, ColorMix (for 3 channels only) and Sigmoid; numbers: (n, channels, height, width // 2 + 1, 2).
    Source: Olah, Mordvintsev and Schubert 2017, section "Preconditioning".
    """
    spectrum, colors = Spectrum(height, width), ColorMix() if channels == 3 else None
    mixing = {} if colors is None else {"canvas.colors": colors}
    blocks = {"canvas.spectrum": spectrum, **mixing, IMAGE: Sigmoid()}

    def of(picture: Tensor) -> Tensor:
        logits = _logits(picture)
        return spectrum.of(logits if colors is None else colors.unmixed(logits))

    return Canvas("fourier", blocks, (channels, height, width), (channels, height, width // 2 + 1, 2), of)


CANVASES: dict[str, Callable[[int, int, int], Canvas]] = {"fourier": fourier, "pixels": pixels}
"""All canvases by name: (height, width, channels) -> Canvas."""


def canvas_by_name(name: str, height: int, width: int, channels: int = 3) -> Canvas:
    """Raises SettingError for an unknown name and sizes below 1."""
    if name not in CANVASES:
        raise SettingError(f"there is no canvas {name!r}{suggestion(name, CANVASES)}")
    if min(height, width, channels) < 1:
        raise SettingError(f"a picture needs at least 1 pixel and channel, came {channels} x {height} x {width}")
    return CANVASES[name](height, width, channels)


def robust(height: int, width: int) -> tuple[Block, ...]:
    """Transforms that a picture should survive: padded with gray, shifted, scaled, turned, shifted. The size stays.

    Those of lucid (Olah et al. 2017), for 128 x 128 pixels: a border of 12; shifted by up to 8; scaled by 0.9…1.1 and
    turned by up to 10 degrees; shifted by up to 4. For other sizes the border and the shifts grow or shrink with them.
    """
    side = min(height, width)
    reaches = round(side / 16), round(side / 32)
    border, (far, near) = sum(reaches), reaches
    return (
        Pad((border,) * 4, value=0.5),
        Jitter(far),
        RandomAffine(10.0, (0.9, 1.1)),
        Jitter(near),
    )


def pipeline(network: Network, canvas: Canvas, transforms: Iterable[Block] = (), input: str = "numbers") -> Network:
    """A network that takes a canvas's numbers: the same blocks, with the canvas and the transforms in front of them.

    Node "image" gives the picture; "transform.jitter" and the like, "transform.jitter2", … what the transforms make of
    it. The outputs are the network's own. The transforms are copied, so that each pipeline draws its own numbers.
    Raises SettingError for a network with several inputs, GraphError if it has a node of one of these names itself.
    """
    if len(network.inputs) != 1:
        raise SettingError(f"expected a network with one input, the picture; this one has {len(network.inputs)}")
    front: list[Node] = []
    for name, block in {**canvas.blocks, **_named(transforms)}.items():
        front.append(Node(name, block, (front[-1].name if front else input,)))
    (old,) = network.inputs
    taken = {*network.keys, *network.state, *(node.name for node in network.nodes)} - {old}
    for name in (input, *(node.name for node in front)):
        if name in taken:
            raise GraphError(f"the network has a node {name!r} itself; import or build it with another name for it")
    nodes = [Node(node.name, node.block, _moved(node.inputs, old, front[-1].name)) for node in network.nodes]
    meta = network.meta.copy()
    meta.pop("shape", None)
    meta.pop("free", None)
    meta.pop("sizes", None)
    meta.pop("preprocessing", None)
    return Network([*front, *nodes], (input,), _moved(network.outputs, old, front[-1].name), meta)


def with_generators(pipeline: Network, seed: int) -> Network:
    """The same graph, with copies of its random blocks that have generators of their own.

    So runs do not disturb each other, and the blocks that came in stay as they are.
    """
    fresh: dict[int, Any] = {}
    for i, block in enumerate(pipeline.unique_blocks.values()):
        if hasattr(block, "generator"):
            twin = fresh[id(block)] = copy.copy(block)
            twin.generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
    nodes = [Node(node.name, fresh.get(id(node.block), node.block), node.inputs) for node in pipeline.nodes]
    return Network(nodes, pipeline.inputs, pipeline.outputs, pipeline.meta)


def beyond_image(pipeline: Network, nodes: tuple[str, ...]) -> str | None:
    """The first node behind the picture, if an objective of these nodes reads any behind it.

    There no penalty of the picture hides that nothing comes back from the network.
    """
    behind = [key for node in pipeline.nodes if IMAGE in node.inputs for key in node.keys]
    return behind[0] if behind and set(nodes) != {IMAGE} else None


def _named(transforms: Iterable[Block]) -> dict[str, Block]:
    blocks: dict[str, Block] = {}
    counts: Counter[str] = Counter()
    for block in transforms:
        if not isinstance(block, Block):
            raise SettingError(f"expected blocks as transforms, came a {type(block).__name__}")
        kind = type(block).__name__.lower()
        counts[kind] += 1
        blocks[f"transform.{kind}{counts[kind] if counts[kind] > 1 else ''}"] = copy.copy(block)
    return blocks


def _moved(names: Sequence[str], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)


def _logits(picture: Tensor) -> Tensor:
    """What a Sigmoid makes this picture of."""
    return torch.logit(picture, EXTREME)


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture to start from in another size, smoothed where it shrinks."""
    if picture.shape[2:] == (height, width):
        return picture
    return F.interpolate(picture.float(), (height, width), mode="bilinear", antialias=True).clamp(0, 1)
