"""What a network costs: multiply-adds by formula, and memory by running it once and looking at what is kept.

As usual, multiply-adds are those of products of matrices: linear maps, convolutions, attention, recurrence. What is
done element by element, biases, pooling and normalization count as 0.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.blocks import (
    BLOCKS,
    GRU,
    LSTM,
    RNN,
    Attention,
    Conv1d,
    Conv2d,
    Conv3d,
    Convolve,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Einsum,
    Linear,
    MatMul,
)
from blockprop.engine.block import Block, Shape
from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.engine.plan import plan_forward
from blockprop.engine.trace import Trace


@dataclass(frozen=True)
class Cost:
    """What one node costs.

    shapes: of its outputs, the batch's axis among them.
    parameters: how many numbers are trained in its block; 0 at the later nodes of a shared block.
    multiply_adds: None for a block that is not blockprop's own, so that nobody knows.
    output_bytes: memory that its output adds; 0 for a view of its input.
    forward_bytes: all outputs (and inputs) that are alive when it has just run, in the plain forward pass.
    saved_bytes: what it keeps for a backward pass to the input, without what a node before it keeps already.
    Memory of the weights is counted nowhere here.
    """

    node: str
    block: Block
    shapes: tuple[Shape, ...]
    parameters: int
    multiply_adds: int | None
    output_bytes: int
    forward_bytes: int
    saved_bytes: int


@dataclass(frozen=True)
class Total:
    """What the whole network costs.

    multiply_adds: of the nodes of which it is known.
    forward_bytes: the most that is alive at one time in the plain forward pass.
    saved_bytes: what a forward pass leaves for a backward pass to the input, its outputs included.
    """

    parameters: int
    multiply_adds: int
    forward_bytes: int
    saved_bytes: int


def costs(network: Network, *inputs: Tensor | Sequence[int]) -> list[Cost]:
    """What each node costs for these inputs, or for zeros of these shapes. Runs the network once, keeping everything.

    Raises ShapeError for inputs that do not fit.
    """
    tensors = [x if isinstance(x, Tensor) else fitting(torch.zeros(*x), network) for x in inputs]
    trace = network.forward(*tensors)
    weights = {storage for storage, _ in _storages(list(network.state.values()))}
    alive, added = _alive(network, trace, weights)
    saved = _saved(network, trace, weights)
    parameters = parameter_counts(network)
    return [
        Cost(
            node.name,
            node.block,
            tuple(tuple(trace[key].shape) for key in node.keys),
            parameters[node.name],
            multiply_adds(node.block, [trace[key].shape for key in node.inputs], [trace[k].shape for k in node.keys]),
            added.get(node.name, 0),
            alive.get(node.name, 0),
            saved.get(node.name, 0),
        )
        for node in network.nodes
    ]


def parameter_counts(network: Network) -> dict[str, int]:
    """How many numbers are trained at each node; a shared block's count at the first of its nodes."""
    counts = {name: sum(p.numel() for p in block.parameters.values()) for name, block in network.unique_blocks.items()}
    return {node.name: counts.get(node.name, 0) for node in network.nodes}


def total(node_costs: Sequence[Cost]) -> Total:
    """The costs of all nodes together."""
    return Total(
        sum(cost.parameters for cost in node_costs),
        sum(cost.multiply_adds or 0 for cost in node_costs),
        max((cost.forward_bytes for cost in node_costs), default=0),
        sum(cost.saved_bytes for cost in node_costs),
    )


def _alive(network: Network, trace: Trace, weights: set[int]) -> tuple[dict[str, int], dict[str, int]]:
    """By node: bytes alive when it has run, and bytes that its output added."""
    held = {key: dict(_storages(trace[key])) for key in network.keys}
    alive = set(network.inputs)
    everything, added = {}, {}
    for step in plan_forward(network.nodes, network.outputs, training=False):
        before = _together(held, alive, weights)
        alive.update(step.node.keys)
        after = _together(held, alive, weights)
        everything[step.name] = sum(after.values())
        added[step.name] = everything[step.name] - sum(before.values())
        alive.difference_update(step.dead)
    return everything, added


def _together(held: dict[str, dict[int, int]], keys: set[str], weights: set[int]) -> dict[int, int]:
    return {place: size for key in keys for place, size in held[key].items() if place not in weights}


