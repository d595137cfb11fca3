"""Walks along a sequence: what one direction of one layer leaves behind, there and on its way back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from blockprop.blocks.products import LARGE, product
from blockprop.engine.briefly import brief_repr

StepForward = Callable[[int], object]
StepBack = Callable[..., tuple[Tensor, ...]]


@dataclass(slots=True)
class Walk:
    """One direction of one layer: what its forward pass leaves behind. Time is the first axis of all."""

    suffix: str
    """The end of its parameters' names: "_l0", "_l0_reverse", "_l1" …"""
    x: Tensor
    """(l, n, inputs)"""
    gates: Tensor
    """(l, n, gates · features), after the nonlinearities"""
    states: tuple[Tensor, ...]
    """h, and c if there is one, between the steps: (l + 1, n, …)"""
    more: Any = None
    """what else the kind of block needs to go back"""

    def __repr__(self) -> str:
        return brief_repr(self)

    @property
    def reverse(self) -> bool:
        return self.suffix.endswith("reverse")

    @property
    def order(self) -> Sequence[int]:
        steps = range(len(self.x))
        return steps[::-1] if self.reverse else steps

    @property
    def h(self) -> Tensor:
        return self.after(self.states[0])

    @property
    def h_before(self) -> Tensor:
        return self.before(self.states[0])

    def before(self, states: Tensor) -> Tensor:
        """The state before each step."""
        return states[1:] if self.reverse else states[:-1]

    def after(self, states: Tensor) -> Tensor:
        """The state after each step."""
        return states[:-1] if self.reverse else states[1:]

    def last(self, states: Tensor) -> Tensor:
        return states[0 if self.reverse else -1]


@dataclass(slots=True)
class WalkBack:
    """One direction of one layer: what its way back found."""

    d_gates: Tensor
    """by the gates' sums with h: (l, n, gates · features)"""
    d_inputs: Tensor
    """by the gates' sums with x; not the same in a GRU with reset_after"""
    d_starts: tuple[Tensor, ...] = ()
    """by the first states"""
    more: Any = None

    def __repr__(self) -> str:
        return brief_repr(self)


def steps(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Each tensor step by step, as views: made at once, they cost a fraction of as many `tensor[t]`."""
    return [tensor.unbind() for tensor in tensors]


def over_steps(d: Tensor, x: Tensor) -> Tensor:
    """Σ_t d_tᵀ x_t, as one product over the rows of all steps."""
    # (xᵀ d)ᵀ, because oneDNN copies its first factor if it is transposed, and x has a quarter of an LSTM's d.
    return product(x.flatten(0, -2).t(), d.flatten(0, -2)).t().contiguous()


def add_product_(y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """y + a b, written over y."""
    if a.numel() * b.size(1) > LARGE:
        return y.add_(product(a, b))
    return y.addmm_(a, b)
