"""Pages are read by an HTML parser: what stands where, and that nothing is loaded or run."""

import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest
from markupsafe import Markup
from matplotlib.figure import Figure

from blockprop.blocks.linear import Linear
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from blockprop.reports import figures
from blockprop.reports.diagram import diagram
from blockprop.reports.page import COLUMN_WIDTH, Picture, Section, page

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><rect width="5" height="5"/></svg>'
VOID = {"meta", "img", "br", "link", "hr"}


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text of each; checks that every tag is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())

    def with_tag(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def picture() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    return figure


def test_a_page_holds_title_summary_facts_sections_and_table() -> None:
    table = [["epoch", "loss", "name"], [1, 0.5, "a"], [12345, 0.25, "b"]]
    section = Section("Training", "First.\n\nSecond.", [SVG], table)
    read = Reader(page("Digits", [section], {"accuracy": "98 %", "seconds": 42}, "It reads digits."))
    assert read.texts["title"] == read.texts["h1"] == ["Digits"]
    assert read.texts["dt"] == ["accuracy", "seconds"]
    assert read.texts["dd"] == ["98 %", "42"]
    assert read.texts["h2"] == ["Training"]
    assert read.texts["p"] == ["It reads digits.", "First.", "Second."]
    assert read.texts["th"] == ["epoch", "loss", "name"]
    assert read.texts["td"] == ["1", "0.5", "a", "12,345", "0.25", "b"]
    assert [cell.get("class") for cell in read.with_tag("td")][:3] == ["number", "number", None]
    assert len(read.with_tag("img")) == 1


def test_an_almost_empty_page_is_a_page() -> None:
    read = Reader(page("Nothing", [], {}))
    assert read.texts["h1"] == ["Nothing"]
    assert not read.with_tag("dl")
    assert not read.with_tag("section")


def test_everything_is_escaped_but_what_is_html() -> None:
    evil = "<script>alert('x')</script>&\""
    section = Section(evil, evil, [Picture(SVG, evil), Picture(figures.png(picture(), 30), evil)], [[evil], [evil]])
    text = page(evil, [section, Section("Formula", Markup("<p>x<sub>i</sub></p>"))], {evil: evil}, evil)
    read = Reader(text)
    assert not read.with_tag("script")
    assert text.count("&lt;script&gt;") == 13
    assert [image["alt"] for image in read.with_tag("img")] == [evil, evil]
    assert read.texts["sub"] == ["i"]


def test_nothing_is_loaded_from_elsewhere() -> None:
    network = Sequential({"fc": Linear(3, 2)})
    pictures = [figures.svg(picture()), figures.png(picture()), diagram(network)]
    text = page("Report", [Section("Pictures", "", pictures)], {})
    read = Reader(text)
    for _, attributes in read.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(
                ("#", "data:image/png;base64,", "data:image/svg+xml;base64,")
            )
        assert not [name for name in attributes if name.startswith("on")]
    assert not read.with_tag("script")
    assert not read.with_tag("link")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    policy = next(meta["content"] for meta in read.with_tag("meta") if "http-equiv" in meta)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_svgs_are_embedded_as_pictures_that_say_what_they_are() -> None:
    pictures = [figures.svg(picture()), Picture(SVG, "A square."), diagram(Sequential({"fc": Linear(3, 2)}))]
    text = page("Report", [Section(f"Part {i}", "", pictures) for i in range(4)], {})
    read = Reader(text)
    images = read.with_tag("img")[:3]
    contents = [b64decode(str(image["src"]).removeprefix("data:image/svg+xml;base64,")).decode() for image in images]
    assert contents == [pictures[0], SVG, pictures[2]]
    assert [image["alt"] for image in images] == ["", "A square.", "Network x → fc: 1 blocks, 8 parameters"]
    assert [attributes["id"] for _, attributes in read.tags if "id" in attributes] == [
        f"section-{i}" for i in range(1, 5)
    ]
    assert [a["href"] for a in read.with_tag("a")] == [f"#section-{i}" for i in range(1, 5)]


def test_what_an_svg_holds_is_no_part_of_the_page() -> None:
    harmful = SVG.replace("<rect", '<script>1</script><a href="https://example.org" onclick="f()"/><rect')
    read = Reader(page("Report", [Section("", "", [harmful])], {}))
    assert {tag for tag, _ in read.tags}.isdisjoint(("svg", "script", "a"))


def test_a_picture_of_a_caption_with_tags_says_its_words() -> None:
    read = Reader(page("", [Section("", "", [Picture(SVG, Markup("∂<i>S</i> &amp; more"))])], {}))
    assert read.with_tag("img")[0]["alt"] == "∂S & more"
    assert read.texts["i"] == ["S"]


def test_a_fine_png_is_as_large_as_a_coarse_one() -> None:
    contents = [figures.png(picture(), dpi) for dpi in (96, 192)]
    images = Reader(page("", [Section("", "", contents)], {})).with_tag("img")
    assert [image["width"] for image in images] == ["192", "192"]


def test_wide_pictures_scroll() -> None:
    wide = SVG.replace("0 0 20 10", f"0 0 {2 * COLUMN_WIDTH} 10")
    figures = Reader(page("", [Section("", "", [SVG, wide])], {})).with_tag("figure")
    assert [figure.get("class") for figure in figures] == [None, "wide"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GIF89a", "must be a PNG"),
        ("a.svg", "must be SVG; this is not well-formed"),
        ("<html></html>", "must be SVG, not <html>"),
        (SVG.replace(' xmlns="http://www.w3.org/2000/svg"', ""), "must be SVG, not <svg> without its xmlns"),
    ],
)
def test_what_no_browser_shows_is_refused(content: str | bytes, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        page("", [Section("", "", [content])], {})


def test_uneven_tables_are_refused() -> None:
    with pytest.raises(SettingError, match="needs as many cells"):
        page("", [Section("", table=[["a", "b"], [1]])], {})
