"""Numbers to be predicted are brought to mean 0 and variance 1 for training, and a last block brings them back."""

from dataclasses import replace

import torch

from blockprop.blocks import Affine
from blockprop.data.dataset import Dataset
from blockprop.engine.network import Network
from blockprop.engine.plan import Node

UNITS = "units"
"""The name of the node that brings predicted numbers back to their own units."""
Units = tuple[tuple[float, ...], tuple[float, ...]] | None
"""(standard deviations, means) of the targets; None for classes and for yes/no answers."""


def without_units(network: Network, data: Dataset, loss: str | None) -> tuple[Network, Units]:
    """(the network without a last block of units, the units): that block's if it has one, else those of the data."""
    if data.classes is not None or data.y is None or loss == "binary_cross_entropy":
        return network, None
    last = network.nodes[-1]
    if last.name == UNITS and isinstance(last.block, Affine):
        rest = Network(network.nodes[:-1], network.inputs, last.inputs, network.meta)
        return rest, (tuple(last.block.factor), tuple(last.block.shift))  # type: ignore[arg-type]
    y = data.y.reshape(len(data), -1).double()
    deviation = y.std(0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    return network, (tuple(deviation.tolist()), tuple(y.mean(0).tolist()))


def in_units(data: Dataset, units: Units) -> Dataset:
    """The data with targets of mean 0 and variance 1."""
    if units is None or data.y is None:
        return data
    deviation, mean = (torch.tensor(numbers, dtype=torch.float64) for numbers in units)
    y = (data.y.reshape(len(data), -1).double() - mean) / deviation
    return replace(data, y=y.to(data.y.dtype).reshape(data.y.shape))


def with_units(network: Network, units: Units) -> Network:
    """The network with a last block that brings its outputs back to the targets' own units."""
    if units is None:
        return network
    node = Node(UNITS, Affine(*units), network.outputs)
    return Network([*network.nodes, node], network.inputs, (UNITS,), network.meta)
