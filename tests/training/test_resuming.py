"""Resuming: what changes the result is compared with the checkpoint; more epochs go on; a finished run says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import lr_scheduler

from blockprop.blocks import BatchNorm1d, Dropout, Flatten, Linear, ReLU, Tanh
from blockprop.engine.network import Network, Sequential
from blockprop.engine.objectives import Loss, cross_entropy
from blockprop.errors import BlockpropWarning, FormatError
from blockprop.training.augmentation import Augmentation, augmentations
from blockprop.training.descent import GradientDescent
from blockprop.training.fit import fit
from tests.training.examples import data, net, noisy_net, same, train

FILE = "run.checkpoint"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(blocks: Callable[[], list]) -> Network:
    torch.manual_seed(1)
    return Sequential(*blocks())


def other_x() -> tuple[Tensor, Tensor]:
    x, y = data()
    x[49, 5] += 1e-6
    return x, y


def other_y() -> tuple[Tensor, Tensor]:
    x, y = data()
    y[49] = (y[49] + 1) % 3
    return x, y


def shuffled() -> tuple[Tensor, Tensor]:
    x, y = data()
    return x.flip(0), y.flip(0)


def begun(network: Network, examples: Any, objective: Any, **settings: Any) -> None:
    """Two steps, and a checkpoint."""
    run = fit(network, examples, objective, **settings)
    next(run)
    next(run)
    run.close()


class Halved(cross_entropy):
    def weight(self, target: Tensor) -> float:
        return 2.0


USUAL: dict[str, Any] = {"epochs": 3, "batch_size": 8, "rate": 0.1, "checkpoint": FILE}
VALIDATED = {"validation": data(20, 3), "patience": 5}
CHANGES: list[tuple[str, dict, dict, str]] = [
    ("rate", {}, {"rate": 0.2}, "the lr of the optimizer in the file is 0.1, here it is 0.2"),
    ("momentum", {}, {"momentum": 0.5}, "the momentum of the optimizer in the file is 0.0, here it is 0.5"),
    ("weight decay", {}, {"weight_decay": 0.1}, "the weight_decay of the optimizer"),
    ("optimizer", {}, {"optimizer": torch.optim.SGD}, "optimizer in the file is GradientDescent, here it is SGD"),
    ("another momentum of Adam", {"optimizer": torch.optim.Adam},
     {"optimizer": lambda p: torch.optim.Adam(p, betas=(0.8, 0.999))}, r"betas of .* is \[0.9, 0.999\]"),
    ("batch size", {}, {"batch_size": 5}, "batch_size in the file is 8, here it is 5"),
    ("accumulation", {}, {"accumulate": 2}, "accumulate in the file is 1, here it is 2"),
    ("seed", {}, {"seed": 1}, "seed in the file is 0, here it is 1"),
    ("clip", {}, {"clip": 1.0}, "clip in the file is None, here it is 1.0"),
    ("average", {"average": 0.9}, {"average": 0.8}, "average in the file is 0.9, here it is 0.8"),
    ("no average", {"average": 0.9}, {"average": None}, "average in the file is 0.9, here it is None"),
    ("frozen", {}, {"wrt": ["linear2.weight"]}, "the trained parameters in the file"),
    ("no early stopping", VALIDATED, {"patience": None}, "early stopping in the file is True, here it is False"),
    ("no validation", {"validation": data(20, 3)}, {"validation": None}, "validation data in the file"),
    ("validation data", VALIDATED, {"validation": data(20, 4)}, "the validation data are not those of the file"),
    ("a schedule", {}, {"scheduler": lambda o: lr_scheduler.StepLR(o, 1)}, "schedule in the file is None"),
    ("another schedule", {"scheduler": lambda o: lr_scheduler.StepLR(o, 1)},
     {"scheduler": lambda o: lr_scheduler.StepLR(o, 2)}, "step_size of the schedule in the file is 1"),
    ("stepped otherwise", {"scheduler": lambda o: lr_scheduler.StepLR(o, 1)}, {"schedule": "step"}, "every of"),
    ("another function", {"scheduler": lambda o: lr_scheduler.LambdaLR(o, lambda t: 0.9**t)},
     {"scheduler": lambda o: lr_scheduler.LambdaLR(o, lambda t: 0.9**t if t < 70 else 0.1)}, "has other rates"),
    ("a part of a schedule",
     {"scheduler": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(o, 1, gamma=0.5)])},
     {"scheduler": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(o, 1, gamma=0.4)])}, "_schedulers of"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "told"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_another_setting_is_refused_by_name(before: dict, after: dict, told: str) -> None:
    begun(net(), data(), cross_entropy(), **USUAL | before)
    network = net()
    with pytest.raises(FormatError, match=rf"run.checkpoint: cannot resume, .*{told}"):
        fit(network, data(), cross_entropy(), **USUAL | before | after, resume=True)
    assert same(network, net()), "a file that is refused changes nothing"


WEIGHTS = torch.tensor([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (cross_entropy(), cross_entropy(label_smoothing=0.1)),
        (cross_entropy(WEIGHTS), cross_entropy(WEIGHTS + 1e-6)),
        (cross_entropy(), cross_entropy(WEIGHTS)),
        (cross_entropy() + 0.1 * cross_entropy(WEIGHTS), cross_entropy() + 0.2 * cross_entropy(WEIGHTS)),
        (cross_entropy(node="linear2"), cross_entropy()),
        (cross_entropy(), Halved()),
    ],
    ids=["smoothing", "weights a little", "weights", "factor", "node", "a user's own"],
)
def test_another_objective_is_refused(before: Loss, after: Loss) -> None:
    begun(net(), data(), before, **USUAL)
    with pytest.raises(FormatError, match=r"cannot resume, the .*objective in the file"):
        fit(net(), data(), after, **USUAL, resume=True)


@pytest.mark.parametrize("changed", [other_x, other_y, shuffled, lambda: data(51), lambda: data(50, 7)])
def test_other_data_are_refused_even_of_the_same_size(changed: Callable[[], Any]) -> None:
    begun(net(), data(), cross_entropy(), **USUAL)
    with pytest.raises(FormatError, match="cannot resume, the training data are not those of the file"):
        fit(net(), changed(), cross_entropy(), **USUAL, resume=True)


NODES = r"list of nodes of the network in the file is \["
DROPOUT = "probability of the node 'dropout1' of the network in the file is 0.1, here it is 0.2"
INNER: dict[str, tuple[list, list, str]] = {
    "activation": ([ReLU()], [Tanh()], NODES),
    "a setting": ([Dropout(0.1)], [Dropout(0.2)], DROPOUT),
    "one block less": ([ReLU()], [], NODES),
    "one block more": ([], [ReLU()], NODES),
    "sizes": ([Linear(8, 8)], [BatchNorm1d(8)], "tensors in the file are those of another network"),
}


@pytest.mark.parametrize(("before", "after", "told"), INNER.values(), ids=list(INNER))
def test_another_network_is_refused(before: list, after: list, told: str) -> None:
    begun(made(lambda: [Linear(6, 8), *before, Linear(8, 3)]), data(), cross_entropy(), **USUAL)
    with pytest.raises(FormatError, match=f"cannot resume, the {told}"):
        fit(made(lambda: [Linear(6, 8), *after, Linear(8, 3)]), data(), cross_entropy(), **USUAL, resume=True)


def test_another_type_of_number_is_refused() -> None:
    begun(net(), data(), cross_entropy(), **USUAL)
    with pytest.raises(FormatError, match="tensors in the file"):
        fit(net().to(dtype=torch.float64), data(), cross_entropy(), **USUAL, resume=True)


def darker(share: float) -> Augmentation:
    return lambda x, _: x * share


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (augmentations("shift:1"), augmentations("shift:2")),
        (augmentations("flip"), ()),
        (augmentations("flip,cutout:2"), augmentations("cutout:2,flip")),
        ([darker(0.5)], [darker(0.6)]),
        ([lambda x, _: x * 2], [lambda x, _: x * 3]),
    ],
    ids=["number", "none", "order", "closure", "code"],
)
def test_other_changes_of_pictures_are_refused(before: Any, after: Any) -> None:
    def network() -> Network:
        return made(lambda: [Flatten(), Linear(16, 3)])

    pictures = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0)), data()[1]
    begun(network(), pictures, cross_entropy(), **USUAL, augment=before)
    list(fit(network(), pictures, cross_entropy(), **USUAL, augment=before, resume=True))
    with pytest.raises(FormatError, match="cannot resume, the augment in the file is"):
        fit(network(), pictures, cross_entropy(), **USUAL, augment=after, resume=True)


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
    with pytest.raises(FormatError, match=r"the schedule in the file .*; a schedule cannot be changed on the way"):
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
    with pytest.raises(FormatError, match="cannot resume, the state in it does not fit"):
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
    with pytest.raises(FormatError, match="tensors in the file are those of another network"):
        fit(network(1), pictures, cross_entropy(), **settings | {"freeze": None}, resume=True)
    list(fit(network(1), pictures, cross_entropy(), **settings, resume=True))
