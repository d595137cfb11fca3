"""What stands in a diagram, read back as XML."""

from xml.etree import ElementTree

import pytest
import torch

from blockprop.blocks import BatchNorm2d, Concat, Conv2d, Dropout, Linear, MaxPool2d, ReLU, Split
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError
from blockprop.reports.diagram import describe, diagram, kind_of
from tests.reports.diagrams import SPACE, Convolve2d, Halves, Join, Tenfold, branches, overlapping, rectangles, texts


def test_one_node_is_input_box_and_output_in_a_column() -> None:
    svg = diagram(Sequential({"fc": Linear(3, 2)}), shapes={"x": (3,), "fc": (2,)})
    boxes = rectangles(svg)
    assert list(boxes) == ["input x", "fc: linear, 2 features", "output fc"]
    tops = [box[1] for box in boxes.values()]
    assert tops == sorted(tops)
    centers = [(box[0] + box[2]) / 2 for box in boxes.values()]
    assert centers == pytest.approx([centers[0]] * 3, abs=0.2)
    assert {"fc", "linear, 2 features", "8 parameters", "3", "2"} <= set(texts(svg))


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
    with pytest.raises(GraphError, match=r"no node 'fc'; .*did you mean 'fc1'"):
        diagram(network, gradients={"fc": torch.ones(2)})
    with pytest.raises(GraphError, match="no node 'y'"):
        diagram(network, shapes={"y": (2,)})
