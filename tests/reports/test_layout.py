"""Where things stand in a diagram: nothing overlaps, and arrows go around boxes."""

import re
import time
from xml.etree import ElementTree

import pytest

from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.reports.diagram import diagram
from tests.reports.diagrams import Join, Tenfold, branches, inside, overlapping, points_of_arrows, rectangles, skips


@pytest.mark.parametrize(
    "network",
    [branches(1), branches(3), branches(25), skips(8), skips(20), Sequential(*[Tenfold() for _ in range(60)])],
    ids=["branches", "3 modules", "25 modules", "8 skips", "20 skips", "chain in columns"],
)
def test_boxes_never_overlap_and_arrows_go_around_them(network: Network) -> None:
    svg = diagram(network)
    boxes = rectangles(svg)
    assert len(boxes) == len(network.nodes) + 2
    assert overlapping(boxes) == []
    hit = {name for x, y in points_of_arrows(svg) for name in inside(boxes, x, y)}
    assert hit == set()


def test_everything_is_within_the_view() -> None:
    for network in (branches(25), skips(12), Sequential(Tenfold())):
        svg = diagram(network)
        root = ElementTree.fromstring(svg)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        move = next(e for e in root if "transform" in e.attrib).attrib["transform"]
        dx, dy = map(float, re.findall(r"[\d.]+", move))
        for left, top, right, bottom in rectangles(svg).values():
            assert left + dx >= 0
            assert top + dy >= 0
            assert right + dx <= width
            assert bottom + dy <= height
        assert all(0 <= x + dx <= width and 0 <= y + dy <= height for x, y in points_of_arrows(svg))


def test_each_box_is_below_all_that_it_takes() -> None:
    network = branches(2)
    tops = {title.partition(":")[0]: box[1] for title, box in rectangles(diagram(network)).items()}
    for node in network.nodes:
        assert all(tops[source] < tops[node.name] for source in node.inputs if source in tops)


def test_branches_are_ordered_without_crossings() -> None:
    nodes = [Node(name, Tenfold(), ("x",)) for name in "abc"]
    nodes += [Node(f"{name}2", Tenfold(), (name,)) for name in "cab"]
    boxes = rectangles(diagram(Network(nodes)))
    first = sorted("abc", key=lambda name: boxes[f"{name}: tenfold"][0])
    second = sorted("abc", key=lambda name: boxes[f"{name}2: tenfold"][0])
    assert first == second


def test_an_input_stands_right_above_its_first_use() -> None:
    nodes = [Node("a", Tenfold(), ("x",)), Node("b", Tenfold(), ("a",)), Node("sum", Join(), ("b", "late"))]
    boxes = rectangles(diagram(Network(nodes, inputs=("x", "late"))))
    assert boxes["input late"][1] == pytest.approx(boxes["b: tenfold"][1])


def test_a_straight_chain_of_2000_is_quick_and_in_columns() -> None:
    network = Sequential(*[Tenfold() for _ in range(2000)])
    start = time.process_time()
    svg = diagram(network)
    assert time.process_time() - start < 3
    boxes = rectangles(svg)
    assert len(boxes) == 2002
    assert len({box[0] for box in boxes.values()}) > 10
    assert len(svg) < 2_000_000
