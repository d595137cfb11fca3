"""A derivative of any network, block by block: the formula of each, shapes and sizes, sums at forks, and numbers.

Error propagation is linear in d_y. So what each element of d_y adds to one element of d_x (or of a weight's gradient)
is found by propagating parts of d_y alone: these shares add up to the derivative, whatever the block is.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.plan import BackwardStep
from blockprop.errors import shape
from blockprop.learning.both_passes import LOSS, BothPasses
from blockprop.learning.derivation import Chapter, Equation, Listing, total
from blockprop.learning.elements import Element
from blockprop.learning.expressions import Expression, Number, Plus, Words
from blockprop.learning.formulas import formulas_of

PARTS = 16
"""Into which an error is cut to see what each adds."""
MOST_LOOKS = 400
"""At parts of one error."""
SHOWN = 6
"""Shares of a sum, the largest ones; the others are added up."""


@dataclass(frozen=True)
class Share:
    """What one element of an error adds to the derivative of another one; without an index, what several add."""

    key: str
    index: tuple[int, ...] | None
    value: float

    @property
    def title(self) -> str:
        return self.key if self.index is None else f"{self.key}[{','.join(str(place) for place in self.index)}]"


class ByBlocks:
    """The derivation of one element's derivative, block by block; `value` is what its shares come to."""

    def __init__(self, recording: BothPasses, element: Element, digits: int):
        self.recording, self.element, self.digits = recording, element, digits
        self.trace, self.seeds, self.d = recording.trace, recording.seeds, recording.d
        self.steps = recording.steps_to((element.name,))
        self.value = 0.0

    def sections(self) -> list[Chapter]:
        """From the loss down: the objective, each block on the way, and the element itself."""
        listed = [self._objective(), *(self._block(step) for step in self.steps)]
        return [*listed, self._own(), *self._strongest()]

    # The blocks ------------------------------------------------------------------------------------------------------

    def _objective(self) -> Chapter:
        facts = [("L", f"{self.recording.objective!r} = {self._text(float(self.recording.loss))}")]
        facts += [(f"∂L/∂{name}", self._described(seed)) for name, seed in self.seeds.items()]
        if not self.steps:
            facts.append(("no path", f"L does not depend on {self.element.name}: the derivative is 0"))
        return Chapter("The loss", [Listing(tuple(facts))])

    def _block(self, step: BackwardStep) -> Chapter:
        node, formulas = step.node, formulas_of(step.block)
        shapes = ", ".join(f"{source} {shape(self.trace[source])}" for source in node.inputs) or "no inputs"
        facts = [
            ("shapes", f"{shapes} → {', '.join(shape(self.trace[key]) for key in node.keys)}"),
            ("forward", formulas.forward or formulas.sentence or f"{type(step.block).__name__} gives no formula"),
            ("backward", formulas.back or f"the docstring of {type(step.block).__name__} gives no formula"),
        ]
        for key in node.keys:
            if key in self.d:
                facts.append((f"∂L/∂{key}", self._described(self.d[key]) + self._sum_at(key)))
        below = [target for target in dict.fromkeys(step.targets) if target]
        nothing = "nothing goes back to it"
        facts += [(f"→ ∂L/∂{key}", self._described(self.d[key]) if key in self.d else nothing) for key in below]
        return Chapter(f"{node.name}: {step.block!r}", [Listing(tuple(facts))])

    def _sum_at(self, key: str) -> str:
        """The sum over branches, where an output is read at several places, and the size of what each adds."""
        branches = self.recording.branches(key)
        if len(branches) < 2:
            return ""
        words = ", ".join(f"{name} (norm {self._text(float(part.norm()))})" for name, part in branches)
        return f"\nthe sum over {len(branches)} branches: {words}"

    def _described(self, d: Tensor) -> str:
        return f"{shape(d)}, norm {self._text(float(d.norm()))}"

    def _text(self, value: float) -> str:
        return Number(value, self.digits).text()

    # The element -----------------------------------------------------------------------------------------------------

    def _own(self) -> Chapter:
        """Σ of what reaches the element: from each node that reads it, by elements of the error above."""
        lines: list[Equation | Listing] = []
        totals: list[float] = []
        for name, shares in self._arriving(self.element.name, self.element.index, SHOWN):
            terms: list[Expression] = [Number(share.value, self.digits) for share in shares]
            come_to = total(share.value for share in shares)
            left = Words(f"from {name}")
            sides = (
                (left, Plus(terms), Number(come_to, self.digits))
                if len(terms) > 1
                else (left, Number(come_to, self.digits))
            )
            lines.append(Equation(sides, f"by way of {', '.join(share.title for share in shares)}" if shares else ""))
            totals.append(come_to)
        self.value = total(totals)
        whole = Number(self.value, self.digits)
        sum_of_all = (Plus([Number(one, self.digits) for one in totals]),) if len(totals) > 1 else ()
        lines.append(Equation((Words(f"∂L/∂{self.element}"), *sum_of_all, whole)))
        return Chapter(f"What arrives at {self.element}", lines)

    def _strongest(self) -> list[Chapter]:
        """The way of the largest shares, from the element up to the loss."""
        pairs: list[tuple[str, str]] = []
        name, index = self.element.name, self.element.index
        while True:
            arriving = [(node, shares[0]) for node, shares in self._arriving(name, index, 1) if shares]
            node, share = max(arriving, key=lambda pair: abs(pair[1].value), default=(LOSS, None))
            if node == LOSS or share is None or share.index is None:
                break
            name, index = share.key, share.index
            value, d = float(self.trace[name][index]), float(self.d[name][index])
            words = f"value {self._text(value)}, ∂L/∂ {self._text(d)}, of which {self._text(share.value)} arrives below"
            pairs.append((share.title, words))
        return [Chapter("The strongest path, from the loss down", [Listing(tuple(reversed(pairs)))])] if pairs else []

    def _arriving(self, name: str, index: tuple[int, ...], single: int) -> Iterator[tuple[str, list[Share]]]:
        """(from where, shares) of what adds to one element's derivative: so many of single elements, and the rest."""
        if name in self.seeds:
            yield LOSS, [Share(name, index, float(self.seeds[name][index]))]
        for step in self.steps:
            saved = self.trace.saved[step.name]
            for own, title in step.gradients_wanted:
                if title == name:
                    yield step.name, self._shares(step, partial(_gradient, step.block, saved, own, index), single)
            for i, source in enumerate(step.targets):
                if source == name:
                    yield step.name, self._shares(step, partial(_error, step.block, saved, i, index), single)

    def _shares(self, step: BackwardStep, answer: Callable[[Any], float], single: int) -> list[Share]:
        """What elements of the error at a node's outputs add: the largest ones that are found, and then the others.

        The part of the error whose elements add most is cut into PARTS, again and again, until so many are found.
        """
        found: list[Share] = []
        pending: list[tuple[float, int, float, str, Tensor]] = []
        numbers = itertools.count()

        def look(key: str, part: Tensor) -> None:
            value = answer(_alone(step, key, self.d[key], part))
            likely = abs(value) / math.sqrt(max(len(part), 1))  # of one among so many whose signs are random
            heapq.heappush(pending, (-likely, next(numbers), value, key, part))

        for key in step.node.keys:
            if key in self.d:
                look(key, self.d[key].flatten().nonzero().flatten())
        while pending and len(found) < single and next(numbers) < MOST_LOOKS:
            _, _, value, key, part = heapq.heappop(pending)
            if len(part) == 1:
                found.append(Share(key, _unraveled(int(part), self.d[key]), value))
            else:
                for piece in part.tensor_split(min(PARTS, len(part))) if len(part) else ():
                    look(key, piece)
        others = [(value, len(part)) for _, _, value, _, part in pending if value]
        if others:
            count = sum(size for _, size in others)
            found.append(Share(f"{count} others together", None, total(value for value, _ in others)))
        return [share for share in found if share.value]


def _gradient(block: Block, saved: Any, parameter: str, index: tuple[int, ...], d_y: Any) -> float:
    return float(block.gradients(saved, d_y)[parameter][index])


def _error(block: Block, saved: Any, i: int, index: tuple[int, ...], d_y: Any) -> float:
    d_x = block.propagate(saved, d_y)[i]
    return 0.0 if d_x is None else float(d_x[index])


def _alone(step: BackwardStep, key: str, d: Tensor, part: Tensor) -> Any:
    """The error with nothing but a part of its elements."""
    alone = torch.zeros_like(d, memory_format=torch.contiguous_format)
    alone.view(-1)[part] = d.flatten()[part]
    return alone if step.key else tuple(alone if other == key else None for other in step.node.keys)


def _unraveled(place: int, d: Tensor) -> tuple[int, ...]:
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(place), d.shape))
