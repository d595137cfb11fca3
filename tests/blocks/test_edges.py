"""All blocks at the edges of float16, bfloat16 and float32, beside torch's own version of each, and float64."""

import copy
import itertools
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
from tests.edges import Results, edges, largest, values, wrong

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


@pytest.mark.parametrize(("cases", "dtype"), list(rows()))
def test_errors_at_the_edges_come_back_as_torchs_or_better(cases: list[Case], dtype: torch.dtype) -> None:
    """The largest alone where sums have a wider type; in any order they overflow otherwise."""
    faults = []
    for case in cases[:1]:
        block, inputs = made(case, dtype), case.tensors(dtype)
        for name in ("0", "the smallest", "∞", *["the largest"] * (dtype is torch.float16)):
            outputs, saved = run(block, case, *inputs)
            seeds = tuple(_with_edge(seed, values(dtype)[name], name == "∞") for seed in seeds_for(outputs))
            results = _named(outputs, inputs, *back(block, saved, seeds))
            torchs = _torchs_or_none(block, case, inputs, seeds)
            wide = _torchs(_as(block, torch.float64), case, _converted(inputs, torch.float64), seeds)
            seed_size = largest([seed for seed in seeds if seed is not None])
            faults += [f"{case}, {name}: {fault}" for fault in wrong(results, torchs, wide, seed_size)]
    assert not faults, "\n".join(faults[:12])


def _with_edge(seed: Tensor | None, value: float, one: bool) -> Tensor | None:
    """All numbers that value, or one of them."""
    if seed is None or not one:
        return None if seed is None else torch.full_like(seed, value)
    seed = seed.clone()
    seed.view(-1)[seed.numel() // 2 :][:1] = value
    return seed


@pytest.mark.parametrize("cases", [pytest.param(row.values[0], id=row.id) for row in list(rows())[::3]])
def test_axes_without_places_are_computed_or_refused(cases: list[Case]) -> None:
    """In a sentence, or by torch's own version, too; then a network makes a sentence of it."""
    for case in cases:
        block, inputs = made(case), case.tensors()
        for i, axis in [(i, axis) for i, x in enumerate(inputs) for axis in range(x.dim())]:
            emptied = (*inputs[:i], inputs[i].narrow(axis, 0, 0).clone(), *inputs[i + 1 :])
            try:
                outputs, saved = run(block, case, *emptied)
                d_inputs, _ = back(block, saved, seeds_for(outputs))
            except BlockpropError:
                continue
            except RuntimeError:
                with pytest.raises((RuntimeError, IndexError)):
                    by_autograd(block, case, emptied)
                continue
            assert all(d is None or d.shape == x.shape for x, d in zip(emptied, d_inputs, strict=True)), case


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("given", list(itertools.product(("bilinear", "nearest"), ("zeros", "border", "reflection"))))
@pytest.mark.parametrize("axes", [2, 3])
def test_places_far_outside_of_a_picture(given: tuple[str, str], axes: int, dtype: torch.dtype) -> None:
    """What comes back is finite wherever what is read is, and goes to where it was read: Σ d_x · x = Σ y."""
    block, generator = blocks.GridSample(*given), torch.Generator().manual_seed(0)
    x = torch.rand((1, 2, 3, 4, 5)[: 2 + axes], generator=generator).to(dtype)
    for far in (3e3, 6e4, *[1e8, 1e20, 3e38] * (dtype is not torch.float16), math.inf, math.nan):
        for sign in (1, -1):
            grid = (torch.rand(1, *[3] * axes, axes, generator=generator) - 0.5).to(dtype)
            grid.view(-1)[4 * axes] = sign * far
            y, saved = block.forward(x, grid)
            d_x, d_grid = block.propagate(saved, torch.ones_like(y))
            assert d_x.isfinite().all()
            if not y.isfinite().all():
                continue
            assert d_grid.isfinite().all()
            if far < 1e8 or not far < math.inf:  # others have no digits left that would say where they are mirrored
                assert (d_x * x).sum().item() == pytest.approx(y.sum().item(), rel=1e-5 if dtype.itemsize > 2 else 1e-2)


def test_sums_of_errors_in_half_precision_do_not_overflow_on_their_way() -> None:
    """Σ d_y is above 65,504, and what comes back is far below."""
    for block, x, d in (
        (blocks.LogSoftmax(1), torch.zeros(2, 1000), 100.0),
        (blocks.LpNorm(1), torch.ones(2, 900), 3e3),
    ):
        y, saved = block.forward(x.half())
        (d_x,) = block.propagate(saved, torch.full_like(y, d))
        assert d_x.abs().max() <= 0.3, block
