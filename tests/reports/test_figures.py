"""Figures in files: the same one gives the same bytes; SVG is parsed."""

import re
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from blockprop.reports import figures, plots
from blockprop.reports.curves import learning_curves
from blockprop.training.run import Record


def test_svg_is_reproducible_and_refers_to_itself_alone() -> None:
    def draw(shift: float) -> Figure:
        return learning_curves([Record(i, 1, 1, 1 / (i + 1) + shift, 0.1, 0.0, None, 0.5) for i in range(20)])

    first, again, other = figures.svg(draw(0)), figures.svg(draw(0)), figures.svg(draw(1))
    assert first == again
    assert first != other
    ids = [element.attrib["id"] for element in ElementTree.fromstring(first).iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids)) > 20
    uses = re.findall(r'(?:href="#|url\(#)([^")]+)', first)
    assert uses
    assert set(uses) <= set(ids)
    root = ElementTree.fromstring(first)
    assert "viewBox" in root.attrib
    assert not [element for element in root.iter() if element.tag.endswith(("metadata", "date"))]


def test_a_figure_written_twice_is_the_same() -> None:
    figure = plots.confusion_matrix([0, 1, 2, 1], [0, 1, 2, 2], ["zero", "one", "two"])
    assert figures.svg(figure) == figures.svg(figure)
    assert figures.png(figure, dpi=50) == figures.png(figure, dpi=50)


def test_nothing_global_is_changed() -> None:
    before = dict(matplotlib.rcParams)
    figures.svg(learning_curves([Record(0, 1, 1, 1.0, 0.1, 0.0), Record(1, 1, 1, 0.5, 0.1, 0.0)]))
    assert dict(matplotlib.rcParams) == before


def test_a_figure_says_in_words_what_it_shows() -> None:
    text = figures.svg(learning_curves([Record(i, 1, 1, 1.0, 0.1, 0.0, None, 0.5) for i in range(3)]))
    title = ElementTree.fromstring(text).findtext("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert "accuracy" in title.lower()
