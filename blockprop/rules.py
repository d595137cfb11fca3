"""Named rules that replace error propagation at rectifiers for one backward pass, with a report of where they do.

    rules = guided(network)
    d = network.backward(trace, seeds, wrt="inputs", rules=rules)
    print(rules.coverage)                       guided: replaced 26 of 26 nodes that rectify or gate

A rule is found node by node: each call of a ReLU is a node, whichever object it calls and however it was written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from blockprop.block import Block
from blockprop.blocks import BLOCKS, ReLU
from blockprop.errors import GraphError
from blockprop.interop import Opaque
from blockprop.network import Network
from blockprop.plan import Node, Rule, plan_backward
from blockprop.rectifiers import Rectifier, other_gate, rectifier

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


# The rules ------------------------------------------------------------------------------------------------------------


def guided(
    network: Network, *, seeds: Iterable[str] | None = None, wrt: Iterable[str] | None = None, strict: bool = False
) -> Rules:
    """Guided back-propagation: only what is positive passes back through a rectifier, and only where it was open.

    d_x = d_y where the block's own d_x is d_y and d_y > 0, else 0     (for ReLU: where x > 0 and d_y > 0)

    At ReLU in all its spellings, and with the same formula at Clamp(0, high), such as ReLU6.
    seeds, wrt: where the error comes from and goes to; nodes that are not between them do not count. By default all do.
    strict: raise if anything that rectifies or gates is not replaced, or is of unknown kind.
    Raises GraphError if nothing would be replaced, or not all with strict.
    Source: Springenberg et al. 2014, section 3.4.
    """
    return _rules("guided", _guided, network, seeds, wrt, strict)


def deconvnet(
    network: Network, *, seeds: Iterable[str] | None = None, wrt: Iterable[str] | None = None, strict: bool = False
) -> Rules:
    """The deconvnet: a rectifier rectifies what comes back, and does not ask whether it was open.

    d_x = d_y where d_y > 0, else 0

    Nodes, arguments and errors as for `guided`. (Max pooling sends the error to its maxima, as in the paper.)
    Source: Zeiler and Fergus 2013, section 2.1.
    """
    return _rules("deconvnet", _deconvnet, network, seeds, wrt, strict)


def redirected(
    network: Network, *, seeds: Iterable[str] | None = None, wrt: Iterable[str] | None = None, strict: bool = False
) -> Rules:
    """Let the error through dead rectifiers: where nothing passes for an example, what would open them does.

    d_x = the block's own, but for an example for which that is 0 everywhere:
    d_x = d_y where the block is closed and x + d_x comes nearer to open, else 0
          (ReLU: where d_y > 0;  Clamp(0, high): where x ≤ 0 and d_y > 0, or x ≥ high and d_y < 0)

    For the first steps of an ascent (x ← x + rate · d_x), which would not move at all where all rectifiers are closed.
    Nodes, arguments and errors as for `guided`.
    Source: lucid's redirected ReLU (Olah et al. 2017), which is for a descent and has the opposite sign.
    """
    return _rules("redirected", _redirected, network, seeds, wrt, strict)


NAMED_RULES: dict[str, Callable[..., Rules]] = {rule.__name__: rule for rule in (guided, deconvnet, redirected)}
"""All rules by name."""


def _guided(_at: Rectifier, block: Block, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    if isinstance(block, ReLU):
        (d_x,) = block.propagate(saved, d_y)
        return (d_x.clamp_(min=0),)  # its own new tensor
    return block.propagate(saved, d_y.clamp(min=0))


def _deconvnet(at: Rectifier, _block: Block, _saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    return _only(at, d_y.clamp(min=0))


def _redirected(at: Rectifier, block: Block, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    own = block.propagate(saved, d_y)[at.index]
    assert own is not None
    open_ = own.flatten(1).any(1) if own.dim() > 1 else own != 0
    if bool(open_.all()):
        return _only(at, own)
    helpful = d_y.clamp(min=0)
    if at.high is not None:  # Clamp and LeakyReLU's kin save x
        helpful = helpful.where(saved <= 0, d_y.clamp(max=0).where(saved >= at.high, 0.0))
    return _only(at, own.where(open_.view(-1, *[1] * (own.dim() - 1)), helpful))


def _only(at: Rectifier, d_x: Tensor) -> tuple[Tensor | None, ...]:
    return tuple(d_x if i == at.index else None for i in range(at.count))


# Where they apply -----------------------------------------------------------------------------------------------------


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
