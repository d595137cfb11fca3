"""Which nodes rectify: every way to write max(x, 0), and what looks like it but is something else."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from blockprop.blocks import (
    Cast,
    Clamp,
    Compare,
    Constant,
    Expand,
    Filled,
    LeakyReLU,
    Max,
    Min,
    Mul,
    ReLU,
    ThresholdedReLU,
    Where,
)
from blockprop.engine.plan import Node


@dataclass(frozen=True)
class Rectifier:
    """A node that computes max(x, 0), or min(max(x, 0), high). index: which of its inputs is x, of how many."""

    index: int
    count: int
    high: float | None = None

    def only(self, d_x: Tensor) -> tuple[Tensor | None, ...]:
        """d_inputs that are d_x at x, and nothing at the others."""
        return tuple(d_x if i == self.index else None for i in range(self.count))


def rectifier(node: Node, producers: Mapping[str, Node]) -> Rectifier | None:
    """Where x stands if the node computes max(x, 0) or min(max(x, 0), high), in whichever way; else None."""
    block, count = node.block, len(node.inputs)
    if isinstance(block, ReLU) or (isinstance(block, LeakyReLU) and block.negative_slope == 0):
        return Rectifier(0, count)
    if isinstance(block, ThresholdedReLU) and block.alpha == 0:
        return Rectifier(0, count)
    if isinstance(block, Clamp) and block.low == 0:
        return Rectifier(0, count, block.high)
    if isinstance(block, Max):
        zeros = [_constant(key, producers) == 0 for key in node.inputs]
        return Rectifier(zeros.index(False), count) if sorted(zeros) == [False, True] else None
    if isinstance(block, Where):
        return _chosen(node, producers)
    if isinstance(block, Mul):
        sides = [_sign(key, producers) for key in node.inputs]
        masked = [i for i in (0, 1) if sides[1 - i] == (node.inputs[i], True)]
        return Rectifier(masked[0], count) if masked else None
    return None


def _chosen(node: Node, producers: Mapping[str, Node]) -> Rectifier | None:
    """where(x > 0, x, 0), or where(x < 0, 0, x)."""
    condition, *branches = node.inputs
    for i, positive in ((0, True), (1, False)):
        if _sign(condition, producers) == (branches[i], positive) and _constant(branches[1 - i], producers) == 0:
            return Rectifier(i + 1, 3)
    return None


def _sign(key: str, producers: Mapping[str, Node]) -> tuple[str, bool] | None:
    """(x, True) if what is called key says whether x is positive, (x, False) if whether it is negative."""
    node = producers.get(key)
    while node is not None and isinstance(node.block, Cast):
        node = producers.get(node.inputs[0])
    if node is None or not isinstance(node.block, Compare) or node.block.value != 0:
        return None
    kinds = {"greater": True, "greater_equal": True, "less": False, "less_equal": False}
    kind = kinds.get(node.block.operator)
    return None if kind is None else (node.inputs[0], kind)


def _constant(key: str, producers: Mapping[str, Node]) -> float | None:
    """The number that everything called key is, if that is a constant of one number."""
    node = producers.get(key)
    while node is not None and (node.block.arranges or isinstance(node.block, Cast | Expand)):
        node = producers.get(node.inputs[0])
    if node is not None and isinstance(node.block, Filled):
        return node.block.value
    if node is not None and isinstance(node.block, Constant) and node.block.value.numel():
        value = node.block.value.flatten()
        return value[0].item() if bool((value == value[0]).all()) else None
    return None


def other_gate(node: Node, producers: Mapping[str, Node]) -> str | None:
    """Why a node that rectifies or gates is no rectifier; None if it does neither."""
    block = node.block
    if isinstance(block, Max | Min):
        constants = [value for key in node.inputs if (value := _constant(key, producers)) is not None]
        return f"cuts at {constants[0]:g}, not at 0 from below" if constants else None
    if isinstance(block, Where | Mul):
        asked = [sign[0] for key in node.inputs if (sign := _sign(key, producers))]
        return "chooses by a sign, but is not max(x, 0)" if set(asked) & set(node.inputs) else None
    return block.gate or None
