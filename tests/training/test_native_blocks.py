"""Convolutional networks train by blocks with native kernels: the numbers of the plain blocks, whatever is asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Add, BatchNorm2d, Conv2d, Dropout, GlobalAvgPool, Linear, MaxPool2d, ReLU
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.engine.shared_batch import SharedBatch
from blockprop.errors import NotFiniteError, ShapeError
from blockprop.preparing.native.kernels import kernels as found_kernels
from blockprop.training.augmentation import augmentations
from blockprop.training.fit import fit
from blockprop.training.native_network import with_native_blocks
from blockprop.training.native_pictures import Pictures, lies_so
from tests.training.examples import same

pytestmark = pytest.mark.usefixtures("kernels")
USUAL: dict[str, Any] = {"epochs": 2, "batch_size": 8, "rate": 0.05, "momentum": 0.9}


def pictures(count: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 13, 10, generator=generator), torch.arange(count) % 4


def net() -> Network:
    """All that has a native block; channels that are no whole vectors, a stride, a shared convolution."""
    torch.manual_seed(0)
    shared = Conv2d(20, 20, 3, padding=1)
    nodes = [
        ("first", Conv2d(3, 20, 3, padding=1, with_bias=False), "x"),
        *(("norm", BatchNorm2d(20), "first"), ("relu", ReLU(), "norm")),
        *(("again", shared, "relu"), ("norm2", BatchNorm2d(20), "again"), ("relu2", ReLU(), "norm2")),
        ("more", shared, "relu2"),
        ("pool", MaxPool2d(3, 2, padding=1), "sum"),
        *(("wide", Conv2d(20, 33, 3), "pool"), ("norm3", BatchNorm2d(33, affine=False), "wide")),
        *(
            ("strided", Conv2d(33, 16, 3, stride=2), "norm3"),
            ("relu3", ReLU(), "strided"),
            ("drop", Dropout(0.2), "relu3"),
        ),
        *(("mean", GlobalAvgPool(), "drop"), ("last", Linear(16, 4), "mean")),
    ]
    joined = Node("sum", Add(), ("relu", "more"))
    return Network([joined, *(Node(name, block, (source,)) for name, block, source in nodes)])  # type: ignore[arg-type]


def both(**settings: Any) -> tuple[Network, Network]:
    """The network trained with native blocks, and without."""
    networks = []
    for switch in ("", "0"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BLOCKPROP_NATIVE", switch)
            network = net()
            run = fit(network, pictures(), cross_entropy(), **USUAL | settings)
            assert run.by.startswith("blocks with native kernels (" if not switch else "blocks: native kernels are off")
            run.finish()
            networks.append(network)
    return networks[0], networks[1]


SETTINGS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "another optimizer": {"optimizer": lambda parameters: torch.optim.Adam(parameters, lr=1e-3, eps=1e-3)},
    "clip": {"clip": 0.1},
    "accumulate": {"accumulate": 2},
    "some weights": {"wrt": ["wide.weight", "norm.bias", "last.weight"]},
    "the lower part stays": {"freeze": "pool"},
    "an average": {"average": 0.9},
    "augmented": {"augment": augmentations("flip,shift:2")},
    "all at once": {"immediate": False, "weight_decay": 0.01},
    "stopped early": {"validation": pictures(8), "patience": 1, "epochs": 4},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_training_gives_what_the_plain_blocks_give(settings: dict[str, Any]) -> None:
    native, plain = both(**settings)
    before = net().state
    moved = 0
    for name, tensor in plain.state.items():
        torch.testing.assert_close(native.state[name], tensor, rtol=2e-3, atol=2e-4, msg=name)
        moved += not torch.equal(tensor, before[name])
    assert moved > 2


def test_a_step_gives_the_derivatives_of_float64() -> None:
    network = net()
    x, y = pictures()
    found = found_kernels()
    assert found is not None
    native = with_native_blocks(network, network.outputs, found)
    derivatives = []
    for each, dtype in ((native, torch.float32), (network.copy().to(dtype=torch.float64), torch.float64)):
        each.seed(0)
        trace = each.record((x.to(dtype),), each.outputs, True)
        values, seeds = cross_entropy().by_term(trace.values, y)
        derivatives.append((float(values[0]), dict(each.sweep(trace, seeds, tuple(network.parameters)))))
    (ours, d_ours), (exact, d_exact) = derivatives
    assert ours == pytest.approx(exact, rel=1e-6)
    assert list(d_ours) == list(d_exact)
    for name, d in d_exact.items():
        if d.norm() > 1e-9:  # a bias before a batch normalization has none
            assert (d_ours[name] - d).norm() < 1e-5 * d.norm(), name


def test_nodes_keep_their_names_and_weights_are_the_same_tensors() -> None:
    network, found = net(), found_kernels()
    assert found is not None
    native = with_native_blocks(network, (), found)
    assert [(node.name, node.inputs) for node in native.nodes] == [(node.name, node.inputs) for node in network.nodes]
    assert native.parameters.keys() == network.parameters.keys()
    assert all(native.state[name] is tensor for name, tensor in network.state.items())


def test_statistics_of_a_batch_that_processes_share_are_left_to_the_block() -> None:
    network, found = net(), found_kernels()
    assert found is not None
    block: Any = network.blocks["norm"]
    native, x = with_native_blocks(network, ("norm",), found).blocks["norm"], torch.rand(4, 20, 6, 6)
    block.batch = SharedBatch(lambda sums: torch.stack([sums, sums + 1]))
    block.batch.first, block.batch.rows, block.batch.total = 0, 4, 8
    assert torch.equal(native.forward(x, training=True)[0], block.forward(x, training=True)[0])


def test_what_is_looked_at_is_not_joined() -> None:
    network, found = net(), found_kernels()
    assert found is not None
    x, _ = pictures()
    for visible in ("norm", "relu"):
        native = with_native_blocks(network, (visible,), found)
        ours, plain = (each.record((x,), (visible,), True)[visible] for each in (native, network))
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def test_zeros_stay_zeros_where_no_normalization_follows() -> None:
    """As the plain convolution gives them: a ReLU behind would let the rounding's rest through."""
    found = found_kernels()
    assert found is not None
    x = torch.rand(2, 16, 12, 12)
    x[:, :, :, 5:] = 0
    for followers, exact in (([ReLU()], True), ([BatchNorm2d(16)], False)):
        network = Sequential(Conv2d(16, 16, 3, padding=1), *followers)
        y, _ = with_native_blocks(network, network.outputs, found).blocks["conv2d1"].forward(x)
        assert bool((y[:, :, :, 6:] == 0).all()) is exact


