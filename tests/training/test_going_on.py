"""Resuming with more epochs, after the end, and from odd files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from blockprop.blocks import Flatten, Linear, ReLU
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropWarning, FormatError
from blockprop.training.descent import GradientDescent
from blockprop.training.fit import fit
from tests.training.examples import data, net, noisy_net, same, train

FILE = "run.checkpoint"
USUAL: dict[str, Any] = {"epochs": 3, "batch_size": 8, "rate": 0.1, "checkpoint": FILE}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(blocks: Callable[[], list]) -> Network:
    torch.manual_seed(1)
    return Sequential(*blocks())


def begun(network: Network, examples: Any, objective: Any, **settings: Any) -> None:
    """Two steps, and a checkpoint."""
    run = fit(network, examples, objective, **settings)
    next(run)
    next(run)
    run.close()


STEADY = {
    "constant": {},
    "by steps": {"scheduler": lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5)},
    "by a function": {"scheduler": lambda o: lr_scheduler.LambdaLR(o, lambda t: 0.99**t), "schedule": "step"},
    "momentum": {"momentum": 0.9, "average": 0.9},
    "Adam": {"optimizer": torch.optim.Adam},
}


@pytest.mark.parametrize("settings", STEADY.values(), ids=list(STEADY))
def test_more_epochs_go_on_bit_for_bit_where_the_schedule_does_not_depend_on_them(settings: dict) -> None:
    train(noisy_net(), checkpoint=FILE, **settings)
    longer, whole = noisy_net(), noisy_net()
    assert len(train(longer, epochs=5, checkpoint=FILE, resume=True, **settings)) == 14
    train(whole, epochs=5, **settings)
    assert same(whole, longer)


def scheduled(epochs: int, name: str) -> dict[str, Any]:
    steps = 7 * epochs
    schedulers: dict[str, Callable[[Any], Any]] = {
        "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, steps),
        "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=steps + 1, cycle_momentum=False),
        "linear": lambda o: lr_scheduler.LambdaLR(o, lambda step: max(0.0, 1 - step / steps)),
        "polynomial": lambda o: lr_scheduler.PolynomialLR(o, steps),
        "warm-up": lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, total_iters=2), lr_scheduler.CosineAnnealingLR(o, steps - 2)], [2]
        ),
    }
    return {"epochs": epochs, "scheduler": schedulers[name], "schedule": "step"}


@pytest.mark.parametrize("name", ["cosine", "one cycle", "linear", "polynomial", "warm-up"])
def test_a_schedule_that_was_made_for_fewer_epochs_does_not_rise_again(name: str) -> None:
    train(net(), checkpoint=FILE, **scheduled(3, name))
    with pytest.raises(FormatError, match=r"the schedule in the file .*; it cannot be changed on the way"):
        train(net(), checkpoint=FILE, resume=True, **scheduled(5, name))
    halves, whole = net(), net()
    begun(halves, data(), cross_entropy(), **USUAL | scheduled(3, name))
    train(halves, checkpoint=FILE, resume=True, **scheduled(3, name))
    train(whole, **scheduled(3, name))
    assert same(halves, whole)


def test_a_finished_run_says_so_and_changes_nothing() -> None:
    network, twin = net(), net()
    train(network, checkpoint=FILE)
    with pytest.warns(BlockpropWarning, match=r"run.checkpoint: the run is over \(3 of 3 epochs\), so nothing is left"):
        assert train(twin, checkpoint=FILE, resume=True) == []
    assert same(network, twin)


def test_fewer_epochs_than_were_made_are_refused() -> None:
    train(net(), checkpoint=FILE)
    with pytest.raises(FormatError, match="it has made 3 epochs already; here are only 2"):
        train(net(), checkpoint=FILE, resume=True, epochs=2)


def test_more_patience_goes_on_and_less_than_was_needed_is_refused() -> None:
    settings = {"epochs": 200, "rate": 2.0, "validation": data(20, seed=9)}
    train(net(), checkpoint=FILE, patience=3, **settings)
    with pytest.warns(BlockpropWarning, match=r"is over \(\d+ of 200 epochs, 3 of 3 epochs of patience\)"):
        train(net(), checkpoint=FILE, resume=True, patience=3, **settings)
    longer, whole = net(), net()
    train(longer, checkpoint=FILE, resume=True, patience=5, **settings)
    train(whole, patience=5, **settings)
    assert same(longer, whole)
    with pytest.raises(FormatError, match="5 epochs of patience already; here are only 4"):
        train(net(), checkpoint=FILE, resume=True, patience=4, **settings)


def test_what_does_not_change_the_result_may_change() -> None:
    begun(net(), data(), cross_entropy(), **USUAL)
    resumed, whole = net(), net()
    train(resumed, checkpoint=FILE, checkpoint_seconds=1e9, immediate=True, resume=True)
    train(whole)
    assert same(resumed, whole)


def test_other_weights_to_begin_with_are_replaced_with_a_word() -> None:
    network = net()
    begun(network, data(), cross_entropy(), **USUAL)
    train(network.copy(), checkpoint=FILE, resume=True)  # as the file has them: nothing to say
    begun(net(), data(), cross_entropy(), **USUAL)
    resumed, whole = net(seed=5), net()
    with pytest.warns(BlockpropWarning, match="other weights to begin with; those of the file take their place"):
        train(resumed, checkpoint=FILE, resume=True)
    train(whole)
    assert same(resumed, whole)


def test_an_optimizer_or_schedule_that_was_used_before_is_described_by_what_it_began_with() -> None:
    network = net()
    optimizer = GradientDescent(network.parameters.values(), 0.1)
    settings: dict = {"scheduler": lambda o: lr_scheduler.StepLR(o, 1, gamma=0.5), "checkpoint": FILE, "epochs": 2}
    run = fit(network, data(), cross_entropy(), optimizer=optimizer, **settings)
    next(run)
    run.close()
    list(fit(network, data(), cross_entropy(), optimizer=optimizer, resume=True, **settings))


def test_the_epochs_training_value_covers_steps_before_the_interruption() -> None:
    whole = [record.training_value for record in train(net())]
    begun(net(), data(), cross_entropy(), **USUAL)
    assert [record.training_value for record in train(net(), checkpoint=FILE, resume=True)] == whole[2:]


def test_a_file_by_itself_and_resume_without_one() -> None:
    assert len(train(net(), checkpoint="none.safetensors", resume=True)) == 21
    train(net(), checkpoint=FILE)
    path = Path(FILE)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FormatError, match=r"run\.checkpoint"):
        train(net(), checkpoint=FILE, resume=True)


def test_a_forged_optimizer_is_refused_in_a_sentence() -> None:
    from blockprop.saving.checkpoints import read_checkpoint, write_checkpoint

    begun(net(), data(), cross_entropy(), **USUAL, optimizer=torch.optim.Adam)
    state = read_checkpoint(FILE)
    state["optimizer"]["state"][0]["exp_avg_sq"] = "__init__"
    write_checkpoint(FILE, state)
    with pytest.raises(
        FormatError,
        match="cannot resume, exp_avg_sq of the state 0 of the optimizer: expected a tensor or a number, came text",
    ):
        list(fit(net(), data(), cross_entropy(), **USUAL, optimizer=torch.optim.Adam, resume=True))


@pytest.mark.parametrize("augment", [(), [lambda x, _: x * 2]], ids=["features kept", "computed anew"])
def test_another_frozen_part_is_refused(augment: Any) -> None:
    def network(seed: int) -> Network:
        torch.manual_seed(1)
        upper = [ReLU(), Linear(8, 3)]
        torch.manual_seed(seed)
        return Sequential({"flat": Flatten(), "body": Linear(16, 8), "relu": upper[0], "head": upper[1]})

    pictures = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0)), data()[1]
    settings = USUAL | {"freeze": "body", "augment": augment, "validation": pictures}
    begun(network(1), pictures, cross_entropy(), **settings)
    with pytest.raises(FormatError, match=r"body.weight of the numbers of the frozen part in the file is"):
        fit(network(2), pictures, cross_entropy(), **settings, resume=True)
    with pytest.raises(FormatError, match="the freeze in the file is body, here it is None"):
        fit(network(1), pictures, cross_entropy(), **settings | {"freeze": None}, resume=True)
    list(fit(network(1), pictures, cross_entropy(), **settings, resume=True))
