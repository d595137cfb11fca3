"""The same numbers in other orders of memory: what a block computes may not depend on it.

The oracle is the block itself on memory as new tensors have it: there test_blocks.py holds it against finite
differences and torch's autograd, and here autograd is held against it for axes of one, too. `x.contiguous()` would not
do: it leaves the strides of axes of one as they are, by which some kernels of torch choose what to do.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.errors import BlockpropError
from tests.blocks.running import back, by_autograd, made, run, seeds_for
from tests.cases import Case

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Of the largest number of a tensor: sums in another order round otherwise."""
ORDERS = 24


class Difference(NamedTuple):
    """Something that a block gave otherwise than from usual memory."""

    case: str
    name: str
    strides: list[tuple[tuple[int, ...], tuple[int, ...]]]
    """Shape and strides of the inputs and of the errors at the outputs."""
    off: float

    def __str__(self) -> str:
        return f"{self.case}: {self.name} is off by {self.off:.3g} of 1 with (shape, strides) {self.strides}"


def usual(x: Tensor) -> Tensor:
    """In memory as a new tensor has it."""
    return torch.empty(x.shape, dtype=x.dtype).copy_(x)


def in_order(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """With the axes in this order in memory, the outermost first."""
    fresh = torch.empty([x.shape[axis] for axis in order], dtype=x.dtype)
    return fresh.permute([order.index(axis) for axis in range(x.dim())]).copy_(x)


def every_second(x: Tensor) -> Tensor:
    """With gaps."""
    if not x.dim():
        return x
    wide = torch.zeros(*x.shape[:-1], x.shape[-1] * 2, dtype=x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def not_from_the_start(x: Tensor) -> Tensor:
    """Beginning at the second number of its memory."""
    return torch.zeros(x.numel() + 1, dtype=x.dtype)[1:].view(x.shape).copy_(x)


def with_odd_ones(x: Tensor, chance: random.Random) -> Tensor:
    """With any strides along axes of one, where they say nothing."""
    strides = [
        chance.choice([0, 1, 2, 7, x.numel()]) if n == 1 else stride
        for n, stride in zip(x.shape, x.stride(), strict=True)
    ]
    return x.as_strided(x.shape, strides, x.storage_offset()) if x.numel() else x


def any_layout(x: Tensor, chance: random.Random) -> Tensor:
    """The same numbers somehow."""
    kind = chance.random()
    if kind < 0.1:
        return every_second(x)
    if kind < 0.2:
        return not_from_the_start(x)
    order = list(range(x.dim()))
    chance.shuffle(order)
    y = in_order(x, tuple(order))
    return with_odd_ones(y, chance) if kind < 0.6 else y


def shapes(case: Case, dtype: torch.dtype) -> Iterator[tuple[Tensor, ...]]:
    """The row's inputs, and those with one axis cut to one or none."""
    whole = tuple(usual(x) for x in case.tensors(dtype))
    if whole:
        yield whole
        for axis, length in itertools.product(range(whole[0].dim()), (1, 0)):
            if whole[0].shape[axis] > length:
                yield tuple(usual(x.narrow(axis, 0, length)) if x.shape == whole[0].shape else x for x in whole)


def expanded(d_outputs: tuple[Tensor | None, ...], axes: tuple[int, ...]) -> tuple[Tensor | None, ...]:
    """Each with the first numbers of these axes all along them, in memory once."""

    def of(d: Tensor | None) -> Tensor | None:
        if d is None or not d.numel():
            return d
        first = d
        for axis in axes:
            first = first.narrow(axis, 0, 1) if axis < d.dim() else first
        return first.expand(d.shape)

    return tuple(of(d) for d in d_outputs)


def differences(case: Case, dtype: torch.dtype, trials: int, seed: int = 0) -> Iterator[Difference]:
    """What comes out otherwise in so many layouts of each shape; nothing, if the block is right."""
    chance = random.Random(f"{case}{seed}")
    for inputs in shapes(case, dtype):
        try:
            expected = _both_passes(case, dtype, inputs, None)
        except (BlockpropError, RuntimeError):
            continue  # no shape for this block
        seeds = expected.pop("seeds")
        if 1 in inputs[0].shape and dtype == torch.float64:
            yield from _against_autograd(case, inputs, expected)
        for _ in range(trials):
            d_outputs = tuple(None if d is None else any_layout(d, chance) for d in seeds)
            yield from _compared(case, dtype, tuple(any_layout(x, chance) for x in inputs), d_outputs, expected)
        if any(d is not None and d.dim() for d in seeds):
            dims = max(d.dim() for d in seeds if d is not None)
            axes = (0,), (dims - 1,), tuple(range(dims))
            d_outputs = expanded(seeds, chance.choice(axes))
            plain = tuple(None if d is None else usual(d) for d in d_outputs)
            expected = _both_passes(case, dtype, inputs, plain)
            expected.pop("seeds")
            yield from _compared(case, dtype, tuple(any_layout(x, chance) for x in inputs), d_outputs, expected)


def differences_of_weights(case: Case, dtype: torch.dtype, trials: int, seed: int = 0) -> Iterator[Difference]:
    """What comes out otherwise with weights and buffers in so many layouts, and inputs in any."""
    chance = random.Random(f"{case}{seed}")
    inputs = tuple(usual(x) for x in case.tensors(dtype))
    expected = _both_passes(case, dtype, inputs, None)
    seeds = expected.pop("seeds")
    for _ in range(trials):
        given = tuple(any_layout(x, chance) for x in inputs)
        yield from _compared(case, dtype, given, seeds, expected, chance)


def _both_passes(
    case: Case, dtype: torch.dtype, inputs: tuple[Tensor, ...], d_outputs: tuple | None, chance: Any = None
) -> dict:
    """chance: for weights and buffers in any layout."""
    block = made(case, dtype)
    for name, tensor in (block.parameters | block.buffers).items() if chance else ():
        setattr(block, name, any_layout(tensor, chance))
    outputs, saved = run(block, case, *inputs)
    seeds = tuple(None if d is None else usual(d) for d in seeds_for(outputs)) if d_outputs is None else d_outputs
    d_inputs, gradients = back(block, saved, seeds)
    results = {f"output {i}": y for i, y in enumerate(outputs)} | {f"d_input {i}": d for i, d in enumerate(d_inputs)}
    return {**results, **gradients, "seeds": seeds}


def _compared(
    case: Case, dtype: torch.dtype, inputs: tuple[Tensor, ...], d_outputs: tuple, expected: dict, chance: Any = None
) -> Iterator[Difference]:
    strides = [(tuple(x.shape), x.stride()) for x in (*inputs, *d_outputs) if x is not None]
    results = _both_passes(case, dtype, inputs, d_outputs, chance)
    for name, theirs in expected.items():
        off = off_by(results[name], theirs)
        if off > TOLERANCE[dtype]:
            yield Difference(str(case), f"{name} ({dtype})", strides, off)


def _against_autograd(case: Case, inputs: tuple[Tensor, ...], expected: dict) -> Iterator[Difference]:
    try:
        outputs, _, _, d_inputs, gradients = by_autograd(made(case), case, inputs)
    except (RuntimeError, ValueError, IndexError):
        return  # torch's own version is written for the row's shape
    if any(y.shape != expected[f"output {i}"].shape for i, y in enumerate(outputs)):
        return
    theirs = {f"output {i}": y.detach() for i, y in enumerate(outputs)} | dict(gradients)
    theirs |= {f"d_input {i}": d for i, d in enumerate(d_inputs)}
    for name, other in theirs.items():
        if other is not None and expected.get(name) is not None and (off := off_by(expected[name], other)) > 1e-9:
            yield Difference(str(case), f"{name} beside autograd", [(tuple(x.shape), x.stride()) for x in inputs], off)


def off_by(mine: Tensor | None, theirs: Tensor | None) -> float:
    """The largest difference, as a part of the largest number or of 1; infinite where the two cannot be compared."""
    if mine is None or theirs is None:
        return 0.0 if mine is theirs else float("inf")
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return float("inf")
    if not mine.numel() or torch.equal(mine, theirs):
        return 0.0
    same = (mine == theirs) | (mine.isnan() & theirs.isnan())
    wide, other = mine.double(), theirs.double()
    largest = max(1.0, float(other.nan_to_num(0, 0, 0).abs().max()))
    return float(torch.where(same, torch.zeros_like(wide), wide - other).abs().max()) / largest