def test_networks_without_such_convolutions_are_left_alone() -> None:
    found = found_kernels()
    assert found is not None
    for network in (
        Sequential(Conv2d(3, 15, 3), BatchNorm2d(15), ReLU()),
        Sequential(Conv2d(16, 16, 3, stride=2)),
        Sequential(Conv2d(16, 16, 3, groups=2)),
        Sequential(Conv2d(16, 16, 1)),
    ):
        assert with_native_blocks(network, network.outputs, found) is network


def test_resuming_is_bit_for_bit(tmp_path: Path) -> None:
    whole, stopped = net(), net()
    fit(whole, pictures(), cross_entropy(), **USUAL).finish()
    run = fit(stopped, pictures(), cross_entropy(), **USUAL, checkpoint=tmp_path / "run.checkpoint")
    for _ in range(3):
        next(run)
    run.close()
    resumed = net()
    fit(resumed, pictures(), cross_entropy(), **USUAL, checkpoint=tmp_path / "run.checkpoint", resume=True).finish()
    assert same(whole, resumed)


def test_the_number_of_threads_does_not_matter() -> None:
    threads, found = torch.get_num_threads(), found_kernels()
    assert found is not None
    block = with_native_blocks(net(), (), found).blocks["again"]
    x = torch.rand(5, 20, 9, 9)
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            y, saved = block.forward(x)
            d = torch.ones_like(y)
            results.append([y, *block.propagate(saved, d), block.gradients(saved, d)["weight"]])
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))


def changed_in_place(network: Network) -> None:
    network.blocks["wide"].weight.mul_(0.5)  # type: ignore[operator]


def replaced(network: Network) -> None:
    block: Any = network.blocks["wide"]
    block.weight = block.weight.clone().mul_(0.5)


def patched(network: Network) -> None:
    block: Any = network.blocks["relu2"]
    block.propagate = lambda _, d_y: (d_y * 0,)


@pytest.mark.parametrize("change", [changed_in_place, patched])
def test_changes_between_two_steps_are_seen(change: Callable[[Network], None], monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for switch in ("", "0"):
        monkeypatch.setenv("BLOCKPROP_NATIVE", switch)
        network = net()
        run = fit(network, pictures(), cross_entropy(), **USUAL)
        next(run)
        change(network)
        next(run)
        results.append(network.state)
    for name, tensor in results[1].items():
        torch.testing.assert_close(results[0][name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_a_replaced_weight_is_seen() -> None:
    network, found = net(), found_kernels()
    assert found is not None
    native, x = with_native_blocks(network, (), found), torch.rand(4, 20, 9, 9)
    block: Any = native.blocks["wide"]
    before, _ = block.forward(x)
    replaced(network)
    after, _ = block.forward(x)
    bias = network.blocks["wide"].bias.view(1, -1, 1, 1)  # type: ignore[operator]
    torch.testing.assert_close(after - bias, (before - bias) / 2)


@pytest.mark.parametrize("factor", [1e25, 1e-30])
def test_variances_beyond_float32_are_left_to_the_block(factor: float) -> None:
    found = found_kernels()
    assert found is not None
    network = Sequential({"conv": Conv2d(16, 16, 3), "norm": BatchNorm2d(16, epsilon=1e-12), "relu": ReLU()})
    x = torch.rand(4, 16, 6, 6) * factor
    native = with_native_blocks(network, ("relu",), found)
    values = [each.record((x,), each.outputs, True)["relu"] for each in (native, network)]
    assert values[0].isfinite().all()
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-4)


def test_what_is_not_finite_is_said_with_the_plain_words() -> None:
    x, y = pictures()
    x[3, 0, 2, 2] = torch.nan
    with pytest.raises(NotFiniteError, match="row 4 of the data is not finite"):
        fit(net(), (x, y), cross_entropy(), **USUAL).finish()


def test_data_that_do_not_fit_are_refused_with_the_nodes_name() -> None:
    with pytest.raises(ShapeError, match="node 'first'"):
        fit(net(), (torch.rand(8, 4, 9, 9), torch.zeros(8, dtype=torch.int64)), cross_entropy(), **USUAL).finish()


def test_memory_is_used_again_when_the_last_view_is_gone() -> None:
    memory = Pictures()
    first = memory.new((2, 3, 4, 16))
    place, view = first.data_ptr(), first[1:]
    assert first.shape == (2, 16, 3, 4)
    assert lies_so(first)
    del first
    other = memory.new((2, 3, 4, 16))
    assert other.data_ptr() != place
    del view
    again = memory.new((2, 3, 4, 16))
    assert again.data_ptr() == place
    del again
    assert memory.new((1, 1, 1, 16)).data_ptr() != place, "what is much too large is kept for what is large"
