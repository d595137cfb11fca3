"""Regions of prepared networks on kernels in C, beside the blocks that they stand for."""

import copy
import itertools
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from blockprop import Network, Node
from blockprop.blocks import Add, AvgPool2d, BatchNorm2d, Clamp, Concat, Conv2d, MaxPool2d, Pad, ReLU
from blockprop.engine.block import Block
from blockprop.errors import GraphError, NativeError, ShapeError
from blockprop.preparing.native import kernels as kernels_module
from blockprop.preparing.native import region as region_module
from blockprop.preparing.native.kernels import kernels
from blockprop.preparing.native.region import NativeRegion

pytestmark = pytest.mark.skipif(kernels() is None, reason="no native kernels here")


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def conv(channels: int, out: int, **settings: Any) -> Conv2d:
    return Conv2d(channels, out, **{"kernel": 3, "padding": 1, **settings})


def graph(*nodes: tuple[str, Block, str], outputs: tuple[str, ...] | None = None) -> Network:
    torch.manual_seed(0)
    made = Network([Node(name, block, tuple(inputs.split())) for name, block, inputs in nodes], outputs=outputs)
    for name, tensor in made.parameters.items():
        fan = tensor[0].numel() if name.endswith("weight") else 1
        tensor.copy_(torch.randn(tensor.shape) / fan**0.5)
    return made


def graphs() -> Iterator[tuple[str, Network]]:
    """In each a way on which something could go wrong: where errors meet, are joined, or come from several outputs."""
    yield "inception", graph(
        ("a", conv(3, 32), "x"), ("ra", ReLU(), "a"),
        ("b", conv(32, 32, kernel=1, padding=0), "ra"), ("rb", ReLU(), "b"),
        ("c", conv(32, 64), "ra"), ("rc", ReLU(), "c"),
        ("p", MaxPool2d(3, 1, padding=1), "ra"), ("d", conv(32, 20), "p"), ("rd", ReLU(), "d"),
        ("all", Concat(), "rb rc rd"), ("pool", MaxPool2d(2), "all"), ("end", conv(116, 7), "pool"),
    )  # fmt: skip
    yield "residual", graph(
        ("a", conv(3, 32), "x"), ("ra", ReLU(), "a"),
        ("b", conv(32, 16, kernel=1, padding=0), "ra"), ("rb", ReLU(), "b"), ("c", conv(16, 32), "rb"),
        ("sum", Add(), "c ra"), ("rs", ReLU(), "sum"),
        ("d", conv(32, 32), "rs"), ("e", conv(32, 32, kernel=1, padding=0), "rs"), ("sum2", Add(), "d e"),
        ("f", conv(32, 8, stride=2), "sum2"), ("rf", Clamp(0, 6), "f"),
    )  # fmt: skip
    yield "dense", graph(
        ("a", conv(3, 24), "x"), ("ra", ReLU(), "a"), ("b", conv(24, 8), "ra"), ("rb", ReLU(), "b"),
        ("ab", Concat(), "ra rb"), ("c", conv(32, 8), "ab"), ("rc", ReLU(), "c"), ("abc", Concat(), "ra rb rc"),
        ("d", conv(40, 8), "abc"), ("rd", ReLU(), "d"), ("abcd", Concat(), "abc rd"), ("end", ReLU(), "abcd"),
    )  # fmt: skip
    yield "the input joined", graph(
        ("a", conv(3, 13), "x"), ("all", Concat(), "a x"), ("b", conv(16, 16), "all"), ("sum", Add(), "b b2"),
        ("b2", conv(16, 16), "all"), ("twice", Concat(), "sum sum"), ("double", Add(), "twice twice"),
    )  # fmt: skip
    yield "an average between", graph(
        ("a", conv(3, 32), "x"), ("ra", ReLU(), "a"), ("mean", AvgPool2d(3, 2, padding=1), "ra"),
        ("b", conv(32, 32, stride=2), "ra"), ("sum", Add(), "mean b"), ("c", conv(32, 4), "sum"), ("rc", ReLU(), "c"),
    )  # fmt: skip
    yield "several outputs", graph(
        ("a", conv(3, 16), "x"), ("ra", ReLU(), "a"), ("b", conv(16, 16), "ra"), ("rb", ReLU(), "b"),
        ("c", conv(16, 16, groups=16), "rb"), ("n", BatchNorm2d(16), "c"), ("rc", Clamp(0, 6), "n"),
        ("d", conv(16, 5), "rb"),
        outputs=("ra", "rc", "d"),
    )  # fmt: skip
    yield "reflections", graph(
        ("p", Pad((1, 1, 1, 1), mode="reflect"), "x"), ("a", conv(3, 32, padding=0), "p"), ("ra", ReLU(), "a"),
        ("q", Pad((1, 1, 1, 1), mode="reflect"), "ra"), ("b", conv(32, 32, padding=0), "q"), ("rb", ReLU(), "b"),
        ("pool", MaxPool2d(2), "rb"), ("s", Pad((1, 1, 1, 1), mode="reflect"), "pool"),
        ("c", conv(32, 8, padding=0), "s"),
    )  # fmt: skip


