"""A network that is hard to save, and its file."""

from pathlib import Path

import pytest
import torch

from blockprop.blocks import Linear
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.saving.storage import save
from tests.saving.odd_blocks import Add, Halves, Squash


@pytest.fixture
def network() -> Network:
    """Two inputs, a block at two places, a block with two outputs, a buffer, and meta data."""
    shared, last = Linear(4, 4), Linear(2, 1, with_bias=False)
    squash = Squash(-1.0, sizes=(1, 2))
    squash.seen.fill_(7)
    nodes = [
        Node("first", shared, ("x",)),
        Node("again", shared, ("y",)),
        Node("sum", Add(), ("first", "again")),
        Node("squash", squash, ("sum",)),
        Node("halves", Halves(), ("squash",)),
        Node("last", last, ("halves[1]",)),
    ]
    network = Network(nodes, ("x", "y"), ("last", "squash"), {"classes": ["a", "ü"], "shape": [4], "scale": 0.5})
    for i, weight in enumerate(network.parameters.values()):
        weight.copy_(torch.arange(weight.numel()).reshape(weight.shape) / 10 - i)
    return network


@pytest.fixture
def saved(network: Network, tmp_path: Path) -> Path:
    save(network, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"
