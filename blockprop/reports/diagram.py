"""The dataflow diagram of a network as SVG text: boxes for blocks, arrows for tensors, bars for values and gradients.

    svg = diagram(network)                                       blocks, settings, parameter counts
    svg = diagram(network, trace)                                and each tensor's shape and size
    svg = diagram(network, trace, network.backward(trace, seeds, wrt=names))    and the gradients

The layout is in layout.py. No ids, styles or scripts are used, so that several diagrams can stand in one page.
"""

import inspect
import math
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.trace import Trace
from blockprop.errors import GraphError, suggestion
from blockprop.interop.opaque import Opaque
from blockprop.reports.layout import LANE, LINE, MARGIN, SPACE, Band, Box, Link, place, text_width

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
COUNTS = ("channels", "classes", "features", "groups", "heads", "units")
LENGTHS = ("dilation", "padding", "size", "stride")
OPAQUE, DASHES = "backward by torch's autograd", 'stroke-dasharray="5 3"'
HARD_SPACE = "\u00a0"
INK, GRAY, VALUE, GRADIENT, ALARM = "#1f2933", "#5b6672", "#4a78b5", "#c0566a", "#a30014"


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
    return _drawing(network, place(boxes, links), links, sizes)


# What stands in a box -------------------------------------------------------------------------------------------------


def kind_of(block: Block) -> str:
    """A block's color group; one of no kind, or of one that has no color, counts as "weights" if it has any."""
    if block.kind in KINDS and block.kind != "other":
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
    is_opaque = isinstance(block, Opaque)
    about = f"{name}: {about}{f' ({OPAQUE})' if is_opaque else ''}"
    return Box(kind_of(block), _shortened(name), lines, note, about=about, dashed=is_opaque)


# Drawing --------------------------------------------------------------------------------------------------------------


def _drawing(network: Network, bands: list[Band], links: list[Link], sizes: list[dict[str, float]]) -> str:
    boxes = [box for band in bands for box in band.boxes if box.kind != "bend"]
    count = sum(tensor.numel() for tensor in network.parameters.values())
    used = max(box.x + box.width / 2 for band in bands for box in band.boxes)
    width = max(360.0, used) + 2 * MARGIN
    legend, top = _legend(boxes, count, sizes, width)
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


def _legend(boxes: list[Box], count: int, sizes: list[dict[str, float]], width: float) -> tuple[list[str], float]:
    """The legend's pieces, and the y below it."""
    parts, x, y = [], MARGIN, MARGIN
    kinds = {box.kind for box in boxes}
    entries = [(kind, f'fill="{f}" stroke="{outline}"') for kind, (f, outline) in KINDS.items() if kind in kinds]
    if any(box.dashed for box in boxes):
        entries.append((OPAQUE, f'fill="#ffffff" stroke="{GRAY}" {DASHES}'))
    for text, style in entries:
        step = 34 + text_width(text, 11)
        if x + step > width:
            x, y = MARGIN, y + 20
        parts.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="14" height="12" rx="3" {style}/>')
        parts.append(f'<text x="{x + 20:.0f}" y="{y + 10:.0f}">{text}</text>')
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
    radius, dashes = (14 if box.kind == "input, output" else 6), f" {DASHES}" if box.dashed else ""
    parts = [
        f"<g><title>{escape(box.about)}</title>",
        f'<rect x="{left:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{radius}" '
        f'fill="{fill}" stroke="{outline}" stroke-width="1.2"{dashes}/>',
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
