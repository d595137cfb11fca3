"""Training by the native kernel: when it is used, that it is said, and that nothing else changes."""

import _thread
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import lr_scheduler

from blockprop.blocks import Conv2d, Flatten, LeakyReLU, Linear, MaxPool2d, ReLU, Sigmoid, Tanh
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy, huber, mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError, NotFiniteError, ShapeError
from blockprop.native.library import Library, usable_sets
from blockprop.training import batches as batches_module
from blockprop.training.batches import shuffled
from blockprop.training.evaluation import evaluate
from blockprop.training.fit import fit
from blockprop.training.run import TrainingRun
from tests.training.examples import data, net, noisy_net, same

pytestmark = pytest.mark.usefixtures("kernels")
USUAL: dict[str, Any] = {"epochs": 3, "batch_size": 8, "rate": 0.1}


def run_of(network: Network, **settings: Any) -> TrainingRun:
    return fit(network, data(), cross_entropy(), **USUAL | settings)


def of_numbers(x: Tensor) -> tuple[Tensor, Tensor]:
    return x, x[:, :3].contiguous()


def test_a_plain_network_learns_natively_and_the_record_says_so(kernels: Library) -> None:
    run = run_of(net())
    assert run.by == f"native kernel: {kernels.set}"
    assert {record.native for record in run} == {True}


