"""Sums of products in Einstein's notation."""

import re
import string
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


class Einsum(Block):
    """A sum of products in Einstein's notation:  Einsum("ij,jk->ik") is the matrix product of its two inputs.

    Each axis of each input has a letter. Equal letters run together, and those missing after "->" are summed over.
    d_x of one input = the sum of products of d_y and all other inputs, with that input's letters after "->";
    repeated along the letters that only this input has, and on the diagonal if it has a letter twice, 0 elsewhere

    equation: letters a…z and A…Z; "..." stands for any number of axes, which are broadcast. Without "->" the result
    has "..." and then the letters that stand once, by alphabet.
    x: any number of tensors; axes of equal letters have equal sizes, or size 1 to be repeated.
    Raises SettingError for an equation that makes no sense, ShapeError for inputs that do not fit it.
    Source: torch.einsum, whose rules these are.
    """

    kind = "joining"

    def __init__(self, equation: str):
        self.equation = equation
        self._terms, self._result = _parsed(equation)

    def forward(self, *x: Tensor) -> tuple[Tensor, Any]:
        terms, result = self._spelled_out([a.shape for a in x])
        return torch.einsum(f"{','.join(terms)}->{result}", *x), (x, terms, result)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, ...]:
        x, terms, result = saved
        d_x = []
        for i, (a, term) in enumerate(zip(x, terms, strict=True)):
            sizes = dict(zip(term, a.shape, strict=True))
            others = [result, *terms[:i], *terms[i + 1 :]]
            kept = "".join(c for c, size in sizes.items() if size != 1 and any(c in other for other in others))
            d = torch.einsum(f"{','.join(others)}->{kept}", d_y, *x[:i], *x[i + 1 :])
            d = d[tuple(slice(None) if c in kept else None for c in sizes)].expand(tuple(sizes.values()))
            d_x.append(d if len(sizes) == len(term) else _on_diagonal(d, "".join(sizes), term, a.shape))
        return tuple(d_x)

    def _spelled_out(self, shapes: list[torch.Size]) -> tuple[list[str], str]:
        """The terms of the inputs and of the result, with letters in place of "..."; checks the shapes."""
        came = f"{self.equation!r} and shapes {', '.join(str(tuple(shape)) for shape in shapes)}"
        if len(shapes) != len(self._terms):
            raise ShapeError(f"expected {len(self._terms)} inputs, came {came}")
        counts = [len(shape) - len(term.replace("...", "")) for term, shape in zip(self._terms, shapes, strict=True)]
        if any(count < 0 or (count and "..." not in term) for term, count in zip(self._terms, counts, strict=True)):
            raise ShapeError(f"expected as many axes as letters, came {came}")
        spare = [c for c in string.ascii_letters if c not in self.equation][: max(counts)]
        if len(spare) < max(counts):
            raise ShapeError(f"expected at most {len(string.ascii_letters)} different axes, came {came}")
        names = ["".join(spare[len(spare) - count :]) for count in counts]
        terms = [term.replace("...", name) for term, name in zip(self._terms, names, strict=True)]
        if not all(_sizes_agree(terms, shapes)):
            raise ShapeError(f"expected equal sizes for equal letters, came {came}")
        return terms, self._result.replace("...", "".join(spare))


def _parsed(equation: str) -> tuple[list[str], str]:
    """The terms of the inputs and of the result."""
    if not isinstance(equation, str):
        raise SettingError(f"expected an equation like 'ij,jk->ik', came {equation!r}")
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        result = "..." * ("..." in left) + "".join(sorted(c for c in set(left) - {",", "."} if left.count(c) == 1))
    for term in (*terms, result):
        if not re.fullmatch(r"[a-zA-Z]*(\.\.\.)?[a-zA-Z]*", term):
            raise SettingError(f"expected letters and at most one '...', came {term!r} in the equation {equation!r}")
    letters = result.replace("...", "")
    if len(set(letters)) < len(letters) or not set(letters) <= set(left):
        raise SettingError(
            f"expected different letters of the inputs after '->', came {result!r} in the equation {equation!r}"
        )
    return terms, result


def _sizes_agree(terms: list[str], shapes: list[torch.Size]) -> Iterator[bool]:
    """One answer for each axis. Size 1 is repeated to any other, but not within one term."""
    whole: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        in_term: dict[str, int] = {}
        for c, size in zip(term, shape, strict=True):
            yield in_term.setdefault(c, size) == size and (size == 1 or whole.setdefault(c, size) == size)


def _on_diagonal(d: Tensor, letters: str, term: str, shape: torch.Size) -> Tensor:
    """d at the places where axes of equal letters have equal numbers, 0 elsewhere."""
    whole = place = d.new_zeros(shape)
    while len(set(term)) < len(term):
        c = next(c for c in term if term.count(c) > 1)
        first, second = term.index(c), term.index(c, term.index(c) + 1)
        place = place.diagonal(0, first, second)
        term = term[:first] + term[first + 1 : second] + term[second + 1 :] + c
    place.copy_(d.permute([letters.index(c) for c in term]))
    return whole
