"""Plain feed-forward networks and how they learn: what a kernel can do by itself."""

import math
import operator
from typing import Any, NamedTuple

from blockprop.blocks.convolution import Conv2d, per_axis
from blockprop.blocks.linear import Linear
from blockprop.blocks.max_pooling import MaxPool2d
from blockprop.blocks.pointwise import LeakyReLU, ReLU
from blockprop.blocks.reshaping import Flatten
from blockprop.blocks.sigmoids import Sigmoid, Tanh
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, cross_entropy, mean_squared_error
from blockprop.preparing.draft import is_as_made
from blockprop.training.descent import GradientDescent
from blockprop.training.settings import Settings

BLOCKS: tuple[type[Block], ...] = (Linear, Conv2d, MaxPool2d)
"""In the order of the kernel's numbers for them, from 0 on."""
MOST_TAPS = 64
"""Places of the kernel of a convolution."""
FEWEST, MOST_CHANNELS, MANY_WEIGHTS = 16, 16, 500_000
"""Examples of a batch and channels of pictures that the kernel suits; weights that it does not for a single example."""
ACTIVATIONS: tuple[type[Block], ...] = (ReLU, LeakyReLU, Sigmoid, Tanh)
"""In the order of the kernel's numbers for them, from 1 on."""
LOSSES: tuple[type[Objective], ...] = (cross_entropy, mean_squared_error)
"""In the order of the kernel's numbers for them, from 0 on."""


class PlainLayer(NamedTuple):
    """z = W x + b or another block of BLOCKS, and y = f(z).

    activation: f, or None where y = z.   takes, gives: shapes of an example.
    """

    block: Any
    activation: Block | None
    takes: tuple[int, ...]
    gives: tuple[int, ...]

    @property
    def number(self) -> int:
        """The kernel's for the activation."""
        return 0 if self.activation is None else 1 + ACTIVATIONS.index(type(self.activation))

    @property
    def window(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Kernel and padding of what takes pictures."""
        return per_axis("kernel", self.block.kernel, 2, 1), per_axis("padding", self.block.padding, 2, 0)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of weight and bias, if it has any."""
        kernel = self.window[0] if len(self.takes) == 3 else ()
        return (self.gives[0], self.takes[0], *kernel), self.gives[:1]

    @property
    def slope(self) -> float:
        return float(getattr(self.activation, "negative_slope", 0.0))


class PlainNetwork(NamedTuple):
    """Layers one after the other.   loss: the kernel's number.   blocks: all of the network's."""

    layers: list[PlainLayer]
    loss: int
    blocks: list[Block]


class NotPlainError(Exception):
    """What is not so, in words. Nobody outside of training sees it."""


def plain(
    network: Network,
    shape: tuple[int, ...],
    objective: Objective,
    optimizer: Any,
    settings: Settings,
    trained: tuple[str, ...],
    batch: int,
) -> PlainNetwork:
    """What learns here, if it is a plain network by our own gradient descent; NotPlainError says what else it is.

    shape: of an example.   batch: how many there are in the largest.
    """
    _require_descent(network, optimizer, settings, trained)
    layers = _layers(network, shape)
    _require_worth(layers, batch)
    if objective.nodes not in ((), network.outputs):
        raise NotPlainError("the objective reads another node than the last")
    if type(objective) not in LOSSES or not getattr(objective, "is_plain", True):
        raise NotPlainError(f"the objective is {objective!r}")
    if layers[-1].activation is not None and type(objective) is cross_entropy:
        raise NotPlainError("the scores come from an activation")
    return PlainNetwork(layers, LOSSES.index(type(objective)), [node.block for node in network.nodes])


def _require_descent(network: Network, optimizer: Any, settings: Settings, trained: tuple[str, ...]) -> None:
    if type(optimizer) is not GradientDescent:
        raise NotPlainError(f"the optimizer is {type(optimizer).__name__}")
    for name, is_set in (("clip", settings.clip is not None), ("accumulate", settings.accumulate > 1)):
        if is_set:
            raise NotPlainError(f"{name} is set")
    if fixed := [name for name in network.parameters if name not in trained]:
        raise NotPlainError(f"{fixed[0]} is not trained")


def _require_worth(layers: list[PlainLayer], batch: int) -> None:
    """NotPlainError where torch's own products are quicker: a vector of the kernel's is of as many examples."""
    convolutions = [layer.block for layer in layers if type(layer.block) is Conv2d]
    weights = sum(math.prod(layer.shapes[0]) for layer in layers if type(layer.block) is not MaxPool2d)
    if batch < FEWEST and (convolutions or (batch < FEWEST // 4 and weights > MANY_WEIGHTS)):
        raise NotPlainError(f"batches of {batch} are small")
    if any(block.channels_in > MOST_CHANNELS for block in convolutions):
        raise NotPlainError("convolutions of many channels")


def _layers(network: Network, shape: tuple[int, ...]) -> list[PlainLayer]:
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
        if kind in BLOCKS:
            layers.append(PlainLayer(block, None, shape, _gives(node.name, block, shape)))
            shape = layers[-1].gives
        elif kind is Flatten and block.start_axis == 1:
            shape = (math.prod(shape),)
        elif kind in ACTIVATIONS and layers and layers[-1].activation is None:
            layers[-1] = layers[-1]._replace(activation=block)
        else:
            raise NotPlainError(f"{node.name!r} is a {kind.__name__}" + " behind no layer" * (kind in ACTIVATIONS))
    if network.outputs != before or len(network.inputs) != 1:
        raise NotPlainError("there are several inputs or outputs")
    if not layers or type(layers[-1].block) is not Linear:
        raise NotPlainError("it does not end with a Linear")
    if len({id(layer.block) for layer in layers}) < len(layers):
        raise NotPlainError("a layer stands there twice")
    return layers


def _gives(name: str, block: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an example behind a block of BLOCKS; NotPlainError for settings that the kernel does not know."""
    if isinstance(block, Linear):
        if shape != (block.features_in,):
            raise NotPlainError(f"{name!r} is given examples of shape {shape}")
        return (block.features_out,)
    kernel, padding, dilation = (
        per_axis(each, getattr(block, each), 2, 0) for each in ("kernel", "padding", "dilation")
    )
    stride = kernel if block.stride is None else per_axis("stride", block.stride, 2, 1)
    if len(shape) != 3:
        raise NotPlainError(f"{name!r} is given examples of shape {shape}")
    channels, pixels = shape[0], shape[1:]
    if isinstance(block, Conv2d):
        fits = block.groups == 1 and channels == block.channels_in and math.prod(kernel) <= MOST_TAPS
        fits = fits and stride == dilation == (1, 1) and all(map(operator.lt, padding, kernel))
        channels = block.channels_out
        sizes = [size + 2 * p - k + 1 for size, p, k in zip(pixels, padding, kernel, strict=True)]
    else:
        fits = (stride, padding, dilation, block.ceil_mode) == (kernel, (0, 0), (1, 1), False)
        sizes = [size // k for size, k in zip(pixels, kernel, strict=True)]
    if not fits or min(sizes) < 1:
        raise NotPlainError(f"{name!r} is {block!r}")
    return (channels, *sizes)
