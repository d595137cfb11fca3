"""The plans of a network that were made before, so that the same question is not worked out again at each step."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from blockprop.engine.plan import BackwardStep, ForwardStep, Node, RuleMap, plan_backward, plan_forward

MOST = 100
"""Backward plans that are kept; more questions than that are not asked again and again."""


class Plans:
    """For a network of these nodes.   places: (node, parameter) by the parameter's title"""

    def __init__(self, nodes: Sequence[Node], places: Mapping[str, tuple[str, str]]):
        self._nodes, self._places = nodes, places
        self._blocks = {node.name: node.block for node in nodes}
        self._forward: dict[Any, list[ForwardStep]] = {}
        self._backward: dict[Any, list[BackwardStep]] = {}

    def forth(self, keep: tuple[str, ...] | None, training: bool) -> list[ForwardStep]:
        """See `plan_forward`."""
        plan = self._forward.get((keep, training))
        if plan is None:
            plan = self._forward[keep, training] = plan_forward(self._nodes, keep, training)
        return plan

    def back(self, seeds: Iterable[str], wanted: tuple[str, ...], rules: RuleMap | None = None) -> list[BackwardStep]:
        """See `plan_backward`. With rules it is made anew each time: they may be others under the same names."""
        if not rules and (known := self._backward.get((wanted, *seeds))) is not None:
            return known
        parameters: dict[int, dict[str, str]] = {}
        for title in wanted:
            if title in self._places:
                node, name = self._places[title]
                parameters.setdefault(id(self._blocks[node]), {})[name] = title
        plan = plan_backward(self._nodes, seeds, wanted, parameters, rules or {})
        if not rules:
            if len(self._backward) > MOST:
                self._backward.clear()
            self._backward[wanted, *seeds] = plan
        return plan
