"""Training: the update rule, order, resume, interruption, early stopping, broken numbers."""

import os
import random
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from blockprop.blocks import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Log, ReLU
from blockprop.engine.network import Network, Sequential
from blockprop.engine.objectives import cross_entropy, mean_squared_error
from blockprop.errors import FormatError, GraphError, NotFiniteError, SettingError, ShapeError
from blockprop.training.augmentation import augmentations
from blockprop.training.batches import batch_sizes, shuffled
from blockprop.training.descent import GradientDescent, clipped
from blockprop.training.evaluation import evaluate, predict
from blockprop.training.fit import fit


def data(count: int = 50, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points in 6 dimensions whose class is the largest of three sums."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator)
    return x, x.view(count, 3, 2).sum(2).argmax(1)


def net(seed: int = 1) -> Network:
    torch.manual_seed(seed)
    return Sequential(Linear(6, 16), ReLU(), Linear(16, 3))


def noisy_net() -> Network:
    torch.manual_seed(1)
    return Sequential(Linear(6, 16), BatchNorm1d(16), ReLU(), Dropout(0.3), Linear(16, 3))


def train(network: Network, **settings: object) -> list:
    return list(fit(network, data(), cross_entropy(), **{"epochs": 3, "batch_size": 8, "rate": 0.1} | settings))


def same(a: Network, b: Network) -> bool:
    return all(torch.equal(tensor, b.state[name]) for name, tensor in a.state.items())


def test_one_step_worked_by_hand() -> None:
    network = Sequential(Linear(1, 1))
    weight, bias = network.parameters.values()
    weight.fill_(2.0)
    bias.fill_(1.0)
    x, y = torch.tensor([[3.0]]), torch.tensor([[5.0]])  # y_hat = 7, L = 4, dL/dy = 4, dL/dw = 12, dL/db = 4
    records = list(fit(network, (x, y), mean_squared_error(), epochs=1, rate=0.125))
    assert [record.value for record in records] == [4.0]
    assert (weight.item(), bias.item()) == (2.0 - 0.125 * 12, 1.0 - 0.125 * 4)


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.01), (0.9, 0.01)], ids=str)
def test_gradient_descent_equals_torch(momentum: float, weight_decay: float) -> None:
    torch.manual_seed(0)
    mine, theirs = [torch.randn(3, 4), torch.randn(2)], []
    theirs = [p.clone().requires_grad_() for p in mine]
    descent = GradientDescent(mine, 0.1, momentum, weight_decay)
    peer = torch.optim.SGD(theirs, lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for _ in range(5):
        gradients = [torch.randn_like(p) for p in mine]
        descent.update(mine, gradients)
        for p, g in zip(theirs, gradients, strict=True):
            p.grad = g.clone()
        peer.step()
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-6, atol=1e-7)


def test_training_learns() -> None:
    network = net()
    records = train(network, epochs=30, rate=0.5)
    assert records[-1].value < 0.3 * records[0].value
    assert evaluate(network, data(200, seed=5), cross_entropy()).accuracy > 0.85


