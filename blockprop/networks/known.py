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
    """What is known of a network, by its weights and their order; or of its file, by SHA-256; else None.

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
    """16 hexadecimal digits of a network's weights, and of which layer with weights follows which.

    Names and order of its nodes, its meta, the types in which its numbers are stored, and blocks without weights do not
    count, but for those between an input and the first layer, which may be preprocessing: so neither a softmax at the
    end nor the spelling of an exporter matters. Weights are compared in half precision.
    """
    behind: dict[str, frozenset[str]] = {name: frozenset({f"input {i}"}) for i, name in enumerate(network.inputs)}
    for node in network.nodes:
        before = frozenset[str]().union(*(behind[key] for key in node.inputs))
        if node.inputs and (node.block.parameters or any(name.startswith("input") for name in before)):
            place = "" if node.block.parameters else "input "
            before = frozenset({place + _node_digest(node, sorted(before))})
        behind |= dict.fromkeys(node.keys, before)
    ends = sorted(frozenset[str]().union(*(behind[name] for name in network.outputs)))
    return hashlib.sha256(json.dumps(ends).encode()).hexdigest()[:16]


def _node_digest(node: Node, inputs: list[str]) -> str:
    block = node.block
    told = [type(block).__name__, None if block.parameters else plain(block.settings, node.name), inputs]
    whole = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, tensor in sorted((block.parameters | block.buffers).items()):
        whole.update(json.dumps([name, list(tensor.shape)]).encode())
        whole.update(_in_half(tensor))
    return whole.hexdigest()


def _in_half(tensor: Tensor) -> Any:
    tensor = tensor.detach().cpu()
    tensor = tensor.half() if tensor.is_floating_point() else tensor.long()
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


KNOWN: dict[str, tuple[str, dict[str, Any], str]] = {
    "1b55c8f9611744ef": ("SqueezeNet 1.1 of DeepScale", PREPROCESSING["squeezenet1_1"], "imagenet"),
    "0ed37740b92160ed": ("GoogLeNet of BVLC", PREPROCESSING["googlenet"], "imagenet"),
    "06ec0e48f69eed26": ("ResNet-20 for CIFAR-10", PREPROCESSING["resnet20_cifar10"], "cifar10"),
    "d6ce138a6b2d26b7": (
        "the MNIST network of the ONNX model zoo",
        {"size": (28, 28), "shorter_side": 28, "range": 255.0, "channels": "gray"},
        "digits",
    ),
    "9fa0bdbfdc888022": (
        "the CIFAR-10 network of PyTorch's tutorial, as in Windows Machine Learning",
        {"size": (32, 32), "shorter_side": 32, "mean": 0.5, "scale": 0.5},
        "cifar10",
    ),
    "0b30c87503bef75b": (
        "UltraFace RFB-320",
        {"size": (240, 320), "shorter_side": 240, "range": 255.0, "mean": 127.0, "scale": 128.0},
        "",
    ),
}
"""By digest: (title, preprocessing, whose classes it has)."""