GRAPHS = dict(graphs())


def both_passes(network: Network, x: Tensor, seeded: tuple[str, ...], wrt: tuple[str, ...]) -> dict[str, Tensor]:
    """Values of the outputs, and errors from some of them."""
    trace = network.forward(x, keep=network.outputs)
    seeds = {key: random(*trace[key].shape).to(x.dtype) for key in seeded}
    errors = network.backward(trace, seeds, wrt=wrt)
    return {**{key: trace[key] for key in network.outputs}, **{f"∂{name}": d for name, d in errors.items()}}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_regions_compute_what_their_blocks_do(name: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = GRAPHS[name]
    x = random(batch, 3, 18, 17)
    exact = network.copy().to(torch.float64)
    for count in range(1, len(network.outputs) + 1):
        for seeded in itertools.combinations(network.outputs, count):
            wanted = both_passes(exact, x.double(), seeded, ("x",))
            for cache in (1, 2**30):  # one picture after the other, and all together
                monkeypatch.setattr(region_module, "CACHE", cache)
                lean = network.prepare()
                assert any(isinstance(node.block, NativeRegion) for node in lean.nodes)
                for key, value in both_passes(lean, x, seeded, ("x",)).items():
                    torch.testing.assert_close(value.double(), wanted[key], rtol=1e-4, atol=1e-4, msg=key)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_numbers_with_any_number_of_threads(name: str) -> None:
    network, x = GRAPHS[name], random(2, 3, 40, 41)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            found.append(both_passes(network.prepare(), x, network.outputs, ("x",)))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(other[key], value) for key, value in found[0].items())


def test_errors_at_inner_nodes_are_whole() -> None:
    """A region ends at what is looked at, so that all errors of it come together there."""
    network, x = GRAPHS["inception"], random(1, 3, 18, 17)
    wrt = ("x", "ra", "rc")
    wanted = both_passes(network, x, network.outputs, wrt)
    for key, value in both_passes(network.prepare(wrt=wrt), x, network.outputs, wrt).items():
        torch.testing.assert_close(value, wanted[key], rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("wild", [torch.nan, torch.inf, 3e38])
def test_numbers_that_winograd_would_spread(wild: float) -> None:
    """Where the input is not finite the blocks compute; what is far from it stays what it is."""
    network = graph(("a", conv(3, 32), "x"), ("b", conv(32, 32), "a"), ("c", conv(32, 32), "b"))
    d_y = random(1, 32, 30, 30)
    d_y[0, 5, 20, 20] = wild
    lean, x = network.prepare(), random(1, 3, 30, 30)
    for value in (float(x[0, 1, 3, 4]), wild):
        x[0, 1, 3, 4] = value
        theirs, ours = ((each(x), each.backward(each.forward(x), d_y, wrt="x")["x"]) for each in (network, lean))
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-4, equal_nan=True)
    assert (wild == 3e38) == bool(lean(x).isfinite().all())


