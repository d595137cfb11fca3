"""What goes into a network to see its shapes where no data are at hand: zeros."""

import torch
from torch import Tensor

from blockprop.blocks import Embedding
from blockprop.commands.parsing import shape_named
from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.errors import SettingError


def example_inputs(network: Network, shapes: str | None, batch_size: int = 1) -> list[Tensor] | None:
    """Zeros of the shapes that were given, or that the network knows; None if it needs some and nobody says which."""
    if shapes is not None:
        if not network.inputs:
            raise SettingError("--shape is of inputs, and this network has none; leave it out")
        sizes = [shape_named(part) for part in shapes.split(";")]
        if len(sizes) != len(network.inputs):
            names = ", ".join(network.inputs)
            raise SettingError(f"--shape: expected one for each of {names}, between semicolons, came {shapes!r}")
    elif len(network.inputs) == 1 and network.meta.get("shape"):
        sizes = [tuple(network.meta["shape"])]
    elif network.inputs:
        return None
    else:
        sizes = []
    return [
        fitting(torch.zeros(batch_size, *size, dtype=_dtype(network, name)), network)
        for name, size in zip(network.inputs, sizes, strict=True)
    ]


def _dtype(network: Network, name: str) -> torch.dtype:
    """Integers for what is looked up in a table, real numbers for everything else."""
    looked_up = any(isinstance(node.block, Embedding) and name in node.inputs for node in network.nodes)
    return torch.int64 if looked_up else torch.float32
