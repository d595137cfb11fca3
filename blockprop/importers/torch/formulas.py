"""Formulas of sizes: what a module computes from the sizes of values in its graph, and what it decides by them."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from blockprop.importers import symbols


class SizeOf(NamedTuple):
    """The size of an axis of a value in the graph, which `value` names."""

    value: str
    axis: int


class Worked(NamedTuple):
    """What an operator makes of other sizes and numbers."""

    operator: Callable[..., Any]
    parts: tuple[Any, ...]


Formula = SizeOf | Worked


def _extreme(name: str, a: Any, b: Any) -> Any:
    """max(a, b) or min(a, b) of whole numbers and Symbols."""
    if isinstance(a, symbols.Symbol) or isinstance(b, symbols.Symbol):
        return {"max": symbols.larger, "min": symbols.smaller}[name](a, b)
    return max(a, b) if name == "max" else min(a, b)


EXTREMES = {name: functools.partial(_extreme, name) for name in ("max", "min")}


class Decision(NamedTuple):
    """A comparison that the module made: how it came out, where, and what it compared."""

    outcome: bool
    place: str
    formula: Worked


def evaluated(formula: Any, size_of: Callable[[SizeOf], Any]) -> Any:
    """What the formula gives for other sizes, whole numbers or Symbols."""
    if isinstance(formula, SizeOf):
        return size_of(formula)
    if isinstance(formula, Worked):
        return formula.operator(*(evaluated(part, size_of) for part in formula.parts))
    return formula


def leaves_of(formula: Any) -> Iterator[SizeOf]:
    """The sizes that it is computed from."""
    if isinstance(formula, SizeOf):
        yield formula
    elif isinstance(formula, Worked):
        for part in formula.parts:
            yield from leaves_of(part)


def as_it_is(value: Any) -> Any:
    """The value: what int() has made plain, and a number equals that may be another one."""
    return value


def tipping(decision: Decision, present: Callable[[SizeOf], int]) -> Iterator[tuple[SizeOf, int]]:
    """(axis, size): the sizes below and above the present one with which it first comes out otherwise."""
    leaves = set(leaves_of(decision.formula))
    if len(leaves) != 1:
        return
    (leaf,) = leaves
    size = present(leaf)
    for sizes in (range(size - 1, 0, -1), range(size + 1, 4 * size + 64)):
        for other in sizes:
            try:
                outcome = evaluated(decision.formula, lambda _, other=other: other)  # type: ignore[misc]
            except ZeroDivisionError:
                continue
            if bool(outcome) != decision.outcome:
                yield leaf, other
                break


def deciding(here: Sequence[Decision], there: Sequence[Decision]) -> str:
    """The line whose comparison came out otherwise at another size; "" if there is none."""
    pairs = zip(here, there, strict=False)
    return next((a.place for a, b in pairs if a.place == b.place and a.outcome != b.outcome), "")