def test_without_the_library_the_blocks_learn_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    native, ordinary = net(), net()
    values = [record.value for record in run_of(native, momentum=0.9, weight_decay=0.01)]
    monkeypatch.setenv("BLOCKPROP_NATIVE", "0")
    run = run_of(ordinary, momentum=0.9, weight_decay=0.01)
    assert run.by == "blocks: native kernels are off (BLOCKPROP_NATIVE=0)"
    records = list(run)
    assert {record.native for record in records} == {False}
    assert values == pytest.approx([record.value for record in records], rel=1e-5)
    for ours, theirs in zip(native.parameters.values(), ordinary.parameters.values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def wide_net() -> Network:
    return net().to(dtype=torch.float64)


def twice() -> Network:
    layer = Linear(6, 6)
    return Sequential(layer, ReLU(), layer)


def patched() -> Network:
    network = net()
    block: Any = network.nodes[0].block
    block.propagate = block.propagate
    return network


def forked() -> Network:
    a, b = Linear(6, 3), ReLU()
    return Network([("a", a, ("x",)), ("b", b, ("a",))], outputs=("a", "b"))


def cut() -> Network:
    network = net()
    block: Any = network.nodes[0].block
    block.weight = torch.cat([block.weight, block.weight], 1)[:, :6]
    return network


def pictures(*blocks: Block) -> Network:
    sizes = Sequential(*blocks)(PICTURES[0]).flatten(1).shape[1]
    return Sequential(*blocks, Flatten(), Linear(sizes, 3))


PICTURES = torch.rand(40, 1, 6, 6), torch.arange(40) % 3
X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
CLASSES = (X, X[:, :3].argmax(1))
NOT_SO: dict[str, tuple[Callable[[], Network], Any, Any, dict[str, Any], str]] = {
    "another optimizer": (net, CLASSES, cross_entropy(), {"optimizer": torch.optim.SGD}, "the optimizer is SGD"),
    "clip": (net, CLASSES, cross_entropy(), {"clip": 1.0}, "clip is set"),
    "accumulate": (net, CLASSES, cross_entropy(), {"accumulate": 2}, "accumulate is set"),
    "some weights": (net, CLASSES, cross_entropy(), {"wrt": ["linear2.bias"]}, "linear1.weight is not trained"),
    "another loss": (net, of_numbers(X), huber(), {}, "the objective is huber()"),
    "a softened loss": (net, CLASSES, cross_entropy(label_smoothing=0.1), {},
                        "the objective is cross_entropy(label_smoothing=0.1)"),
    "a sum of losses": (net, CLASSES, 2 * cross_entropy(), {}, "the objective is 2 * cross_entropy()"),
    "another block": (noisy_net, CLASSES, cross_entropy(), {}, "'batchnorm1d1' is a BatchNorm1d"),
    "wide numbers": (wide_net, CLASSES, cross_entropy(), {}, "weights of torch.float64 on cpu"),
    "distributions": (net, (X, X[:, :3].softmax(1)), cross_entropy(), {}, "targets of torch.float32 and shape (3,)"),
    "half targets": (net, (X, X[:, :3].half()), mean_squared_error(), {}, "targets of torch.float16 and shape (3,)"),
    "a layer twice": (twice, (X, X), mean_squared_error(), {}, "a layer stands there twice"),
    "a method replaced": (patched, CLASSES, cross_entropy(), {}, "a method of 'linear1' is not the usual one"),
    "rows of rows": (net, (X.view(2, 6, 6), X.view(2, 6, 6)[..., :3].contiguous()), mean_squared_error(), {},
                     "'linear1' is given examples of shape (6, 6)"),
    "a part of a graph": (forked, CLASSES, cross_entropy(node="a"), {}, "there are several inputs or outputs"),
    "strides": (lambda: pictures(Conv2d(1, 4, 3, stride=2)), PICTURES, cross_entropy(), {"batch_size": 20},
                "'conv2d1' is Conv2d(1, 4, 3, stride=2)"),
    "overlapping windows": (lambda: pictures(MaxPool2d(3, 1)), PICTURES, cross_entropy(), {"batch_size": 20},
                            "'maxpool2d1' is MaxPool2d(3, stride=1)"),
    "many channels": (lambda: pictures(Conv2d(1, 17, 1), Conv2d(17, 1, 1)), PICTURES, cross_entropy(),
                      {"batch_size": 20}, "convolutions of many channels"),
    "small batches": (lambda: pictures(Conv2d(1, 2, 3)), PICTURES, cross_entropy(), {}, "batches of 8 are small"),
    "weights cut out of others": (cut, CLASSES, cross_entropy(), {}, "weights that do not lie in one piece"),
    "an activation first": (lambda: Sequential(ReLU(), Linear(6, 3)), CLASSES, cross_entropy(), {},
                            "'relu1' is a ReLU behind no layer"),
    "an activation last": (lambda: Sequential(Linear(6, 3), Tanh()), CLASSES, cross_entropy(), {},
                           "the scores come from an activation"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_SO)
def test_what_is_not_plain_is_left_to_the_blocks_and_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, examples, objective, settings, told = NOT_SO[name]
    networks = []
    for switch in ("1", "0"):
        monkeypatch.setenv("BLOCKPROP_NATIVE", switch)
        torch.manual_seed(0)
        networks.append(made())
        run = fit(networks[-1], examples, objective, **USUAL | settings)
        assert switch == "0" or run.by == f"blocks: {told}"
        assert not any(record.native for record in run)
        assert switch == "0" or run.by == f"blocks: {told}"
    assert same(*networks)


EXTRAS: dict[str, dict[str, Any]] = {
    "momentum and decay": {"momentum": 0.9, "weight_decay": 0.01},
    "uneven batches": {"batch_size": 7},
    "a single left-over example": {"batch_size": 49},
    "one batch": {"batch_size": 200},
    "schedule": {"scheduler": lambda o: lr_scheduler.ExponentialLR(o, 0.5)},
    "schedule by steps": {"scheduler": lambda o: lr_scheduler.ExponentialLR(o, 0.9), "schedule": "step"},
    "one cycle": {"scheduler": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 100), "schedule": "step", "momentum": 0.9},
    "average": {"average": 0.9},
    "validation": {"validation": data(20, 3), "patience": 1, "epochs": 6, "rate": 2.0},
    "immediate": {"immediate": True},
}  # fmt: skip


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", EXTRAS)
def test_many_steps_in_one_call_are_those_made_one_by_one(
    name: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "LARGE_DATA", 0 if large else 10**6)
    singly, together = net(), net()
    records = list(run_of(singly, **EXTRAS[name]))
    ends = list(run_of(together, **EXTRAS[name]).epochs())
    assert same(singly, together)
    assert [record._replace(seconds=0) for record in records if record.ends_epoch] == [
        record._replace(seconds=0) for record in ends
    ]
    last = run_of(net(), **EXTRAS[name]).finish()
    assert last is not None
    assert last._replace(seconds=0) == ends[-1]._replace(seconds=0)
    assert all(record.native for record in records)


def test_many_steps_are_made_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    run = run_of(net(), epochs=2)
    steps = run.native.steps
    monkeypatch.setattr(run.native, "steps", lambda *asked: sizes.append(len(asked[-1])) or steps(*asked))
    run.finish()
    assert sizes[0] == 1, "nobody knows yet how long one takes"
    assert len(sizes) < 7 < sum(sizes) == 14


def test_an_observer_sees_every_step_with_its_weights() -> None:
    alone, watched = net(), net()
    seen, observed = [], []
    for _ in run_of(alone):
        seen.append(alone.parameters["linear1.weight"].clone())
    run = run_of(watched)
    run.observe(lambda _: observed.append(watched.parameters["linear1.weight"].clone()))
    run.finish()
    assert all(torch.equal(a, b) for a, b in zip(seen, observed, strict=True))


@pytest.mark.parametrize("stop", [1, 4, 7, 9])
def test_a_run_that_is_stopped_within_an_epoch_and_resumed_gives_the_same_bits(tmp_path: Path, stop: int) -> None:
    settings = {"momentum": 0.9, "validation": data(20, 3), "checkpoint_seconds": 0}
    whole, parts = net(), net()
    last = run_of(whole, **settings).finish()
    run = run_of(parts, **settings, checkpoint=tmp_path / "run")
    for _ in range(stop):
        next(run)
    run.close()
    resumed = run_of(parts, **settings, checkpoint=tmp_path / "run", resume=True).finish()
    assert same(whole, parts)
    assert last is not None
    assert resumed is not None
    assert last._replace(seconds=0) == resumed._replace(seconds=0)


def test_a_run_that_goes_on_in_another_way_says_that_bits_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernels: Library
) -> None:
    next(run := run_of(net(), checkpoint=tmp_path / "run"))
    run.close()
    monkeypatch.setenv("BLOCKPROP_NATIVE", "0")
    told = f"made on cpu, native kernel: {kernels.set} and goes on on cpu: not bit for bit the same"
    with pytest.warns(UserWarning, match=told):
        run_of(net(), checkpoint=tmp_path / "run", resume=True).finish()


