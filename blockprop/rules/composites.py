"""Rules and where each applies, joined: what to propagate is one thing, where to do so another.

halved = NamedRule("halved", "d_x = d_y / 2", lambda _place, _block, _saved, d_y: (d_y / 2,))
halving = Composite("halving", [(RECTIFIERS, halved)])
rules = halving(network, seeds=["relu5"])
d = network.backward(trace, {"relu5": d_y}, rules=rules)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node, Rule, plan_backward
from blockprop.errors import GraphError
from blockprop.rules.coverage import Coverage


class NamedRule(NamedTuple):
    """What stands for error propagation at one node.

    text: its formula and its source, in words.
    propagate: (place, block, saved, d_output) -> d_inputs; the place is what `Scope` knows about the node.
    """

    name: str
    text: str
    propagate: Callable[[Any, Block, Any, Any], tuple[Tensor | None, ...]]


class Selection(NamedTuple):
    """Which of some nodes a rule is for.

    places: their names, with what the rule needs to know of each.
    others: nodes of the same kind that it is not for, and why.   unknown: nodes that may be of that kind, and why.
    """

    places: Mapping[str, Any]
    others: Mapping[str, str]
    unknown: Mapping[str, str]


class Scope(NamedTuple):
    """Where a rule applies, in any network.

    select: (network, nodes that the error passes) -> Selection.
    kind: what such nodes do ("rectify or gate").   none: what to say if a network has none.
    """

    select: Callable[[Network, Sequence[Node]], Selection]
    kind: str
    none: str


class Rules(Mapping[Any, Rule]):
    """Rules by node, for `Network.backward(…, rules=…)`, and their `coverage`.

    rules | others gives both; for a node or type of block that both name, others. Others may be any dict of rules.
    """

    def __init__(self, nodes: Mapping[str, Block], rules: Mapping[type[Block] | str, Rule], coverage: Coverage):
        self._nodes, self._rules, self.coverage = dict(nodes), dict(rules), coverage

    def __getitem__(self, place: Any) -> Rule:
        return self._rules[place]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def __or__(self, others: Mapping[Any, Rule]) -> "Rules":
        rules = self._rules | dict(others)
        first = self.coverage
        second = others.coverage if isinstance(others, Rules) else Coverage("own rules", ())
        replaced = tuple(name for name, block in self._nodes.items() if name in rules or type(block) in rules)
        left = _without({**first.not_replaced, **second.not_replaced}, replaced)
        unknown = _without({**first.unknown, **second.unknown}, replaced)
        return Rules(self._nodes, rules, Coverage(f"{first.rule} | {second.rule}", replaced, left, unknown, first.kind))

    def __repr__(self) -> str:
        return f"<{str(self.coverage).splitlines()[0]}>"


class Composite:
    """Rules and where each applies; at a node that several are for, the first. Called with a network, it gives `Rules`.

    parts: (where, rule), one or more.
    """

    def __init__(self, name: str, parts: Iterable[tuple[Scope, NamedRule]]):
        self.__name__ = self.name = name
        self.parts = tuple(parts)
        self.__doc__ = "\n\n".join(rule.text for _, rule in self.parts)

    @property
    def propagate(self) -> Callable[[Any, Block, Any, Any], tuple[Tensor | None, ...]]:
        """What its only rule does at a node."""
        ((_, rule),) = self.parts
        return rule.propagate

    def __call__(
        self,
        network: Network,
        *,
        seeds: Iterable[str] | None = None,
        wrt: Iterable[str] | None = None,
        strict: bool = False,
    ) -> Rules:
        """The rules for one network, and what they cover.

        seeds, wrt: where the error comes from and goes to; nodes that are not between them do not count. By default
            all do.
        strict: raise if anything that the rules may be for is not replaced.
        Raises GraphError if nothing would be replaced, or not all with strict.
        """
        nodes = _between(network, seeds, wrt)
        rules: dict[type[Block] | str, Rule] = {}
        others: dict[str, str] = {}
        unknown: dict[str, str] = {}
        for where, rule in self.parts:
            selection = where.select(network, nodes)
            for name, place in selection.places.items():
                rules.setdefault(name, partial(rule.propagate, place))
            others |= selection.others
            unknown |= selection.unknown
        replaced = tuple(node.name for node in nodes if node.name in rules)
        kind = ", or ".join(dict.fromkeys(where.kind for where, _ in self.parts))
        coverage = Coverage(self.name, replaced, _without(others, replaced), _without(unknown, replaced), kind)
        if not rules:
            none = f": {', and '.join(where.none for where, _ in self.parts)}"
            raise GraphError(f"the rule {self.name} would change nothing{coverage.left_out() or none}")
        if strict and not coverage.complete:
            raise GraphError(f"the rule {self.name} does not cover the network{coverage.left_out()}")
        return Rules(network.blocks, rules, coverage)

    def __repr__(self) -> str:
        return f"<rule {self.name}>"


def _without(reasons: Mapping[str, str], replaced: tuple[str, ...]) -> dict[str, str]:
    return {node: why for node, why in reasons.items() if node not in replaced}


def _between(network: Network, seeds: Iterable[str] | None, wrt: Iterable[str] | None) -> list[Node]:
    """The nodes through which an error passes on its way from the seeds to what is wanted."""
    if seeds is None and wrt is None:
        return list(network.nodes)
    start = network.outputs if seeds is None else tuple(seeds)
    steps = plan_backward(network.nodes, start, network.wanted("inputs" if wrt is None else wrt), {}, {})
    return [step.node for step in reversed(steps) if step.targets]
