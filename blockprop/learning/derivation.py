"""Derivation: a derivative, written out step by step; as plain text, LaTeX and HTML."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from blockprop.learning.expressions import Expression, Number, Words
from blockprop.learning.tex import tex

WIDEST = 110
"""Characters of a line of text, before what follows an equals sign goes to the next one."""


@dataclass(frozen=True)
class Equation:
    """Sides that are equal, and what is to be said of them."""

    sides: tuple[Expression, ...]
    remark: str = ""

    def text(self) -> list[str]:
        """One line, or several with the equals signs below each other."""
        first, *others = [side.text() for side in self.sides]
        lines = [first]
        for other in others:
            if len(lines[-1]) + len(other) + 3 > WIDEST and lines[-1].strip() != first:
                lines.append(f"{' ' * len(first)} = {other}")
            else:
                lines[-1] += f" = {other}"
        if self.remark:
            lines[-1] += f"    ({self.remark})"
        return lines

    def latex(self) -> str:
        first, *others = [side.latex() for side in self.sides]
        remark = rf" \quad \text{{({tex(self.remark)})}}" if self.remark else ""
        return first + " &" + r" \\ &".join(f"= {other}" for other in others) + remark

    def html(self) -> str:
        sides = "<mo>=</mo>".join(side.mathml() for side in self.sides)
        remark = f' <span class="remark">{html.escape(self.remark)}</span>' if self.remark else ""
        return f"<p><math>{sides}</math>{remark}</p>"


@dataclass(frozen=True)
class Listing:
    """Lines of words: (what, what it is)."""

    pairs: tuple[tuple[str, str], ...]

    def text(self) -> list[str]:
        width = max((len(name) for name, _ in self.pairs), default=0)
        lines = []
        for name, words in self.pairs:
            first, *others = words.splitlines() or [""]
            lines += [f"{name:{width}}  {first}".rstrip(), *(f"{'':{width}}  {line}" for line in others)]
        return lines

    def latex(self) -> str:
        return r" \\ ".join(
            f"{Words(name).latex()} & {Words(line).latex()}"
            for name, words in self.pairs
            for name, line in zip([name, *[""] * words.count("\n")], words.splitlines() or [""], strict=True)
        )

    def html(self) -> str:
        rows = (
            f"<tr><th>{html.escape(name)}</th><td><code>{html.escape(words)}</code></td></tr>"
            for name, words in self.pairs
        )
        return f"<table>{''.join(rows)}</table>"


@dataclass(frozen=True)
class Chapter:
    """A step of the derivation, with a title."""

    title: str
    lines: Sequence[Equation | Listing]


STYLE = (
    ".derivation{font:1rem/1.6 system-ui,sans-serif;max-width:60rem}"
    ".derivation h3{font-size:1rem;margin:1.2em 0 .3em}"
    ".derivation p{margin:.1em 0;padding:.3em 0;overflow:auto hidden}"
    ".derivation math{font-size:1.1rem}"
    ".derivation th{text-align:left;vertical-align:top;font-weight:normal;padding-right:1em;opacity:.7}"
    ".derivation th{white-space:nowrap}"
    ".derivation code{white-space:pre-wrap}"
    ".derivation .remark{opacity:.7;margin-left:1em}"
)


def total(terms: Iterable[float]) -> float:
    """The sum, rounded once; of numbers that are not finite what adding them gives."""
    terms = list(terms)
    try:
        return math.fsum(terms) + 0.0  # not −0
    except (OverflowError, ValueError):
        return sum(terms)


@dataclass(frozen=True)
class Derivation:
    """∂L/∂(one element) by the chain rule, with the numbers of one input.

    of: the element, as "fc1.weight[0,1]".   symbol: what its derivation calls it, "w₁₂"; "" if that is `of`.
    value: the sum that the derivation comes to.   swept: the same derivative as the backward sweep finds it.
    sections: from the loss down.   `text`, `latex` and `html` write it; in a notebook it shows itself.
    """

    of: str
    symbol: str
    value: float
    swept: float
    sections: Sequence[Chapter] = field(repr=False)

    @property
    def difference(self) -> float:
        """How far the sum is from what the sweep found."""
        return abs(self.value - self.swept)

    @property
    def text(self) -> str:
        lines = [self._title, ""]
        for section in self.sections:
            lines += [section.title, *(f"  {line}" for part in section.lines for line in part.text()), ""]
        return "\n".join([*lines, self._verdict])

    @property
    def latex(self) -> str:
        parts = [tex(self._title)]
        for section in self.sections:
            parts.append(rf"\paragraph{{{tex(section.title)}}}")
            for kind, group in _grouped(section.lines):
                body = " \\\\\n".join(part.latex() for part in group)
                columns = "aligned" if kind is Equation else "array}{ll"
                end = columns.partition("}")[0]
                parts.append(f"\\[\n\\begin{{{columns}}}\n{body}\n\\end{{{end}}}\n\\]")
        return "\n".join([*parts, tex(self._verdict)])

    @property
    def html(self) -> str:
        """A piece of a page, with its own style; formulas are MathML."""
        parts = [f'<section class="derivation"><style>{STYLE}</style><h2>{html.escape(self._title)}</h2>']
        for section in self.sections:
            parts += [f"<h3>{html.escape(section.title)}</h3>", *(part.html() for part in section.lines)]
        return "\n".join([*parts, f"<p>{html.escape(self._verdict)}</p></section>"])

    @property
    def page(self) -> str:
        """`html` as a page of its own, that needs nothing else."""
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
            f"<title>{html.escape(self._title)}</title><style>:root{{color-scheme:light dark}}"
            "body{margin:2rem auto;max-width:64rem;padding:0 1rem}</style></head>\n"
            f"<body>{self.html}</body></html>\n"
        )

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return self.text

    @property
    def _title(self) -> str:
        called = f" = ∂L/∂{self.symbol}" if self.symbol else ""
        return f"∂L/∂({self.of}){called} = {Number(self.value).text()}, by the chain rule"

    @property
    def _verdict(self) -> str:
        found = f"The backward sweep finds {Number(self.swept, 6).text()}"
        if not (math.isfinite(self.value) and math.isfinite(self.swept)):
            return f"{found}, and no sum of such numbers can be compared."
        size = max(abs(self.value), abs(self.swept))
        apart = self.difference / size if size else 0.0
        return f"{found}, the same." if apart < 1e-9 else f"{found}: {Number(apart, 2).text()} of it apart."


def _grouped(lines: Sequence[Equation | Listing]) -> list[tuple[type, list[Equation | Listing]]]:
    groups: list[tuple[type, list[Equation | Listing]]] = []
    for line in lines:
        if not groups or groups[-1][0] is not type(line):
            groups.append((type(line), []))
        groups[-1][1].append(line)
    return groups
