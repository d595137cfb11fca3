"""Networks that are recognized, whatever their file is called and however it is laid out: what they expect, and name.

    facts = recognized(from_onnx("model.onnx"), "model.onnx")

The names of ImageNet's classes are those of WordNet, see WORDNET_LICENSE beside this file.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.networks.architectures import PREPROCESSING
from blockprop.networks.published import PUBLISHED
from blockprop.saving.files import StrPath, plain

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Facts:
    """What is known of a network.

    title: what people call it.   preprocessing: what it expects of a picture, in the words of `Preprocessing`.
    classes: the names of its classes, in their order; none if it has no classes.
    """

    title: str
    preprocessing: dict[str, Any]
    classes: tuple[str, ...] = ()


def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1000 classes of ILSVRC 2012, in the usual order: each the words of its synset in WordNet."""
    return tuple(Path(__file__).with_name("imagenet_classes.txt").read_text("utf-8").splitlines())


def class_names(of: str) -> tuple[str, ...]:
    """The names of the classes of "imagenet", "cifar10" or "digits"; none for ""."""
    if of == "imagenet":
        return imagenet_classes()
    return {"cifar10": CIFAR10, "digits": tuple("0123456789"), "": ()}[of]


def recognized(network: Network, file: StrPath | None = None) -> Facts | None:
    """What is known of a network, by its graph and weights; or of its file, by the file's SHA-256. None if nothing is.

    network: without preprocessing in front.
    """
    if (listed := KNOWN.get(digest(network))) is not None:
        title, preprocessing, classes = listed
        return Facts(title, preprocessing, class_names(classes))
    return None if file is None else published_facts(_published_as(Path(file)))


def published_facts(name: str | None) -> Facts | None:
    """What is known of the published network of this name."""
    if name is None:
        return None
    return Facts(f"{name} of the ONNX model zoo", PUBLISHED[name].preprocessing, class_names(PUBLISHED[name].classes))


def _published_as(file: Path) -> str | None:
    """The name under which a file of just this content is published."""
    if not file.is_file() or file.stat().st_size not in {published.size for published in PUBLISHED.values()}:
        return None
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return next((name for name, published in PUBLISHED.items() if published.sha256 == digest), None)


def digest(network: Network) -> str:
    """16 hexadecimal digits of a network's graph, settings and weights.

    Names and order of its nodes, its meta, and the types in which its numbers are stored do not count: weights are
    compared in half precision. The digest of a node is one of its block and of the digests of its inputs.
    """
    sums = {name: f"input {i}" for i, name in enumerate(network.inputs)}
    for node in network.nodes:
        whole = _node_digest(node, [sums[key] for key in node.inputs])
        sums |= {key: f"{whole} {i}" for i, key in enumerate(node.keys)}
    return hashlib.sha256(json.dumps([sums[name] for name in network.outputs]).encode()).hexdigest()[:16]


def _node_digest(node: Node, inputs: list[str]) -> str:
    block = node.block
    told = [type(block).__name__, plain(block.settings, node.name), inputs]
    whole = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, tensor in sorted((block.parameters | block.buffers).items()):
        whole.update(json.dumps([name, list(tensor.shape)]).encode())
        whole.update(_in_half(tensor))
    return whole.hexdigest()


def _in_half(tensor: Tensor) -> Any:
    tensor = tensor.detach().cpu()
    tensor = tensor.half() if tensor.is_floating_point() else tensor.long()
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


_SQUEEZENET = ("SqueezeNet 1.1 of DeepScale", PREPROCESSING["squeezenet1_1"], "imagenet")
_GOOGLENET = ("GoogLeNet of BVLC", PREPROCESSING["googlenet"], "imagenet")
KNOWN: dict[str, tuple[str, dict[str, Any], str]] = {
    "b17a79ed954f75a2": _SQUEEZENET,  # with the softmax
    "32eb6cc120534082": _SQUEEZENET,
    "9facda4e4a6ffbfe": _GOOGLENET,  # with the softmax
    "ce3d57e412113e7a": _GOOGLENET,
    "063b6e1e86e842c7": ("ResNet-20 for CIFAR-10", PREPROCESSING["resnet20_cifar10"], "cifar10"),
    "88eb2808e22e0b44": (
        "the MNIST network of the ONNX model zoo",
        {"size": (28, 28), "shorter_side": 28, "range": 255.0, "channels": "gray"},
        "digits",
    ),
    "2b3fe604647cb466": (
        "the CIFAR-10 network of PyTorch's tutorial, as in Windows Machine Learning",
        {"size": (32, 32), "shorter_side": 32, "mean": 0.5, "scale": 0.5},
        "cifar10",
    ),
    "10b9556946c07141": (
        "UltraFace RFB-320",
        {"size": (240, 320), "shorter_side": 240, "range": 255.0, "mean": 127.0, "scale": 128.0},
        "",
    ),
}
"""By digest: (title, preprocessing, whose classes it has)."""