def test_a_whole_run_equals_a_loop_with_autograd() -> None:
    network, (x, y) = net(), data()
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    for parameter, start in zip(model.parameters(), network.parameters.values(), strict=True):
        parameter.data.copy_(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for epoch in (1, 2, 3):
        for rows in shuffled(50, 0, epoch).split(8):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    records = train(network, momentum=0.9)
    assert [r.value for r in records] == pytest.approx(losses, rel=1e-4)
    for parameter, mine in zip(model.parameters(), network.parameters.values(), strict=True):
        torch.testing.assert_close(mine, parameter.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_updating_immediately_gives_the_same_weights(momentum: float) -> None:
    together, immediately = net(), net()
    train(together, momentum=momentum, weight_decay=0.01)
    train(immediately, momentum=momentum, weight_decay=0.01, immediate=True)
    assert same(together, immediately)


def test_updating_immediately_works_with_any_torch_optimizer_and_a_shared_block() -> None:
    def shared() -> Network:
        torch.manual_seed(0)
        fc = Linear(6, 6)
        return Sequential({"a": fc, "relu": ReLU(), "b": fc, "out": Linear(6, 3)})

    together, immediately = shared(), shared()
    train(together, optimizer=torch.optim.Adam)
    train(immediately, optimizer=torch.optim.Adam, immediate=True)
    assert same(together, immediately)


def test_immediately_means_that_one_blocks_gradient_exists_at_a_time() -> None:
    alive: list[int] = []
    most = []

    class Watched(Linear):
        def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
            found = super().gradients(saved, d_y)
            for gradient in found.values():
                alive.append(1)
                _when_gone(gradient, alive)
            most.append(len(alive))
            return found

    def peak(immediate: bool) -> int:
        most.clear()
        network = Sequential(*(Watched(6, 6) for _ in range(6)), Linear(6, 3))
        train(network, epochs=1, immediate=immediate)
        return max(most)

    assert peak(immediate=True) == 2, "weight and bias of one block"
    assert peak(immediate=False) == 12


def _when_gone(tensor: Tensor, alive: list[int]) -> None:
    weakref.finalize(tensor, alive.pop)


def test_torch_optimizers_and_schedulers() -> None:
    network, peer = net(), net()
    records = train(
        network, optimizer=torch.optim.Adam, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5)
    )
    assert sorted({r.rate for r in records}, reverse=True) == pytest.approx([1e-3, 5e-4, 2.5e-4])
    train(peer, optimizer=torch.optim.Adam(peer.parameters.values()))
    assert not same(network, peer)
    records = train(
        net(),
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 21),
        schedule="step",
    )
    assert records[0].rate == 0.1
    assert records[-1].rate < 0.001
    train(net(), validation=data(20, 3), scheduler=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0))


def test_records_count_steps_and_epochs() -> None:
    records = train(net(), validation=data(20, 3))
    assert [r.step for r in records] == list(range(1, 22))
    assert [r.epoch for r in records] == [1] * 7 + [2] * 7 + [3] * 7
    assert {r.steps for r in records} == {21}
    assert [r.step for r in records if r.validation_value is not None] == [7, 14, 21]
    assert all(0 <= r.validation_accuracy <= 1 for r in records if r.validation_value is not None)
    assert [r.seconds for r in records] == sorted(r.seconds for r in records)


def test_the_seed_decides_the_order_and_nothing_else_does() -> None:
    first, second, third = net(), net(), net()
    state = torch.get_rng_state()
    train(first, seed=3)
    assert torch.equal(state, torch.get_rng_state()), "the global generator is the user's"
    torch.rand(5)
    train(second, seed=3)
    train(third, seed=4)
    assert same(first, second)
    assert not same(first, third)
    assert sorted(shuffled(50, 3, 1).tolist()) == list(range(50))
    assert shuffled(50, 3, 1).tolist() != shuffled(50, 3, 2).tolist()


def test_a_single_left_over_example_joins_the_batch_before() -> None:
    assert batch_sizes(9, 4) == [4, 5]
    assert batch_sizes(10, 4) == [4, 4, 2]
    assert batch_sizes(1, 4) == [1]
    assert batch_sizes(3, 1) == [1, 1, 1]


def test_clipping_scales_all_gradients_by_one_factor() -> None:
    gradients = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert [g.item() for g in clipped(gradients, 10.0)] == [3.0, 4.0]
    assert [g.item() for g in clipped(gradients, 1.0)] == pytest.approx([0.6, 0.8])
    assert [g.item() for g in clipped([gradients[0].expand(3)], 1.0)[0]] == pytest.approx([3**-0.5] * 3)
    network = net()
    before = {name: p.clone() for name, p in network.parameters.items()}
    next(fit(network, data(), cross_entropy(), rate=1.0, clip=0.01))
    moved = torch.stack([(p - before[name]).norm() for name, p in network.parameters.items()]).norm()
    assert moved.item() == pytest.approx(0.01, rel=1e-3)


def test_early_stopping_goes_back_to_the_best_weights() -> None:
    network, validation = net(), data(20, seed=9)
    records = train(network, epochs=200, rate=2.0, validation=validation, patience=3)
    values = [r.validation_value for r in records if r.validation_value is not None]
    assert len(values) < 200
    assert min(values) < min(values[-3:])
    assert evaluate(network, validation, cross_entropy()).value == pytest.approx(min(values))


def test_only_the_chosen_parameters_change() -> None:
    network, before = net(), net()
    train(network, wrt=["linear2.weight"])
    changed = [name for name, p in network.parameters.items() if not torch.equal(p, before.parameters[name])]
    assert changed == ["linear2.weight"]


