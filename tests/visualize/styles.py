"""A small network with two branches, pictures, and a stylization to test with."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Concat, Conv2d, MaxPool2d, Pad, ReLU
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.visualize.style.run import Stylization
from blockprop.visualize.style.stylize import stylize


def small(seed: int = 0) -> Network:
    """Five convolutions with a fork: relu2 and relu3 are side by side, and together "both"."""
    torch.manual_seed(seed)
    blocks = {
        "pad1": (Pad((1, 1, 1, 1), mode="reflect"), "x"),
        "conv1": (Conv2d(3, 6, 3), "pad1"),
        "relu1": (ReLU(), "conv1"),
        "conv2": (Conv2d(6, 4, 3, padding=1), "relu1"),
        "relu2": (ReLU(), "conv2"),
        "conv3": (Conv2d(6, 4, 1), "relu1"),
        "relu3": (ReLU(), "conv3"),
        "both": (Concat(), "relu2", "relu3"),
        "pool": (MaxPool2d(2, ceil_mode=True), "both"),
        "conv4": (Conv2d(8, 10, 3, padding=1), "pool"),
        "relu4": (ReLU(), "conv4"),
        "conv5": (Conv2d(10, 4, 3), "relu4"),
        "relu5": (ReLU(), "conv5"),
    }
    network = Network([Node(name, block, inputs) for name, (block, *inputs) in blocks.items()])  # type: ignore[arg-type]
    for parameter in network.parameters.values():
        parameter.add_(torch.randn(parameter.shape) * 0.05)
    return network


def pictures(*sizes: tuple[int, int], seed: int = 1, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Smooth random pictures."""
    found = []
    for i, size in enumerate(sizes):
        generator = torch.Generator().manual_seed(100 * seed + i)
        smooth = F.interpolate(torch.rand(1, 3, 6, 6, generator=generator, dtype=dtype), size, mode="bilinear")
        found.append((smooth + 0.05 * torch.randn(1, 3, *size, generator=generator, dtype=dtype)).clamp(0, 1))
    return found


def start(**settings: Any) -> Stylization:
    """A short run of a network that is the same each time."""
    content, one, two = pictures((48, 64), (40, 50), (64, 32))
    given: dict[str, Any] = {"steps": 4, "scales": 2, "content_layers": "relu2", "style_layers": ("relu1", "relu4")}
    given["style_weight"] = 100.0
    return stylize(small(), content, [one, two], **{**given, **settings})
