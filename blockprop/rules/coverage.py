"""Where a rule applies, and what it did not reach."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from blockprop.blocks import BLOCKS
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node, Rule, plan_backward
from blockprop.errors import GraphError
from blockprop.interop.opaque import Opaque
from blockprop.rules.rectifiers import other_gate, rectifier

NAMED = 10
"""Nodes that an error names."""


@dataclass(frozen=True)
class Coverage:
    """What a rule replaced. Only nodes through which the error passes in this run count.

    replaced: the nodes where it stands for the block's own propagation.
    not_replaced: those that rectify or gate, too, and why they were left as they are.
    unknown: nodes whose block does not say what it is made of.
    """

    rule: str
    replaced: tuple[str, ...]
    not_replaced: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether no node was left out, or may have been."""
        return not self.not_replaced and not self.unknown

    def __str__(self) -> str:
        count = len(self.replaced) + len(self.not_replaced)
        lines = [f"{self.rule}: replaced {len(self.replaced)} of {count} nodes that rectify or gate"]
        if self.unknown:
            lines[0] += f"; {len(self.unknown)} more may do so inside"
        lines += [f"  {node}: {reason}" for node, reason in (*self.not_replaced.items(), *self.unknown.items())]
        return "\n".join(lines)


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
        mine = self.coverage
        theirs = others.coverage if isinstance(others, Rules) else Coverage("own rules", ())
        replaced = tuple(name for name, block in self._nodes.items() if name in rules or type(block) in rules)
        left = {**mine.not_replaced, **theirs.not_replaced}, {**mine.unknown, **theirs.unknown}
        rest = ({node: why for node, why in each.items() if node not in replaced} for each in left)
        return Rules(self._nodes, rules, Coverage(f"{mine.rule} | {theirs.rule}", replaced, *rest))

    def __repr__(self) -> str:
        return f"<{str(self.coverage).splitlines()[0]}>"


def _rules(
    name: str,
    rule: Callable[..., tuple[Tensor | None, ...]],
    network: Network,
    seeds: Iterable[str] | None,
    wrt: Iterable[str] | None,
    strict: bool,
) -> Rules:
    producers = {key: node for node in network.nodes for key in node.keys}
    found: dict[type[Block] | str, Rule] = {}
    reasons: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for node in _between(network, seeds, wrt):
        if isinstance(node.block, Opaque):
            unknown[node.name] = f"{node.block.operator} is opaque"
        elif type(node.block) not in BLOCKS.values():
            unknown[node.name] = f"{type(node.block).__name__} is not one of blockprop's blocks"
        elif (at := rectifier(node, producers)) is not None:
            found[node.name] = partial(rule, at)
        elif reason := other_gate(node, producers):
            reasons[node.name] = reason
    coverage = Coverage(name, tuple(map(str, found)), reasons, unknown)
    if not found:
        raise GraphError(
            f"the rule {name} would change nothing{_list(coverage) or ': nothing in the network rectifies'}"
        )
    if strict and not coverage.complete:
        raise GraphError(f"the rule {name} does not cover the network{_list(coverage)}")
    return Rules(network.blocks, found, coverage)


def _between(network: Network, seeds: Iterable[str] | None, wrt: Iterable[str] | None) -> list[Node]:
    """The nodes through which an error passes on its way from the seeds to what is wanted."""
    if seeds is None and wrt is None:
        return list(network.nodes)
    start = network.outputs if seeds is None else tuple(seeds)
    steps = plan_backward(network.nodes, start, network.wanted("inputs" if wrt is None else wrt), {}, {})
    return [step.node for step in reversed(steps) if step.targets]


def _list(coverage: Coverage) -> str:
    left = [f"{node} ({why})" for node, why in (*coverage.not_replaced.items(), *coverage.unknown.items())]
    rest = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
    return f"; left out: {'; '.join(left[:NAMED])}{rest}" if left else ""