def test_batch_norm_statistics_are_learned_and_dropout_is_off_afterwards() -> None:
    network = noisy_net()
    train(network)
    assert network.state["batchnorm1d1.running_mean"].abs().sum() > 0
    x = data()[0]
    assert torch.equal(network(x), network(x))
    assert torch.equal(predict(network, x, batch_size=7), predict(network, x, batch_size=7))


def test_the_average_of_the_weights_is_what_validation_sees_and_what_remains() -> None:
    plain, averaged = noisy_net(), noisy_net()
    states = []
    for _ in fit(plain, data(), cross_entropy(), epochs=3, batch_size=8):
        states.append({name: tensor.clone() for name, tensor in plain.state.items()})
    expected = noisy_net().state
    for step, state in enumerate(states, 1):
        d = min(0.6, (1 + step) / (10 + step))
        expected = {name: d * tensor + (1 - d) * state[name] for name, tensor in expected.items()}
    records = train(averaged, average=0.6, validation=data(20, 3))
    for name, tensor in averaged.state.items():
        assert torch.allclose(tensor, expected[name], atol=1e-6)
    assert not same(averaged, plain)
    found = evaluate(averaged, data(20, 3), cross_entropy())
    assert records[-1].validation_value == pytest.approx(found.value, abs=1e-6)


def test_pictures_are_augmented_anew_in_every_step_and_validation_ones_are_not() -> None:
    seen: list[Tensor] = []

    def darker(x: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(torch.rand(1, generator=generator))
        return x * 0.5

    x = torch.ones(12, 1, 2, 2)
    bright = Sequential(Flatten(), Linear(4, 2))
    values = [
        record.validation_value
        for record in fit(
            bright, (x, torch.zeros(12).long()), cross_entropy(), epochs=2, batch_size=4, augment=[darker],
            validation=(x, torch.zeros(12).long()),
        )
    ]  # fmt: skip
    assert len(seen) == 1 + 6  # one to try
    assert len({float(number) for number in seen[1:]}) == 6
    assert values[-1] == pytest.approx(evaluate(bright, (x, torch.zeros(12).long()), cross_entropy()).value)


# Checkpoints ----------------------------------------------------------------------------------------------------------

SETTINGS = {"momentum": 0.9, "validation": data(20, 3), "patience": 50}
PICTURES = {"augment": augmentations("flip,shift:1"), "average": 0.9}
SCHEDULER = {"scheduler": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 3], gamma=0.5)}


@pytest.mark.parametrize("optimizer", [None, torch.optim.Adam], ids=["ours", "Adam"])
@pytest.mark.parametrize("stop", [1, 6, 7, 8, 20])
def test_a_resumed_run_is_bit_identical(tmp_path: Path, stop: int, optimizer: type | None) -> None:
    settings = SETTINGS | SCHEDULER | {"optimizer": optimizer}
    whole, halves = noisy_net(), noisy_net()
    expected = train(whole, **settings)
    path = tmp_path / "run.safetensors"
    with closing(fit(halves, data(), cross_entropy(), epochs=3, batch_size=8, checkpoint=path, **settings)) as records:
        first = [next(records) for _ in range(stop)]
    again = noisy_net()
    rest = train(again, checkpoint=path, resume=True, **settings)
    assert same(whole, again)
    for mine, theirs in zip(first + rest, expected, strict=True):
        assert mine._replace(seconds=0) == theirs._replace(seconds=0)


@pytest.mark.parametrize("stop", [1, 7, 10])
def test_a_resumed_run_with_augmentation_and_averages_is_bit_identical(tmp_path: Path, stop: int) -> None:
    def fresh() -> Network:
        torch.manual_seed(1)
        return Sequential(Conv2d(1, 4, 3), BatchNorm2d(4), ReLU(), Flatten(), Linear(16, 3))

    x, y = torch.rand(50, 1, 4, 4), data()[1]
    settings: dict = SETTINGS | SCHEDULER | PICTURES | {"validation": (x[:9], y[:9]), "epochs": 3, "batch_size": 8}
    whole, halves, again, path = fresh(), fresh(), fresh(), tmp_path / "run.safetensors"
    list(fit(whole, (x, y), cross_entropy(), **settings))
    with closing(fit(halves, (x, y), cross_entropy(), checkpoint=path, **settings)) as records:
        for _ in range(stop):
            next(records)
    list(fit(again, (x, y), cross_entropy(), checkpoint=path, resume=True, **settings))
    assert same(whole, again)
    with pytest.raises(FormatError, match="average"):
        list(fit(again, (x, y), cross_entropy(), checkpoint=path, resume=True, **settings | {"average": None}))


