"""A report as one web page: key figures, texts, pictures and tables in a single file that asks the network for nothing.

page("LeNet-5 on MNIST", [Section("Training", "…", [svg(learning_curves(records))])], {"accuracy": "99.1 %"})

How it looks is in page.html.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from blockprop.errors import SettingError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SVG = "{http://www.w3.org/2000/svg}"
COLUMN_WIDTH = 1040
"""CSS pixels. A picture much wider would shrink until its letters are too small: it scrolls instead."""


@dataclass(frozen=True)
class Picture:
    """SVG text or a PNG file's content, and what stands under it."""

    content: str | bytes
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, text, pictures side by side where there is room, and a table.

    text: blank lines separate paragraphs; escaped, unless it is `Markup`.
    pictures: SVG text, PNG bytes, or a `Picture` that adds a caption.
    table: rows of cells, the column headings first; numbers are set flush right.
    """

    heading: str
    text: str = ""
    pictures: Sequence[str | bytes | Picture] = field(default_factory=tuple)
    table: Sequence[Sequence[Any]] | None = None


class EmbeddedImage(NamedTuple):
    """What the page's <img> says of a picture. width: in CSS pixels; None: as the picture itself says."""

    kind: str
    data: str
    alt: str
    caption: str
    width: int | None
    is_wide: bool


class TableCell(NamedTuple):
    """A table's cell; a heading stands over its column as its numbers do."""

    text: Any
    is_number: bool


def page(title: str, sections: Iterable[Section], facts: Mapping[str, Any], summary: str = "") -> str:
    """Return a complete index.html with styles, SVG and PNG inside it, for screens, phones, print and dark mode.

    facts: the key figures, {what: value}, in order. summary: one sentence under the title.
    All text is escaped unless it is `Markup`. SVGs are embedded as pictures, so that browsers run and load
    nothing that is in them. Raises SettingError for a picture that is neither SVG nor PNG.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"paragraphs": _paragraphs, "image": _image, "cells": _cells}
    template = environment.get_template("page.html")
    return template.render(title=title, sections=list(sections), facts=facts, summary=summary)


def _paragraphs(text: str) -> list[str]:
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if part]


def _image(picture: str | bytes | Picture) -> EmbeddedImage:
    content, caption = (picture.content, picture.caption) if isinstance(picture, Picture) else (picture, "")
    alt = caption.striptags() if isinstance(caption, Markup) else caption
    if isinstance(content, str):
        root = _svg_root(content)
        width = float(root.get("viewBox", "0 0 0 0").replace(",", " ").split()[2])
        alt = alt or root.findtext(f"{SVG}title", "")
        return EmbeddedImage("svg+xml", _base64(content.encode()), alt, caption, None, width > 1.35 * COLUMN_WIDTH)
    if not content.startswith(PNG_SIGNATURE):
        raise SettingError("a picture given as bytes must be a PNG file's content; make one with figures.png(figure)")
    return EmbeddedImage("png", _base64(content), alt, caption, _png_width(content), False)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _svg_root(text: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SettingError(f"a picture given as text must be SVG; this is not well-formed: {error}") from error
    if root.tag != f"{SVG}svg":
        what = f"<{root.tag}>" + " without its xmlns" * (root.tag == "svg")
        raise SettingError(f"a picture given as text must be SVG, not {what}")
    return root


def _png_width(content: bytes) -> int:
    """In CSS pixels, 96 to the inch: a finer picture is to look sharper, not larger."""
    pixels = int.from_bytes(content[16:20])
    at = content.find(b"pHYs", 0, 4096)
    per_meter = int.from_bytes(content[at + 4 : at + 8]) if at > 0 else 0
    return round(pixels * 96 / (per_meter * 0.0254)) if per_meter else pixels


def _cells(rows: Sequence[Sequence[Any]]) -> list[list[TableCell]]:
    head, *body = rows
    for row in rows:
        if len(row) != len(head):
            raise SettingError(f"each row of a table needs as many cells; {row!r} has {len(row)}, not {len(head)}")
    numeric = [bool(body) and all(map(_is_number, column)) for column in zip(*body, strict=True)] or [False] * len(head)
    return [[TableCell(_with_commas(cell), flag) for cell, flag in zip(row, numeric, strict=True)] for row in rows]


def _is_number(cell: Any) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _with_commas(cell: Any) -> Any:
    return f"{cell:,}" if isinstance(cell, int) and _is_number(cell) else cell
