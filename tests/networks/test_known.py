"""Networks are recognized by graph and weights, whatever their file is called and however it is laid out."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from blockprop import Node, Sequential, from_onnx, pretrained
from blockprop.blocks import Add, Affine, Conv2d, Linear, ReLU, Softmax
from blockprop.engine.network import Network
from blockprop.networks import known
from blockprop.networks.known import KNOWN, class_names, digest, imagenet_classes, recognized
from blockprop.networks.published import PUBLISHED
from blockprop.pictures.preprocessing import Preprocessing
from tests.conftest import DataFile


def two_paths(names: tuple[str, ...] = ("a", "b", "sum"), swapped: bool = False, change: float = 0.0) -> Network:
    torch.manual_seed(1)
    left, right = Conv2d(3, 4, 3), Conv2d(3, 4, 3)
    left.weight[0, 0, 0, 0] += change
    nodes = [Node(names[0], left, ("x",)), Node(names[1], right, ("x",))]
    nodes = nodes[::-1] if swapped else nodes
    return Network([*nodes, Node(names[2], Add(), (names[0], names[1]))])


@pytest.mark.parametrize(
    "same",
    [
        lambda: two_paths(("one", "two", "three")),
        lambda: two_paths(swapped=True),
        lambda: two_paths().to(dtype=torch.float64),
        lambda: two_paths().to(dtype=torch.float16),
        lambda: _channels_last(two_paths()),
        lambda: Network([*two_paths().nodes, Node("end", ReLU(), ("sum",)), Node("share", Softmax(), ("end",))]),
    ],
)
def test_names_order_and_storage_do_not_count(same: Callable[[], Network]) -> None:
    assert digest(same()) == digest(two_paths())


def _from(network: Network, source: str) -> list[Node]:
    return [
        Node(node.name, node.block, tuple(source if key == "x" else key for key in node.inputs))
        for node in network.nodes
    ]


def _channels_last(network: Network) -> Network:
    for block in network.blocks.values():
        if isinstance(block, Conv2d):
            block.weight = block.weight.to(memory_format=torch.channels_last)
    return network


@pytest.mark.parametrize(
    "other",
    [
        lambda: two_paths(change=0.01),
        lambda: Network([Node("less", Affine(shift=-0.5), ("x",)), *_from(two_paths(), "less")]),
        lambda: Network([Node("less", Affine(shift=-0.4), ("x",)), *_from(two_paths(), "less")]),
        lambda: Network(two_paths().nodes[:1]),
        lambda: Network([*two_paths().nodes[:2], Node("sum", Add(), ("b", "b"))], outputs=("sum",)),
        lambda: Sequential(Linear(3, 3)),
    ],
)
def test_weights_their_order_and_what_is_in_front_count(other: Callable[[], Network]) -> None:
    assert digest(other()) != digest(two_paths())


@pytest.mark.parametrize(
    ("file", "title", "classes"),
    [
        ("onnx/squeezenet1_1.onnx", "SqueezeNet 1.1 of DeepScale", 1000),
        ("onnx/mnist_cntk.onnx", "the MNIST network of the ONNX model zoo", 10),
        ("onnx/ultraface_rfb_320.onnx", "UltraFace RFB-320", 0),
    ],
)
def test_files_are_recognized_under_any_name_and_layout(
    file: str, title: str, classes: int, data_file: DataFile, tmp_path: Path
) -> None:
    model = onnx.load(data_file(file))
    model.producer_name = "somebody else"
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, size_threshold=100, location="weights.bin")
    facts = recognized(from_onnx(tmp_path / "net.onnx"))
    assert facts is not None
    assert (facts.title, len(facts.classes)) == (title, classes)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet20_cifar10"])
def test_published_weights_are_recognized_in_their_architecture(name: str, data_file: DataFile) -> None:
    network = pretrained(name, data_file(f"weights/{name}.safetensors"))
    facts = recognized(network)
    assert facts is not None
    assert facts.preprocessing == network.meta["preprocessing"]
    assert len(facts.classes) == network(torch.zeros(1, 3, 64, 64)).shape[1]
    network.parameters["conv1.weight"].add_(0.1)
    assert recognized(network) is None


def test_a_published_file_is_recognized_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "whatever.onnx"
    file.write_bytes(b"what the zoo published")
    told = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = replace(PUBLISHED["resnet18"], sha256=told, size=file.stat().st_size)
    monkeypatch.setitem(known.PUBLISHED, "resnet18", entry)
    facts = recognized(two_paths(), file)
    assert facts is not None
    assert facts.title == "resnet18 of the ONNX model zoo"
    assert facts.classes == imagenet_classes()
    file.write_bytes(b"what the zoo publishee")
    assert recognized(two_paths(), file) is None
    assert recognized(two_paths(), tmp_path / "none.onnx") is None


def test_what_is_known_can_be_used() -> None:
    for _, preprocessing, classes in KNOWN.values():
        Preprocessing.from_dict(preprocessing)
        assert class_names(classes) is not None
    for entry in PUBLISHED.values():
        assert class_names(entry.classes) is not None
    names = imagenet_classes()
    assert (len(names), names[1], names[99]) == (1000, "goldfish, Carassius auratus", "goose")
