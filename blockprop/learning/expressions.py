"""Formulas as values: a small tree that is written as plain text, as LaTeX, and as MathML, which browsers draw."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from blockprop.learning.tex import tex

SUBSCRIPTS = str.maketrans("0123456789,ij", "₀₁₂₃₄₅₆₇₈₉‚ᵢⱼ")
SUPERSCRIPTS = str.maketrans("0123456789()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾")
SIGNIFICANT = 4
"""Digits of a number, unless more are wanted."""
SMALL, LARGE = 1e-4, 1e6
"""Sizes between which numbers are written without a power of ten."""
GREEK = {"φ": r"\varphi", "∂": r"\partial", "σ": r"\sigma", "Σ": r"\sum"}
HATS = {"r̂": r"\hat{r}", "ŷ": r"\hat{y}"}
FUNCTIONS = {"log": r"\log", "tanh": r"\tanh", "exp": r"\exp"}


class Expression(Protocol):
    """What can be written in three ways."""

    def text(self) -> str:
        """In plain characters: ∂L/∂w₂₁."""

    def latex(self) -> str:
        """As LaTeX writes it, without dollars."""

    def mathml(self) -> str:
        """As presentation MathML, without the math element around it."""


@dataclass(frozen=True)
class Letter:
    """A letter with one-based indices, and the number of its layer where there are several: w₂₁, y⁽²⁾₃."""

    letter: str
    indices: tuple[int | str, ...] = ()
    layer: int | None = None

    @property
    def _below(self) -> str:
        return ("," if any(len(str(index)) > 1 for index in self.indices) else "").join(str(i) for i in self.indices)

    def text(self) -> str:
        above = "" if self.layer is None else f"({self.layer})".translate(SUPERSCRIPTS)
        return f"{self.letter}{above}{self._below.translate(SUBSCRIPTS)}"

    def latex(self) -> str:
        letter = HATS.get(self.letter) or GREEK.get(self.letter, self.letter)
        above = "" if self.layer is None else f"^{{({self.layer})}}"
        return letter + above + (f"_{{{self._below}}}" if self.indices else "")

    def mathml(self) -> str:
        letter, below = f"<mi>{self.letter}</mi>", f"<mn>{self._below}</mn>"
        above = "" if self.layer is None else f"<mn>({self.layer})</mn>"
        if above and self.indices:
            return f"<msubsup>{letter}{below}{above}</msubsup>"
        if above:
            return f"<msup>{letter}{above}</msup>"
        return f"<msub>{letter}{below}</msub>" if self.indices else letter


@dataclass(frozen=True)
class Partial:
    """∂L/∂(something)."""

    by: Letter

    def text(self) -> str:
        return f"∂L/∂{self.by.text()}"

    def latex(self) -> str:
        return rf"\frac{{\partial L}}{{\partial {self.by.latex()}}}"

    def mathml(self) -> str:
        return f"<mfrac><mrow><mo>∂</mo><mi>L</mi></mrow><mrow><mo>∂</mo>{self.by.mathml()}</mrow></mfrac>"


@dataclass(frozen=True)
class Number:
    """A number, to so many significant digits."""

    value: float
    digits: int = SIGNIFICANT

    def text(self) -> str:
        mantissa, power = self._parts
        return mantissa if power is None else f"{mantissa}·10{str(power).translate(SUPERSCRIPTS).replace('-', '⁻')}"

    def latex(self) -> str:
        mantissa, power = self._parts
        digits = mantissa.replace("−", "-").replace("∞", r"\infty").replace("nan", r"\mathrm{nan}")
        return digits + ("" if power is None else rf" \cdot 10^{{{power}}}")

    def mathml(self) -> str:
        mantissa, power = self._parts
        sign = "<mo>−</mo>" if mantissa.startswith("−") else ""
        ten = "" if power is None else f"<mo>·</mo><msup><mn>10</mn><mn>{power}</mn></msup>"
        return f"<mrow>{sign}<mn>{mantissa.lstrip('−')}</mn>{ten}</mrow>"

    @property
    def _parts(self) -> tuple[str, int | None]:
        """(digits, power of ten if there is one)."""
        size = abs(self.value)
        if not math.isfinite(size):
            return f"{self.value}".replace("-", "−").replace("inf", "∞"), None
        mantissa, e, power = f"{self.value:.{self.digits}g}".partition("e")
        if not e and size and not SMALL <= size < LARGE:
            mantissa, e, power = f"{self.value:.{self.digits - 1}e}".partition("e")
            mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return mantissa.replace("-", "−"), int(power) if e else None


@dataclass(frozen=True)
class Words:
    """What is not a formula but stands in one."""

    words: str

    def text(self) -> str:
        return self.words

    def latex(self) -> str:
        return rf"\text{{{tex(self.words)}}}"

    def mathml(self) -> str:
        return f"<mtext>{html.escape(self.words)}</mtext>"


@dataclass(frozen=True)
class Applied:
    """f(argument), with a prime behind f for its derivative."""

    name: str
    argument: Expression
    primes: int = 0

    def text(self) -> str:
        return f"{self.name}{'′' * self.primes}({self.argument.text()})"

    def latex(self) -> str:
        name = GREEK.get(self.name) or FUNCTIONS.get(self.name) or rf"\operatorname{{{self.name}}}"
        return rf"{name}{chr(39) * self.primes}\left({self.argument.latex()}\right)"

    def mathml(self) -> str:
        return f"<mi>{self.name}{'′' * self.primes}</mi><mo>(</mo>{self.argument.mathml()}<mo>)</mo>"


def _is_negative(part: Expression) -> bool:
    return isinstance(part, Number) and (part.value < 0 or str(part.value).startswith("-"))


@dataclass(frozen=True)
class Times:
    """Factors: symbols stand side by side, numbers with a point between them and the negative ones in brackets."""

    factors: Sequence[Expression]

    @property
    def _has_point(self) -> bool:
        return any(isinstance(factor, Number) for factor in self.factors)

    def _bracketed(self, i: int) -> bool:
        factor = self.factors[i]
        return isinstance(factor, Plus) or (i > 0 and _is_negative(factor))

    def text(self) -> str:
        parts = [f"({f.text()})" if self._bracketed(i) else f.text() for i, f in enumerate(self.factors)]
        return (" · " if self._has_point else " ").join(parts)

    def latex(self) -> str:
        parts = [rf"\left({f.latex()}\right)" if self._bracketed(i) else f.latex() for i, f in enumerate(self.factors)]
        return (r" \cdot " if self._has_point else r"\, ").join(parts)

    def mathml(self) -> str:
        parts = [
            f"<mrow><mo>(</mo>{f.mathml()}<mo>)</mo></mrow>" if self._bracketed(i) else f.mathml()
            for i, f in enumerate(self.factors)
        ]
        between = "<mo>·</mo>" if self._has_point else '<mspace width="0.2em"/>'
        return f"<mrow>{between.join(parts)}</mrow>"


def _without_minus(term: Expression) -> Expression | None:
    """−term, if it begins with a minus."""
    if isinstance(term, Number) and _is_negative(term):
        return Number(-term.value, term.digits)
    if isinstance(term, Times) and (first := _without_minus(term.factors[0])) is not None:
        return Times((first, *term.factors[1:]))
    return None


@dataclass(frozen=True)
class Plus:
    """Terms, with a minus for what is negative."""

    terms: Sequence[Expression]

    def text(self) -> str:
        return self._joined([term.text() for term in self.terms], " + ", " − ", "−")

    def latex(self) -> str:
        return self._joined([term.latex() for term in self.terms], " + ", " - ", "-")

    def mathml(self) -> str:
        written = self.terms[0].mathml()
        for term in self.terms[1:]:
            positive = _without_minus(term)
            written += f"<mo>+</mo>{term.mathml()}" if positive is None else f"<mo>−</mo>{positive.mathml()}"
        return f"<mrow>{written}</mrow>"

    def _joined(self, parts: list[str], plus: str, minus: str, sign: str) -> str:
        written = parts[0]
        for part in parts[1:]:
            written += minus + part[len(sign) :] if part.startswith(sign) else plus + part
        return written


@dataclass(frozen=True)
class Difference:
    """a − b."""

    a: Expression
    b: Expression

    def text(self) -> str:
        return f"{self.a.text()} − {self._b('(', self.b.text(), ')')}"

    def latex(self) -> str:
        return f"{self.a.latex()} - {self._b('(', self.b.latex(), ')')}"

    def mathml(self) -> str:
        b = self._b("<mo>(</mo>", self.b.mathml(), "<mo>)</mo>")
        return f"<mrow>{self.a.mathml()}<mo>−</mo>{b}</mrow>"

    def _b(self, left: str, written: str, right: str) -> str:
        return f"{left}{written}{right}" if _is_negative(self.b) or isinstance(self.b, Plus) else written


@dataclass(frozen=True)
class Fraction:
    """above / below."""

    above: Expression
    below: Expression

    def text(self) -> str:
        below = self.below.text()
        return f"{self.above.text()} / {f'({below})' if isinstance(self.below, Plus | Times) else below}"

    def latex(self) -> str:
        return rf"\frac{{{self.above.latex()}}}{{{self.below.latex()}}}"

    def mathml(self) -> str:
        return f"<mfrac><mrow>{self.above.mathml()}</mrow><mrow>{self.below.mathml()}</mrow></mfrac>"


@dataclass(frozen=True)
class Way:
    """One symbol after the other, with arrows."""

    symbols: Sequence[Letter]

    def text(self) -> str:
        return " → ".join(symbol.text() for symbol in self.symbols)

    def latex(self) -> str:
        return r" \to ".join(symbol.latex() for symbol in self.symbols)

    def mathml(self) -> str:
        return "<mrow>" + "<mo>→</mo>".join(symbol.mathml() for symbol in self.symbols) + "</mrow>"


@dataclass(frozen=True)
class SumOver:
    """A sum over an index: Σᵢ terms, or its negative."""

    index: str
    term: Expression
    sign: str = ""

    def text(self) -> str:
        return f"{self.sign}Σ {self.term.text()}"

    def latex(self) -> str:
        return rf"{self.sign.replace('−', '-')}\sum_{self.index} {self.term.latex()}"

    def mathml(self) -> str:
        sign = f"<mo>{self.sign}</mo>" if self.sign else ""
        return f"<mrow>{sign}<munder><mo>∑</mo><mi>{self.index}</mi></munder>{self.term.mathml()}</mrow>"
