"""A report as one web page: key figures, texts, pictures and tables in a single file that asks the network for nothing.

page("LeNet-5 on MNIST", [Section("Training", "…", [svg(learning_curves(records))])], {"accuracy": "99.1 %"})
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any
from xml.etree import ElementTree

from blockprop.errors import SettingError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLUMN_WIDTH = 1040


class Html(str):
    """Text that is HTML already, written by whoever calls (formulas, links); any other text is escaped."""

    __slots__ = ()


@dataclass(frozen=True)
class Picture:
    """SVG text or a PNG file's content, and what stands under it."""

    content: str | bytes
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, text, pictures side by side where there is room, and a table.

    text: blank lines separate paragraphs; escaped, unless it is `Html`.
    pictures: SVG text, PNG bytes, or a `Picture` that adds a caption.
    table: rows of cells, the column headings first; numbers are set flush right.
    """

    heading: str
    text: str = ""
    pictures: Sequence[str | bytes | Picture] = field(default_factory=tuple)
    table: Sequence[Sequence[Any]] | None = None


def page(title: str, sections: Iterable[Section], facts: Mapping[str, Any], summary: str = "") -> str:
    """Return a complete index.html with styles, SVG and PNG inside it, for screens, phones, print and dark mode.

    facts: the key figures, {what: value}, in order. summary: one sentence under the title.
    All text is escaped unless it is `Html`. Raises SettingError for a picture that is neither SVG nor PNG, or an SVG
    with scripts or references to other files.
    """
    sections = list(sections)
    body = [
        "<header>",
        f"<h1>{_text(title)}</h1>",
        f'<p class="summary">{_text(summary)}</p>' if summary else "",
        _facts(facts) if facts else "",
        "</header>",
        _contents(sections) if len(sections) > 3 else "",
        "<main>",
        *(_section(section, i) for i, section in enumerate(sections, 1)),
        "</main>",
        "<footer>Made with blockprop.</footer>",
    ]
    return TEMPLATE.format(title=escape(title), style=STYLE, body="\n".join(part for part in body if part))


def _text(text: str) -> str:
    return text if isinstance(text, Html) else escape(str(text))


def _facts(facts: Mapping[str, Any]) -> str:
    items = (f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{"".join(items)}</dl>'


def _contents(sections: list[Section]) -> str:
    links = (f'<a href="#section-{i}">{_text(section.heading)}</a>' for i, section in enumerate(sections, 1))
    return f'<nav aria-label="Contents">{"".join(links)}</nav>'


def _section(section: Section, number: int) -> str:
    parts = [f'<section id="section-{number}">', f"<h2>{_text(section.heading)}</h2>", _paragraphs(section.text)]
    if section.pictures:
        figures = (_figure(picture, f"s{number}-{i}-") for i, picture in enumerate(section.pictures))
        parts.append(f'<div class="pictures">{"".join(figures)}</div>')
    if section.table:
        parts.append(_table(section.table))
    return "\n".join([*parts, "</section>"])


def _paragraphs(text: str) -> str:
    if isinstance(text, Html):
        return f'<div class="text">{text}</div>'
    paragraphs = (part.strip() for part in re.split(r"\n\s*\n", text))
    return f'<div class="text">{"".join(f"<p>{escape(part)}</p>" for part in paragraphs if part)}</div>'


def _figure(given: str | bytes | Picture, prefix: str) -> str:
    picture = given if isinstance(given, Picture) else Picture(given)
    caption = f"<figcaption>{_text(picture.caption)}</figcaption>" if picture.caption else ""
    if isinstance(picture.content, bytes):
        return f"<figure>{_png(picture.content, picture.caption)}{caption}</figure>"
    # Ids count for the whole page, and one picture may stand in it twice.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", checked_svg(picture.content))
    # A picture much wider than the column would shrink until its letters are too small: it scrolls instead.
    wide = ' class="wide" tabindex="0"' if _width(svg) > 1.35 * COLUMN_WIDTH else ""
    return f"<figure{wide}>{svg}{caption}</figure>"


def _png(content: bytes, caption: str) -> str:
    if not content.startswith(PNG_SIGNATURE):
        raise SettingError("a picture given as bytes must be a PNG file's content; make one with plots.png(figure)")
    data = base64.b64encode(content).decode()
    return f'<img src="data:image/png;base64,{data}" width="{_png_width(content)}" alt="{escape(str(caption))}">'


def _png_width(content: bytes) -> int:
    """In CSS pixels, 96 to the inch: a finer picture is to look sharper, not larger."""
    pixels = int.from_bytes(content[16:20])
    at = content.find(b"pHYs", 0, 4096)
    per_meter = int.from_bytes(content[at + 4 : at + 8]) if at > 0 else 0
    return round(pixels * 96 / (per_meter * 0.0254)) if per_meter else pixels


def checked_svg(text: str) -> str:
    """The <svg> element of an SVG text, if it is well-formed and harmless within a page; otherwise SettingError."""
    start = text.find("<svg")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SettingError(f"a picture given as text must be SVG; this is not well-formed: {error}") from error
    if start < 0 or _bare(root.tag) != "svg":
        raise SettingError(f"a picture given as text must be SVG, not <{_bare(root.tag)}>")
    for element in root.iter():
        if _bare(element.tag) in ("script", "foreignObject"):
            raise SettingError(f"an SVG in a report must not hold a <{_bare(element.tag)}>")
        for name, value in element.attrib.items():
            is_outside = _bare(name) == "href" and not value.startswith(("#", "data:image/"))
            if is_outside or _bare(name).lower().startswith("on"):
                raise SettingError(f"an SVG in a report must not run or load anything: {_bare(name)}={value[:60]!r}")
    return text[start:]


def _bare(name: Any) -> str:
    return str(name).rpartition("}")[2]


def _width(svg: str) -> float:
    match = re.search(r'viewBox="[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)', svg[:2000])
    return float(match[1]) if match else 0.0


def _table(rows: Sequence[Sequence[Any]]) -> str:
    head, *body = rows
    # A heading stands over its column as its numbers do.
    numbers = [bool(body) and all(_is_number(row[i]) for row in body if i < len(row)) for i in range(len(head))]
    lines = [_row("th", head, numbers), *(_row("td", row, numbers) for row in body)]
    return f'<div class="table"><table><thead>{lines[0]}</thead><tbody>{"".join(lines[1:])}</tbody></table></div>'


def _is_number(cell: Any) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _row(tag: str, cells: Sequence[Any], numbers: Sequence[bool]) -> str:
    if len(cells) != len(numbers):
        raise SettingError(f"each row of a table needs as many cells; {cells!r} has {len(cells)}, not {len(numbers)}")
    classes = ("", ' class="number"')
    shown = []
    for cell, number in zip(cells, numbers, strict=True):
        text = f"{cell:,}" if isinstance(cell, int) and _is_number(cell) else cell
        shown.append(f"<{tag}{classes[number]}>{_text(text)}</{tag}>")
    return f"<tr>{''.join(shown)}</tr>"


TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --paper: #f7f8fa; --card: #ffffff; --ink: #1f2933; --gray: #5b6672; --line: #e1e5ea;
  --accent: #3565a3; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --card: #1d232a; --ink: #e6eaee; --gray: #9aa6b2;
  --line: #303942; --accent: #8ab4ec; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
header, nav, main, footer { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 52px; }
h1 { margin: 0; font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -0.02em;
  overflow-wrap: anywhere; }
h2 { margin: 0 0 8px; font-size: 1.25rem; line-height: 1.3; letter-spacing: -0.01em; }
.summary { margin: 12px 0 0; max-width: 46em; color: var(--gray); font-size: 1.12rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 28px 0 8px; }
.facts div { display: flex; flex-direction: column-reverse; justify-content: flex-end; padding: 14px 18px;
  background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.facts dt { color: var(--gray); font-size: 0.85rem; line-height: 1.35; }
.facts dd { margin: 0; font-size: 1.55rem; font-weight: 600; line-height: 1.3; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; color: var(--accent); overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-top: 18px; font-size: 0.93rem; }
a { color: var(--accent); text-decoration: none; border-bottom: 1px solid transparent; }
a:hover, a:focus { border-bottom-color: currentColor; }
section { margin: 20px 0; padding: 26px 30px 28px; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; }
.text { max-width: 46em; }
.text p { margin: 0 0 10px; }
.text i, .text var { font-family: "Cambria Math", "STIX Two Text", Georgia, serif; }
code { font: 0.92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.pictures { display: flex; flex-wrap: wrap; gap: 18px; align-items: flex-start; margin-top: 14px; }
figure { margin: 0; max-width: 100%; padding: 10px; background: #ffffff; border: 1px solid var(--line);
  border-radius: 10px; }
figure svg, figure img { display: block; max-width: 100%; height: auto; }
figure.wide { overflow-x: auto; }
figure.wide svg { max-width: none; }
figcaption { width: 0; min-width: 100%; padding: 8px 4px 0; box-sizing: border-box;
  color: #5b6672; font-size: 0.88rem; line-height: 1.45; }
.table { overflow-x: auto; margin-top: 16px; }
table { border-collapse: collapse; font-size: 0.93rem; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 22px 7px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--gray); font-weight: 600; }
.number { text-align: right; }
footer { padding: 8px 20px 40px; color: var(--gray); font-size: 0.85rem; }
@media (max-width: 640px) { figure { overflow-x: auto; } figure svg, figure img { min-width: 480px; }
  header { padding-top: 28px; } section { padding: 18px 16px; border-radius: 10px; }
  .facts { grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); }
  .facts dd { font-size: 1.2rem; } }
@media print { body { background: #ffffff; color: #000000; font-size: 11pt; } nav { display: none; }
  section { border: 0; padding: 0; margin: 24px 0; } h2, figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
  figure { border: 0; padding: 0; } figure.wide { overflow: visible; }
  figure.wide svg { max-width: 100%; } figure svg { max-height: 240mm; } }
"""
