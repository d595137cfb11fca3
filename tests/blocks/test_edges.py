"""All blocks at the edges of float16, bfloat16 and float32, beside torch's own version of each, and float64."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.errors import BlockpropError
from tests.blocks.running import back, by_autograd, made, run, seeds_for
from tests.cases import CASES, Case
from tests.edges import Results, edges, largest, wrong

DEPARTURES = {
    "Power": ("0 where a ≤ 0", "one of input 0"),
    "LpNorm": ("0 where the norm is 0", "all"),
}
"""Blocks that differ from torch on purpose, in words of their docstrings, and where."""
TOO_LARGE = {
    "GridSample": "torch's own backward pass crashes for places far outside, and such places have no digits left",
    "Einsum": "products of three, in another order",
    "SquaredDistances": "sums of differences, which cancel",
    "RNN": "products of many, one after the other",
    "LSTM": "products of many, one after the other",
    "GRU": "products of many, one after the other",
    "Resample": "sums that grow beyond their mean on their way",
    "Attention": "products of three, in another order; of half precision, they are held in float32",
}
"""Blocks that are not tried from the root of the largest number on, and why."""
USUAL_ALONE = {
    "PairwiseCoupling": "its inputs are shares",
    "NonMaxSuppression": "its outputs are places, chosen by areas that are too small or too large",
}
"""Blocks that are tried with usual numbers alone, and why."""
SLOW = {"Blur": 12, "RoiAlign": 4, "LSTM": 3, "GRU": 3}
"""Blocks whose reference is slow, and every how manieth edge they are tried with."""
CANCELLING = ("Attention", "LSTM", "GRU", "RNN", "GridSample")
"""Blocks whose derivatives are differences of products of their inputs, which may cancel."""


def rows() -> Iterator[Any]:
    """One for each kind of block and type of number: (rows, type)."""
    kinds: dict[str, list[Case]] = {}
    for case in CASES:
        kinds.setdefault(type(case.make()).__name__, []).append(case)
    for name, cases in kinds.items():
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            yield pytest.param(cases, dtype, id=f"{name}-{str(dtype).removeprefix('torch.')}")


@pytest.mark.parametrize(("cases", "dtype"), list(rows()))
def test_at_its_edges_a_block_is_torchs_or_better(cases: list[Case], dtype: torch.dtype) -> None:
    """The rows of a block share the edges among them: each edge is tried with one row."""
    faults = []
    for number, case in enumerate(cases):
        block, inputs = made(case, dtype), case.tensors(dtype)
        tried = [("usual", inputs), *edges(inputs, dtype)]
        for title, x in tried[number :: len(cases) * SLOW.get(type(block).__name__, 1)]:
            if not _left_out(block, title, dtype):
                faults += [f"{case}, {title}: {fault}" for fault in _faults(block, case, x, dtype)]
    assert not faults, "\n".join([f"{len(faults)} faults", *faults[:12]])


def _left_out(block: Block, title: str, dtype: torch.dtype) -> bool:
    name = type(block).__name__
    if name in USUAL_ALONE:
        return title != "usual"
    if name in DEPARTURES and title.startswith(DEPARTURES[name][1]):
        return True
    words = ("∞",) if name == "Attention" and dtype is torch.float16 else ("largest", "too large", "∞")
    return name in TOO_LARGE and any(word in title for word in words)


def _faults(block: Block, case: Case, inputs: tuple[Tensor, ...], dtype: torch.dtype) -> list[str]:
    try:
        results, seeds = _ours(block, case, inputs)
    except BlockpropError as error:
        return [f"refused: {error}"]
    except (RuntimeError, UserWarning) as error:
        return [f"raises {error}"]
    torchs = _torchs_or_none(block, case, inputs, seeds)
    if torchs and all(torch.equal(results[name], torchs[name].to(results[name].dtype)) for name in results):
        return []
    if torchs is None and largest(inputs) > torch.finfo(dtype).max ** 0.3:
        return []
    wide = _torchs(_as(block, torch.float64), case, _converted(inputs, torch.float64), seeds)
    size = largest(inputs)
    return wrong(results, torchs, wide, size * size if type(block).__name__ in CANCELLING else 0.0)


def _ours(block: Block, case: Case, inputs: tuple[Tensor, ...]) -> tuple[Results, tuple]:
    outputs, saved = run(block, case, *inputs)
    seeds = seeds_for(outputs)
    d_inputs, gradients = back(block, saved, seeds)
    return _named(outputs, inputs, d_inputs, gradients), seeds


def _torchs(block: Block, case: Case, inputs: tuple[Tensor, ...], seeds: tuple | None = None) -> Results:
    outputs, _, _, d_inputs, gradients = by_autograd(block, case, inputs, seeds)
    return _named(tuple(y.detach() for y in outputs), inputs, d_inputs, gradients)


def _torchs_or_none(block: Block, case: Case, inputs: tuple[Tensor, ...], seeds: tuple) -> Results | None:
    """In float32 where torch has no kernel for half precision; None if it has none for that, either."""
    for of, x in ((block, inputs), (_as(block, torch.float32), _converted(inputs, torch.float32))):
        try:
            return _torchs(of, case, x, seeds)
        except (RuntimeError, UserWarning):
            continue
    return None


def _named(outputs: tuple, inputs: tuple, d_inputs: Any, gradients: dict) -> Results:
    named = {f"output {i}": y for i, y in enumerate(outputs)}
    pairs = [(x, d) for x, d in zip(inputs, d_inputs, strict=True) if x.is_floating_point()]
    named |= {f"d_input {i}": torch.zeros_like(x) if d is None else d for i, (x, d) in enumerate(pairs)}
    return named | {f"d_{name}": d for name, d in gradients.items()}


def _as(block: Block, dtype: torch.dtype) -> Block:
    block = copy.deepcopy(block)
    for name, tensor in (block.parameters | block.buffers).items():
        setattr(block, name, tensor.to(dtype) if tensor.is_floating_point() else tensor)
    return block


def _converted(tensors: tuple, dtype: torch.dtype) -> tuple:
    return tuple(x if x is None or not x.is_floating_point() else x.to(dtype) for x in tensors)


def test_what_differs_on_purpose_says_so() -> None:
    for name, (words, _) in DEPARTURES.items():
        assert words in (blocks.BLOCKS[name].__doc__ or "")


def test_a_blank_picture_has_a_deviation_of_0_and_derivatives_of_0() -> None:
    x = torch.full((2, 3, 4, 4), 88.7)
    block = blocks.StandardDeviation((2, 3))
    y, saved = block.forward(x)
    assert torch.equal(y, torch.zeros(2, 3))
    assert torch.equal(block.propagate(saved, torch.ones(2, 3))[0], torch.zeros_like(x))


def test_gelu_in_half_precision_at_256() -> None:
    block = blocks.GELU("tanh")
    _, saved = block.forward(torch.tensor([256.0, -256.0, 6e4, -6e4], dtype=torch.float16))
    assert block.propagate(saved, torch.ones(4, dtype=torch.float16))[0].tolist() == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_of_many_equal_numbers(dtype: torch.dtype) -> None:
    """Means and norms of 100,000 equal numbers: sums in half precision would stop, or overflow, long before."""
    x = torch.full((1, 100_000), 3.0, dtype=dtype)
    expected = {
        blocks.Mean(1): 3.0,
        blocks.Norm(1): 3 * math.sqrt(1e5),
        blocks.LogSumExp(1): 3 + math.log(1e5),
        blocks.Variance(1): 0.0,
        blocks.StandardDeviation(1): 0.0,
    }
    for block, y in expected.items():
        assert block(x).item() == pytest.approx(y, rel=8 * torch.finfo(dtype).eps), block
