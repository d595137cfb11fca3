"""Two graphs of one module, at different sizes of its inputs: which numbers in them follow which size."""

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from blockprop.importers.torch.exporting import Program, input_nodes
from blockprop.importers.torch.formulas import Formula, SizeOf, Worked, as_it_is, evaluated, leaves_of
from blockprop.importers.torch.naming import place_of
from blockprop.importers.torch.tracking import FORMULAS, VALUE


class _Sizes(NamedTuple):
    """The size of an axis in both graphs."""

    axis: SizeOf
    here: int
    there: int


class _Pair(NamedTuple):
    """Two nodes that do the same in both graphs, and the graph they stand in: "" or that of a region, "body."."""

    prefix: str
    here: fx.Node
    there: fx.Node

    @property
    def nodes(self) -> tuple[fx.Node, fx.Node]:
        """Both."""
        return self.here, self.there

    @property
    def is_copy(self) -> bool:
        """Whether they only hand a value into a region or out of it: what is noted is of the node that makes it."""
        if self.here.op == "placeholder":
            return self.prefix != ""
        source = self.here.args[0] if self.here.target is operator.getitem else None
        return isinstance(source, fx.Node) and isinstance(source.target, torch._ops.HigherOrderOperator)

    @property
    def noted(self) -> dict[int, tuple[Formula, ...]]:
        """What their numbers may have been computed from."""
        return {} if self.is_copy else self.here.meta.get(FORMULAS, {})


OTHER_OPERATORS = 1_000_000
MOST_AXES = 3
"""Axes whose product explains a number: batch · height · width."""


class Explanations(NamedTuple):
    """What the numbers are that stand at some places: (node, place among its flattened arguments) -> formula."""

    formulas: dict[tuple[str, int], Formula]
    unchanged: frozenset[tuple[str, int]] = frozenset()
    """Those of the places where both graphs have the same number all the same."""

    def changing(self) -> "Explanations":
        """Those of the other places alone."""
        kept = {place: formula for place, formula in self.formulas.items() if place not in self.unchanged}
        return Explanations(kept)


class Unexplained(Exception):
    """Why one graph does not explain the other: the operator, and where it stands."""

    def __init__(self, why: str, place: str = ""):
        super().__init__(f"{why}{' at ' + place if place else ''}")


class OtherOperators(Unexplained):
    """The graphs are not made of the same operators."""


def differing(a: Program, b: Program) -> int:
    """How many operators have other arguments; OTHER_OPERATORS if they are not the same operators at all."""
    try:
        return sum(_changes(pair.here, pair.there) != [] for pair in _paired(a, b))
    except Unexplained:
        return OTHER_OPERATORS


def explain(a: Program, b: Program, changed: Sequence[tuple[int, int]]) -> Explanations:
    """What the numbers that differ are, and those that the module computed from sizes that differ.

    changed: the (input, axis) whose sizes differ   Raises Unexplained if there is one without an explanation.
    """
    return _explained(_paired(a, b), _input_sizes(a, b, changed))


def explain_graphs(a: fx.Graph, b: fx.Graph) -> Explanations:
    """The same for two graphs that are no programs, of all sizes of their inputs that differ."""
    inputs = [nodes for nodes in zip(a.nodes, b.nodes, strict=False) if nodes[0].op == "placeholder"]
    places = [(i, axis) for i, nodes in enumerate(inputs) for axis in range(len(_shape(nodes[0])))]
    return _explained(_pairs(a, b), _sizes_of(inputs, places))


def _explained(pairs: Sequence["_Pair"], inputs: Sequence[_Sizes]) -> Explanations:
    sizes = _Both(pairs)
    formulas, unchanged = {}, set()
    for pair in pairs:
        changes = {place: (x, y) for place, x, y in _changes(pair.here, pair.there)}
        for place, (x, y) in changes.items():
            formula = _explanation(pair, place, x, y, sizes, inputs)
            if formula is None:
                raise Unexplained(f"{x!r} in {pair.here.target} follows the size in its own way", place_of(pair.here))
            formulas[pair.prefix + pair.here.name, place] = formula
        for place in pair.noted.keys() - changes.keys():
            number = leaves(pair.here)[place]
            formula = sizes.tracked(pair, place, number, number)
            if formula is not None and not sizes.is_uncertain(formula):
                formulas[pair.prefix + pair.here.name, place] = formula
                unchanged.add((pair.prefix + pair.here.name, place))
    return Explanations(formulas, frozenset(unchanged))


def _explanation(pair: _Pair, place: int, x: Any, y: Any, sizes: "_Both", inputs: Sequence[_Sizes]) -> Formula | None:
    """What the module computed the number from; else the size of an operand, or a ratio to a product of sizes."""
    if type(x) is not int or type(y) is not int:
        return None
    operands = _operand_sizes(pair, place)
    formula = sizes.tracked(pair, place, x, y)
    for most, divided in ((1, False), (MOST_AXES, False), (MOST_AXES, True)):
        for candidates in (operands, inputs):
            formula = formula or _multiple(candidates, x, y, most, divided)
    return formula or _shifted([*operands, *inputs], x, y)


def _shifted(candidates: Sequence[_Sizes], x: int, y: int) -> Formula | None:
    """The size of an axis and some more, or less."""
    for axis in candidates:
        if x - axis.here == y - axis.there:
            return Worked(operator.add, (axis.axis, x - axis.here))
    return None


