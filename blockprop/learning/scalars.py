"""A derivative of a small dense network by single numbers, as textbooks write it: every path from the loss, summed."""

import itertools
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from blockprop.engine.objectives import Objective, mean_squared_error
from blockprop.engine.targets import class_shares
from blockprop.learning.dense import Dense
from blockprop.learning.derivation import Chapter, Equation, Listing, total
from blockprop.learning.elements import Element
from blockprop.learning.expressions import (
    Applied,
    Difference,
    Expression,
    Fraction,
    Letter,
    Number,
    Partial,
    Plus,
    SumOver,
    Times,
    Way,
    Words,
)


class Scalars:
    """The derivation of one element's derivative, line by line; `value` is what it comes to."""

    def __init__(self, dense: Dense, objective: Objective, target: Any, element: Element, digits: int):
        self.dense, self.objective, self.target, self.digits = dense, objective, target, digits
        self.layers = dense.layers
        name = dense.network.outputs[0]
        self.loss, seeds = objective.evaluate(dense.trace.outputs, target)
        self.d_out: list[float] = seeds[name].flatten().tolist()
        self._place(element)

    def _place(self, element: Element) -> None:
        """Which layer the element is of, what kind it is, and its unit."""
        self.source: int | None = None
        for i, layer in enumerate(self.layers):
            if element.name == f"{layer.node}.weight":
                self.layer, self.kind, self.unit, self.source = i, "weight", element.index[0], element.index[1]
                return
            if element.name == f"{layer.node}.bias":
                self.layer, self.kind, self.unit = i, "bias", element.index[0]
                return
        self.unit, self.layer, self.kind = element.flat, -1, "after"
        if element.name in self.dense.network.inputs:
            return
        for node in self.dense.network.nodes:  # what only arranges numbers is the unit in front of it
            for i, layer in enumerate(self.layers):
                if node.name == layer.node:
                    self.layer, self.kind = i, "before"
                elif node.name == layer.activation_node:
                    self.layer, self.kind = i, "after"
            if node.name == element.name:
                return

    @property
    def symbol(self) -> Letter:
        """The element's own."""
        if self.kind == "weight" and self.source is not None:
            return self.dense.weight(self.layer, self.unit, self.source)
        if self.kind == "bias":
            return self.dense.bias(self.layer, self.unit)
        place = self.dense.before if self.kind == "before" else self.dense.after
        return place(self.layer, self.unit)

    def sections(self) -> list[Chapter]:
        """The forward pass, the derivatives from the loss down, and every path."""
        paths = self._paths
        return [
            Chapter("Forward", self._forward()),
            Chapter("From the loss down", self._down()),
            Chapter(f"Every path from the loss to {self.symbol.text()}: {len(paths)}", self._listed(paths)),
        ]

    # Forward ---------------------------------------------------------------------------------------------------------

    def _number(self, value: float) -> Number:
        return Number(value, self.digits)

    def _affine(self, layer: int, i: int) -> Plus:
        """w₁₁ x₁ + w₁₂ x₂ + b₁."""
        terms: list[Expression] = [
            Times((self.dense.weight(layer, i, j), self.dense.after(layer - 1, j)))
            for j in range(len(self.layers[layer].x))
        ]
        return Plus(terms if self.layers[layer].bias is None else [*terms, self.dense.bias(layer, i)])

    def _forward(self) -> list[Equation | Listing]:
        lines: list[Equation | Listing] = []
        for index, layer in enumerate(self.layers):
            for i, a in enumerate(layer.a):
                numbers: list[Expression] = [
                    Times((self._number(w), self._number(x))) for w, x in zip(layer.weight[i], layer.x, strict=True)
                ]
                if layer.bias is not None:
                    numbers.append(self._number(layer.bias[i]))
                symbol = self.dense.before(index, i)
                lines.append(Equation((symbol, self._affine(index, i), Plus(numbers), self._number(a))))
                if layer.activation_node:
                    phi = Applied("φ", symbol)
                    at = self._number(a)
                    lines.append(
                        Equation(
                            (self.dense.after(index, i), phi, Applied("φ", at), self._number(layer.y[i])),
                            f"φ is {layer.phi}" if i == 0 else "",
                        )
                    )
        return [*lines, *self._loss()]

    @cached_property
    def _classes(self) -> list[float] | None:
        """r̂ = softmax(z), where the loss is plain cross-entropy of scores with a distribution r."""
        if not (self.dense.is_scored_by(self.objective) and abs(sum(self._r) - 1) < 1e-9):
            return None
        return self.dense.trace.output[0].softmax(0).tolist()

    @cached_property
    def _r(self) -> list[float]:
        """The target as a distribution over the classes."""
        return class_shares(self.dense.trace.output, self.target, None, 0.0)[0].tolist()

    def _loss(self) -> list[Equation | Listing]:
        loss, last = Letter("L"), len(self.layers) - 1
        value = self._number(float(self.loss))
        if (p := self._classes) is None:
            return [Equation((loss, Words(repr(self.objective)), value))]
        z = [self.dense.after(last, i) for i in range(len(p))]
        below = SumOver("j", Applied("exp", Letter(z[0].letter, ("j",))))
        lines: list[Equation | Listing] = [
            Equation((Letter("r̂", (i + 1,)), Fraction(Applied("exp", z[i]), below), self._number(share)))
            for i, share in enumerate(p)
        ]
        logs = [
            Times((self._number(-share), Applied("log", self._number(q))))
            for share, q in zip(self._r, p, strict=True)
            if share
        ]
        whole = SumOver("i", Times((Letter("r", ("i",)), Applied("log", Letter("r̂", ("i",))))), "−")
        target = f"r = ({', '.join(f'{share:g}' for share in self._r)})"
        return [*lines, Equation((loss, whole, Plus(logs), value), target)]

    # Back ------------------------------------------------------------------------------------------------------------

    @cached_property
    def _errors(self) -> list[tuple[list[float], list[float]]]:
        """(∂L/∂a, ∂L/∂y) of each layer, from the loss down by sums of products of single numbers."""
        errors: list[tuple[list[float], list[float]]] = []
        d_y = self.d_out
        for layer in reversed(self.layers):
            d_a = [d * slope for d, slope in zip(d_y, layer.slope, strict=True)]
            errors.append((d_a, d_y))
            d_y = [sum(d * row[j] for d, row in zip(d_a, layer.weight, strict=True)) for j in range(len(layer.x))]
        return [([], d_y), *reversed(errors)]

    def _d_before(self, layer: int) -> list[float]:
        return self._errors[layer + 1][0]

    def _d_after(self, layer: int) -> list[float]:
        return self._errors[layer + 1][1]

    def _down(self) -> list[Equation | Listing]:
        lines: list[Equation | Listing] = []
        for layer in range(len(self.layers) - 1, self.layer - 1, -1):
            own = layer == self.layer
            units = [self.unit] if own else range(len(self._d_after(layer)))
            lines += [self._line_after(layer, i) for i in units]
            if layer >= 0 and self.layers[layer].activation_node and (not own or self.kind == "before"):
                lines += [self._line_before(layer, i) for i in units]
        if self.kind in ("weight", "bias"):
            lines.append(self._line_parameter())
        return lines

    def _line_after(self, layer: int, i: int) -> Equation:
        """∂L/∂yᵢ = Σ ∂L/∂z u, or at the top as the loss gives it."""
        value = self._number(self._d_after(layer)[i])
        left = Partial(self.dense.after(layer, i))
        if layer == len(self.layers) - 1:
            if (p := self._classes) is not None:
                symbols = Difference(Letter("r̂", (i + 1,)), Letter("r", (i + 1,)))
                return Equation((left, symbols, Difference(self._number(p[i]), self._number(self._r[i])), value))
            if type(self.objective) is mean_squared_error:
                y, count = self.layers[-1].y[i], len(self.d_out)
                goal = y - self._d_after(layer)[i] * count / 2
                symbols = Difference(self.dense.after(layer, i), Letter("r", (i + 1,)))
                numbers = Difference(self._number(y), self._number(goal))
                factor = self._number(2 / count)
                return Equation((left, Times((factor, Plus((symbols,)))), Times((factor, Plus((numbers,)))), value))
            return Equation((left, value), f"of {self.objective!r}")
        above = self.layers[layer + 1]
        symbols_, numbers_ = [], []
        for k, d in enumerate(self._d_before(layer + 1)):
            symbols_.append(Times((Partial(self.dense.before(layer + 1, k)), self.dense.weight(layer + 1, k, i))))
            numbers_.append(Times((self._number(d), self._number(above.weight[k][i]))))
        return Equation((left, Plus(symbols_), Plus(numbers_), value))

    def _line_before(self, layer: int, i: int) -> Equation:
        """∂L/∂aᵢ = ∂L/∂yᵢ φ′(aᵢ)."""
        d, slope = self._d_after(layer)[i], self.layers[layer].slope[i]
        symbols = Times((Partial(self.dense.after(layer, i)), Applied("φ", self.dense.before(layer, i), 1)))
        numbers = Times((self._number(d), self._number(slope)))
        return Equation((Partial(self.dense.before(layer, i)), symbols, numbers, self._number(d * slope)))

    def _line_parameter(self) -> Equation:
        """∂L/∂wᵢⱼ = ∂L/∂yᵢ · φ′(Σ w x + b) · xⱼ."""
        layer, i, j = self.layer, self.unit, self.source
        d, slope = self._d_after(layer)[i], self.layers[layer].slope[i]
        factors: list[Expression] = [Partial(self.dense.after(layer, i))]
        numbers: list[Expression] = [self._number(d)]
        if self.layers[layer].activation_node:
            factors.append(Applied("φ", self._affine(layer, i), 1))
            numbers.append(self._number(slope))
        if j is not None:
            factors.append(self.dense.after(layer - 1, j))
            numbers.append(self._number(self.layers[layer].x[j]))
        value = self._number(math.prod((d, slope, 1.0 if j is None else self.layers[layer].x[j])))
        sides: tuple[Expression, ...] = (Partial(self.symbol), Times(factors))
        return Equation((*sides, Times(numbers), value) if len(numbers) > 1 else (*sides, value))

    # Paths -----------------------------------------------------------------------------------------------------------

    @property
    def value(self) -> float:
        """The sum over all paths."""
        return total(math.prod(factors) for _, factors in self._paths)

    @cached_property
    def _paths(self) -> list[tuple[list[Letter], list[float]]]:
        """Each way from the loss down to the element: its units, and the factors along it."""
        above = range(len(self.layers) - 1, self.layer, -1)
        units = itertools.product(*(range(len(self.layers[layer].a)) for layer in above))
        return [self._path(dict(zip(above, route, strict=True)) | {self.layer: self.unit}) for route in units]

    def _path(self, route: dict[int, int]) -> tuple[list[Letter], list[float]]:
        last = len(self.layers) - 1
        symbols, factors = [Letter("L")], [self.d_out[route[last]]]
        for layer in range(last, self.layer - 1, -1):
            unit = route[layer]
            if layer < last:
                factors.append(self.layers[layer + 1].weight[route[layer + 1]][unit])
            has_phi = layer >= 0 and self.layers[layer].activation_node is not None
            symbols.append(self.dense.after(layer, unit))
            own = layer == self.layer
            if own and self.kind == "after":
                break
            if has_phi:
                symbols.append(self.dense.before(layer, unit))
                factors.append(self.layers[layer].slope[unit])
        if self.kind == "weight" and self.source is not None:
            factors.append(self.layers[self.layer].x[self.source])
        if self.kind in ("weight", "bias"):
            symbols.append(self.symbol)
        return symbols, factors

    def _listed(self, paths: Sequence[tuple[list[Letter], list[float]]]) -> list[Equation | Listing]:
        lines: list[Equation | Listing] = []
        for symbols, factors in paths:
            way = Way(symbols)
            numbers = [self._number(factor) for factor in factors]
            product = self._number(math.prod(factors))
            lines.append(Equation((way, Times(numbers), product) if len(numbers) > 1 else (way, product)))
        terms = [self._number(math.prod(factors)) for _, factors in paths]
        whole = self._number(self.value)
        left = Partial(self.symbol)
        lines.append(Equation((left, Plus(terms), whole) if len(terms) > 1 else (left, whole)))
        return lines
