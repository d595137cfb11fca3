"""Two graphs of one module, at different sizes of its inputs: which numbers in them follow which size."""

import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from blockprop.importers.torch.exporting import Program, input_values


class Reference(NamedTuple):
    """factor · the product of the sizes of some axes // divisor: axes[i] = (node, axis of its output)."""

    axes: tuple[tuple[str, int], ...]
    factor: int = 1
    divisor: int = 1


class _Sizes(NamedTuple):
    """The size of an axis in both graphs."""

    axis: tuple[str, int]
    here: int
    there: int


MOST_AXES = 3
"""Axes whose product explains a number: batch · height · width."""
Explanations = Mapping[tuple[str, int], Reference]
"""(node, place among its flattened arguments) -> what the number there is."""


def differing(a: Program, b: Program) -> int:
    """How many operators have other arguments; a huge number if they are not the same operators at all."""
    pairs = _pairs(a.graph, b.graph)
    if pairs is None or not _same_constants(a, b):
        return 1_000_000
    return sum(_changes(here, there) != [] for here, there in pairs)


def explain(a: Program, b: Program, changed: Sequence[tuple[int, int]]) -> Explanations | None:
    """What the numbers that differ are; None if there is one without an explanation.

    changed: the (input, axis) whose sizes differ
    """
    pairs = _pairs(a.graph, b.graph)
    if pairs is None or not _same_constants(a, b):
        return None
    inputs = _input_sizes(a, b, changed)
    explanations = {}
    for here, there in pairs:
        for place, x, y in _changes(here, there):
            if type(x) is not int or type(y) is not int or here.graph is not a.graph:
                return None
            operands = _operand_sizes(here, there, place)
            reference = None
            for most, divided in ((1, False), (MOST_AXES, False), (MOST_AXES, True)):
                for candidates in (operands, inputs):
                    reference = reference or _multiple(candidates, x, y, most, divided)
            if reference is None:
                return None
            explanations[here.name, place] = reference
    return explanations


def same(a: fx.Graph, b: fx.Graph) -> bool:
    """Whether two graphs have the same operators with the same arguments."""
    pairs = _pairs(a, b)
    return pairs is not None and not any(_changes(here, there) for here, there in pairs)


def leaves(node: fx.Node) -> list[Any]:
    """All arguments, flattened."""
    return pytree.tree_leaves((node.args, node.kwargs))


def _pairs(a: fx.Graph, b: fx.Graph) -> list[tuple[fx.Node, fx.Node]] | None:
    """The nodes of both that do the same, those of inner graphs included; None if there is a node in one alone."""
    here, there = list(a.nodes), list(b.nodes)
    if len(here) != len(there):
        return None
    pairs = list(zip(here, there, strict=True))
    for x, y in tuple(pairs):
        if x.op != y.op or x.target != y.target:
            return None
        if x.op == "get_attr" and isinstance(inner := _attribute(x), fx.GraphModule):
            inner_pairs = _pairs(inner.graph, _attribute(y).graph)
            if inner_pairs is None:
                return None
            pairs += inner_pairs
    return pairs


def _attribute(node: fx.Node) -> Any:
    return operator.attrgetter(str(node.target))(node.graph.owning_module)


def _same_constants(a: Program, b: Program) -> bool:
    """Whether numbers that the module made while it was exported are the same: they may be sizes."""
    here, there = a.constants, b.constants
    return here.keys() == there.keys() and all(
        not isinstance(x, Tensor) or x is there[key] or torch.equal(x, there[key]) for key, x in here.items()
    )


def _changes(a: fx.Node, b: fx.Node) -> list[tuple[int, Any, Any]]:
    """(place, here, there) for arguments that differ; a node stands for itself."""
    here, there = leaves(a), leaves(b)
    if len(here) != len(there):
        return [(-1, None, None)]
    pairs = [(_plain(x), _plain(y)) for x, y in zip(here, there, strict=True)]
    return [(i, x, y) for i, (x, y) in enumerate(pairs) if type(x) is not type(y) or (x != y and x == x)]


def _plain(value: Any) -> Any:
    return f"%{value.name}" if isinstance(value, fx.Node) else value


def _operand_sizes(a: fx.Node, b: fx.Node, place: int) -> list[_Sizes]:
    """Axes of the node's operands that differ; those that stand at the same place as the number come first."""
    ranked = []
    for i, (here, there) in enumerate(zip(leaves(a), leaves(b), strict=True)):
        if isinstance(here, fx.Node):
            for axis, (x, y) in enumerate(zip(_shape(here), _shape(there), strict=False)):
                if x != y:
                    ranked.append((axis != place - i - 1, _Sizes((here.name, axis), x, y)))
    return [sizes for _, sizes in sorted(ranked, key=lambda pair: pair[0])]


def _multiple(candidates: Sequence[_Sizes], x: int, y: int, most: int, divided: bool) -> Reference | None:
    """The axes, up to `most`, to the product of whose sizes the number has one ratio, here and there: a whole number,
    or any if `divided`.
    """
    for count in range(1, most + 1):
        for axes in itertools.combinations(candidates, count):
            product_here = math.prod(axis.here for axis in axes)
            product_there = math.prod(axis.there for axis in axes)
            if x and x * product_there == y * product_here and (divided or x % product_here == 0):
                common = math.gcd(x, product_here)
                return Reference(tuple(axis.axis for axis in axes), x // common, product_here // common)
    return None


def _input_sizes(a: Program, b: Program, changed: Sequence[tuple[int, int]]) -> list[_Sizes]:
    """The inputs' axes that differ; of those that have the same sizes the first."""
    arguments = set(a.graph_signature.user_inputs)
    names = [
        node.name
        for node in a.graph.nodes
        if node.op == "placeholder" and node.name in arguments and isinstance(node.meta.get("val"), Tensor)
    ]
    here, there = input_values(a), input_values(b)
    by_sizes: dict[tuple[int, int], _Sizes] = {}
    for i, axis in changed:
        x, y = int(here[i].shape[axis]), int(there[i].shape[axis])
        by_sizes.setdefault((x, y), _Sizes((names[i], axis), x, y))
    return list(by_sizes.values())


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()
