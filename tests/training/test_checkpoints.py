"""A run that is stopped, killed or interrupted goes on from its checkpoint, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from blockprop.blocks import BatchNorm2d, Conv2d, Flatten, Linear, ReLU
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.sequential import Sequential
from blockprop.errors import FormatError, NotFiniteError
from blockprop.training.augmentation import augmentations
from blockprop.training.descent import GradientDescent
from blockprop.training.fit import fit
from tests.processes import started
from tests.training.examples import SCHEDULER, SETTINGS, data, net, noisy_net, same, train

PICTURES = {"augment": augmentations("flip,shift:1"), "average": 0.9}


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


CHILD = """
import sys, torch
sys.path.insert(0, {root!r})
from blockprop import cross_entropy, fit
from tests.processes import started
from tests.training.examples import SCHEDULER, SETTINGS, data, noisy_net
torch.set_num_threads(1)
network = noisy_net()
print("ready", flush=True)
for record in fit(network, data(), cross_entropy(), epochs=60, batch_size=8, checkpoint={path!r}, checkpoint_seconds=0,
                  resume=True, **SETTINGS, **SCHEDULER):
    print(record.step, flush=True)
print("weights", [t.flatten().tolist() for t in network.state.values()], flush=True)
"""


def child(path: Path) -> AbstractContextManager["subprocess.Popen[str]"]:
    code = CHILD.format(root=str(Path(__file__).parents[2]), path=str(path))
    return started([sys.executable, "-c", code], stderr=None)


@pytest.mark.slow
def test_killed_at_random_times_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    with child(tmp_path / "whole.safetensors") as process:
        whole = process.communicate(timeout=120)[0].splitlines()[-1]
    assert whole.startswith("weights")
    path, chance, kills = tmp_path / "killed.safetensors", random.Random(0), 0
    for _ in range(60):
        with child(path) as process:
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

    def fresh() -> Network:
        torch.manual_seed(1)
        return Sequential({"linear1": Interrupting(6, 16)}, ReLU(), {"linear2": Linear(16, 3)})

    path, network = tmp_path / "run.safetensors", fresh()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        list(fit(network, data(), cross_entropy(), epochs=3, batch_size=8, checkpoint=path))
    assert signal.getsignal(signal.SIGINT) is before
    rest = train(fresh(), checkpoint=path, resume=True)
    assert len(rest) == 21 - 4, "the fourth step was finished before it stopped"


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
