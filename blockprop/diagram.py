"""The dataflow diagram of a network as SVG text: boxes for blocks, arrows for tensors, bars for values and gradients.

    svg = diagram(network)                                       blocks, settings, parameter counts
    svg = diagram(network, trace)                                and each tensor's shape and size
    svg = diagram(network, trace, network.backward(trace, seeds, wrt=names))    and the gradients

The layout is the layered one (Sugiyama, Tagawa and Toda 1981): layers by longest path, bends where an arrow passes a
layer, order within a layer by barycenters. Arrows curve only between layers, so they never run through a box.
No ids, styles or scripts are used, so that several diagrams can stand in one page.
"""

import inspect
import itertools
import math
import re
import textwrap
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.block import Block
from blockprop.errors import GraphError
from blockprop.network import Network, Trace, suggestion

KINDS: dict[str, tuple[str, str]] = {  # kind: (fill, outline)
    "weights": ("#dfe9f7", "#4a78b5"),
    "activation": ("#fcebd4", "#cf8a3a"),
    "pooling": ("#e0f0dc", "#5b9a52"),
    "normalization": ("#ece3f4", "#8a64a8"),
    "joining": ("#f9dfe1", "#c0566a"),
    "reshaping": ("#ebe8df", "#8c8470"),
    "image": ("#d9efee", "#3c9492"),
    "other": ("#f1f3f5", "#7b8794"),
    "input, output": ("#ffffff", "#1f2933"),
}
KIND_OF_MODULE = {
    "linear": "weights",
    "convolution": "weights",
    "attention": "weights",
    "pointwise": "activation",
    "functions": "activation",
    "pooling": "pooling",
    "normalizing": "normalization",
    "joining": "joining",
    "reshaping": "reshaping",
    "image": "image",
}
COUNTS = ("channels", "classes", "features", "groups", "heads", "units")
LENGTHS = ("dilation", "padding", "size", "stride")
HARD_SPACE = "\u00a0"
INK, GRAY, VALUE, GRADIENT, ALARM = "#1f2933", "#5b6672", "#4a78b5", "#c0566a", "#a30014"
MARGIN, SPACE, STUB, LINE, LANE, COLUMN = 16.0, 26.0, 24.0, 15.0, 8.0, 2000.0


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
            raise GraphError(f"the network has no {name!r}{suggestion(name, network.keys)}")
    known = {name: tuple(shape) for name, shape in (shapes or {}).items()}
    known |= {name: tuple(tensor.shape[1:]) for name, tensor in (trace.values if trace else {}).items()}
    sizes = [_mean_sizes(trace.values if trace else {}), _mean_sizes(gradients or {})]
    boxes, links = _graph(network, known, sizes)
    layers = _layered(boxes, links)
    _order(layers, links)
    _align(layers, links)
    return _drawing(network, _columns(layers, links), links, sizes)


# What stands in a box -------------------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class Box:
    """A node, an input, an output, or (kind "bend") the place where an arrow passes through a layer."""

    kind: str
    name: str = ""
    lines: list[str] = field(default_factory=list)
    note: str = ""
    bars: list[tuple[str, float]] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    """The label at each output."""
    about: str = ""
    width: float = 0.0
    height: float = 0.0
    layer: int = -1
    rank: int = 0
    x: float = 0.0
    y: float = 0.0

    def fit(self) -> None:
        """Set width and height so that all texts, and the labels at the outputs, have room."""
        texts = [_text_width(self.name, 13, True), *(_text_width(line, 11) for line in (*self.lines, self.note))]
        label = max((_text_width(port, 11) for port in self.ports), default=0.0)
        self.width = max(88, 24 + max(texts), (len(self.ports) + 1) * (label + 16), 196 if self.bars else 0)
        self.height = 26 + LINE * (len(self.lines) + bool(self.note) + len(self.bars)) + (4 if self.bars else 0)

    def port_x(self, port: int) -> float:
        """Where an output leaves."""
        return self.x + self.width * ((port + 1) / (len(self.ports) + 1) - 0.5) if self.ports else self.x


class Link(NamedTuple):
    """One piece of an arrow, from a box or bend to one in the next layer."""

    tail: Box
    port: int
    head: Box


