"""Pictures and networks that several of these tests use."""

import torch

from blockprop.blocks import Affine, GlobalAvgPool, Linear
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential

SETTINGS = {
    "command": "maximize",
    "arguments": {"target": "goose", "steps": 512, "rate": 0.05, "jitter": [1, 2], "λ": "né “ü”\n</x>", "size": None},
    "seed": 2**63,
    "limit": float("inf"),
}


def colors(height: int = 5, width: int = 7, channels: int = 3) -> torch.Tensor:
    """A picture of all different values."""
    torch.manual_seed(0)
    return torch.rand(channels, height, width)


def classifier(channels: int = 3) -> Network:
    """Takes any size, and leaves each channel's mean."""
    return Sequential({"pass": Affine(), "pool": GlobalAvgPool(), "fc": Linear(channels, 2)}, input="data")
