"""A small dense network as single numbers: its layers, what stands on each edge, and what each number is called."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks import Linear, ReLU, Sigmoid, Tanh
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, cross_entropy
from blockprop.engine.trace import Trace
from blockprop.learning.expressions import Letter

MOST_PATHS = 100
MOST_UNITS = 12
"""Of a layer, for its sums to be written out."""
PHI: dict[type[Block], str] = {Sigmoid: "σ", Tanh: "tanh", ReLU: "max(0, ·)"}
"""How the activations that are computed in a page, too, are written."""


@dataclass
class Layer:
    """a = W x + b and y = φ(a), of one example."""

    node: str
    activation_node: str | None
    weight: list[list[float]]
    bias: list[float] | None
    x: list[float]
    a: list[float]
    y: list[float]
    slope: list[float]
    """φ′(a), 1 without an activation."""
    phi: str


class Dense:
    """A chain of Linear blocks with an activation of each number in between, and one example that went through it."""

    def __init__(self, network: Network, trace: Trace):
        self.network, self.trace = network, trace
        self.layers = list(_layers(network, trace))

    def is_scored_by(self, objective: Objective) -> bool:
        """Whether the loss is plain cross-entropy, and the output one score for each class."""
        return type(objective) is cross_entropy and objective.is_plain and self.trace.output.dim() == 2

    @cached_property
    def letters(self) -> list[tuple[str, str, str, str, int | None]]:
        """(weight, bias, a, y, number of the layer) of each layer: w b a y and u c z in the lecture's network."""
        count = len(self.layers)
        ends_in_phi = self.layers[-1].activation_node is not None
        last = "z", "ŷ" if ends_in_phi else "z"
        if count == 1:
            return [("w", "b", *last, None)]
        if count == 2:
            return [("w", "b", "a", "y", None), ("u", "c", *last, None)]
        return [("w", "b", *(("a", "y") if i < count else last), i) for i in range(1, count + 1)]

    def weight(self, layer: int, i: int, j: int) -> Letter:
        return Letter(self.letters[layer][0], (i + 1, j + 1), self.letters[layer][4])

    def bias(self, layer: int, i: int) -> Letter:
        return Letter(self.letters[layer][1], (i + 1,), self.letters[layer][4])

    def before(self, layer: int, i: int) -> Letter:
        """Unit i of a layer before its activation."""
        return Letter(self.letters[layer][2], (i + 1,), self._number(layer))

    def after(self, layer: int, i: int) -> Letter:
        """Unit i behind the activation; of layer −1, the input."""
        if layer < 0:
            return Letter("x", (i + 1,))
        return Letter(self.letters[layer][3], (i + 1,), self._number(layer))

    def _number(self, layer: int) -> int | None:
        return self.letters[layer][4] if layer < len(self.layers) - 1 else None


def dense(network: Network, trace: Trace) -> Dense | None:
    """The network as single numbers, if it is a chain of dense layers, the example is one, and its paths are few."""
    nodes = [node for node in network.nodes if not node.block.arranges]
    if not (_is_chain(network) and nodes and trace[network.inputs[0]].shape[:1] == (1,)):
        return None
    if any(trace[key].numel() > MOST_UNITS for key in network.keys):
        return None
    was_linear = False
    seen: set[int] = set()
    for node in nodes:
        is_linear = type(node.block) is Linear  # a subclass may compute something else
        if is_linear and (id(node.block) in seen or trace[node.inputs[0]].numel() != trace[node.inputs[0]].shape[-1]):
            return None  # a weight that acts at two places, or on several rows, stands on no single edge
        if not (is_linear or (was_linear and _is_elementwise(node.block, trace.saved[node.name], trace[node.name]))):
            return None
        was_linear = is_linear
        seen.add(id(node.block))
    found = Dense(network, trace)
    return found if math.prod(len(layer.a) for layer in found.layers) <= MOST_PATHS else None


def _is_chain(network: Network) -> bool:
    names = [node.name for node in network.nodes]
    sources = [*network.inputs, *names]
    return (
        len(network.inputs) == 1
        and all(node.inputs == (sources[i],) for i, node in enumerate(network.nodes))
        and network.outputs == tuple(names[-1:])
    )


def _is_elementwise(block: Block, saved: Any, y: Tensor) -> bool:
    """Whether each number depends on the one at its own place alone; an own block may not say what kind it is."""
    if block.kind not in ("activation", "other") or block.parameters or block.output_count != 1:
        return False
    size = y.numel()
    for i in range(size):
        one = torch.zeros_like(y)
        one.view(-1)[i] = 1
        (d_x,) = block.propagate(saved, one)
        if d_x is None or d_x.shape != y.shape or d_x.view(-1)[torch.arange(size) != i].count_nonzero():
            return False
    return True


def _layers(network: Network, trace: Trace) -> Iterator[Layer]:
    nodes = [node for node in network.nodes if not node.block.arranges]
    for node, following in itertools.pairwise([*nodes, None]):
        if node is None or type(node.block) is not Linear:
            continue
        block, a = node.block, trace[node.name]
        y, activation, phi = a, None, ""
        slope: Tensor | None = torch.ones_like(a)
        if following is not None and type(following.block) is not Linear:
            activation, y = following.name, trace[following.name]
            slope = following.block.propagate(trace.saved[following.name], torch.ones_like(a))[0]
            phi = PHI.get(type(following.block), repr(following.block))
        assert slope is not None  # an activation of real numbers has one
        yield Layer(
            node.name,
            activation,
            block.weight.tolist(),
            None if block.bias is None else block.bias.tolist(),
            trace[node.inputs[0]].flatten().tolist(),
            a.flatten().tolist(),
            y.flatten().tolist(),
            slope.flatten().tolist(),
            phi,
        )