def kind_of(block: Block) -> str:
    """A block's color group, from the module its class is in; others count as "weights" if they have any."""
    kind = KIND_OF_MODULE.get(type(block).__module__.rpartition(".")[2])
    return kind or ("weights" if block.parameters else "other")


def describe(block: Block) -> str:
    """A block's type and key settings as people say it: "conv 5×5, 6 channels"."""
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
            value = _plain(value) if argument.name.endswith(LENGTHS) else value
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
    if name.removesuffix("_out") in COUNTS:
        return f"{value} {name.removesuffix('_out')}"
    words = name.removeprefix("with_").replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, Tensor):
        return f"{words} {_shape(tuple(value.shape))}"
    separator = "×" if name.endswith((*LENGTHS, "shape")) else " "
    text = separator.join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    return f"{words} {textwrap.shorten(text, 24, placeholder='…')}"


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def _mean_sizes(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean absolute element by key; NaN for an empty tensor."""
    real = ((name, t.abs() if t.is_complex() else t) for name, t in tensors.items())
    return {name: t.to(torch.float64).abs().mean().item() for name, t in real}


def _number(value: float) -> str:
    """Three digits at most, powers of ten written out: 0.0123, 4.5·10⁻⁷."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞"
    if value == 0 or 1e-3 <= value < 1e5:
        return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    digits, power = f"{value:.1e}".split("e")
    digits = "" if digits == "1.0" else f"{digits}·"
    return f"{digits}10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _text_width(text: str, size: float, bold: bool = False) -> float:
    """A generous estimate: fonts differ between machines, and boxes must never be too narrow."""
    wide, narrow = sum(c in "mwMW—" or c.isupper() for c in text), sum(c in "iljtf.,:;'|![]() " for c in text)
    return size * (0.57 * len(text) + 0.2 * wide - 0.22 * narrow) * (1.07 if bold else 1.0)


def _shortened(name: str, length: int = 32) -> str:
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-length // 2 :]}"


# The graph of boxes ---------------------------------------------------------------------------------------------------


def _graph(
    network: Network, shapes: Mapping[str, tuple[int, ...]], sizes: list[dict[str, float]]
) -> tuple[list[Box], list[Link]]:
    """A box for each input, node and output, and a link for each use of a tensor."""
    uses = Counter(id(block) for block in network.blocks.values())
    source: dict[str, tuple[Box, int]] = {}
    boxes: list[Box] = []
    links: list[Link] = []

    def add(box: Box, keys: tuple[str, ...], takes: tuple[str, ...]) -> None:
        for i, key in enumerate(keys):
            number = f"[{i}] " if len(keys) > 1 else ""
            box.ports.append((number + (_shape(shapes[key]) if key in shapes else "")).strip())
            source[key] = box, i
        for title, size in zip(("value", "gradient"), sizes, strict=True):
            found = [size[key] for key in keys if key in size]
            if found:
                box.bars.append((title, math.fsum(found) / len(found)))
        box.fit()
        boxes.append(box)
        links.extend(Link(*source[key], box) for key in takes)

    for name in network.inputs:
        add(Box("input, output", _shortened(name), ["input"], about=f"input {name}"), (name,), ())
    for node in network.nodes:
        add(_node_box(node.name, node.block, uses[id(node.block)] > 1), node.keys, node.inputs)
    for name in network.outputs:
        add(Box("input, output", "output", [_shortened(name)], about=f"output {name}"), (), (name,))
    return boxes, links


def _node_box(name: str, block: Block, is_shared: bool) -> Box:
    about = describe(block)
    unbroken = ", ".join(phrase.replace(" ", HARD_SPACE) for phrase in about.split(", "))
    lines = [line.replace(HARD_SPACE, " ") for line in textwrap.wrap(unbroken, 32)]
    lines = lines if len(lines) <= 3 else [*lines[:2], f"{lines[2][:31]}…"]
    count = sum(tensor.numel() for tensor in block.parameters.values())
    note = f"{count:,} parameter{'s' * (count != 1)}{', shared' if is_shared else ''}" if count else ""
    return Box(kind_of(block), _shortened(name), lines, note, about=f"{name}: {about}")


# Layers ---------------------------------------------------------------------------------------------------------------


def _layered(boxes: list[Box], links: list[Link]) -> list[list[Box]]:
    """Set each box's layer; replace each arrow over several layers by one chain of bends per tensor."""
    below: defaultdict[Box, list[Box]] = defaultdict(list)
    for link in links:
        below[link.tail].append(link.head)
    for box in boxes:  # in topological order
        box.layer = max(box.layer, 0)
        for head in below[box]:
            head.layer = max(head.layer, box.layer + 1)
    has_input = {link.head for link in links}
    for box in boxes:  # what nothing feeds stands right above where it is used
        if box not in has_input and below[box]:
            box.layer = min(head.layer for head in below[box]) - 1
    layers: list[list[Box]] = [[] for _ in range(1 + max(box.layer for box in boxes))]
    for box in boxes:
        layers[box.layer].append(box)
    links[:] = _with_bends(links, layers)
    return layers


def _with_bends(links: list[Link], layers: list[list[Box]]) -> Iterator[Link]:
    ends: dict[tuple[Box, int], Box] = {}
    for tail, port, head in sorted(links, key=lambda link: link.head.layer):
        end = ends.setdefault((tail, port), tail)
        while end.layer < head.layer - 1:
            bend = Box("bend", width=10.0, layer=end.layer + 1)
            layers[bend.layer].append(bend)
            yield Link(end, port if end is tail else 0, bend)
            end = ends[tail, port] = bend
        yield Link(end, port if end is tail else 0, head)


def _neighbors(links: list[Link]) -> tuple[dict[Box, list[Link]], dict[Box, list[Link]]]:
    """The links that come from above to each box, and those that leave it downward."""
    above: defaultdict[Box, list[Link]] = defaultdict(list)
    below: defaultdict[Box, list[Link]] = defaultdict(list)
    for link in links:
        above[link.head].append(link)
        below[link.tail].append(link)
    return above, below


def _order(layers: list[list[Box]], links: list[Link], sweeps: int = 8) -> None:
    """Sort each layer by the mean rank of its neighbors, down and up in turn; keep the order with fewest crossings."""
    above, below = _neighbors(links)
    _rank(layers)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, below)
    for sweep in range(sweeps):
        if fewest == 0:
            break
        for layer in reversed(layers) if sweep % 2 else layers:
            layer.sort(key=lambda box: _mean_rank(box, above.get(box, ()), below.get(box, ()), sweep % 2 == 0))
            _rank([layer])
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _rank(layers: list[list[Box]]) -> None:
    for layer in layers:
        for rank, box in enumerate(layer):
            box.rank = rank


