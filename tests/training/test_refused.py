"""Broken numbers, settings that make no sense, and data that do not fit."""

from collections.abc import Callable

import pytest
import torch

from blockprop.blocks import Linear, Log, Sqrt, StandardDeviation, Variance
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy, mean_squared_error, negative_log_likelihood
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError, NotFiniteError, SettingError, ShapeError
from blockprop.training.augmentation import augmentations
from blockprop.training.fit import fit
from tests.training.examples import data, net, train


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
    with pytest.raises(NotFiniteError, match="row 18 of the data"):
        list(fit(net(), (x, y), cross_entropy(), batch_size=8))


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
        ({"accumulate": 0}, "at least 1"),
        ({"accumulate": 2, "immediate": True}, "accumulate needs all gradients at once"),
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


def deviation_of_equal_numbers(*blocks: Block) -> Network:
    """Linear, whose outputs are equal, and their deviation by these blocks."""
    first = Linear(4, 4)
    first.weight, first.bias = torch.zeros(4, 4), torch.full((4,), 0.5)
    return Sequential(first, *blocks, Linear(1, 1))


def test_a_slope_that_is_infinite_is_found_on_the_way_back() -> None:
    x, y = torch.randn(8, 4), torch.randn(8, 1)
    network = deviation_of_equal_numbers(Variance(1, keep=True), Sqrt())
    with pytest.raises(NotFiniteError, match=r"'linear1'.* came back through 'variance1' .*, 'sqrt1' .*root at 0"):
        fit(network, (x, y), mean_squared_error(), epochs=1).finish()
    fit(deviation_of_equal_numbers(StandardDeviation(1, keep=True)), (x, y), mean_squared_error(), epochs=1).finish()


@pytest.mark.parametrize("loss", [cross_entropy, negative_log_likelihood])
def test_class_weights_that_are_none_are_refused(loss: Callable) -> None:
    for weights in ("balanced", [1.0, 2.0], torch.ones(2, 2), torch.tensor(1.0)):
        with pytest.raises(SettingError, match="a weight for each class, such as balanced_weights"):
            loss(class_weights=weights)
    for number in (-1.0, float("nan"), float("inf")):
        with pytest.raises(SettingError, match="finite and at least 0"):
            loss(class_weights=torch.tensor([1.0, number]))
    with pytest.raises(ShapeError, match="a weight for each of 3 classes, came 2"):
        list(fit(net(), data(), loss(class_weights=torch.ones(2))))
