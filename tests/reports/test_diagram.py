"""Diagrams are read back as XML: what stands in them, where, and that nothing overlaps."""

import itertools
import re
import time
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor

from blockprop.blocks import BatchNorm2d, Concat, Conv2d, Dropout, Linear, MaxPool2d, ReLU, Split
from blockprop.engine.block import Block
from blockprop.engine.network import Network, Sequential
from blockprop.engine.plan import Node
from blockprop.errors import GraphError
from blockprop.reports.diagram import describe, diagram, kind_of

SPACE = "{http://www.w3.org/2000/svg}"


class Convolve2d(Block):
    """Only its settings and its weight matter here."""

    kind = "weights"
    parameter_names = ("weight",)

    def __init__(self, channels_in: int, channels_out: int, kernel: Any, stride: Any = 1, with_bias: bool = True):
        self.channels_in, self.channels_out, self.kernel = channels_in, channels_out, kernel
        self.stride, self.with_bias = stride, with_bias
        self.weight = torch.ones(channels_out, channels_in)


class Tenfold(Block):
    """y = 10 x: gradients grow tenfold on their way back."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return 10 * x, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (10 * d_y,)


class Join(Block):
    kind = "joining"

    def forward(self, *xs: Tensor) -> tuple[Tensor, Any]:
        return sum(xs[1:], xs[0]), None


class Halves(Block):
    kind = "reshaping"
    output_count = 2

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, ...], Any]:
        return x.chunk(2, 1), None


def rectangles(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each box, by its tooltip."""
    boxes = {}
    for group in ElementTree.fromstring(svg).iter(f"{SPACE}g"):
        title, rectangle = group.find(f"{SPACE}title"), group.find(f"{SPACE}rect")
        if title is not None and rectangle is not None:
            x, y, width, height = (float(rectangle.attrib[name]) for name in ("x", "y", "width", "height"))
            boxes[str(title.text)] = (x, y, x + width, y + height)
    return boxes


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SPACE}text")]


def overlapping(boxes: dict[str, tuple[float, float, float, float]]) -> list[tuple[str, str]]:
    return [
        (a, b)
        for (a, one), (b, two) in itertools.combinations(boxes.items(), 2)
        if one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
    ]


def points_of_arrows(svg: str) -> Iterator[tuple[float, float]]:
    """Points along all arrows, the curves sampled."""
    path = next(e for e in ElementTree.fromstring(svg).iter(f"{SPACE}path") if e.get("fill") == "none")
    here = (0.0, 0.0)
    for command, numbers in re.findall(r"([MVHLC])([-\d. ]*)", path.attrib["d"]):
        n = [float(number) for number in numbers.split()]
        if command == "C":
            for t in (0.1, 0.3, 0.5, 0.7, 0.9):
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
                controls = [here, (n[0], n[1]), (n[2], n[3]), (n[4], n[5])]
                yield tuple(sum(w * c[i] for w, c in zip(weights, controls, strict=True)) for i in (0, 1))  # type: ignore[misc]
        there = {"V": (here[0], n[0]), "H": (n[0], here[1])}.get(command, (n[-2], n[-1]) if len(n) > 1 else here)
        if command != "M":
            for t in (0.2, 0.5, 0.8) if command != "C" else ():
                yield here[0] + t * (there[0] - here[0]), here[1] + t * (there[1] - here[1])
        here = there


def inside(boxes: dict[str, tuple[float, float, float, float]], x: float, y: float) -> list[str]:
    return [name for name, (left, top, right, bottom) in boxes.items() if left < x < right and top + 1 < y < bottom - 1]


def branches(modules: int) -> Network:
    """Modules of four branches of 1, 2, 3 and 0 blocks, joined: long arrows on both sides, boxes of several heights."""
    nodes, last = [Node("stem", Tenfold(), ("x",))], "stem"
    for m in range(modules):
        ends = [last]
        for branch in range(1, 4):
            source = last
            for i in range(branch):
                name = f"m{m}.branch{branch}.{i}"
                nodes.append(Node(name, Linear(40, 40) if branch == 1 else Tenfold(), (source,)))
                source = name
            ends.append(source)
        last = f"m{m}.join"
        nodes.append(Node(last, Join(), tuple(ends)))
    return Network(nodes)


def skips(blocks: int) -> Network:
    """Each block takes all outputs before it: the worst case for routing."""
    names = [f"block{i}" for i in range(blocks)]
    return Network([Node(name, Join(), ("x", *names[:i])) for i, name in enumerate(names)])


def test_one_node_is_input_box_and_output_in_a_column() -> None:
    svg = diagram(Sequential({"fc": Linear(3, 2)}), shapes={"x": (3,), "fc": (2,)})
    boxes = rectangles(svg)
    assert list(boxes) == ["input x", "fc: linear, 2 features", "output fc"]
    tops = [box[1] for box in boxes.values()]
    assert tops == sorted(tops)
    centers = [(box[0] + box[2]) / 2 for box in boxes.values()]
    assert centers == pytest.approx([centers[0]] * 3, abs=0.2)
    assert {"fc", "linear, 2 features", "8 parameters", "3", "2"} <= set(texts(svg))


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