def _saved(network: Network, trace: Trace, weights: set[int]) -> dict[str, int]:
    """By node: bytes that stay for the backward pass, each at the first node that keeps it."""
    seen = set(weights)
    sizes = {}
    needed = [step.node for step in plan_forward(network.nodes, network.outputs, training=False)]
    for node in needed:
        outputs = [trace[key] for key in node.keys if key in network.outputs]
        new = {place: size for place, size in _storages([trace.saved[node.name], outputs]) if place not in seen}
        seen.update(new)
        sizes[node.name] = sum(new.values())
    return sizes


def _storages(value: Any) -> Iterator[tuple[int, int]]:
    """(place, bytes) of the memory of every tensor in a tree of containers and plain objects."""
    left, seen = [value], set()
    while left:
        item = left.pop()
        if isinstance(item, Tensor):
            storage = item.untyped_storage()
            if storage.nbytes():
                yield storage.data_ptr(), storage.nbytes()
        elif id(item) not in seen and not isinstance(item, str | bytes | int | float | type | None):
            seen.add(id(item))
            left.extend(_inside(item))


def _inside(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    slots = [name for kind in type(item).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*getattr(item, "__dict__", {}).values(), *(getattr(item, name, None) for name in slots)]


class _Call(NamedTuple):
    """One call of a block's forward pass: the block, and the shapes of its inputs and outputs."""

    block: Any
    inputs: Sequence[Shape]
    outputs: Sequence[Shape]


def multiply_adds(block: Block, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int | None:
    """How many products are added up in the block's forward pass; None for a block that is not blockprop's own."""
    for kind in type(block).__mro__:
        if kind in BLOCKS.values():
            return FORMULAS[kind](_Call(block, inputs, outputs)) if kind in FORMULAS else 0
    return None


def _linear(call: _Call) -> int:
    return math.prod(call.outputs[0]) * call.block.features_in


def _convolution(call: _Call) -> int:
    return math.prod(call.outputs[0]) * math.prod(call.block.weight.shape[1:])


def _transposed(call: _Call) -> int:
    return math.prod(call.inputs[0]) * math.prod(call.block.weight.shape[1:])


def _computed_convolution(call: _Call) -> int:
    places = call.inputs[0] if call.block.transposed else call.outputs[0]
    return math.prod(places) * math.prod(call.inputs[1][1:])


def _product(call: _Call) -> int:
    return math.prod(call.outputs[0]) * call.inputs[0][-1]


def _attention(call: _Call) -> int:
    """q kᵀ and a v, in full with masks, too. An axis in front is as long as the longer one, or has as many heads."""
    q, k, *_ = call.inputs
    front = itertools.zip_longest(q[-3::-1], k[-3::-1], fillvalue=1)
    return math.prod(max(pair) for pair in front) * q[-2] * k[-2] * q[-1] + math.prod(call.outputs[0]) * k[-2]


def _einsum(call: _Call) -> int | None:
    """For two inputs: each number of the result is a sum over the letters that it lacks. Nobody knows for more."""
    left, arrow, result = call.block.equation.replace(" ", "").partition("->")
    if len(call.inputs) != 2 or ("..." in left and arrow and "..." not in result):
        return 0 if len(call.inputs) == 1 else None
    sizes: dict[str, int] = {}
    for term, shape in zip(left.split(","), call.inputs, strict=True):
        start, _, end = term.partition("...")
        named = [*zip(start, shape, strict=False), *zip(end[::-1], shape[::-1], strict=False)]
        sizes |= {letter: max(size, sizes.get(letter, 1)) for letter, size in named}
    summed = [size for c, size in sizes.items() if (c not in result if arrow else left.count(c) > 1)]
    return math.prod(call.outputs[0]) * math.prod(summed) if summed else 0


def _recurrent(call: _Call) -> int:
    """Every matrix is used once for each step of each sequence."""
    matrices = [tensor for name, tensor in call.block.parameters.items() if "bias" not in name and tensor.dim() > 1]
    return math.prod(call.inputs[0][:-1]) * sum(matrix.numel() for matrix in matrices)


FORMULAS: dict[type[Block], Callable[[_Call], int | None]] = {
    Attention: _attention,
    Conv1d: _convolution,
    Conv2d: _convolution,
    Conv3d: _convolution,
    ConvTranspose1d: _transposed,
    ConvTranspose2d: _transposed,
    ConvTranspose3d: _transposed,
    Convolve: _computed_convolution,
    Einsum: _einsum,
    GRU: _recurrent,
    LSTM: _recurrent,
    Linear: _linear,
    MatMul: _product,
    RNN: _recurrent,
}
"""Those that are not here count as 0."""
