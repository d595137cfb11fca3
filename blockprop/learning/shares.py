"""What a derivative is made of: what single elements of the errors above add to one element of the derivative below.

Error propagation is linear in d_y. So propagating an error with nothing but some of its elements tells what these add
to one element of d_x (or of a weight's gradient): these shares add up to the derivative, whatever the block is. Which
elements are worth it is seen by going forward once with a little more of the element below.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.passes import run_forward
from blockprop.engine.plan import BackwardStep, Node, plan_forward
from blockprop.errors import BlockpropError
from blockprop.learning.both_passes import LOSS, STEP, BothPasses
from blockprop.learning.elements import Element

SHOWN = 6
"""Shares of a sum that are told one by one, the largest ones; the others are added up."""
LOOKS = SHOWN + 2
"""At a block, for the shares of one derivative: forward once, and back with each element and with the others."""


@dataclass(frozen=True)
class Share:
    """What one element of an error adds to the derivative of another one; without an element, what `count` others add.

    error: the element's own, of which the share is a multiple; None for what comes from the loss itself.
    """

    element: Element | None
    value: float
    error: float | None = None
    count: int = 1

    @property
    def slope(self) -> float | None:
        """∂(the element)/∂(what the derivative is by): the share is the error times this."""
        return None if self.error is None else self.value / self.error

    @property
    def title(self) -> str:
        others = "1 other" if self.count == 1 else f"{self.count} others together"
        return others if self.element is None else str(self.element)


def arriving(
    recording: BothPasses, steps: Iterable[BackwardStep], element: Element, single: int = SHOWN
) -> Iterator[tuple[str, list[Share]]]:
    """(from where, shares) of all that adds to one element's derivative: so many of single elements, and the rest."""
    name, index = element.name, element.index
    if name in recording.seeds:
        yield LOSS, [Share(element, float(recording.seeds[name][index]))]
    for step in steps:
        saved = recording.trace.saved[step.name]
        x = [recording.trace[source] for source in step.node.inputs]
        for own, title in step.gradients_wanted:
            if title == name:

                def gradient(d_y: Any, step: BackwardStep = step, saved: Any = saved, own: str = own) -> float:
                    return float(step.block.gradients(saved, d_y)[own][index])

                yield step.name, _shares(recording, step, gradient, _with_more(step, x, own, index), single)
        for i, source in enumerate(step.targets):
            if source == name:

                def error(d_y: Any, step: BackwardStep = step, saved: Any = saved, i: int = i) -> float:
                    d_x = step.block.propagate(saved, d_y)[i]
                    return 0.0 if d_x is None else float(d_x[index])

                yield step.name, _shares(recording, step, error, _with_more(step, x, i, index), single)


def _shares(
    recording: BothPasses,
    step: BackwardStep,
    answer: Callable[[Any], float],
    moved: dict[str, Tensor],
    single: int,
) -> list[Share]:
    """What elements of the error at a node's outputs add: those that seem to add most, and then the others.

    answer: the derivative that comes of an error.   moved: the node's outputs with a little more of what it is by.
    """
    d = {key: recording.d[key] for key in step.node.keys if key in recording.d}
    chosen, count = _likely(recording, d, moved, single)
    found = []
    for key, place in chosen:
        alone = torch.zeros(d[key].shape, dtype=d[key].dtype)
        alone.view(-1)[place] = one = d[key].flatten()[place]
        value = answer(_output(step, {key: alone}))
        found.append(Share(Element.at(key, place, d[key]), value, float(one)))
    others = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in d.items()}
    for key, place in chosen:
        others[key].view(-1)[place] = 0
    if left := sum(int(tensor.count_nonzero()) for tensor in others.values()):
        found.append(Share(None, answer(_output(step, others)), count=count - len(chosen) or left))
    return sorted(
        (share for share in found if share.value), key=lambda share: (share.element is None, -abs(share.value))
    )


def _likely(
    recording: BothPasses, d: dict[str, Tensor], moved: dict[str, Tensor], single: int
) -> tuple[list[tuple[str, int]], int]:
    """(output, place) of so many elements of the error that seem to add most, and how many add anything."""
    likely, count = list[tuple[float, str, int]](), 0
    for key, tensor in d.items():
        if key in moved and moved[key].shape == tensor.shape:
            size = ((moved[key] - recording.trace[key]) * tensor).abs().flatten().nan_to_num(0.0)
            count += int(size.count_nonzero())
            top = size.topk(min(single, len(size)))
            likely += zip(top.values.tolist(), [key] * single, top.indices.tolist(), strict=False)
    likely.sort(key=lambda one: -one[0])
    return [(key, place) for size, key, place in likely[:single] if size], count


def _output(step: BackwardStep, d: dict[str, Tensor]) -> Any:
    """The error as the block takes it."""
    return d[step.key] if step.key else tuple(d.get(key) for key in step.node.keys)


def _with_more(step: BackwardStep, x: list[Tensor], of: int | str, index: tuple[int, ...]) -> dict[str, Tensor]:
    """The node's outputs with a little more of one element of an input, or of a parameter; none if it refuses that."""
    if isinstance(of, int):
        moved = x[of].clone(memory_format=torch.contiguous_format)
        moved[index] += _little(moved[index])
        return forward_alone(step.node, [*x[:of], moved, *x[of + 1 :]])
    weight = step.block.parameters[of]
    here = weight[index].clone()
    try:
        weight[index] += _little(here)
        return forward_alone(step.node, x)
    finally:
        weight[index] = here


def _little(x: Tensor) -> float:
    return STEP * max(1.0, abs(float(x)))


def forward_alone(node: Node, x: list[Tensor]) -> dict[str, Tensor]:
    """What a node gives for these inputs; nothing if its block refuses them."""
    names = tuple(str(i) for i in range(len(x)))
    values = dict(zip(names, x, strict=True))
    try:
        run_forward(plan_forward([Node(node.name, node.block, names)], None, False), values)
    except BlockpropError:
        return {}
    return {key: values[key] for key in node.keys}