def test_trace_and_gradients_give_shapes_sizes_and_bars() -> None:
    network = Sequential({"a": Tenfold(), "b": Tenfold()})
    trace = network.forward(torch.full((2, 3, 4), 0.5))
    gradients = network.backward(trace, torch.full((2, 3, 4), 1e-7), wrt=["a", "b", "x"])
    svg = diagram(network, trace, gradients)
    shown = texts(svg)
    assert shown.count("3 × 4") == 3
    assert {"0.5", "5", "50", "10⁻⁷", "10⁻⁶", "10⁻⁵"} <= set(shown)
    assert "mean |value|: bars from 0.1 to 100, logarithmic" in shown
    assert "mean |gradient|: bars from 10⁻⁷ to 10⁻⁵, logarithmic" in shown
    bars = [
        float(bar.attrib["width"])
        for bar in ElementTree.fromstring(svg).iter(f"{SPACE}rect")
        if bar.get("fill") == "#c0566a" and bar.get("height") == "6"
    ]
    assert bars[0] == pytest.approx(2 * bars[1], abs=0.2)  # x, a, b: full, half, and the least that shows
    assert bars[2] == pytest.approx(1.5)


@pytest.mark.parametrize(("value", "text"), [(float("nan"), "NaN"), (float("inf"), "∞"), (0.0, "0"), (2e6, "2.0·10⁶")])
def test_numbers_that_are_not_ordinary(value: float, text: str) -> None:
    network = Sequential({"a": Tenfold()})
    svg = diagram(network, gradients={"a": torch.full((2, 2), value)})
    assert text in texts(svg)
    assert "nan" not in svg.replace("NaN", "")


def test_integers_truth_values_and_empty_tensors_have_sizes() -> None:
    network = Sequential({"a": Tenfold()})
    assert "1" in texts(diagram(network, gradients={"a": torch.tensor([True, True]), "x": torch.tensor([3, -3])}))
    assert "NaN" in texts(diagram(network, gradients={"a": torch.empty(0, 3)}))


def test_several_inputs_outputs_and_split_outputs() -> None:
    network = Network(
        [
            Node("halves", Halves(), ("x",)),
            Node("left", Tenfold(), ("halves[0]",)),
            Node("sum", Join(), ("halves[1]", "z")),
        ],
        inputs=("x", "z"),
        outputs=("left", "sum", "halves[1]"),
    )
    svg = diagram(network, network.forward(torch.ones(5, 4), torch.ones(5, 2)))
    boxes = rectangles(svg)
    assert {"input x", "input z", "output left", "output sum", "output halves[1]"} <= set(boxes)
    assert overlapping(boxes) == []
    assert {"[0] 2", "[1] 2", "4"} <= set(texts(svg))


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


def test_shared_blocks_are_counted_once() -> None:
    shared = Linear(3, 3)
    shown = texts(diagram(Sequential({"a": shared, "b": shared})))
    assert shown.count("12 parameters, shared") == 2
    assert "12 parameters" in shown


def test_blocks_are_described_and_colored_by_kind() -> None:
    assert describe(Convolve2d(3, 6, 5)) == "convolve 5×5, 6 channels"
    assert describe(Convolve2d(3, 6, 5, stride=2, with_bias=False)) == "convolve 5×5, 6 channels, stride 2, no bias"
    assert describe(Convolve2d(3, 6, (3, 5), stride=(2, 1))) == "convolve 3×5, 6 channels, stride 2×1"
    assert describe(Convolve2d(3, 6, 5, stride=(1, 1))) == "convolve 5×5, 6 channels"
    assert describe(Tenfold()) == "tenfold"
    kinds = [kind_of(block) for block in (Convolve2d(3, 6, 5), Linear(2, 2), Join(), Halves(), Tenfold())]
    assert kinds == ["weights", "weights", "joining", "reshaping", "other"]
    svg = diagram(Sequential({"c": Convolve2d(3, 6, 5), "t": Tenfold()}))
    assert {"weights", "other", "input, output"} <= set(texts(svg))
    assert "pooling" not in texts(svg)


@pytest.mark.parametrize(
    ("block", "kind", "text"),
    [
        (Conv2d(3, 6, 5, padding=2), "weights", "conv 5×5, 6 channels, padding 2"),
        (MaxPool2d((2, 2)), "pooling", "max pool 2×2"),
        (BatchNorm2d(6), "normalization", "batch norm, 6 channels"),
        (ReLU(), "activation", "ReLU"),
        (Dropout(0.2), "activation", "dropout, probability 0.2"),
        (Concat(), "joining", "concat"),
        (Split((3, 4)), "reshaping", "split, sizes 3 4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_shipped_blocks_are_described(block: Block, kind: str, text: str) -> None:
    assert (kind_of(block), describe(block)) == (kind, text)


def test_names_are_escaped_and_long_ones_shortened() -> None:
    name = '<script>alert("x")</script>&' + "long" * 20
    svg = diagram(Sequential({name: Tenfold()}))
    assert "<script" not in svg
    assert f"{name}: tenfold" in rectangles(svg)
    assert all(len(text) < 60 for text in texts(svg))


def test_the_svg_is_self_contained() -> None:
    svg = diagram(branches(1))
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SPACE}svg"
    title = root.find(f"{SPACE}title")
    assert title is not None
    assert title.text == "Network x → m0.join: 8 blocks, 1,640 parameters"
    for element in root.iter():
        assert not {"id", "class", "href"} & set(element.attrib), "diagrams must be able to stand side by side"
    assert svg == diagram(branches(1))


def test_unknown_names_are_errors() -> None:
    network = Sequential({"fc1": Linear(2, 2)})
    with pytest.raises(GraphError, match=r"no 'fc'; did you mean 'fc1'"):
        diagram(network, gradients={"fc": torch.ones(2)})
    with pytest.raises(GraphError, match="no 'y'"):
        diagram(network, shapes={"y": (2,)})
