"""A derivative of any network, block by block: the formula of each, shapes and sizes, sums at forks, and numbers."""

from torch import Tensor

from blockprop.engine.plan import BackwardStep
from blockprop.errors import shape
from blockprop.learning.both_passes import LOSS, BothPasses
from blockprop.learning.derivation import Chapter, Equation, Listing, total
from blockprop.learning.elements import Element
from blockprop.learning.expressions import Expression, Number, Plus, Times, Words
from blockprop.learning.formulas import formulas_of
from blockprop.learning.shares import Share, arriving


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
        for name, shares in arriving(self.recording, self.steps, self.element):
            terms = [self._term(share) for share in shares]
            come_to = total(share.value for share in shares)
            sum_of_terms = (Plus(terms),) if terms and (len(terms) > 1 or isinstance(terms[0], Times)) else ()
            remark = f"by way of {', '.join(share.title for share in shares)}" if shares else ""
            lines.append(Equation((Words(f"from {name}"), *sum_of_terms, Number(come_to, self.digits)), remark))
            totals.append(come_to)
        self.value = total(totals)
        whole = Number(self.value, self.digits)
        sum_of_all = (Plus([Number(one, self.digits) for one in totals]),) if len(totals) > 1 else ()
        lines.append(Equation((Words(f"∂L/∂{self.element}"), *sum_of_all, whole)))
        return Chapter(f"What arrives at {self.element}", lines)

    def _term(self, share: Share) -> Expression:
        """The error above times the slope; of several others together what they come to."""
        if share.error is None or share.slope is None:
            return Number(share.value, self.digits)
        return Times((Number(share.error, self.digits), Number(share.slope, self.digits)))

    def _strongest(self) -> list[Chapter]:
        """The way of the largest shares, from the element up to the loss."""
        pairs: list[tuple[str, str]] = []
        element: Element | None = self.element
        while element is not None:
            found = [(node, shares[0]) for node, shares in arriving(self.recording, self.steps, element, 1) if shares]
            node, share = max(found, key=lambda pair: abs(pair[1].value), default=(LOSS, None))
            if node == LOSS or share is None:
                break
            element = share.element
            if element is not None:
                value = self._text(float(self.trace[element.name][element.index]))
                d = self._text(float(self.d[element.name][element.index]))
                words = f"value {value}, ∂L/∂ {d}, of which {self._text(share.value)} arrives below"
                pairs.append((share.title, words))
        return [Chapter("The strongest path, from the loss down", [Listing(tuple(reversed(pairs)))])] if pairs else []
