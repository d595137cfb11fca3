"""Which node runs when: topological order, and the shortest forward and backward schedules for what is wanted.

A plan is a list of steps, made once for a question ("back to these, from those") and kept by the network, so that the
passes (passes.py) do nothing but call blocks.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from blockprop.engine.block import Block
from blockprop.errors import GraphError

Rule = Callable[[Block, Any, Any], tuple[Tensor | None, ...]]
"""Replaces error propagation: rule(block, saved, d_output) -> d_inputs."""
RuleMap = Mapping[type[Block] | str, Rule]


class RuleOfAny:
    """A rule for a node whatever block stands there, which it asks to propagate: prepared networks follow it."""

    def __init__(self, rule: Rule):
        self._rule = rule

    def __call__(self, block: Block, saved: Any, d_output: Any) -> tuple[Tensor | None, ...]:
        return self._rule(block, saved, d_output)


"""Which rule stands in for which blocks: by their type, or by the name of one node."""


class Node(NamedTuple):
    """A block at one place of a graph. `inputs` name the network inputs and nodes whose outputs it takes, in order.

    A node whose block has several outputs (Split) is read by index: "split[1]".
    """

    name: str
    block: Block
    inputs: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its outputs: its own name, or "name[0]", "name[1]", … if the block has several."""
        count = self.block.output_count
        return (self.name,) if count == 1 else tuple(f"{self.name}[{i}]" for i in range(count))


@dataclass(slots=True)
class ForwardStep:
    """Call the block's forward; then forget the values named in `dead`, which nobody needs any more."""

    node: Node
    name: str
    block: Block
    in_training: bool
    """Whether forward is to be told that this is training."""
    source: str | None
    """The name of its input, if it has just one and is told nothing."""
    key: str | None
    """The name of its output, if it has just one."""
    dead: tuple[str, ...]


@dataclass(slots=True)
class BackwardStep:
    """At one node: hand out d_output if it is wanted, propagate it to `targets`, find the wanted gradients."""

    node: Node
    name: str
    block: Block
    key: str | None
    """The name of its output, if it has just one."""
    outputs_wanted: tuple[str, ...]
    rule: Callable[[Any, Any], tuple[Tensor | None, ...]] | None
    """What propagates in the block's place."""
    targets: tuple[str | None, ...]
    """Where the propagated error goes, for each input; empty if it goes nowhere."""
    gradients_wanted: tuple[tuple[str, str], ...]
    """(name in the block, name in the network) of each wanted parameter."""
    both_wanted: bool
    """Whether errors and gradients are wanted of a block that may find them together."""
    makers: tuple[Block, ...] = ()
    """The blocks whose new errors d_output is, alone or summed up, if this block may write over it; else none."""
    is_shared: bool = False
    is_last_use: bool = True
    """False for a shared block if a later step adds to the same gradients."""

    def back(self, saved: Any, d_output: Any) -> tuple[tuple[Tensor | None, ...], dict[str, Tensor] | None]:
        """(d_inputs, gradients): the errors for `targets`, and the gradients, None if they do not come along."""
        if self.both_wanted and self.block.finds_both:
            return self.block.both(saved, d_output)
        if self.rule:
            return self.rule(saved, d_output), None
        if self.makers and not any("propagate" in vars(block) for block in (self.block, *self.makers)):
            propagate: Any = self.block.propagate
            return propagate(saved, d_output, over=True), None
        return (self.block.propagate(saved, d_output) if self.targets else ()), None

    @property
    def answering(self) -> str:
        """What `back` calls, in a word."""
        return "both" if self.both_wanted and self.block.finds_both else "its rule" if self.rule else "propagate"


def plan_forward(nodes: Sequence[Node], keep: Collection[str] | None, training: bool) -> list[ForwardStep]:
    """Visit what `keep` depends on and nothing else; None keeps, and visits, everything."""
    if keep is None:
        return [_forward_step(node, training, ()) for node in nodes]
    alive = set(keep)
    steps: list[ForwardStep] = []
    for node in reversed(nodes):
        if alive.isdisjoint(node.keys):
            continue
        dead = tuple(dict.fromkeys(key for key in (*node.inputs, *node.keys) if key not in alive))
        alive.update(node.inputs)
        steps.append(_forward_step(node, training, dead))
    return steps[::-1]