def test_a_schedule_of_another_length_is_refused(tmp_path: Path) -> None:
    def settings(steps: int) -> dict:
        one_cycle = torch.optim.lr_scheduler.OneCycleLR
        return {"schedule": "step", "scheduler": lambda o: one_cycle(o, 0.1, total_steps=steps, cycle_momentum=False)}

    path = tmp_path / "run.safetensors"
    train(net(), checkpoint=path, **settings(22))
    with pytest.raises(FormatError, match="its schedule is made for 22 steps, here it is 36"):
        train(net(), checkpoint=path, resume=True, epochs=5, **settings(36))


def test_resuming_a_finished_run_changes_nothing_and_more_epochs_go_on(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    network = net()
    train(network, checkpoint=path)
    twin = net()
    assert train(twin, checkpoint=path, resume=True) == []
    assert same(network, twin)
    longer = net()
    assert len(train(longer, epochs=5, checkpoint=path, resume=True)) == 14
    whole = net()
    train(whole, epochs=5)
    assert same(whole, longer)


def test_resume_without_a_checkpoint_starts_anew(tmp_path: Path) -> None:
    assert len(train(net(), checkpoint=tmp_path / "none.safetensors", resume=True)) == 21


def test_checkpoints_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(net(), checkpoint=path)
    with pytest.raises(FormatError, match="tensors in the file are those of another network"):
        train(noisy_net(), checkpoint=path, resume=True)
    with pytest.raises(FormatError, match="batch_size in the file is 8, here it is 5"):
        train(net(), checkpoint=path, resume=True, batch_size=5)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FormatError, match=r"run\.safetensors"):
        train(net(), checkpoint=path, resume=True)


CHILD = """
import sys, torch
sys.path[:0] = [{root!r}, {tests!r}]
from test_training import SCHEDULER, SETTINGS, data, noisy_net
from blockprop.objectives import cross_entropy
from blockprop.training import fit
torch.set_num_threads(1)
network = noisy_net()
print("ready", flush=True)
for record in fit(network, data(), cross_entropy(), epochs=60, batch_size=8, checkpoint={path!r}, checkpoint_seconds=0,
                  resume=True, **SETTINGS, **SCHEDULER):
    print(record.step, flush=True)
print("weights", [t.flatten().tolist() for t in network.state.values()], flush=True)
"""


def child(path: Path) -> subprocess.Popen:
    root = Path(__file__).parents[1]
    code = CHILD.format(root=str(root.parent), tests=str(root), path=str(path))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_random_times_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    whole = child(tmp_path / "whole.safetensors").communicate(timeout=120)[0].splitlines()[-1]
    assert whole.startswith("weights")
    path, chance, kills = tmp_path / "killed.safetensors", random.Random(0), 0
    for _ in range(60):
        process = child(path)
        assert process.stdout is not None
        process.stdout.readline()
        if kills < 5:
            time.sleep(chance.uniform(0.02, 0.5))
            process.send_signal(signal.SIGKILL)
        output = process.communicate(timeout=120)[0].splitlines()
        if process.returncode == 0:
            break
        kills += 1
    assert kills >= 2, "the run was too short to be killed"
    assert output[-1] == whole