def _mean_rank(box: Box, above: Sequence[Link], below: Sequence[Link], downward: bool) -> float:
    ranks = (
        [tail.rank + 0.5 * port / max(1, len(tail.ports)) for tail, port, _ in above]
        if downward
        else [link.head.rank for link in below]
    )
    return sum(ranks) / len(ranks) if ranks else box.rank


def _crossings(layers: list[list[Box]], below: Mapping[Box, list[Link]]) -> int:
    total = 0
    for layer in layers:
        seen: list[int] = []
        for box in layer:
            for _, rank in sorted((port, head.rank) for _, port, head in below.get(box, ())):
                total += len(seen) - bisect_right(seen, rank)
                insort(seen, rank)
    return total


# Positions ------------------------------------------------------------------------------------------------------------


def _align(layers: list[list[Box]], links: list[Link], sweeps: int = 8) -> None:
    """Set each x near its neighbors' mean, downward and upward in turn, then draw the bends of a tensor into a line."""
    above, below = _neighbors(links)
    for layer in layers:
        _spread(layer, [0.0] * len(layer))
    for sweep in range(sweeps):
        for layer in reversed(layers) if sweep % 2 else layers:
            _spread(layer, [_wanted_x(box, above, below, sweep % 2 == 0) for box in layer])
    for sweep in range(4):
        lines = _straight_lines(layers, links)
        for layer in reversed(layers) if sweep % 2 else layers:
            wanted = [_wanted_x(box, above, below, sweep % 2 == 0) for box in layer]
            _spread(layer, [lines.get(box, x) for box, x in zip(layer, wanted, strict=True)], bend_weight=1e4)