def _forward_step(node: Node, training: bool, dead: tuple[str, ...]) -> ForwardStep:
    training = training and node.block.has_training_mode
    source = None if training else _single(node.inputs)
    return ForwardStep(node, node.name, node.block, training, source, _single(node.keys), dead)


def _single(keys: tuple[str, ...]) -> str | None:
    return keys[0] if len(keys) == 1 else None


def plan_backward(
    nodes: Sequence[Node],
    seeds: Iterable[str],
    wanted: Collection[str],
    parameters: Mapping[int, Mapping[str, str]],
    rules: RuleMap,
) -> list[BackwardStep]:
    """Visit the nodes on a path from a seed to something wanted, last first.

    wanted: names of outputs and inputs; parameters: for each block with wanted ones, by id: name in the block -> name
    in the network. Raises GraphError for a rule that would change nothing.
    """
    check_rules(rules, nodes)
    wanted = frozenset(wanted)
    needed = set(wanted)
    for node in nodes:
        if id(node.block) in parameters or not needed.isdisjoint(node.inputs):
            needed.update(node.keys)
    seeds = frozenset(seeds)
    reached = set(seeds)
    steps: list[BackwardStep] = []
    for node in reversed(nodes):
        if reached.isdisjoint(node.keys) or needed.isdisjoint(node.keys):
            continue
        targets = tuple(key if key in needed else None for key in node.inputs)
        reached.update(key for key in targets if key is not None)
        steps.append(_backward_step(node, targets, wanted, parameters.get(id(node.block), {}), rules))
    uses = Counter(id(step.block) for step in steps if step.gradients_wanted)
    left = uses.copy()
    for step in steps:
        if uses[id(step.block)] > 1:
            left[id(step.block)] -= 1
            step.is_shared, step.is_last_use = True, left[id(step.block)] == 0
    _name_makers(steps, seeds)
    return steps


def _name_makers(steps: Iterable[BackwardStep], seeds: Collection[str]) -> None:
    """Where a block may write over its d_output: that is a new error or a sum of some, and nobody looks at it."""
    before: dict[str | None, list[BackwardStep]] = {}
    for step in steps:
        makers = before.get(step.key, [])
        is_looked_at = step.key in seeds or step.outputs_wanted or step.gradients_wanted
        may = not is_looked_at and step.rule is None and step.block.says("may_take_over")
        if may and all(maker.rule is None and maker.block.says("makes_new_errors") for maker in makers):
            step.makers = tuple(maker.block for maker in makers)
        for key in step.targets:
            before.setdefault(key, []).append(step)


def rules_of(node: Node, rules: RuleMap) -> list[type[Block] | str]:
    """The places by which rules touch a node."""
    return [place for place in (node.name, type(node.block)) if place in rules]


def check_rules(rules: RuleMap, nodes: Iterable[Node]) -> None:
    """GraphError for one that touches no node."""
    touched = {place for node in nodes for place in rules_of(node, rules)} if rules else set()
    for place in rules:
        if place not in touched:
            name = place if isinstance(place, str) else place.__name__
            raise GraphError(
                f"the rule for {name!r} would change nothing: the network has no such node or type of block"
            )


def _backward_step(
    node: Node, targets: tuple[str | None, ...], wanted: Collection[str], parameters: Mapping[str, str], rules: RuleMap
) -> BackwardStep:
    block, propagates = node.block, any(targets)
    rule = rules.get(node.name) or rules.get(type(block))
    return BackwardStep(
        node=node,
        name=node.name,
        block=block,
        key=_single(node.keys),
        outputs_wanted=tuple(key for key in node.keys if key in wanted),
        rule=partial(rule, block) if rule and propagates else None,
        targets=targets if propagates else (),
        gradients_wanted=tuple(parameters.items()),
        both_wanted=propagates and bool(parameters) and rule is None and type(block).both is not Block.both,
    )
