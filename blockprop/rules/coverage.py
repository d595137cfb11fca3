"""What a rule replaced in one backward pass, and what it did not reach."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NAMED = 10
"""Nodes that an error names."""


@dataclass(frozen=True)
class Coverage:
    """What a rule replaced. Only nodes through which the error passes in this run count.

    replaced: the nodes where it stands for the block's own propagation.
    not_replaced: those of the kind that it is for, too, and why they were left as they are.
    unknown: nodes whose block does not say what it is made of.
    kind: what the nodes do that it is for.
    """

    rule: str
    replaced: tuple[str, ...]
    not_replaced: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    kind: str = "rectify or gate"

    @property
    def complete(self) -> bool:
        """Whether no node was left out, or may have been."""
        return not self.not_replaced and not self.unknown

    def left_out(self) -> str:
        """The first nodes that were, or may have been, left out, and why: the end of an error's sentence."""
        nodes = [f"{node} ({why})" for node, why in (*self.not_replaced.items(), *self.unknown.items())]
        rest = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
        return f"; left out: {'; '.join(nodes[:NAMED])}{rest}" if nodes else ""

    def __str__(self) -> str:
        count = len(self.replaced) + len(self.not_replaced)
        lines = [f"{self.rule}: replaced {len(self.replaced)} of {count} nodes that {self.kind}"]
        if self.unknown:
            lines[0] += f"; {len(self.unknown)} more may do so inside"
        lines += [f"  {node}: {reason}" for node, reason in (*self.not_replaced.items(), *self.unknown.items())]
        return "\n".join(lines)
