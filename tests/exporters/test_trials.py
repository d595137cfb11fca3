"""Sizes in the file: which axes are free, what hangs on their sizes, and shapes that are not known."""

from pathlib import Path
from typing import Any

import pytest
import torch

from blockprop import blocks, to_onnx
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError, ShapeError, UnsupportedError
from tests.exporters.exporting import compare, export, names_of_axes, run, same


def test_without_meta_the_batch_is_free(tmp_path: Path) -> None:
    model = export(Sequential(blocks.Conv2d(3, 2, 3), blocks.Flatten()), tmp_path, shape=(3, 6, 5))
    assert names_of_axes(model.graph.input[0]) == ["batch", 3, 6, 5]
    assert names_of_axes(model.graph.output[0]) == ["batch", 24]


def test_the_shape_in_meta_is_used(tmp_path: Path) -> None:
    network = Network([Node("y", blocks.Softmax(-1), ("x",))], meta={"shape": [4, 5], "free": {"x": [0, 2]}})
    model = export(network, tmp_path)
    assert names_of_axes(model.graph.input[0]) == ["batch", 4, "x_2"]
    assert names_of_axes(model.graph.output[0]) == ["batch", 4, "x_2"]


def test_formulas_of_sizes_stay_formulas(tmp_path: Path) -> None:
    nodes = [
        Node("rows", blocks.Reshape(("a0*a1", "-(-a2//2)*2"), 0), ("x",)),
        Node("range", blocks.Range("a0%3", "a0*a1-1", 2, "float32"), ("x",)),
        Node("part", blocks.Slice(1, "-a2+1", "a1-2"), ("x",)),
        Node("half", blocks.Range(0, "-(-a1//2)"), ("x",)),
        Node("pillar", blocks.Slice(1, 0, 1), ("x",)),
        Node("grown", blocks.Expand((2, "a0", "b1+1", -1)), ("pillar", "x")),
    ]
    network = Network(nodes, outputs=[node.name for node in nodes], meta={"free": {"x": [0, 1]}})
    model = export(network, tmp_path, shape=(5, 4))
    for shape in ((1, 5, 4), (4, 3, 4), (7, 8, 4)):
        x = torch.randn(shape)
        compare(network, run(model, x), x)


def test_a_size_in_two_roles_is_not_taken_for_fixed(tmp_path: Path) -> None:
    """Sizes that the second trial happens to change in like ways: h / w, or h modulo 2."""
    network = Network(
        [Node("y", blocks.Range(0, "a2//a3+a2%2"), ("x",))], meta={"free": {"x": [2, 3]}, "shape": [1, 8, 8]}
    )
    model = export(network, tmp_path)
    for h, w in ((8, 8), (9, 4), (24, 5)):
        x = torch.zeros(1, 1, h, w)
        compare(network, run(model, x), x)


def test_a_length_with_a_maximum_stays_free(tmp_path: Path) -> None:
    nodes = [Node("places", blocks.Range(0, "a1"), ("x",)), Node("y", blocks.Embedding(10, 3), ("places",))]
    nodes += [Node("cut", blocks.Slice(0, 0, "b1"), ("y", "x"))]
    network = Network([*nodes, Node("sum", blocks.Add(), ("cut", "wide")), Node("wide", blocks.Unsqueeze(-1), ("x",))])
    network.meta |= {"free": {"x": [0, 1]}, "shape": [8]}
    model = export(network, tmp_path)
    assert names_of_axes(model.graph.input[0]) == ["batch", "x_1"]
    x = torch.randn(2, 6)
    compare(network, run(model, x), x)


def test_two_pictures_of_different_sizes_have_different_names(tmp_path: Path) -> None:
    nodes = [Node("f", blocks.Mean((2, 3)), ("a",)), Node("g", blocks.Mean((2, 3)), ("b",))]
    network = Network([*nodes, Node("y", blocks.Add(), ("f", "g"))], ("a", "b"))
    network.meta["free"] = {"a": [0, 2, 3], "b": [0, 2, 3]}
    model = export(network, tmp_path, shape=[(3, 8, 8), (3, 6, 8)])
    assert [names_of_axes(each) for each in model.graph.input] == [
        ["batch", 3, "height", "width"],
        ["batch", 3, "b_height", "width"],
    ]


def test_ceil_mode_and_adaptive_windows_with_free_sizes(tmp_path: Path) -> None:
    network = Sequential(
        blocks.MaxPool2d(3, 2, ceil_mode=True),
        blocks.AvgPool2d(3, 2, 1, ceil_mode=True),
        blocks.Roll((3, -50), (2, 3)),
        blocks.RepeatInterleave(2, 3),
        blocks.Resize(scale=(2, 3), mode="bilinear"),
        blocks.PixelUnshuffle(2),
        blocks.AdaptiveAvgPool2d((1, 1)),
    )
    network.meta |= {"free": {"x": [0, 2, 3]}, "shape": [2, 32, 32]}
    model = export(network, tmp_path)
    for shape in ((1, 2, 32, 32), (2, 2, 21, 18), (3, 2, 40, 27)):
        x = torch.rand(shape)
        compare(network, run(model, x), x)


def test_a_shape_that_is_not_known(tmp_path: Path) -> None:
    for network, expected in (
        (Sequential(blocks.Linear(3, 2)), r"what shape 'x' has: pass .* such as shape=\(3, 224, 224\)"),
        (Network([Node("y", blocks.Add(), ("a", "b"))], ("a", "b")), "'a' and 'b' has: pass"),
        (Network([Node("y", blocks.Add(), ("a", "b"))], ("a", "b"), meta={"shape": [3]}), "what shape 'b' has: pass"),
    ):
        with pytest.raises(SettingError, match=expected):
            to_onnx(network, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shape", "opset", "error", "expected"),
    [
        ((4,), 18, ShapeError, "node 'linear1': expected rows of 3 numbers"),
        ((0,), 18, SettingError, "sizes of at least 1 for 'x'"),
        ({"z": (3,)}, 18, SettingError, "no input 'z'"),
        ((3,), 16, SettingError, "opset must be in 17…21, came 16"),
        ((3,), 22, SettingError, "opset must be in 17…21"),
    ],
)
def test_what_does_not_fit(shape: Any, opset: int, error: type, expected: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=expected):
        to_onnx(Sequential(blocks.Linear(3, 2)), tmp_path / "net.onnx", opset, shape)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (blocks.AdaptiveAvgPool2d((2, 1)), "an output size of 2 hangs on the free size of axis 2"),
        (blocks.AvgPool2d(2, 2, 1, ceil_mode=True), "ceil_mode with these windows hangs on the free size"),
        (blocks.Diagonal(), "the diagonal hangs on the free size"),
        (blocks.Resample(scales=1.3, mode="linear", coordinates="align_corners"), "hangs on the free size"),
    ],
)
def test_what_needs_sizes_that_are_free(block: Block, expected: str, tmp_path: Path) -> None:
    network = Network([Node("y", block, ("x",))], meta={"free": {"x": [0, 2, 3]}, "shape": [2, 7, 8]})
    with pytest.raises(UnsupportedError, match=expected):
        to_onnx(network, tmp_path / "net.onnx")
    network.meta["free"] = {"x": [0]}
    same(network, tmp_path, torch.rand(2, 2, 7, 8))
