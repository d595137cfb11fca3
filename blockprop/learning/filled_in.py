"""Formulas with the numbers filled in, for a page of recorded numbers: of one element of each tensor, the largest."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.plan import BackwardStep
from blockprop.errors import BlockpropError
from blockprop.learning.both_passes import BothPasses
from blockprop.learning.derivation import total
from blockprop.learning.elements import Element
from blockprop.learning.prices import AFFORDED
from blockprop.learning.shares import LOOKS, SHOWN, Share, arriving, forward_alone
from blockprop.learning.tensor_views import rounded

TRUE = 1e-12
"""How far an equation may be off, of the sum of its terms' sizes."""
LOOKS_AHEAD = 4
"""At a block, for what one value is made of: back once, and forward with zeros."""
Term = tuple[str, float | str, float | str]
"""(element, its number, the slope by which it is multiplied)."""


def filled_in(
    recording: BothPasses, names: Sequence[str], keys: Sequence[str], prices: Mapping[str, float]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Of the largest element of each of these: what its derivative, and what its value is made of, in numbers.

    "derivatives", by name: what each node (or the loss) adds to it, as errors times slopes.
        at: its number, row by row.   value: of what it is by.   d: as the sweep found it.
        parts: {from, terms, others: (how many, what they come to), sum}.
    "values", by output: y = Σ slope · x + rest, where rest is what the block gives for x = 0, if that is so.
        of, y: the element.   terms, others, rest; or of an element that is no such sum count, steepest: of how many
        numbers it depends, and of which one most.
    The cheapest ones first; nothing but {} of those that would take longer than the page's central differences.
    """
    readers = {name: _reading(recording, name) for name in names if recording.d[name].numel()}
    makers = {key: step for step in recording.steps for key in step.node.keys if key in recording.d and key in keys}
    jobs = [(LOOKS * sum(prices[step.name] for step in steps), "derivatives", name) for name, steps in readers.items()]
    jobs += [
        (LOOKS_AHEAD * prices[step.name], "values", key) for key, step in makers.items() if recording.d[key].numel()
    ]
    left = AFFORDED + sum(prices[node.name] for name in names for node in recording.behind({name}))
    found: dict[str, dict[str, dict[str, Any]]] = {"derivatives": {}, "values": {}}
    for cost, kind, name in sorted(jobs):
        left -= cost
        if left < 0:
            found[kind][name] = {}
        elif kind == "values":
            found[kind][name] = _value(recording, makers[name], name)
        else:
            found[kind][name] = _derivative(recording, name, readers[name])
    return found


def _reading(recording: BothPasses, name: str) -> list[BackwardStep]:
    """The steps that add to a derivative."""
    return [
        step
        for step in recording.steps
        if name in step.targets or any(title == name for _, title in step.gradients_wanted)
    ]


def _derivative(recording: BothPasses, name: str, steps: Sequence[BackwardStep]) -> dict[str, Any]:
    d = recording.d[name]
    element = Element.at(name, int(d.abs().argmax()), d)
    parts = [{"from": node, **_part(shares)} for node, shares in arriving(recording, steps, element)]
    value, swept = float(recording.tensor(name)[element.index]), float(d[element.index])
    return {"at": element.flat, "value": rounded(value, True), "d": rounded(swept, True), "parts": parts}


def _part(shares: Sequence[Share]) -> dict[str, Any]:
    terms = list[Term]()
    others: tuple[int, float | str] = 0, 0.0
    for share in shares:
        if share.element is not None and share.error is not None and share.slope is not None:
            terms.append((str(share.element), rounded(share.error, True), rounded(share.slope, True)))
        elif share.element is None:
            others = share.count, rounded(share.value, True)
    return {"terms": terms, "others": others, "sum": rounded(total(share.value for share in shares), True)}


class Slope(NamedTuple):
    """A tensor that an output is made of, and the slope of one element of the output by each of its elements."""

    name: str
    x: Tensor
    slope: Tensor
    place: int
    """Which input of the node it is."""


def _value(recording: BothPasses, step: BackwardStep, key: str) -> dict[str, Any]:
    y = recording.trace[key]
    element = Element.at(key, int(y.abs().argmax()), y)
    value = float(y[element.index])
    slopes = _slopes(recording, step, element)
    found: dict[str, Any] = {"of": str(element), "y": rounded(value, True)}
    for chosen in [slopes, *([one] for one in slopes if len(slopes) > 1)]:
        if (rest := _rest(recording, step, element, chosen)) is None:
            continue
        products = [float((one.slope * one.x).sum()) for one in chosen]
        size = sum(float((one.slope * one.x).abs().sum()) for one in chosen) + abs(rest)
        if abs(total([*products, rest]) - value) <= TRUE * size:
            return found | _sum(chosen) | {"rest": rounded(rest, True)}
    count = sum(int(one.slope.count_nonzero()) for one in slopes)
    steepest = [_term(slopes[i], place) for i, place in _largest([one.slope for one in slopes], 1)]
    return found | {"count": count, "steepest": steepest[0] if steepest else None}


def _slopes(recording: BothPasses, step: BackwardStep, element: Element) -> list[Slope]:
    """By each input of real numbers; of a block without any by its parameters."""
    alone = torch.zeros_like(recording.trace[element.name], memory_format=torch.contiguous_format)
    alone[element.index] = 1
    saved, d_y = recording.trace.saved[step.name], {element.name: alone}
    d_output = alone if step.key else tuple(d_y.get(key) for key in step.node.keys)
    try:
        d_x = step.block.propagate(saved, d_output)
        inputs = [
            Slope(name, recording.trace[name], d, i)
            for i, (name, d) in enumerate(zip(step.node.inputs, d_x, strict=True))
            if d is not None and recording.trace[name].is_floating_point()
        ]
        if inputs or not step.gradients_wanted:
            return inputs
        gradients = step.block.gradients(saved, d_output)
    except BlockpropError:
        return []
    return [Slope(title, step.block.parameters[own], gradients[own], -1) for own, title in step.gradients_wanted]


def _rest(recording: BothPasses, step: BackwardStep, element: Element, slopes: Sequence[Slope]) -> float | None:
    """The element of what the block gives when these are 0; None if it refuses that."""
    zeros = {one.place for one in slopes}
    if not slopes or zeros == {-1}:
        return 0.0
    x = [recording.trace[name] for name in step.node.inputs]
    y = forward_alone(step.node, [torch.zeros_like(one) if i in zeros else one for i, one in enumerate(x)])
    return float(y[element.name][element.index]) if element.name in y else None


def _largest(sizes: Sequence[Tensor], most: int) -> list[tuple[int, int]]:
    """(which of these, place in it) of the largest numbers, those that are not 0."""
    likely = list[tuple[float, int, int]]()
    for i, size in enumerate(sizes):
        top = size.abs().flatten().nan_to_num(0.0).topk(min(most, size.numel()))
        likely += zip(top.values.tolist(), [i] * most, top.indices.tolist(), strict=False)
    likely.sort(key=lambda one: -one[0])
    return [(i, place) for size, i, place in likely[:most] if size]


def _term(one: Slope, place: int) -> Term:
    element = Element.at(one.name, place, one.x)
    return str(element), rounded(float(one.x[element.index]), True), rounded(float(one.slope[element.index]), True)


def _sum(slopes: Sequence[Slope]) -> dict[str, Any]:
    products = [(one.slope * one.x).flatten() for one in slopes]
    largest = _largest(products, SHOWN)
    terms = [_term(slopes[i], place) for i, place in largest]
    for i, place in largest:
        products[i][place] = 0
    count = sum(int(one.count_nonzero()) for one in products)
    return {"terms": terms, "others": [count, rounded(total(float(one.sum()) for one in products), True)]}
