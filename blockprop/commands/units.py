"""Numbers to be predicted are brought to mean 0 and variance 1 for training, and a last block brings them back."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks import Affine, Linear
from blockprop.data.dataset import Dataset
from blockprop.engine.network import Network
from blockprop.engine.plan import Node

UNITS = "units"
"""The name of the node that brings predicted numbers back to their own units."""
Units = tuple[tuple[float, ...], tuple[float, ...]] | None
"""(standard deviations, means) of the targets; None for classes and for yes/no answers."""
PLAIN = (1.0,), (0.0,)
"""The units of numbers as they stand in the data."""


def without_units(network: Network, data: Dataset, loss: str | None, learned: bool = False) -> tuple[Network, Units]:
    """(the network without a last block of units, the units for training): those of the data.

    A network that has learned numbers before (`learned`) keeps what it predicts: its last layer is brought to the units
    of the data or, if that is no Linear, they are those it has.
    """
    if data.classes is not None or data.y is None or loss == "binary_cross_entropy":
        return network, None
    units, last = units_of(data.y), network.nodes[-1]
    if last.name == UNITS and isinstance(last.block, Affine):
        network = Network(network.nodes[:-1], network.inputs, last.inputs, network.meta)
        old = tuple(last.block.factor), tuple(last.block.shift)  # type: ignore[arg-type]
    elif learned:
        old = PLAIN
    else:
        return network, units
    if _brought_to(network, old, units):
        return network, units
    return network, None if old == PLAIN else old


def units_of(y: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(standard deviations, means) of targets, a pair of numbers for each output."""
    rows = y.reshape(len(y), -1).double()
    deviation = rows.std(0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    return tuple(deviation.tolist()), tuple(rows.mean(0).tolist())


def _brought_to(network: Network, old: tuple[Any, Any], new: tuple[Any, Any]) -> bool:
    """Whether its last layer now gives in new units what it gave in the old ones:  (s y + m − m′) / s′."""
    if old == new:
        return True
    node = network.nodes[-1]
    layer = node.block
    alone = [node.block for node in network.nodes].count(layer) == 1 and network.outputs == (node.name,)
    if not isinstance(layer, Linear) or layer.bias is None or not alone:
        return False
    (deviation, mean), (new_deviation, new_mean) = (torch.tensor(units, dtype=torch.float64) for units in (old, new))
    factor = (deviation / new_deviation).to(layer.weight)
    layer.weight.mul_(factor[:, None])
    layer.bias.mul_(factor).add_(((mean - new_mean) / new_deviation).to(layer.bias))
    return True


def in_words(units: Units, data: Dataset) -> str:
    """What the losses in training are of, where that is not the targets as they stand in the data; "" if it is."""
    if units is None or data.y is None:
        return ""
    if units == units_of(data.y):
        return "while it trains, losses are those of targets brought to mean 0 and variance 1"
    shown = (", ".join(f"{number:.5g}" for number in numbers) for numbers in units)
    return "while it trains, losses are those of targets less {1}, divided by {0}, as the network learned them".format(
        *shown
    )


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