def _wanted_x(box: Box, above: Mapping[Box, list[Link]], below: Mapping[Box, list[Link]], downward: bool) -> float:
    if downward:
        places = [(tail.port_x(port), tail) for tail, port, _ in above.get(box, ())]
    else:
        places = [(head.x + box.x - box.port_x(port), head) for _, port, head in below.get(box, ())]
    weights = [1 if other.kind == "bend" else 4 for _, other in places]
    if not places:
        return box.x
    return sum(weight * x for weight, (x, _) in zip(weights, places, strict=True)) / sum(weights)


def _straight_lines(layers: list[list[Box]], links: list[Link]) -> dict[Box, float]:
    """For each bend the x, among all bends of its arrow, that is farthest out: there the line has room everywhere."""
    chain: dict[Box, list[Box]] = {}
    for tail, _, head in links:
        if head.kind == "bend":
            chain[head] = chain[tail] if tail.kind == "bend" else []
            chain[head].append(head)
    middle = [_mean([box.x for box in layer if box.kind != "bend"]) for layer in layers]
    lines: dict[Box, float] = {}
    for bend, bends in chain.items():
        is_right = sum(b.x - middle[b.layer] for b in (bends[0], bends[-1])) > 0
        lines[bend] = lines[bends[0]] if bends[0] in lines else (max if is_right else min)(b.x for b in bends)
    return lines


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _spread(layer: list[Box], wanted: list[float], bend_weight: float = 1.0) -> None:
    """Set x as near as can be to what is wanted (least squares), in order and without overlap.

    With the boxes' widths taken off, this is a regression on a rising sequence: pool neighbors that violate the order.
    """
    offsets = [0.0]
    for left, right in itertools.pairwise(layer):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + SPACE)
    pools: list[tuple[float, float, int]] = []
    for box, x, offset in zip(layer, wanted, offsets, strict=True):
        weight = bend_weight if box.kind == "bend" else 4.0
        mean, count = x - offset, 1
        while pools and pools[-1][0] > mean:
            other, other_weight, other_count = pools.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, count = weight + other_weight, count + other_count
        pools.append((mean, weight, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    for box, mean, offset in zip(layer, means, offsets, strict=True):
        box.x = mean + offset


@dataclass(slots=True)
class Band:
    """The strip of one layer: boxes, and under them room for the labels. Arrows are vertical in it."""

    boxes: list[Box]
    height: float
    gap: float
    """Room below, where arrows curve."""
    column: int = 0
    top: float = 0.0

    @property
    def bottom(self) -> float:
        return self.top + self.height


def _columns(layers: list[list[Box]], links: list[Link]) -> list[Band]:
    """Give every layer its place: under the one before, or on top of a new column if the old one is full.

    A column ends where fewest arrows pass, near the length at which the whole is a little higher than wide.
    """
    reach, passing = [0.0] * len(layers), [0] * len(layers)
    for tail, port, head in links:
        reach[tail.layer] = max(reach[tail.layer], abs(head.x - tail.port_x(port)))
        passing[tail.layer] += 1
    bands = [
        Band(layer, max(box.height for box in layer) + STUB, 18 + min(60.0, 0.15 * dx))
        for layer, dx in zip(layers, reach, strict=True)
    ]
    _break(bands, passing)
    left = right = 0.0
    for column, group in itertools.groupby(bands, key=lambda band: band.column):
        members = list(group)
        lanes = passing[members[0].boxes[0].layer - 1] if column else 0
        left = right + (2 * SPACE + LANE * lanes if column else 0)
        shift = left - min(box.x - box.width / 2 for band in members for box in band.boxes)
        top = 0.0
        for band in members:
            band.top, top = top, top + band.height + band.gap
            for box in band.boxes:
                box.x, box.y = box.x + shift, band.top
        right = max(box.x + box.width / 2 for band in members for box in band.boxes)
    return bands


def _break(bands: list[Band], passing: list[int]) -> None:
    total = sum(band.height + band.gap for band in bands)
    width = sum(sum(box.width + SPACE for box in band.boxes) for band in bands) / len(bands)
    length = max(0.7 * COLUMN, math.sqrt(1.2 * total * width))
    start, column = 0, 0
    while start < len(bands):
        ends, filled = [(0.0, len(bands) - 1)] if total <= COLUMN else [], 0.0
        for i in range(start, len(bands)):
            filled += (bands[i].height + bands[i].gap) / length
            if filled > 0.5 or i == len(bands) - 1:
                ends.append((passing[i] + 2 * abs(filled - 1), i))
            if filled > 2:
                break
        end = min(ends)[1]
        for band in bands[start : end + 1]:
            band.column = column
        start, column = end + 1, column + 1


# Drawing --------------------------------------------------------------------------------------------------------------


def _drawing(network: Network, bands: list[Band], links: list[Link], sizes: list[dict[str, float]]) -> str:
    boxes = [box for band in bands for box in band.boxes if box.kind != "bend"]
    count = sum(tensor.numel() for tensor in network.parameters.values())
    used = max(box.x + box.width / 2 for band in bands for box in band.boxes)
    width = max(360.0, used) + 2 * MARGIN
    legend, top = _legend({box.kind for box in boxes}, count, sizes, width)
    lanes = _lanes(bands, links)
    top += LANE * (1 + max(lanes.values(), default=-1))
    height = top + max(band.bottom for band in bands) + MARGIN + LANE * (1 + max(lanes.values(), default=-1))
    title = f"{', '.join(network.inputs)} → {', '.join(network.outputs)}: {len(network.nodes)} blocks"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, '
        f'sans-serif" font-size="11" fill="{INK}">',
        f"<title>Network {escape(_shortened(title, 200))}, {count:,} parameters</title>",
        '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>',
        *legend,
        f'<g transform="translate({(width - used) / 2:.0f} {top:.0f})">',
        *_arrows(bands, links, lanes),
        *(_box(box, _ranges(sizes)) for box in boxes),
        *_labels(boxes),
        "</g></svg>",
    ]
    return "\n".join(parts)


def _legend(kinds: set[str], count: int, sizes: list[dict[str, float]], width: float) -> tuple[list[str], float]:
    """The legend's pieces, and the y below it."""
    parts, x, y = [], MARGIN, MARGIN
    for kind, (fill, outline) in KINDS.items():
        step = 34 + _text_width(kind, 11)
        if kind not in kinds:
            continue
        if x + step > width:
            x, y = MARGIN, y + 20
        parts.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="14" height="12" rx="3" fill="{fill}" stroke="{outline}"/>')
        parts.append(f'<text x="{x + 20:.0f}" y="{y + 10:.0f}">{kind}</text>')
        x += step
    notes = [f"{count:,} parameters"]
    for title, limits in zip(("value", "gradient"), _ranges(sizes), strict=True):
        if limits:
            notes.append(f"mean |{title}|: bars from {_number(limits[0])} to {_number(limits[1])}, logarithmic")
    y += 28
    for note in notes:
        parts.append(f'<text x="{MARGIN:.0f}" y="{y:.0f}" fill="{GRAY}">{note}</text>')
        y += LINE
    return parts, y + 8


def _ranges(sizes: list[dict[str, float]]) -> list[tuple[float, float] | None]:
    """The powers of ten around all values, and around all gradients."""
    ranges: list[tuple[float, float] | None] = []
    for size in sizes:
        logs = [math.log10(x) for x in size.values() if math.isfinite(x) and x > 0]
        low, high = (math.floor(min(logs)), math.ceil(max(logs))) if logs else (-1, 0)
        ranges.append((10.0 ** min(low, high - 1), 10.0**high) if size else None)
    return ranges


def _box(box: Box, ranges: list[tuple[float, float] | None]) -> str:
    fill, outline = KINDS[box.kind]
    left, y = box.x - box.width / 2, box.y + 18
    radius = 14 if box.kind == "input, output" else 6
    parts = [
        f"<g><title>{escape(box.about)}</title>",
        f'<rect x="{left:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{radius}" '
        f'fill="{fill}" stroke="{outline}" stroke-width="1.2"/>',
        f'<text x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle" font-size="13" font-weight="600">'
        f"{escape(box.name)}</text>",
    ]
    for line, color in [(line, INK) for line in box.lines] + [(box.note, GRAY)] * bool(box.note):
        y += LINE
        parts.append(f'<text x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{color}">{escape(line)}</text>')
    y += 4
    for title, value in box.bars:
        y += LINE
        limits = ranges[title == "gradient"]
        parts.append(_bar(title, value, limits or (0.1, 1.0), left, y, box.width))
    return "".join([*parts, "</g>"])


def _bar(title: str, value: float, limits: tuple[float, float], left: float, y: float, width: float) -> str:
    low, high = math.log10(limits[0]), math.log10(limits[1])
    share = 1.0 if not math.isfinite(value) else (math.log10(value) - low) / (high - low) if value > 0 else 0.0
    color = ALARM if not math.isfinite(value) else VALUE if title == "value" else GRADIENT
    start, room = left + 58, width - 58 - 68
    return (
        f'<text x="{left + 10:.1f}" y="{y:.1f}" font-size="10" fill="{GRAY}">{title}</text>'
        f'<rect x="{start:.1f}" y="{y - 7:.1f}" width="{room:.1f}" height="6" rx="2" fill="{INK}" fill-opacity="0.1"/>'
        f'<rect x="{start:.1f}" y="{y - 7:.1f}" width="{max(share * room, 1.5 if value else 0):.1f}" height="6" rx="2" '
        f'fill="{color}"/>'
        f'<text x="{left + width - 10:.1f}" y="{y:.1f}" text-anchor="end" font-size="10">{_number(value)}</text>'
    )


def _labels(boxes: list[Box]) -> Iterator[str]:
    """The shapes, with a white rim so that they stay readable where an arrow passes."""
    yield f'<g font-size="11" fill="{GRAY}" stroke="#ffffff" stroke-width="3" paint-order="stroke">'
    for box in boxes:
        for port, label in enumerate(box.ports):
            if label:
                x, y = box.port_x(port) + 6, box.y + box.height + 15
                yield f'<text x="{x:.1f}" y="{y:.1f}">{label}</text>'
    yield "</g>"


def _lanes(bands: list[Band], links: list[Link]) -> dict[Link, int]:
    """Number the links that go on in the next column, column by column."""
    numbers: Counter[int] = Counter()
    lanes: dict[Link, int] = {}
    for link in links:
        column = bands[link.tail.layer].column
        if bands[link.head.layer].column != column:
            lanes[link] = numbers[column]
            numbers[column] += 1
    return lanes


def _arrows(bands: list[Band], links: list[Link], lanes: Mapping[Link, int]) -> Iterator[str]:
    ends: defaultdict[Box, list[Link]] = defaultdict(list)
    for link in links:
        ends[link.head].append(link)
    lines, points = [], []
    bottoms = {
        c: max(b.bottom for b in bands if b.column == c) for c in {bands[link.tail.layer].column for link in lanes}
    }
    for head, arriving in ends.items():
        arriving.sort(key=lambda link: link.tail.port_x(link.port))
        step = min(22.0, head.width / (len(arriving) + 1)) if head.kind != "bend" else 0.0
        for i, link in enumerate(arriving):
            x = head.x + step * (i - (len(arriving) - 1) / 2)
            lines.append(_line(link, x, bands, lanes.get(link), bottoms))
            if head.kind != "bend":
                points.append(f"M{x - 4:.1f} {head.y - 7:.1f}h8l-4 7z")
    yield f'<path d="{" ".join(lines)}" fill="none" stroke="{GRAY}" stroke-width="1.2"/>'
    yield f'<path d="{"".join(points)}" fill="{GRAY}"/>'


def _line(link: Link, x: float, bands: list[Band], lane: int | None, bottoms: Mapping[int, float]) -> str:
    """One piece of an arrow: down through its own band, a curve in the gap, and down through a bend's band."""
    tail, head = link.tail, link.head
    above, below = bands[tail.layer], bands[head.layer]
    start = tail.port_x(link.port)
    end = f"{x:.1f} {below.bottom if head.kind == 'bend' else head.y - 6:.1f}"
    path = f"M{start:.1f} {tail.y + tail.height:.1f}V{above.bottom:.1f}"
    if lane is None:
        middle = (above.bottom + below.top - 7) / 2
        return f"{path}C{start:.1f} {middle:.1f} {x:.1f} {middle:.1f} {x:.1f} {below.top - 7:.1f}L{end}"
    left = min(box.x - box.width / 2 for band in bands if band.column == below.column for box in band.boxes)
    side, low, high = left - SPACE - LANE * lane, bottoms[above.column] + LANE * lane, -10 - LANE * lane
    return f"{path}V{low:.1f}H{side:.1f}V{high:.1f}H{x:.1f}L{end}"