def test_what_kernels_cannot_do_is_left_to_blocks() -> None:
    network = GRAPHS["residual"]
    lean = network.prepare()
    for shape in ((1, 4, 18, 17), (3, 18, 17), (1, 3, 0, 4)):
        with pytest.raises(ShapeError) as plain:
            network.forward(torch.zeros(shape))
        with pytest.raises(ShapeError) as prepared:
            lean.forward(torch.zeros(shape))
        assert str(prepared.value) == str(plain.value)
    empty = torch.zeros(0, 3, 18, 17)
    assert lean(empty).shape == network(empty).shape
    half = network.copy().to(torch.float64)
    assert not any(isinstance(node.block, NativeRegion) for node in half.prepare().nodes)
    assert not any(isinstance(node.block, NativeRegion) for node in network.prepare(without=["join_regions"]).nodes)
    assert "switched off: join_regions" in network.prepare(without=["join_regions"]).report()
    assert "join_regions: 8 nodes in 1 programs" in lean.report()


def test_nothing_is_written_but_what_is_new() -> None:
    """Neither the input nor the seeds change, and an earlier trace stays what it is."""
    network, lean = GRAPHS["dense"], GRAPHS["dense"].prepare()
    x, other = random(2, 3, 18, 17), random(2, 3, 17, 18).transpose(2, 3)
    trace = lean.forward(x)
    seed = random(*trace["end"].shape)
    before = x.clone(), seed.clone(), trace["end"].clone()
    lean.backward(lean.forward(other), random(*trace["end"].shape), wrt="x")
    first = lean.backward(trace, seed, wrt="x", keep_trace=True)["x"].clone()
    again = lean.backward(trace, seed, wrt="x")["x"]
    assert torch.equal(first, again)
    assert torch.equal(x, before[0])
    assert torch.equal(seed, before[1])
    assert torch.equal(trace["end"], before[2])
    torch.testing.assert_close(again, network.backward(network.forward(x), seed, wrt="x")["x"], rtol=1e-4, atol=1e-5)


def test_threads_of_python_do_not_disturb_each_other() -> None:
    lean = GRAPHS["inception"].prepare()
    pictures = [random(1, 3, 40 + i, 40) for i in range(4)]
    alone = [both_passes(lean, x, lean.outputs, ("x",)) for x in pictures]
    faults: list[str] = []

    def work(i: int) -> None:
        for _ in range(20):
            found = both_passes(lean, pictures[i], lean.outputs, ("x",))
            faults.extend(key for key, value in found.items() if not torch.equal(value, alone[i][key]))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert faults == []


def test_warm_steps_take_no_new_memory_for_what_is_on_the_way() -> None:
    """The arena of one call is that of the next."""
    lean, x = GRAPHS["inception"].prepare(), random(1, 3, 64, 64)
    both_passes(lean, x, lean.outputs, ("x",))
    (arena,) = kernels_module._free[-1:]
    both_passes(lean, x, lean.outputs, ("x",))
    assert kernels_module._free[-1] is arena


@pytest.mark.parametrize("without", [(), ("join_regions",)], ids=["native", "blocks"])
def test_copies_of_a_prepared_network_and_pickled_ones(without: tuple[str, ...]) -> None:
    """Also after it ran, when it holds programs and weights laid out anew."""
    network, x = GRAPHS["residual"], random(1, 3, 18, 17)
    lean = network.prepare(without=without)
    wanted = both_passes(lean, x, lean.outputs, ("x",))
    for copied in (copy.deepcopy(lean), lean.copy(), pickle.loads(pickle.dumps(lean))):
        for key, value in both_passes(copied, x, lean.outputs, ("x",)).items():
            assert torch.equal(value, wanted[key])


def test_a_prepared_network_says_that_it_is_not_moved() -> None:
    with pytest.raises(GraphError, match="move the network that it was made of"):
        GRAPHS["residual"].prepare().to(torch.float64)


class Named(Tensor):
    """A tensor of a class of its own."""