class _Both:
    """The sizes of values in both graphs, by the names that the module's own formulas have for them."""

    def __init__(self, pairs: Sequence[_Pair]):
        named = [pair for pair in pairs if VALUE in pair.here.meta and not pair.is_copy]
        self._pairs = {pair.here.meta[VALUE]: pair for pair in named}

    def tracked(self, pair: _Pair, place: int, x: int, y: int) -> Formula | None:
        """What the module computed the number from, if that gives both numbers, and follows a size that differs."""
        for formula in pair.noted.get(place, ()):
            known = all(leaf.value in self._pairs for leaf in leaves_of(formula))
            if known and self._follows(formula) and self._value(formula, 0) == x and self._value(formula, 1) == y:
                return self._named(formula)
        return None

    def is_uncertain(self, formula: Formula) -> bool:
        """Whether it has been taken for the number because it is equal, and no more."""
        return isinstance(formula, Worked) and formula.operator is as_it_is

    def _value(self, formula: Formula, graph: int) -> Any:
        try:
            return evaluated(formula, lambda leaf: _shape(self._pairs[leaf.value].nodes[graph])[leaf.axis])
        except (TypeError, ZeroDivisionError):
            return None

    def _follows(self, formula: Formula) -> bool:
        return any(self._value(leaf, 0) != self._value(leaf, 1) for leaf in leaves_of(formula))

    def _named(self, formula: Any) -> Any:
        """The same formula with the names of nodes."""
        if isinstance(formula, SizeOf):
            pair = self._pairs[formula.value]
            return SizeOf(pair.prefix + pair.here.name, formula.axis)
        if isinstance(formula, Worked):
            return Worked(formula.operator, tuple(self._named(part) for part in formula.parts))
        return formula


def leaves(node: fx.Node) -> list[Any]:
    """All arguments, flattened."""
    return pytree.tree_leaves((node.args, node.kwargs))


def _paired(a: Program, b: Program) -> list[_Pair]:
    """The nodes of both that do the same; Unexplained if the graphs have other operators, or other constants."""
    pairs = _pairs(a.graph, b.graph)
    if not _same_constants(a, b):
        raise Unexplained("a table that the module makes has other numbers")
    return pairs


def _pairs(a: fx.Graph, b: fx.Graph, prefix: str = "") -> list[_Pair]:
    here, there = list(a.nodes), list(b.nodes)
    pairs = [_Pair(prefix, x, y) for x, y in zip(here, there, strict=False)]
    for _, x, y in tuple(pairs):
        if x.op != y.op or x.target != y.target:
            raise OtherOperators(f"other operators run at another size, from {x.target}", place_of(x) or place_of(y))
        if x.op == "get_attr" and isinstance(inner := _attribute(x), fx.GraphModule):
            pairs += _pairs(inner.graph, _attribute(y).graph, f"{prefix}{x.target}.")
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


def _operand_sizes(pair: _Pair, place: int) -> list[_Sizes]:
    """Axes of the node's operands that differ; those that stand at the same place as the number come first."""
    ranked = []
    for i, (here, there) in enumerate(zip(leaves(pair.here), leaves(pair.there), strict=True)):
        if isinstance(here, fx.Node):
            for axis, (x, y) in enumerate(zip(_shape(here), _shape(there), strict=False)):
                if x != y:
                    ranked.append((axis != place - i - 1, _Sizes(SizeOf(pair.prefix + here.name, axis), x, y)))
    return [sizes for _, sizes in sorted(ranked, key=lambda pair: pair[0])]


def _multiple(candidates: Sequence[_Sizes], x: int, y: int, most: int, divided: bool) -> Formula | None:
    """The axes, up to `most`, to the product of whose sizes the number has one ratio, here and there: a whole number,
    or any if `divided`.
    """
    for count in range(1, most + 1):
        for axes in itertools.combinations(candidates, count):
            product_here = math.prod(axis.here for axis in axes)
            product_there = math.prod(axis.there for axis in axes)
            if x and x * product_there == y * product_here and (divided or x % product_here == 0):
                common = math.gcd(x, product_here)
                return _ratio([axis.axis for axis in axes], x // common, product_here // common)
    return None


def _ratio(axes: Sequence[SizeOf], factor: int, divisor: int) -> Formula:
    """factor · the product of the sizes // divisor."""
    formula: Formula = axes[0]
    for axis in axes[1:]:
        formula = Worked(operator.mul, (formula, axis))
    formula = formula if factor == 1 else Worked(operator.mul, (formula, factor))
    return formula if divisor == 1 else Worked(operator.floordiv, (formula, divisor))


def _input_sizes(a: Program, b: Program, changed: Sequence[tuple[int, int]]) -> list[_Sizes]:
    """The inputs' axes that differ; of those that have the same sizes the first."""
    return _sizes_of(list(zip(input_nodes(a), input_nodes(b), strict=True)), changed)


def _sizes_of(inputs: Sequence[tuple[fx.Node, fx.Node]], places: Sequence[tuple[int, int]]) -> list[_Sizes]:
    """Those of these (input, axis) that differ; of those that have the same sizes the first."""
    by_sizes: dict[tuple[int, int], _Sizes] = {}
    for i, axis in places:
        here, there = inputs[i]
        x, y = int(_shape(here)[axis]), int(_shape(there)[axis])
        if x != y:
            by_sizes.setdefault((x, y), _Sizes(SizeOf(here.name, axis), x, y))
    return list(by_sizes.values())


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()