def interrupt_at(step: int, records: Iterator) -> None:
    with closing(records):
        for record in records:
            if record.step == step:
                os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_leaves_a_checkpoint_to_resume_from(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    settings = {"epochs": 3, "batch_size": 8, "momentum": 0.9, "checkpoint": path}
    network = noisy_net()
    with pytest.raises(KeyboardInterrupt):
        interrupt_at(10, fit(network, data(), cross_entropy(), **settings))
    assert path.exists()
    resumed, whole = noisy_net(), noisy_net()
    rest = train(resumed, momentum=0.9, checkpoint=path, resume=True)
    assert len(rest) == 11
    train(whole, momentum=0.9)
    assert same(resumed, whole)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_in_the_middle_of_a_step_waits_for_its_end(tmp_path: Path) -> None:
    class Interrupting(Linear):
        calls = 0

        def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
            type(self).calls += 1
            if self.calls == 4:
                os.kill(os.getpid(), signal.SIGINT)
            return super().gradients(saved, d_y)

    path = tmp_path / "run.safetensors"
    torch.manual_seed(1)
    network = Sequential({"linear1": Interrupting(6, 16)}, ReLU(), {"linear2": Linear(16, 3)})
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        list(fit(network, data(), cross_entropy(), epochs=3, batch_size=8, checkpoint=path))
    assert signal.getsignal(signal.SIGINT) is before
    whole = net()
    rest = train(whole, checkpoint=path, resume=True)
    assert len(rest) == 21 - 4, "the fourth step was finished before it stopped"


# Broken numbers -------------------------------------------------------------------------------------------------------


def test_a_nan_names_the_step_and_the_first_block() -> None:
    network = Sequential({"fc": Linear(6, 3), "log": Log(), "out": Linear(3, 3)})
    with pytest.raises(NotFiniteError, match=r"step 1: .*block 'log' \(Log\(\)\) was the first"):
        train(network)


def test_exploding_weights_name_the_parameter() -> None:
    with pytest.raises(NotFiniteError, match=r"step \d+: .*(the last update made|was the first to give one)"):
        train(net(), rate=1e30)


def test_nan_in_the_data_names_the_row() -> None:
    x, y = data()
    x[17, 2] = float("nan")
    with pytest.raises(NotFiniteError, match="row 17 of the data"):
        list(fit(net(), (x, y), cross_entropy(), batch_size=8))


def test_a_checkpoint_is_never_overwritten_with_broken_weights(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    network = net()
    train(network, checkpoint=path, epochs=1)
    content = path.read_bytes()
    with pytest.raises(NotFiniteError):
        train(net(), checkpoint=path, resume=True, rate=1e30, optimizer=lambda p: _rate(GradientDescent(p), 1e38))
    assert path.read_bytes() == content


def _rate(optimizer: GradientDescent, rate: float) -> GradientDescent:
    load = optimizer.load_state_dict

    def keep_rate(state: dict) -> None:
        load(state)
        optimizer.param_groups[0]["lr"] = rate

    optimizer.load_state_dict = keep_rate  # type: ignore[method-assign]
    return optimizer


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "at least 1"),
        ({"batch_size": 2.5}, "whole number"),
        ({"clip": 0.0}, "above 0"),
        ({"wrt": "inputs"}, "'x' is none"),
        ({"wrt": ()}, "nothing to train"),
        ({"optimizer": "adam"}, "torch.optim.Adam"),
        ({"rate": float("nan")}, "rate >= 0"),
        ({"batch_size": 0}, "at least 1"),
        ({"clip": 1.0, "immediate": True}, "does not go with immediate"),
        ({"patience": 3}, "needs validation"),
        ({"schedule": "never"}, "'epoch' or 'step'"),
        ({"resume": True}, "path of a checkpoint"),
        ({"rate": -1.0}, "rate >= 0"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS"),
        ({"average": 1.0}, "between 0 and 1"),
        ({"augment": augmentations("flip")}, "augmentations are for pictures"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_runs(settings: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        fit(net(), data(), cross_entropy(), **settings)


@pytest.mark.parametrize("immediate", [True, False])
def test_an_objective_that_depends_on_no_parameter_is_refused(immediate: bool) -> None:
    with pytest.raises(GraphError, match="depends on none of the parameters"):
        list(fit(net(), data(), cross_entropy(node="linear1"), wrt=["linear2.weight"], immediate=immediate))


def test_data_that_do_not_fit_are_refused() -> None:
    x, y = data()
    with pytest.raises(ShapeError, match="50 and 40"):
        fit(net(), (x, y[:40]), cross_entropy())
    with pytest.raises(ShapeError, match="node 'linear1': expected rows of 6"):
        list(fit(net(), (x[:, :5], y), cross_entropy()))
    with pytest.raises(ShapeError, match="class number 0…2"):
        list(fit(net(), (x, y + 7), cross_entropy()))
    with pytest.raises(ShapeError, match="class number 0…2"):
        list(fit(net(), (x, y.float()), cross_entropy()))
