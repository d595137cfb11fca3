"""What a page may cost: the multiply-adds of what is found out for it, beyond the two passes."""

from blockprop.learning.both_passes import BothPasses
from blockprop.reports.costs import costs

AFFORDED = 2e8
"""Multiply-adds for what nobody asked for, of each kind, in all."""
CALL = 30_000
"""What calling a block costs besides, in multiply-adds."""


def prices(recording: BothPasses) -> dict[str, float]:
    """What running each node's block once costs, in multiply-adds."""
    inputs = [recording.trace[name] for name in recording.inputs]
    return {
        cost.node: CALL + (cost.multiply_adds or 0) + cost.output_bytes // 8
        for cost in costs(recording.network, *inputs)
    }
