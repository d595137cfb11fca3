"""The drawing of a diagram as SVG text: a legend, boxes with their texts and bars, arrows, and labels over all."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from html import escape

from blockprop.engine.network import Network
from blockprop.reports.layout import LANE, LINE, MARGIN, SPACE, DiagramBox, Link, Strip, text_width

KIND_COLORS: dict[str, tuple[str, str]] = {  # kind: (fill, outline)
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
OPAQUE, DASHES = "backward by torch's autograd", 'stroke-dasharray="5 3"'
INK, GRAY, VALUE, GRADIENT, ALARM = "#1f2933", "#5b6672", "#4a78b5", "#c0566a", "#a30014"


def drawing(network: Network, strips: list[Strip], links: list[Link], sizes: list[dict[str, float]]) -> str:
    """The SVG text of placed boxes and links. sizes: the mean |value| and |gradient| by key, for the bars' scales."""
    boxes = [box for strip in strips for box in strip.boxes if box.kind != "bend"]
    count = sum(tensor.numel() for tensor in network.parameters.values())
    used = max(box.x + box.width / 2 for strip in strips for box in strip.boxes)
    width = max(360.0, used) + 2 * MARGIN
    legend, top = _legend(boxes, count, sizes, width)
    lanes = _lanes(strips, links)
    top += LANE * (1 + max(lanes.values(), default=-1))
    height = top + max(strip.bottom for strip in strips) + MARGIN + LANE * (1 + max(lanes.values(), default=-1))
    title = f"{', '.join(network.inputs)} → {', '.join(network.outputs)}: {len(network.nodes)} blocks"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, '
        f'sans-serif" font-size="11" fill="{INK}">',
        f"<title>Network {escape(shortened(title, 200))}, {count:,} parameters</title>",
        '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>',
        *legend,
        f'<g transform="translate({(width - used) / 2:.0f} {top:.0f})">',
        *_arrows(strips, links, lanes),
        *(_box(box, _ranges(sizes)) for box in boxes),
        *_labels(boxes),
        "</g></svg>",
    ]
    return "\n".join(parts)


def _legend(
    boxes: list[DiagramBox], count: int, sizes: list[dict[str, float]], width: float
) -> tuple[list[str], float]:
    """The legend's pieces, and the y below it."""
    parts, x, y = [], MARGIN, MARGIN
    kinds = {box.kind for box in boxes}
    entries = [(kind, f'fill="{f}" stroke="{outline}"') for kind, (f, outline) in KIND_COLORS.items() if kind in kinds]
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


def _box(box: DiagramBox, ranges: list[tuple[float, float] | None]) -> str:
    fill, outline = KIND_COLORS[box.kind]
    left, y = box.x - box.width / 2, box.y + 18
    node = f' data-node="{escape(box.node)}"' if box.node else ""
    radius, dashes = (14 if box.kind == "input, output" else 6), f" {DASHES}" if box.dashed else ""
    parts = [
        f"<g{node}><title>{escape(box.about)}</title>",
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


def _labels(boxes: list[DiagramBox]) -> Iterator[str]:
    """The shapes, with a white rim so that they stay readable where an arrow passes."""
    yield f'<g font-size="11" fill="{GRAY}" stroke="#ffffff" stroke-width="3" paint-order="stroke">'
    for box in boxes:
        for port, label in enumerate(box.ports):
            if label:
                x, y = box.port_x(port) + 6, box.y + box.height + 15
                yield f'<text x="{x:.1f}" y="{y:.1f}">{label}</text>'
    yield "</g>"


def _lanes(strips: list[Strip], links: list[Link]) -> dict[Link, int]:
    """Number the links that go on in the next column, column by column."""
    numbers: Counter[int] = Counter()
    lanes: dict[Link, int] = {}
    for link in links:
        column = strips[link.tail.layer].column
        if strips[link.head.layer].column != column:
            lanes[link] = numbers[column]
            numbers[column] += 1
    return lanes


def _arrows(strips: list[Strip], links: list[Link], lanes: Mapping[Link, int]) -> Iterator[str]:
    ends: defaultdict[DiagramBox, list[Link]] = defaultdict(list)
    for link in links:
        ends[link.head].append(link)
    lines, points = [], []
    bottoms = {
        c: max(b.bottom for b in strips if b.column == c) for c in {strips[link.tail.layer].column for link in lanes}
    }
    for head, arriving in ends.items():
        arriving.sort(key=lambda link: link.tail.port_x(link.port))
        step = min(22.0, head.width / (len(arriving) + 1)) if head.kind != "bend" else 0.0
        for i, link in enumerate(arriving):
            x = head.x + step * (i - (len(arriving) - 1) / 2)
            lines.append(_line(link, x, strips, lanes.get(link), bottoms))
            if head.kind != "bend":
                points.append(f"M{x - 4:.1f} {head.y - 7:.1f}h8l-4 7z")
    yield f'<path d="{" ".join(lines)}" fill="none" stroke="{GRAY}" stroke-width="1.2"/>'
    yield f'<path d="{"".join(points)}" fill="{GRAY}"/>'


def _line(link: Link, x: float, strips: list[Strip], lane: int | None, bottoms: Mapping[int, float]) -> str:
    """One piece of an arrow: down through its own strip, a curve in the gap, and down through a bend's strip."""
    tail, head = link.tail, link.head
    above, below = strips[tail.layer], strips[head.layer]
    start = tail.port_x(link.port)
    end = f"{x:.1f} {below.bottom if head.kind == 'bend' else head.y - 6:.1f}"
    path = f"M{start:.1f} {tail.y + tail.height:.1f}V{above.bottom:.1f}"
    if lane is None:
        middle = (above.bottom + below.top - 7) / 2
        return f"{path}C{start:.1f} {middle:.1f} {x:.1f} {middle:.1f} {x:.1f} {below.top - 7:.1f}L{end}"
    left = min(box.x - box.width / 2 for strip in strips if strip.column == below.column for box in strip.boxes)
    side, low, high = left - SPACE - LANE * lane, bottoms[above.column] + LANE * lane, -10 - LANE * lane
    return f"{path}V{low:.1f}H{side:.1f}V{high:.1f}H{x:.1f}L{end}"


def shortened(name: str, length: int = 32) -> str:
    """A long name without its middle."""
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-length // 2 :]}"


def _number(value: float) -> str:
    """Three digits at most, powers of ten written out: 0.0123, 4.5·10⁻⁷."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞"
    if value == 0 or 1e-3 <= value < 1e5:
        return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    digits, power = f"{value:.1e}".split("e")
    digits = "" if digits == "1.0" else f"{digits}·"
    return f"{digits}10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
