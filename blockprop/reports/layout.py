"""The places of boxes and arrows in a layered drawing of a graph (Sugiyama, Tagawa and Toda 1981).

Layers by longest path, bends where an arrow passes a layer, order within a layer by barycenters, then x by least
squares and y layer by layer, in several columns if it gets long. Arrows curve only between layers, so they never run
through a box.
"""

import itertools
import math
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MARGIN, SPACE, STUB, LINE, LANE, COLUMN = 16.0, 26.0, 24.0, 15.0, 8.0, 2000.0


def place(boxes: list["DiagramBox"], links: list["Link"]) -> list["Strip"]:
    """Set every box's layer and place; replace each long arrow by links over bends; return the strips, top down."""
    layers = _layered(boxes, links)
    _order(layers, links)
    _align(layers, links)
    return _columns(layers, links)


@dataclass(eq=False, slots=True)
class DiagramBox:
    """A node, an input, an output, or (kind "bend") the place where an arrow passes through a layer."""

    kind: str
    name: str = ""
    lines: list[str] = field(default_factory=list)
    note: str = ""
    bars: list[tuple[str, float]] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    """The label at each output."""
    about: str = ""
    node: str = ""
    """The whole name of the node that it stands for."""
    dashed: bool = False
    width: float = 0.0
    height: float = 0.0
    layer: int = -1
    rank: int = 0
    x: float = 0.0
    y: float = 0.0

    def fit(self) -> None:
        """Set width and height so that all texts, and the labels at the outputs, have room."""
        texts = [text_width(self.name, 13, True), *(text_width(line, 11) for line in (*self.lines, self.note))]
        label = max((text_width(port, 11) for port in self.ports), default=0.0)
        self.width = max(88, 24 + max(texts), (len(self.ports) + 1) * (label + 16), 196 if self.bars else 0)
        self.height = 26 + LINE * (len(self.lines) + bool(self.note) + len(self.bars)) + (4 if self.bars else 0)

    def port_x(self, port: int) -> float:
        """Where an output leaves."""
        return self.x + self.width * ((port + 1) / (len(self.ports) + 1) - 0.5) if self.ports else self.x


class Link(NamedTuple):
    """One piece of an arrow, from a box or bend to one in the next layer."""

    tail: DiagramBox
    port: int
    head: DiagramBox


def text_width(text: str, size: float, bold: bool = False) -> float:
    """A generous estimate: fonts differ between machines, and boxes must never be too narrow."""
    wide, narrow = sum(c in "mwMW—" or c.isupper() for c in text), sum(c in "iljtf.,:;'|![]() " for c in text)
    return size * (0.57 * len(text) + 0.2 * wide - 0.22 * narrow) * (1.07 if bold else 1.0)


def _layered(boxes: list[DiagramBox], links: list[Link]) -> list[list[DiagramBox]]:
    """Set each box's layer; replace each arrow over several layers by one chain of bends per tensor."""
    below: defaultdict[DiagramBox, list[DiagramBox]] = defaultdict(list)
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
    layers: list[list[DiagramBox]] = [[] for _ in range(1 + max(box.layer for box in boxes))]
    for box in boxes:
        layers[box.layer].append(box)
    links[:] = _with_bends(links, layers)
    return layers


def _with_bends(links: list[Link], layers: list[list[DiagramBox]]) -> Iterator[Link]:
    ends: dict[tuple[DiagramBox, int], DiagramBox] = {}
    for tail, port, head in sorted(links, key=lambda link: link.head.layer):
        end = ends.setdefault((tail, port), tail)
        while end.layer < head.layer - 1:
            bend = DiagramBox("bend", width=10.0, layer=end.layer + 1)
            layers[bend.layer].append(bend)
            yield Link(end, port if end is tail else 0, bend)
            end = ends[tail, port] = bend
        yield Link(end, port if end is tail else 0, head)


def _neighbors(links: list[Link]) -> tuple[dict[DiagramBox, list[Link]], dict[DiagramBox, list[Link]]]:
    """The links that come from above to each box, and those that leave it downward."""
    above: defaultdict[DiagramBox, list[Link]] = defaultdict(list)
    below: defaultdict[DiagramBox, list[Link]] = defaultdict(list)
    for link in links:
        above[link.head].append(link)
        below[link.tail].append(link)
    return above, below


def _order(layers: list[list[DiagramBox]], links: list[Link], sweeps: int = 8) -> None:
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


def _rank(layers: list[list[DiagramBox]]) -> None:
    for layer in layers:
        for rank, box in enumerate(layer):
            box.rank = rank


def _mean_rank(box: DiagramBox, above: Sequence[Link], below: Sequence[Link], downward: bool) -> float:
    ranks = (
        [tail.rank + 0.5 * port / max(1, len(tail.ports)) for tail, port, _ in above]
        if downward
        else [link.head.rank for link in below]
    )
    return sum(ranks) / len(ranks) if ranks else box.rank