def test_what_only_looks_like_memory_is_left_to_blocks() -> None:
    """Nothing is read at the address of a tensor without memory, nor as it stands where that is not its value."""
    network, x = GRAPHS["residual"], random(1, 3, 18, 17).contiguous(memory_format=torch.channels_last)
    lean, plain = network.prepare(), network.prepare(without=["join_regions"])
    torch.testing.assert_close(lean(torch._neg_view(x)), plain(-x), rtol=1e-4, atol=1e-5)
    assert type(lean(x.as_subclass(Named))) is Named
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert lean(mode.from_tensor(x)).shape == plain(x).shape
    trace = lean.forward(x)
    seed = random(*trace["rf"].shape).contiguous(memory_format=torch.channels_last)
    wanted = plain.backward(plain.forward(x), -seed, wrt="x")["x"]
    found = lean.backward(trace, torch._neg_view(seed), wrt="x")["x"]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=[torch.float64, torch.float16, torch.bfloat16, torch.device("meta")], ids=str)
def elsewhere(request: pytest.FixtureRequest) -> Iterator[None]:
    """Torch makes tensors of another type of number, or on another device, where none is named."""
    before = torch.get_default_dtype()
    if isinstance(request.param, torch.dtype):
        torch.set_default_dtype(request.param)
        yield
        torch.set_default_dtype(before)
    else:
        with request.param:
            yield


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("name", ["inception", "residual"])
def test_whatever_torch_makes_by_default(name: str) -> None:
    """Programs are written anew, in memory of their own."""
    network = GRAPHS[name].copy()
    x = torch.sin(torch.arange(3 * 18 * 17, dtype=torch.float32, device="cpu")).reshape(1, 3, 18, 17)
    lean, plain = network.prepare(), network.prepare(without=["join_regions"])
    trace, wanted = lean.forward(x), plain.forward(x)
    (key,) = lean.outputs
    torch.testing.assert_close(trace[key], wanted[key], rtol=1e-4, atol=1e-5)
    seed = torch.ones_like(wanted[key])
    d, d_wanted = lean.backward(trace, seed, wrt="x")["x"], plain.backward(wanted, seed, wrt="x")["x"]
    torch.testing.assert_close(d, d_wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reflects", [False, True], ids=["zeros around", "reflected"])
def test_what_sums_nothing_but_zeros_is_exactly_the_bias(reflects: bool) -> None:
    """Else a rectifier behind a picture's black ground would be open at random."""
    layer = conv(16, 32, padding=0 if reflects else 1)
    layer.bias[::2] = 0
    around: list[tuple[str, Block, str]] = [("p", Pad((1, 1, 1, 1), mode="reflect"), "x")] if reflects else []
    network = graph(*around, ("a", layer, "p" if reflects else "x"), ("r", ReLU(), "a"))
    layer.bias.copy_(torch.randn(32)).masked_fill_(torch.arange(32) % 2 == 0, 0)
    x = torch.zeros(2, 16, 29, 31)
    x[:, :, 6:15, 11:16] = torch.randn(9, 5)
    x[1, 3, 22, 4] = 1
    ground = torch.nn.functional.max_pool2d((x != 0).any(1, keepdim=True).float(), 3, 1, 1).expand(-1, 32, -1, -1) == 0
    y = network.prepare()(x)
    wanted = layer.bias.clamp(min=0).view(1, -1, 1, 1).expand_as(y)
    assert torch.equal(y[ground], wanted[ground])
    torch.testing.assert_close(y, network(x), rtol=1e-4, atol=1e-5)


def test_numbers_of_another_type_reach_no_kernel() -> None:
    found = kernels()
    assert found is not None
    plan = next(iter(_region(GRAPHS["residual"].prepare(), random(1, 3, 18, 17))._plans.values()))[0]
    assert plan is not None
    with pytest.raises(NativeError, match=r"no pictures of torch\.float32"):
        found.run(plan.program, 1, torch.empty(0), [torch.empty(4, dtype=torch.float16)])


def _region(lean: Network, x: Tensor) -> NativeRegion:
    """The first one, after it has run."""
    lean(x)
    return next(node.block for node in lean.nodes if isinstance(node.block, NativeRegion))


def test_a_huge_arena_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    lean, x = GRAPHS["inception"].prepare(), random(1, 3, 64, 64)
    kernels_module.release()
    monkeypatch.setattr(kernels_module, "KEPT", 1000)
    both_passes(lean, x, lean.outputs, ("x",))
    assert kernels_module._free == []