def test_ctrl_c_waits_for_a_call_and_no_longer(tmp_path: Path) -> None:
    """A run of hours in one epoch: the checkpoint is there at once, and goes on."""
    x = torch.rand(200_000, 6)
    examples = (x, x[:, :3].argmax(1))
    run = fit(net(), examples, cross_entropy(), epochs=1000, batch_size=2, checkpoint=tmp_path / "run")

    def interrupt() -> None:
        while run.position == 0:
            time.sleep(0.01)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert time.perf_counter() - start < 30, "an epoch of 100,000 steps was waited for"
    assert 0 < run.position < 100_000
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize("name", usable_sets())
def test_the_number_of_threads_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKPROP_NATIVE", name)
    x = torch.randn(300, 100, generator=torch.Generator().manual_seed(0))
    networks, before = [], torch.get_num_threads()
    try:
        for count in (1, 2, 3, 12, 2):
            torch.set_num_threads(count)
            torch.manual_seed(0)
            networks.append(Sequential(Linear(100, 150), ReLU(), Linear(150, 40), Tanh(), Linear(40, 5)))
            run = fit(networks[-1], (x, x[:, :5].argmax(1)), cross_entropy(), epochs=2, batch_size=130, momentum=0.9)
            assert not run.native.is_small
            run.finish()
    finally:
        torch.set_num_threads(before)
    assert all(same(networks[0], other) for other in networks[1:])


def test_pictures_are_learned_natively_and_in_the_same_bits_by_any_number_of_threads() -> None:
    networks, before = [], torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            torch.manual_seed(0)
            networks.append(pictures(Conv2d(1, 15, 3, padding=1), ReLU(), MaxPool2d(2), Conv2d(15, 4, 2), Tanh()))
            last = fit(networks[-1], PICTURES, cross_entropy(), epochs=2, batch_size=40, momentum=0.9).finish()
            assert last is not None
            assert last.native
    finally:
        torch.set_num_threads(before)
    assert same(networks[0], networks[1])
    assert same(networks[0], networks[2])