def _crossings(layers: list[list[DiagramBox]], below: Mapping[DiagramBox, list[Link]]) -> int:
    total = 0
    for layer in layers:
        seen: list[int] = []
        for box in layer:
            for _, rank in sorted((port, head.rank) for _, port, head in below.get(box, ())):
                total += len(seen) - bisect_right(seen, rank)
                insort(seen, rank)
    return total


def _align(layers: list[list[DiagramBox]], links: list[Link], sweeps: int = 8) -> None:
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


def _wanted_x(
    box: DiagramBox, above: Mapping[DiagramBox, list[Link]], below: Mapping[DiagramBox, list[Link]], downward: bool
) -> float:
    if downward:
        places = [(tail.port_x(port), tail) for tail, port, _ in above.get(box, ())]
    else:
        places = [(head.x + box.x - box.port_x(port), head) for _, port, head in below.get(box, ())]
    weights = [1 if other.kind == "bend" else 4 for _, other in places]
    if not places:
        return box.x
    return sum(weight * x for weight, (x, _) in zip(weights, places, strict=True)) / sum(weights)


def _straight_lines(layers: list[list[DiagramBox]], links: list[Link]) -> dict[DiagramBox, float]:
    """For each bend the x, among all bends of its arrow, that is farthest out: there the line has room everywhere."""
    chain: dict[DiagramBox, list[DiagramBox]] = {}
    for tail, _, head in links:
        if head.kind == "bend":
            chain[head] = chain[tail] if tail.kind == "bend" else []
            chain[head].append(head)
    middle = [_mean([box.x for box in layer if box.kind != "bend"]) for layer in layers]
    lines: dict[DiagramBox, float] = {}
    for bend, bends in chain.items():
        is_right = sum(b.x - middle[b.layer] for b in (bends[0], bends[-1])) > 0
        lines[bend] = lines[bends[0]] if bends[0] in lines else (max if is_right else min)(b.x for b in bends)
    return lines


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _spread(layer: list[DiagramBox], wanted: list[float], bend_weight: float = 1.0) -> None:
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
class Strip:
    """The strip of one layer: boxes, and under them room for the labels. Arrows are vertical in it."""

    boxes: list[DiagramBox]
    height: float
    gap: float
    """Room below, where arrows curve."""
    column: int = 0
    top: float = 0.0

    @property
    def bottom(self) -> float:
        return self.top + self.height


def _columns(layers: list[list[DiagramBox]], links: list[Link]) -> list[Strip]:
    """Give every layer its place: under the one before, or on top of a new column if the old one is full.

    A column ends where fewest arrows pass, near the length at which the whole is a little higher than wide.
    """
    reach, passing = [0.0] * len(layers), [0] * len(layers)
    for tail, port, head in links:
        reach[tail.layer] = max(reach[tail.layer], abs(head.x - tail.port_x(port)))
        passing[tail.layer] += 1
    strips = [
        Strip(layer, max(box.height for box in layer) + STUB, 18 + min(60.0, 0.15 * dx))
        for layer, dx in zip(layers, reach, strict=True)
    ]
    _break(strips, passing)
    left = right = 0.0
    for column, group in itertools.groupby(strips, key=lambda strip: strip.column):
        members = list(group)
        lanes = passing[members[0].boxes[0].layer - 1] if column else 0
        left = right + (2 * SPACE + LANE * lanes if column else 0)
        shift = left - min(box.x - box.width / 2 for strip in members for box in strip.boxes)
        top = 0.0
        for strip in members:
            strip.top, top = top, top + strip.height + strip.gap
            for box in strip.boxes:
                box.x, box.y = box.x + shift, strip.top
        right = max(box.x + box.width / 2 for strip in members for box in strip.boxes)
    return strips


def _break(strips: list[Strip], passing: list[int]) -> None:
    total = sum(strip.height + strip.gap for strip in strips)
    width = sum(sum(box.width + SPACE for box in strip.boxes) for strip in strips) / len(strips)
    length = max(0.7 * COLUMN, math.sqrt(1.2 * total * width))
    start, column = 0, 0
    while start < len(strips):
        ends, filled = [(0.0, len(strips) - 1)] if total <= COLUMN else [], 0.0
        for i in range(start, len(strips)):
            filled += (strips[i].height + strips[i].gap) / length
            if filled > 0.5 or i == len(strips) - 1:
                ends.append((passing[i] + 2 * abs(filled - 1), i))
            if filled > 2:
                break
        end = min(ends)[1]
        for strip in strips[start : end + 1]:
            strip.column = column
        start, column = end + 1, column + 1
