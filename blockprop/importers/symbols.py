"""Sizes that are known only when the network runs, computed with like numbers while it is imported."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple, Self

BATCH_TRIALS = (3, 5)
"""Sizes of the batch in the two trial runs of an import: in a ratio that no other axis has."""


class Leaf(NamedTuple):
    """The size of one axis of a value in the network."""

    key: str
    axis: int


class Symbol:
    """A whole number that depends on the sizes of the network's inputs: a formula over leaves.

    `text` has {0}, {1}, … for the leaves; `trials` are its values in the two trial runs of the importer (graph.py).
    Symbols add, multiply and divide like whole numbers and with them.
    """

    __slots__ = ("leaves", "text", "trials")

    def __init__(self, text: str, leaves: tuple[Leaf, ...], trials: tuple[int, ...]):
        self.text, self.leaves, self.trials = text, leaves, trials

    @classmethod
    def of(cls, key: str, axis: int, trials: tuple[int, ...]) -> Self:
        """The size of one axis."""
        return cls("{0}", (Leaf(key, axis),), trials)

    def formula(self, names: dict[Leaf, str]) -> str:
        """The formula with a name for each leaf, as the blocks take it (blocks/sizes.py)."""
        text = self.text.format(*(names[leaf] for leaf in self.leaves))
        return text[1:-1] if text.startswith("(") and _closes_at_end(text) else text

    def _with(self, other: Any, sign: str, operate: Callable[[int, int], int], swapped: bool = False) -> Any:
        if isinstance(other, float) and other.is_integer():
            other = int(other)
        if not isinstance(other, int | Symbol):
            return NotImplemented
        a, b = (other, self) if swapped else (self, other)
        return _joined(a, b, f"({{}}{sign}{{}})", operate)

    def __add__(self, other: Any) -> Any:
        return self if other == 0 else self._with(other, "+", operator.add)

    def __radd__(self, other: Any) -> Any:
        return self if other == 0 else self._with(other, "+", operator.add, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self if other == 0 else self._with(other, "-", operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, "-", operator.sub, swapped=True)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, float) and not other.is_integer():
            return Unrounded(self, 1) * other
        return self if other == 1 else self._with(other, "*", operator.mul)

    def __rmul__(self, other: Any) -> Any:
        if isinstance(other, float) and not other.is_integer():
            return Unrounded(self, 1) * other
        return self if other == 1 else self._with(other, "*", operator.mul, swapped=True)

    def __truediv__(self, other: Any) -> Any:
        return self if other == 1 else Unrounded(self, 1) / other

    def __floordiv__(self, other: Any) -> Any:
        return self if other == 1 else self._with(other, "//", operator.floordiv)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with(other, "//", operator.floordiv, swapped=True)

    def __mod__(self, other: Any) -> Any:
        return self._with(other, "%", operator.mod)

    def __rmod__(self, other: Any) -> Any:
        return self._with(other, "%", operator.mod, swapped=True)

    def __floor__(self) -> "Symbol":
        return self

    __ceil__ = __trunc__ = __floor__

    def __neg__(self) -> "Symbol":
        return Symbol(f"(-{self.text})", self.leaves, tuple(-value for value in self.trials))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and (self.text, self.leaves) == (other.text, other.leaves)

    def __hash__(self) -> int:
        return hash((self.text, self.leaves))

    def __repr__(self) -> str:
        return self.formula({leaf: f"{leaf.key}.size({leaf.axis})" for leaf in self.leaves})


AxisSize = int | Symbol


def same_size(a: AxisSize, b: AxisSize) -> bool:
    """Whether two free sizes agree in both trials; those of axes that differ never do, as they grow in other ratios."""
    return isinstance(a, Symbol) and isinstance(b, Symbol) and a.trials == b.trials


class Unrounded:
    """A Symbol divided by a whole number, on its way to being rounded: ceil(height / 2)."""

    __slots__ = ("above", "below")

    def __init__(self, above: Symbol, below: int):
        self.above, self.below = above, below

    def __mul__(self, other: Any) -> Any:
        above, below = _fraction(other)
        return Unrounded(self.above * above, self.below * below) if below else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        above, below = _fraction(other)
        return Unrounded(self.above * below, self.below * above) if above > 0 else NotImplemented

    def __floor__(self) -> Any:
        return self.above // self.below

    def __ceil__(self) -> Any:
        return (self.above + (self.below - 1)) // self.below

    __trunc__ = __floor__  # sizes are not negative


def larger(a: Any, b: Any) -> Any:
    """max(a, b)"""
    return _joined(a, b, "max({},{})", max)


def smaller(a: Any, b: Any) -> Any:
    """min(a, b)"""
    return _joined(a, b, "min({},{})", min)


FINEST = 1024
"""The largest denominator of a factor: 0.3 is none that torch would round as a fraction does."""


def _fraction(value: Any) -> tuple[int, int]:
    """A number as a fraction; (0, 0) if it has none that is exact."""
    if isinstance(value, int | float) and float(value).as_integer_ratio()[1] <= FINEST:
        return float(value).as_integer_ratio()
    return 0, 0


def _joined(a: Any, b: Any, template: str, operate: Callable[[int, int], int]) -> Symbol:
    """A formula of two, at least one of which is a Symbol; they may have leaves in common."""
    trials = tuple(operate(x, y) for x, y in zip(_trials(a), _trials(b), strict=True))
    leaves: list[Leaf] = []
    parts = []
    for operand in (a, b):
        if isinstance(operand, Symbol):
            leaves += [leaf for leaf in operand.leaves if leaf not in leaves]
            parts.append(operand.text.format(*(f"{{{leaves.index(leaf)}}}" for leaf in operand.leaves)))
        else:
            parts.append(str(operand) if operand >= 0 else f"({operand})")
    return Symbol(template.format(*parts), tuple(leaves), trials)


def _trials(value: Any) -> tuple[int, ...]:
    return value.trials if isinstance(value, Symbol) else (value, value)


def _closes_at_end(text: str) -> bool:
    """Whether the bracket that opens the text closes at its end."""
    depth = 0
    for i, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return i == len(text) - 1
    return False