def test_of_equal_maxima_the_first_alone_gets_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randint(0, 3, (40, 1, 6, 6), generator=torch.Generator().manual_seed(0)).float()
    weights = []
    for switch in ("1", "0"):
        monkeypatch.setenv("BLOCKPROP_NATIVE", switch)
        torch.manual_seed(0)
        network = pictures(Conv2d(1, 2, 1), MaxPool2d((2, 3)))
        fit(network, (x, PICTURES[1]), cross_entropy(), epochs=1, batch_size=40).finish()
        weights.append(network.parameters["conv2d1.weight"])
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-6)


def test_a_window_with_a_nan_gives_a_nan() -> None:
    x, y = PICTURES[0].clone(), PICTURES[1]
    x[30, 0, 4, 5] = float("nan")
    run = fit(pictures(MaxPool2d(2)), (x, y), cross_entropy(), batch_size=20)
    assert run.by.startswith("native")
    with pytest.raises(NotFiniteError, match="row 31 of the data"):
        run.finish()


@pytest.mark.parametrize("rate", [30.0, 1e30])
def test_what_grows_beyond_bounds_is_said_at_the_same_step_in_the_same_words(
    rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    x, _ = data()
    for switch, way in (("0", list), ("1", list), ("1", lambda run: run.finish())):
        monkeypatch.setenv("BLOCKPROP_NATIVE", switch)
        with pytest.raises(NotFiniteError) as error:
            way(fit(net(), (x, x[:, :3].contiguous()), mean_squared_error(), epochs=100, batch_size=8, rate=rate))
        said.append(str(error.value))
    assert said[1] == said[2]
    assert said[0].split(":")[0] == said[1].split(":")[0]


def test_layers_that_do_not_fit_never_reach_the_kernel() -> None:
    network = Sequential(Linear(6, 16), ReLU(), Linear(15, 3))
    run = fit(network, data(), cross_entropy(), **USUAL)
    assert run.by == "blocks: 'linear2' is given examples of shape (16,)"
    with pytest.raises(ShapeError, match="expected rows of 15 numbers"):
        next(run)


@pytest.mark.parametrize("width", [5, 7])
def test_rows_that_do_not_fit_never_reach_the_kernel(width: int) -> None:
    run = fit(net(), (torch.zeros(20, width), torch.zeros(20, dtype=torch.int64)), cross_entropy(), **USUAL)
    with pytest.raises(ShapeError, match="expected rows of 6 numbers"):
        run.finish()


@pytest.mark.parametrize("bad", [-1, 3, 2**32 + 1])
def test_a_target_that_is_no_class_is_refused_in_the_blocks_words(bad: int) -> None:
    x, y = data()
    y[20] = bad
    network = net()
    run = fit(network, (x, y), cross_entropy(), **USUAL)
    with pytest.raises(BlockpropError, match=r"one class number 0…2 for each of 8 examples"):
        run.finish()


def test_a_method_that_is_replaced_on_the_way_is_used_from_then_on() -> None:
    network, used = net(), []
    run = run_of(network)
    assert next(run).native
    block: Any = network.nodes[0].block
    gradients = block.gradients
    block.gradients = lambda *given: used.append(1) or gradients(*given)
    assert not next(run).native
    assert used == [1]
    assert run.by == "blocks: a method of 'linear1' is not the usual one"


def test_a_class_whose_method_is_replaced_is_used_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(net())
    assert next(run).native
    monkeypatch.setattr(ReLU, "propagate", lambda _block, _saved, d_y: (d_y,))
    assert not next(run).native


def test_weights_that_are_put_elsewhere_on_the_way_are_followed() -> None:
    moved, left = net(), net()
    run, other = run_of(moved, momentum=0.9), run_of(left, momentum=0.9)
    for _ in range(2):
        next(run)
        next(other)
    for parameter in moved.parameters.values():
        parameter.data = parameter.data.clone()
    for tensor in (block.weight for block in moved.blocks.values() if isinstance(block, Linear)):
        run.optimizer.state[tensor]["velocity"] = run.optimizer.velocity(tensor).clone()
    list(run)
    list(other)
    assert same(moved, left)


def test_a_slope_that_is_changed_on_the_way_counts() -> None:
    def learned(later: float) -> Network:
        torch.manual_seed(0)
        network = Sequential(Linear(6, 16), LeakyReLU(0.1), Linear(16, 3))
        run = run_of(network)
        next(run)
        activation: Any = network.nodes[1].block
        activation.negative_slope = later
        assert all(record.native for record in run)
        return network

    assert not same(learned(0.1), learned(0.5))


def test_a_network_that_was_prepared_sees_the_new_weights() -> None:
    network, (x, y) = net(), data()
    versions = [parameter._version for parameter in network.parameters.values()]
    run = run_of(network)
    for _ in range(3):
        next(run)
        fresh = Sequential(*(node.block for node in network.nodes))
        assert evaluate(network, (x, y), cross_entropy()) == evaluate(fresh, (x, y), cross_entropy())
    assert all(p._version > before for p, before in zip(network.parameters.values(), versions, strict=True))


def test_data_in_any_order_of_memory_and_pictures_are_read_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(20, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    y = x.flatten(1)[:, :2].argmax(1)
    for large in (0, 10**6):
        monkeypatch.setattr(batches_module, "LARGE_DATA", large)
        networks = []
        for examples in (x, x.contiguous(memory_format=torch.channels_last)):
            torch.manual_seed(0)
            networks.append(Sequential(Flatten(), Linear(24, 5), Sigmoid(), Linear(5, 2)))
            run = fit(networks[-1], (examples, y), cross_entropy(), epochs=2, batch_size=6)
            last = run.finish()
            assert last is not None
            assert last.native
        assert same(*networks)


def test_a_frozen_lower_part_leaves_a_plain_network() -> None:
    torch.manual_seed(0)
    network = Sequential(Conv2d(1, 2, 3), Flatten(), Linear(8, 8), ReLU(), Linear(8, 3))
    x = torch.randn(20, 1, 4, 4)
    run = fit(network, (x, x.flatten(1)[:, :3].argmax(1)), cross_entropy(), epochs=1, batch_size=5, freeze="flatten1")
    assert run.by.startswith("native kernel")
    assert all(record.native for record in run)


FUNCTIONS: dict[str, tuple[Any, Callable[[Tensor], Tensor]]] = {
    "sigmoid": (Sigmoid, torch.sigmoid),
    "tanh": (Tanh, torch.tanh),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kernel", usable_sets())
def test_the_kernels_functions_are_accurate(name: str, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weight 1, bias 0, target 0 and rate 0 the loss of one example is f(x)²."""
    monkeypatch.setenv("BLOCKPROP_NATIVE", kernel)
    made, oracle = FUNCTIONS[name]
    x = torch.cat([torch.linspace(-30, 30, 1001), torch.logspace(-6, 0, 200), -torch.logspace(-6, 0, 200)]).unsqueeze(1)
    network = Sequential(Linear(1, 1), made())
    network.parameters["linear1.weight"].fill_(1.0)
    values = _values(network, x, torch.zeros_like(x), mean_squared_error())
    wanted = oracle(x.double()).square().flatten()
    assert ((values - wanted).abs() <= 5e-7 * wanted + 1e-37).all()


@pytest.mark.parametrize("kernel", usable_sets())
def test_the_kernels_softmax_is_accurate(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With scores (x, 0, …, 0) the loss of the first class is log(1 + 4 e^−x)."""
    monkeypatch.setenv("BLOCKPROP_NATIVE", kernel)
    x = torch.linspace(-100, 100, 2001).unsqueeze(1)
    network = Sequential(Linear(1, 5))
    network.parameters["linear1.weight"].copy_(torch.tensor([[1.0], [0], [0], [0], [0]]))
    values = _values(network, x, torch.zeros(len(x), dtype=torch.int64), cross_entropy())
    wanted = torch.log1p(4 * (-x.double()).exp()).flatten()
    assert ((values - wanted).abs() <= 4e-7 * (wanted + 1)).all()


def _values(network: Network, x: Tensor, y: Tensor, objective: Any) -> Tensor:
    """The objective on each example."""
    run = fit(network, (x, y), objective, epochs=1, batch_size=1, rate=0.0)
    records = list(run)
    assert all(record.native for record in records)
    values = torch.empty(len(x), dtype=torch.float64)
    values[shuffled(len(x), 0, 1)] = torch.tensor([record.value for record in records], dtype=torch.float64)
    return values
