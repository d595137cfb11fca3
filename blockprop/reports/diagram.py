"""The dataflow diagram of a network as SVG text: boxes for blocks, arrows for tensors, bars for values and gradients.

    svg = diagram(network)                                       blocks, settings, parameter counts
    svg = diagram(network, trace)                                and each tensor's shape and size
    svg = diagram(network, trace, network.backward(trace, seeds, wrt=names))    and the gradients

The layout is in layout.py, the SVG in drawing.py. No ids, styles or scripts are used, so that several diagrams can
stand in one page.
"""

import inspect
import math
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.trace import Trace
from blockprop.errors import GraphError, no_such
from blockprop.interop.opaque import Opaque
from blockprop.reports.drawing import KIND_COLORS, OPAQUE, drawing, shortened
from blockprop.reports.layout import DiagramBox, Link, place

COUNT_SETTINGS = ("channels", "classes", "features", "groups", "heads", "units")
LENGTH_SETTINGS = ("dilation", "padding", "size", "stride")
HARD_SPACE = "\u00a0"


@torch.no_grad()
def diagram(
    network: Network,
    trace: Trace | None = None,
    gradients: Mapping[str, Tensor] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> str:
    """Return the diagram of a network as self-contained SVG text, input at the top.

    trace: adds each tensor's shape (without the batch axis) to its arrow, and the mean |value| to its box.
    gradients: {node or input name: ∂L/∂(its output)}, as from `network.backward(trace, seeds, wrt=names)`; adds the
        mean |gradient|. Bars are on a logarithmic scale common to all boxes, one for values and one for gradients.
    shapes: {node or input name: shape of one example, without the batch axis}, where there is no trace.
    Long networks continue in further columns. Raises GraphError for a name that is not in the network.
    """
    for name in (*(gradients or ()), *(shapes or ())):
        if name not in network.keys:
            raise GraphError(no_such("node", name, network.keys))
    example_shapes = {name: tuple(shape) for name, shape in (shapes or {}).items()}
    example_shapes |= {name: tuple(tensor.shape[1:]) for name, tensor in (trace.values if trace else {}).items()}
    sizes = [_mean_sizes(trace.values if trace else {}), _mean_sizes(gradients or {})]
    boxes, links = _graph(network, example_shapes, sizes)
    return drawing(network, place(boxes, links), links, sizes)


def kind_of(block: Block) -> str:
    """A block's color group; one of no kind, or of one that has no color, counts as "weights" if it has any."""
    if block.kind in KIND_COLORS and block.kind != "other":
        return block.kind
    return "weights" if block.parameters else "other"


def describe(block: Block) -> str:
    """A block's type and key settings as people say it: "conv 5×5, 6 channels"."""
    if isinstance(block, Opaque):
        return block.operator.removesuffix(".default")
    name = type(block).__name__
    dimensions = int(match[1]) if (match := re.search(r"([123])d$", name)) else 2
    name = re.sub(r"[123]d$", "", name)
    title = name if re.search(r"[A-Z]{2}", name) else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    phrases = []
    for argument in inspect.signature(type(block)).parameters.values():
        value = getattr(block, argument.name, argument.default)
        if argument.name == "kernel":
            title += " " + "×".join(map(str, value if isinstance(value, (tuple, list)) else (value,) * dimensions))
        elif not argument.name.endswith("_in"):
            value = _plain(value) if argument.name.endswith(LENGTH_SETTINGS) else value
            if not _same(value, argument.default):
                phrases.append(_phrase(argument.name, value))
    return ", ".join([title, *phrases])


def _same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, (int, float, str, tuple)) and value == default)


def _plain(value: Any) -> Any:
    """(2, 2) is said as 2."""
    is_uniform = isinstance(value, (tuple, list)) and len(value) > 0 and all(item == value[0] for item in value)
    return value[0] if is_uniform else value


def _phrase(name: str, value: Any) -> str:
    if name.removesuffix("_out") in COUNT_SETTINGS:
        return f"{value} {name.removesuffix('_out')}"
    words = name.removeprefix("with_").replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, Tensor):
        return f"{words} {_shape(tuple(value.shape))}"
    separator = "×" if name.endswith((*LENGTH_SETTINGS, "shape")) else " "
    text = separator.join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    return f"{words} {textwrap.shorten(text, 24, placeholder='…')}"


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def _mean_sizes(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean absolute element by key; NaN for an empty tensor."""
    real = ((name, t.abs() if t.is_complex() else t) for name, t in tensors.items())
    return {name: t.to(torch.float64).abs().mean().item() for name, t in real}


def _graph(
    network: Network, shapes: Mapping[str, tuple[int, ...]], sizes: list[dict[str, float]]
) -> tuple[list[DiagramBox], list[Link]]:
    """A box for each input, node and output, and a link for each use of a tensor."""
    uses = Counter(id(block) for block in network.blocks.values())
    source: dict[str, tuple[DiagramBox, int]] = {}
    boxes: list[DiagramBox] = []
    links: list[Link] = []

    def add(box: DiagramBox, keys: tuple[str, ...], takes: tuple[str, ...]) -> None:
        for i, key in enumerate(keys):
            number = f"[{i}] " if len(keys) > 1 else ""
            box.ports.append((number + (_shape(shapes[key]) if key in shapes else "")).strip())
            source[key] = box, i
        for title, size in zip(("value", "gradient"), sizes, strict=True):
            means = [size[key] for key in keys if key in size]
            if means:
                box.bars.append((title, math.fsum(means) / len(means)))
        box.fit()
        boxes.append(box)
        links.extend(Link(*source[key], box) for key in takes)

    for name in network.inputs:
        add(DiagramBox("input, output", shortened(name), ["input"], about=f"input {name}"), (name,), ())
    for node in network.nodes:
        add(_node_box(node.name, node.block, uses[id(node.block)] > 1), node.keys, node.inputs)
    for name in network.outputs:
        add(DiagramBox("input, output", "output", [shortened(name)], about=f"output {name}"), (), (name,))
    return boxes, links


def _node_box(name: str, block: Block, is_shared: bool) -> DiagramBox:
    about = describe(block)
    unbroken = ", ".join(phrase.replace(" ", HARD_SPACE) for phrase in about.split(", "))
    lines = [line.replace(HARD_SPACE, " ") for line in textwrap.wrap(unbroken, 32)]
    lines = lines if len(lines) <= 3 else [*lines[:2], f"{lines[2][:31]}…"]
    count = sum(tensor.numel() for tensor in block.parameters.values())
    note = f"{count:,} parameter{'s' * (count != 1)}{', shared' if is_shared else ''}" if count else ""
    is_opaque = isinstance(block, Opaque)
    about = f"{name}: {about}{f' ({OPAQUE})' if is_opaque else ''}"
    return DiagramBox(kind_of(block), shortened(name), lines, note, about=about, node=name, dashed=is_opaque)
