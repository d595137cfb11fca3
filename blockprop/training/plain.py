"""Plain feed-forward networks and how they learn: what a kernel can do by itself."""

import itertools
from typing import Any, NamedTuple

from torch import Tensor

from blockprop.blocks.linear import Linear
from blockprop.blocks.pointwise import LeakyReLU, ReLU
from blockprop.blocks.reshaping import Flatten
from blockprop.blocks.sigmoids import Sigmoid, Tanh
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, cross_entropy, mean_squared_error
from blockprop.preparing.draft import is_as_made
from blockprop.training.descent import GradientDescent
from blockprop.training.settings import Settings

ACTIVATIONS: tuple[type[Block], ...] = (ReLU, LeakyReLU, Sigmoid, Tanh)
"""In the order of the kernel's numbers for them, from 1 on."""
LOSSES: tuple[type[Objective], ...] = (cross_entropy, mean_squared_error)
"""In the order of the kernel's numbers for them, from 0 on."""


class PlainLayer(NamedTuple):
    """z = W x + b,  y = f(z);  activation: f, or None where y = z."""

    linear: Linear
    activation: Block | None

    @property
    def parameters(self) -> list[Tensor]:
        return [tensor for tensor in (self.linear.weight, self.linear.bias) if tensor is not None]

    @property
    def number(self) -> int:
        """The kernel's for the activation."""
        return 0 if self.activation is None else 1 + ACTIVATIONS.index(type(self.activation))

    @property
    def slope(self) -> float:
        return float(getattr(self.activation, "negative_slope", 0.0))


class PlainNetwork(NamedTuple):
    """A network of layers one after the other, which take an example as a row, or `flattens` it before.

    loss: the kernel's number.   blocks: all of the network's.   widths: of the input and of each layer's output.
    """

    layers: list[PlainLayer]
    flattens: bool
    loss: int
    blocks: list[Block]
    widths: list[int]


class NotPlainError(Exception):
    """What is not so, in words. Nobody outside of training sees it."""


def plain(
    network: Network, objective: Objective, optimizer: Any, settings: Settings, trained: tuple[str, ...]
) -> PlainNetwork:
    """What learns here, if it is a plain network by our own gradient descent; NotPlainError says what else it is."""
    _require_descent(network, optimizer, settings, trained)
    layers, flattens = _layers(network)
    if objective.nodes not in ((), network.outputs):
        raise NotPlainError("the objective reads another node than the last")
    if type(objective) not in LOSSES or not getattr(objective, "is_plain", True):
        raise NotPlainError(f"the objective is {objective!r}")
    loss = LOSSES.index(type(objective))
    if layers[-1].activation is not None and LOSSES[loss] is cross_entropy:
        raise NotPlainError("the scores come from an activation")
    widths = [layers[0].linear.features_in, *(layer.linear.features_out for layer in layers)]
    return PlainNetwork(layers, flattens, loss, [node.block for node in network.nodes], widths)


def _require_descent(network: Network, optimizer: Any, settings: Settings, trained: tuple[str, ...]) -> None:
    if type(optimizer) is not GradientDescent:
        raise NotPlainError(f"the optimizer is {type(optimizer).__name__}")
    for name, is_set in (("clip", settings.clip is not None), ("accumulate", settings.accumulate > 1)):
        if is_set:
            raise NotPlainError(f"{name} is set")
    if fixed := [name for name in network.parameters if name not in trained]:
        raise NotPlainError(f"{fixed[0]} is not trained")


def _layers(network: Network) -> tuple[list[PlainLayer], bool]:
    """The layers, and whether Flatten comes before them."""
    layers: list[PlainLayer] = []
    before = network.inputs[:1]
    for node in network.nodes:
        block: Any = node.block
        kind = type(block)
        if not is_as_made(block):
            raise NotPlainError(f"a method of {node.name!r} is not the usual one")
        if node.inputs != before:
            raise NotPlainError(f"{node.name!r} does not take what the node before it gives")
        before = (node.name,)
        if kind is Linear:
            layers.append(PlainLayer(block, None))
        elif kind in ACTIVATIONS and layers and layers[-1].activation is None:
            layers[-1] = PlainLayer(layers[-1].linear, block)
        elif kind is not Flatten or block.start_axis != 1 or node is not network.nodes[0]:
            raise NotPlainError(f"{node.name!r} is a {kind.__name__}" + " behind no Linear" * (kind in ACTIVATIONS))
    if network.outputs != before or len(network.inputs) != 1:
        raise NotPlainError("there are several inputs or outputs")
    if not 0 < len({id(layer.linear) for layer in layers}) == len(layers):
        raise NotPlainError("a Linear stands there twice" if layers else "there is no Linear")
    if any(below.linear.features_out != above.linear.features_in for below, above in itertools.pairwise(layers)):
        raise NotPlainError("layers that do not fit each other")
    return layers, type(network.nodes[0].block) is Flatten
