"""A mean over batches is the number that one batch of all the examples gives, whatever their sizes and their order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Conv1d, Linear, Sigmoid, Softmax, Tanh
from blockprop.engine.means import BatchMean, shares
from blockprop.engine.network import Network
from blockprop.engine.objectives import (
    Objective,
    binary_cross_entropy,
    cross_entropy,
    huber,
    mean_squared_error,
    negative_log_likelihood,
)
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from blockprop.training.evaluation import evaluate
from blockprop.training.fit import fit
from blockprop.visualize.objectives.penalties import doubt, l2

COUNT, CLASSES = 23, 3
WEIGHTS = torch.tensor([0.1, 1.0, 7.0], dtype=torch.float64)
NO_PADDING = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
"""Class 0 does not count: what others call an index to be ignored."""


def rows() -> Network:
    return Sequential({"hidden": Linear(4, 5), "tanh": Tanh(), "out": Linear(5, CLASSES)})


def probable() -> Network:
    return Sequential({"hidden": Linear(4, 5), "tanh": Tanh(), "scores": Linear(5, CLASSES), "out": Softmax()})


def tokens() -> Network:
    """A score of each class at each of 6 places."""
    return Sequential({"hidden": Conv1d(2, 4, 3, padding=1), "sigmoid": Sigmoid(), "out": Conv1d(4, CLASSES, 1)})


def classes(generator: torch.Generator, *shape: int) -> Tensor:
    """Class numbers, the first rows all of class 0: a batch of them has a weight of its own, or none."""
    y = torch.randint(CLASSES, (COUNT, *shape), generator=generator)
    y[:8] = 0
    return y


def distributions(generator: torch.Generator) -> Tensor:
    return torch.rand(COUNT, CLASSES, generator=generator, dtype=torch.float64).softmax(1)


def numbers(generator: torch.Generator) -> Tensor:
    return torch.randn(COUNT, CLASSES, generator=generator, dtype=torch.float64)


def answers(generator: torch.Generator) -> Tensor:
    return (numbers(generator) > 0).double()


@dataclass(frozen=True, eq=False)
class OneWay(Objective):
    """A user's own: the mean over the examples, each times how much it counts, which is all that it divides by."""

    counts: Tensor

    def weight(self, target: Tensor) -> float:
        return float(self.counts[target].sum())

    def evaluate(self, outputs: Any, target: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        ((name, y),) = outputs.items()
        share = (self.counts[target] / self.counts[target].sum()).unsqueeze(1)
        return (share * y.square()).sum(), {name: 2 * share * y}


CASES: dict[str, tuple[Objective, Callable[[], Network], Callable[..., Tensor]]] = {
    "classes": (cross_entropy(), rows, classes),
    "weighted classes": (cross_entropy(WEIGHTS), rows, classes),
    "weighted and smooth": (cross_entropy(WEIGHTS, 0.2), rows, classes),
    "a class that does not count": (cross_entropy(NO_PADDING), rows, classes),
    "distributions": (cross_entropy(), rows, distributions),
    "weighted distributions": (cross_entropy(WEIGHTS), rows, distributions),
    "tokens": (cross_entropy(), tokens, lambda generator: classes(generator, 6)),
    "weighted tokens": (cross_entropy(WEIGHTS), tokens, lambda generator: classes(generator, 6)),
    "a class that does not count, smoothed": (cross_entropy(NO_PADDING, 0.2), rows, classes),
    "likelihood of such a class": (negative_log_likelihood(NO_PADDING, 0.2), probable, classes),
    "tokens with padding": (cross_entropy(NO_PADDING), tokens, lambda generator: classes(generator, 6)),
    "probabilities": (negative_log_likelihood(WEIGHTS), probable, classes),
    "numbers": (mean_squared_error(), rows, numbers),
    "robust": (huber(0.3), rows, numbers),
    "answers": (binary_cross_entropy(3.0, 0.1), rows, answers),
    "several": (0.3 * cross_entropy(WEIGHTS) + 2 * cross_entropy() - cross_entropy(NO_PADDING), rows, classes),
    "with a penalty": (cross_entropy(WEIGHTS, node="out") + 0.1 * l2("tanh"), rows, classes),
    "penalties alone": (l2("hidden", 0.2) + doubt("out", [1]), rows, classes),
    "a user's own": (OneWay(WEIGHTS) + 0.5 * cross_entropy(), rows, classes),
}
ORDERS = ["as they are", "backwards", "shuffled"]


def case(name: str, order: str = "as they are") -> tuple[Objective, Network, Tensor, Tensor]:
    objective, made, targets = CASES[name]
    torch.manual_seed(0)
    network = made().to(dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    shape = (2, 6) if made is tokens else (4,)
    x = torch.randn(COUNT, *shape, generator=generator, dtype=torch.float64)
    y = targets(generator)
    places = {
        "as they are": torch.arange(COUNT),
        "backwards": torch.arange(COUNT).flip(0),
        "shuffled": torch.randperm(COUNT, generator=generator),
    }[order]
    return objective, network, x[places], y[places]


def at_once(objective: Objective, network: Network, x: Tensor, y: Tensor) -> float:
    trace = network.forward(x)
    return float(objective.evaluate({name: trace[name] for name in objective.nodes or network.outputs}, y)[0])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", CASES)
def test_evaluation_does_not_depend_on_batch_size_and_order(name: str, order: str) -> None:
    objective, network, x, y = case(name, order)
    right = at_once(*case(name))
    for batch_size in (1, 2, 7, 8, 22, COUNT, 1000):
        assert evaluate(network, (x, y), objective, batch_size).value == pytest.approx(right, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_an_epochs_training_value_does_not_depend_on_batch_size_and_order(name: str) -> None:
    right = at_once(*case(name))
    for batch_size, accumulate, seed in [(1, 1, 0), (5, 1, 1), (7, 3, 2), (COUNT, 1, 3), (4, 100, 0)]:
        objective, network, x, y = case(name)
        *_, last = fit(
            network, (x, y), objective, epochs=1, batch_size=batch_size, accumulate=accumulate, rate=0.0, seed=seed
        )
        assert last.training_value == pytest.approx(right, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("optimizer", [None, torch.optim.Adam], ids=["ours", "Adam"])
def test_accumulating_gives_the_steps_of_the_large_batch(name: str, optimizer: type | None) -> None:
    """Also with class weights, a last batch of another size, momentum, weight decay, and clipping."""
    settings: dict = {"epochs": 3, "rate": 0.1, "momentum": 0.9, "weight_decay": 0.01, "clip": 0.5}
    objective, large, x, y = case(name)
    of_large = list(fit(large, (x, y), objective, batch_size=9, optimizer=optimizer, **settings))
    for batch_size, accumulate in [(3, 3), (1, 9)]:
        objective, small, x, y = case(name)
        settings |= {"batch_size": batch_size, "accumulate": accumulate, "optimizer": optimizer}
        of_small = list(fit(small, (x, y), objective, **settings))
        for name_, parameter in small.parameters.items():
            torch.testing.assert_close(parameter, large.parameters[name_], rtol=1e-7, atol=1e-9)
        assert [record.step for record in of_small] == [record.step for record in of_large]
        assert [record.value for record in of_small] == pytest.approx([r.value for r in of_large], rel=1e-7, abs=1e-9)


def test_weighted_parts_of_a_step_by_autograd() -> None:
    """The seeds of the parts, beside torch's gradient of its own weighted mean over the whole batch."""
    y = torch.randn(7, CLASSES, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 0, 1, 2, 2, 0, 1])
    (right,) = torch.autograd.grad(F.cross_entropy(y, target, WEIGHTS), y)
    objective, seeds = cross_entropy(WEIGHTS), []
    for part, of_part in zip(y.detach().split(3), target.split(3), strict=True):
        seeds.append(objective.by_term({"y": part}, of_part, shares(objective, of_part, target))[1]["y"])
    torch.testing.assert_close(torch.cat(seeds), right)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_early_stopping_sees_the_true_mean(shift: int) -> None:
    """The same examples in another order: the same epochs, and the same best weights."""
    objective, network, x, y = case("weighted classes")
    validation = x.roll(shift, 0).repeat(30, 1), y.roll(shift).repeat(30)
    *_, last = fit(
        network, (x, y), objective, epochs=30, batch_size=5, rate=2.0, validation=validation, patience=2, seed=4
    )
    objective, other, _, _ = case("weighted classes")
    sorted_ = validation[1].argsort()
    *_, last_of_other = fit(
        other, (x, y), objective, epochs=30, batch_size=5, rate=2.0, patience=2, seed=4,
        validation=(validation[0][sorted_], validation[1][sorted_]),
    )  # fmt: skip
    assert last.epoch == last_of_other.epoch < 30
    assert last.validation_value == pytest.approx(last_of_other.validation_value, rel=1e-9)


def test_the_numbers_of_the_three_classes_that_came_out_otherwise_before() -> None:
    """By hand: 3 examples of weights 1, 1, 10 with losses 1, 2, 3; the mean is (1 + 2 + 30) / 12."""
    mean = BatchMean(cross_entropy(torch.tensor([1.0, 10.0])))
    mean.add([1.5], torch.tensor([0, 0]))
    mean.add([3.0], torch.tensor([1]))
    assert mean.value == pytest.approx(33 / 12)


def test_a_batch_in_which_nothing_counts_says_nothing() -> None:
    mean = BatchMean(cross_entropy(NO_PADDING))
    mean.add([float("nan")], torch.tensor([0, 0]))
    assert mean.values == [0]
    mean.add([2.0], torch.tensor([0, 1]))
    assert mean.value == 2


NOTHING_COUNTS = [
    cross_entropy(NO_PADDING), cross_entropy(NO_PADDING, 0.2), negative_log_likelihood(NO_PADDING),
    0.5 * cross_entropy() + cross_entropy(NO_PADDING),
]  # fmt: skip


@pytest.mark.parametrize("objective", NOTHING_COUNTS)
def test_the_mean_of_nothing_is_refused_where_torch_gives_nan(objective: Objective) -> None:
    """In evaluation, in training, and in its validation; never a loss of 0."""
    network, x, nothing = (
        probable().to(dtype=torch.float64),
        torch.randn(6, 4, dtype=torch.float64),
        torch.zeros(6).long(),
    )
    assert F.cross_entropy(network(x), nothing, NO_PADDING).isnan()
    with pytest.raises(SettingError, match="a mean of nothing on these data"):
        evaluate(network, (x, nothing), objective, batch_size=4)
    with pytest.raises(SettingError, match="a mean of nothing on these data"):
        list(fit(network, (x, nothing), objective, epochs=1))
    some = torch.tensor([0, 1, 2, 0, 1, 2])
    with pytest.raises(SettingError, match="a mean of nothing on these data"):
        list(fit(network, (x, some), objective, epochs=1, validation=(x, nothing)))
