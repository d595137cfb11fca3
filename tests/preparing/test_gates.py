"""What prepared networks keep for going back: where rectifiers were open, where maxima stood, and nothing else."""

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from blockprop.blocks import Add, Clamp, Concat, Conv2d, MaxPool2d, ReLU
from blockprop.blocks.kernels import threshold_backward
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import ShapeError
from blockprop.preparing import gates, pooling
from blockprop.preparing.gates import Bits, gate_of, through
from blockprop.preparing.pooling import FixedMaxPool2d
from tests.preparing.graphs import residual, same

ORDERS = [torch.contiguous_format, torch.channels_last]
SHAPES = [(2, 13, 37, 31), (2, 64, 80, 70), (3,), (), (5, 7, 9), (0, 3, 4, 4), (2, 0, 3, 3)]
TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def with_odd_numbers(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype).mul_(4)
    odd = torch.tensor([float("nan"), -float("nan"), -0.0, 0.0, 1e-45, float("inf"), -float("inf"), 6.0, 1e-30])
    x.view(-1)[: len(odd)] = odd[: x.numel()].to(dtype)
    return x


@pytest.mark.parametrize("many", [1, 10**9], ids=["bits", "outputs and bytes"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_errors_go_through_as_the_kernel_lets_them(
    shape: tuple[int, ...], dtype: torch.dtype, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "MANY", many)
    monkeypatch.setattr(gates, "CHUNK", 1000)
    y, d = with_odd_numbers(shape, dtype).relu(), torch.randn(shape).to(dtype)
    wider = torch.cat([d, d], 1)[:, : shape[1]] if len(shape) > 1 else d
    ds = [d, wider, d.new_ones(()).expand(shape), *([d.to(memory_format=ORDERS[1])] if d.dim() == 4 else [])]
    for order in ORDERS if y.dim() == 4 else ORDERS[:1]:
        gate, clamped = gate_of(y.contiguous(memory_format=order)), y.clamp(0, 6)
        assert isinstance(gate, Bits) == (many <= y.numel())
        for d_y in ds:
            before, d_x = d_y.clone(), threshold_backward(d_y, y, 0)
            torch.testing.assert_close(through(gate, d_y), d_x, rtol=0, atol=0, equal_nan=True)
            is_shut = (clamped <= 0) | (clamped >= 6)
            expected = d_y.masked_fill(is_shut, 0)
            torch.testing.assert_close(through(gate_of(clamped, 6), d_y), expected, rtol=0, atol=0, equal_nan=True)
            assert torch.equal(d_y, before)
        torch.testing.assert_close(
            through(gate, d.clone(), over=True), through(gate, d), rtol=0, atol=0, equal_nan=True
        )


def saved_bytes(lean: Network, x: Tensor) -> dict[str, int]:
    trace = lean.forward(x)
    leaves = {
        name: [leaf for leaf in tree_leaves(saved) if isinstance(leaf, Tensor)] for name, saved in trace.saved.items()
    }
    return {name: sum(leaf.numel() * leaf.element_size() for leaf in tensors) for name, tensors in leaves.items()}


def test_a_rectifier_keeps_its_output_or_bits_a_pool_a_byte_a_convolution_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gates, "MANY", 2**20)
    blocks: dict[str, tuple[Block, tuple[str, ...]]] = {
        "conv": (Conv2d(3, 64, 3, padding=1), ("x",)),
        "relu": (ReLU(), ("conv",)),
        "pool": (MaxPool2d(2), ("relu",)),
        "other": (Conv2d(64, 64, 3, padding=1), ("relu",)),
        "clamp": (Clamp(0, 6), ("other",)),
        "sum": (Add(), ("relu", "clamp")),
        "rectified": (ReLU(), ("sum",)),
        "all": (Concat(), ("rectified", "clamp")),
        "last": (ReLU(), ("all",)),
    }
    network = Network([Node(name, block, inputs) for name, (block, inputs) in blocks.items()])
    side = 256
    elements = 64 * side**2
    saved = saved_bytes(network.prepare(without=["join_regions"]), torch.rand(1, 3, side, side))
    windows = elements // 4 + 4 * (side // 2) ** 2  # and where each window begins
    bits = elements // 8
    assert saved == {
        "relu": bits, "pool": windows, "clamp": bits, "rectified": bits, "all": 0, "last": 2 * bits,
    }  # fmt: skip
    few = saved_bytes(network.prepare(without=["join_regions"]), torch.rand(1, 3, 32, 32))
    assert few["relu"] == few["rectified"] == few["last"] // 2 == 4 * 64 * 32**2
    assert few["clamp"] == 64 * 32**2


@pytest.mark.parametrize("seed", range(5))
def test_places_in_windows_are_those_in_the_picture(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(seed)

    def pair(low: int, high: int) -> tuple[int, int]:
        a, b = torch.randint(low, high + 1, (2,), generator=generator).tolist()
        return a, b

    compared = kinds = 0
    monkeypatch.setattr(pooling, "narrow", lambda winners, _x: winners.to(torch.int32))  # as in large pictures
    while compared < 60:
        kernel, stride, dilation, sides = pair(1, 6), pair(1, 4), pair(1, 3), pair(1, 14)
        padding = tuple(min(k // 2, (d * (k - 1) + 1) // 2) for k, d in zip(kernel, dilation, strict=True))
        pool = MaxPool2d(kernel, stride, padding if seed % 2 else 0, dilation, ceil_mode=seed % 3 == 0)
        x = torch.randint(-2, 3, (2, 3, *sides), generator=generator).double()
        x.view(-1)[torch.rand(x.numel(), generator=generator) < 0.05] = [float("nan"), -float("inf")][seed % 2]
        try:
            y, theirs = pool.forward(x)
        except ShapeError:
            continue
        block = FixedMaxPool2d(pool)
        mine, kept = block.forward(x)
        torch.testing.assert_close(mine, y, rtol=0, atol=0, equal_nan=True)
        d = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(block.propagate(kept, d)[0], pool.propagate(theirs, d)[0])
        compared += 1
        kinds += kept[0].dtype == torch.uint8
    assert 20 < kinds <= compared


def test_a_prepared_network_keeps_its_inputs_and_outputs_alone() -> None:
    network = residual()
    x = torch.randn(1, 3, 33, 30, dtype=torch.float64)
    assert [*network.prepare(["pool1", "flat"]).forward(x).values] == ["x", "pool1", "flat"]


CHAIN = {"conv1": Conv2d(3, 4, 3), "relu1": ReLU(), "conv2": Conv2d(4, 4, 3), "relu2": ReLU(), "conv3": Conv2d(4, 2, 3)}


def chain() -> Network:
    return Sequential(CHAIN).to(dtype=torch.float64)


def over_of(lean: Network, seeds: tuple[str, ...], wanted: tuple[str, ...], rules: object = None) -> dict[str, bool]:
    plan = lean.backward_plan(seeds, wanted, rules)  # type: ignore[arg-type]
    return {step.name: bool(step.makers) for step in plan}


def test_errors_are_written_over_where_nobody_else_looks_at_them() -> None:
    lean = chain().prepare(["relu1", "relu2", "conv3"])
    assert over_of(lean, ("conv3",), ("x",)) == {"conv3": False, "relu2": True, "relu1": True}
    assert over_of(lean, ("relu2",), ("x",)) == {"relu2": False, "relu1": True}
    assert over_of(lean, ("conv3", "relu1"), ("x",)) == {"conv3": False, "relu2": True, "relu1": False}
    assert over_of(lean, ("conv3",), ("x", "relu2")) == {"conv3": False, "relu2": False, "relu1": True}
    rules = {"relu2": lambda _block, _saved, d: (d,)}
    assert over_of(Network(lean.nodes), ("conv3",), ("x",), rules) == {"conv3": False, "relu2": False, "relu1": False}


@pytest.mark.parametrize("seeds", [("conv3",), ("relu2",), ("conv3", "relu1", "relu2")], ids=str)
def test_seeds_and_errors_that_were_handed_out_stay(seeds: tuple[str, ...]) -> None:
    network, x = chain(), torch.randn(1, 3, 9, 9, dtype=torch.float64)
    lean = network.prepare(["relu1", "relu2", "conv3"])
    traces = [each.forward(x) for each in (network, lean)]
    given = {name: torch.randn_like(traces[0][name]) for name in seeds}
    before = {name: seed.clone() for name, seed in given.items()}
    wanted = ["x", "relu1", "relu2"]
    for _ in range(2):
        theirs, mine = (
            each.backward(t, given, wanted, keep_trace=True) for each, t in zip((network, lean), traces, strict=True)
        )
        for name in wanted:
            torch.testing.assert_close(mine[name], theirs[name])
        for name in seeds:
            assert torch.equal(given[name], before[name])


def test_a_replaced_propagate_gets_what_it_always_got_and_keeps_its_error() -> None:
    network, x = chain(), torch.randn(1, 3, 9, 9, dtype=torch.float64)
    lean = network.prepare(["relu1", "relu2", "conv3"])
    trace = lean.forward(x)
    seed = torch.randn_like(trace["conv3"])
    lean.backward(trace, {"conv3": seed}, ["x"], keep_trace=True)
    came: list[Tensor] = []
    block = lean.blocks["relu2"]
    original = block.propagate

    def watched(saved: object, d_y: Tensor) -> tuple[Tensor | None, ...]:
        came.append(d_y)
        return original(saved, d_y)

    block.propagate = watched  # type: ignore[method-assign]
    lean.backward(trace, {"conv3": seed}, ["x"], keep_trace=True)
    conv3 = lean.blocks["conv3"]
    torch.testing.assert_close(came[0], conv3.propagate(trace.saved["conv3"], seed)[0])


@pytest.mark.parametrize("shape", [(1, 3, 33, 30), (2, 3, 17, 18)])
def test_bits_change_nothing(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "MANY", 1)
    network = residual()
    same(network, ("pool1", "relu3", "flat"), torch.randn(shape, dtype=torch.float64))
