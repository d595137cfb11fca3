"""Resuming: what changes the result is compared with the checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import lr_scheduler

from blockprop.blocks import BatchNorm1d, Dropout, Flatten, Linear, ReLU, Tanh
from blockprop.engine.network import Network
from blockprop.engine.objectives import Loss, cross_entropy
from blockprop.engine.sequential import Sequential
from blockprop.errors import FormatError
from blockprop.training.augmentation import Augmentation, augmentations
from blockprop.training.fit import fit
from tests.training.examples import data, net, same

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
    ("rate", {}, {"rate": 0.2}, "the rate of the optimizer in the file is 0.1, here it is 0.2"),
    ("momentum", {}, {"momentum": 0.5}, "the momentum of the optimizer in the file is 0.0, here it is 0.5"),
    ("weight decay", {}, {"weight_decay": 0.1}, "the weight_decay of the optimizer"),
    ("rate of Adam", {"optimizer": torch.optim.Adam}, {"optimizer": lambda p: torch.optim.Adam(p, lr=0.1)},
     "the lr of the optimizer in the file is 0.001"),
    ("optimizer", {}, {"optimizer": torch.optim.SGD}, "optimizer in the file is GradientDescent, here it is SGD"),
    ("another momentum of Adam", {"optimizer": torch.optim.Adam},
     {"optimizer": lambda p: torch.optim.Adam(p, betas=(0.8, 0.999))}, r"betas of .* is \[0.9, 0.999\]"),
    ("batch size", {}, {"batch_size": 5}, "batch_size in the file is 8, here it is 5"),
    ("accumulation", {}, {"accumulate": 2}, "accumulate in the file is 1, here it is 2"),
    ("seed", {}, {"seed": 1}, "seed in the file is 0, here it is 1"),
    ("freeze", {}, {"freeze": "relu1"}, "freeze in the file is None, here it is relu1"),
    ("clip", {}, {"clip": 1.0}, "clip in the file is None, here it is 1.0"),
    ("average", {"average": 0.9}, {"average": 0.8}, "average in the file is 0.9, here it is 0.8"),
    ("no average", {"average": 0.9}, {"average": None}, "average in the file is 0.9, here it is None"),
    ("frozen", {}, {"wrt": ["linear2.weight"]}, "the trained parameters in the file"),
    ("no early stopping", VALIDATED, {"patience": None},
     r"the file's run stops early \(patience=…\), this one does not"),
    ("no validation", {"validation": data(20, 3)}, {"validation": None}, "validation data in the file"),
    ("validation data", VALIDATED, {"validation": data(20, 4)}, "the validation data are not those of the file"),
    ("a schedule", {}, {"scheduler": lambda o: lr_scheduler.StepLR(o, 1)}, "schedule in the file is None"),
    ("another schedule", {"scheduler": lambda o: lr_scheduler.StepLR(o, 1)},
     {"scheduler": lambda o: lr_scheduler.StepLR(o, 2)}, "step_size of the schedule in the file is 1"),
    ("a longer schedule", {"scheduler": lambda o: lr_scheduler.CosineAnnealingLR(o, 3)},
     {"scheduler": lambda o: lr_scheduler.CosineAnnealingLR(o, 4)},
     "the schedule in the file goes over 3 steps, here over 4; .* give the same scheduler=… and epochs=…"),
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
    with pytest.raises(FormatError, match="the training data are not those of the file; give the same data=…"):
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
    with pytest.raises(FormatError, match=r"file.s run changes its pictures in another way \(augment=…\)"):
        fit(network(), pictures, cross_entropy(), **USUAL, augment=after, resume=True)
