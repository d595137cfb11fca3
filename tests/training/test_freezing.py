"""The lower part of a network stays as it is: its weights, its running statistics, and what it gives."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Add, BatchNorm2d, Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, ReLU
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError, SettingError
from blockprop.training.augmentation import augmentations
from blockprop.training.fit import fit
from blockprop.training.freezing import bottlenecks, parted


def residual() -> Network:
    torch.manual_seed(0)
    return Network(
        [
            Node("conv1", Conv2d(1, 4, 3, padding=1), ("x",)),
            Node("norm", BatchNorm2d(4), ("conv1",)),
            Node("conv2", Conv2d(4, 4, 3, padding=1), ("norm",)),
            Node("relu", ReLU(), ("conv2",)),
            Node("sum", Add(), ("norm", "relu")),
            Node("drop", Dropout(0.3), ("sum",)),
            Node("pool", GlobalAvgPool(), ("drop",)),
            Node("flatten", Flatten(), ("pool",)),
            Node("fc", Linear(4, 2), ("flatten",)),
        ]
    )


def pictures(count: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, 6, 6, generator=generator), torch.arange(count) % 2


def train(network: Network, **settings: object) -> None:
    fit(network, pictures(), cross_entropy(), **{"epochs": 2, "batch_size": 8, "rate": 0.1} | settings).finish()


def test_everything_passes_through_the_bottlenecks_and_nothing_else() -> None:
    assert bottlenecks(residual()) == ["conv1", "norm", "sum", "drop", "pool", "flatten"]


@pytest.mark.parametrize("layer", ["norm", "sum", "flatten"])
def test_two_parts_make_the_whole(layer: str) -> None:
    network = residual()
    body, head = parted(network, layer)
    x, _ = pictures()
    assert torch.equal(head(body(x)), network(x))
    assert {*body.parameters, *head.parameters} == set(network.parameters)
    assert set(body.parameters).isdisjoint(head.parameters)


@pytest.mark.parametrize("augment", ["", "flip"])
def test_what_is_frozen_stays_and_the_rest_learns(augment: str) -> None:
    network = residual()
    before = {name: tensor.clone() for name, tensor in network.state.items()}
    train(network, freeze="sum", augment=augmentations(augment), validation=pictures(6))
    changed = {name for name, tensor in network.state.items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_the_same_as_with_the_other_weights_left_out() -> None:
    plain = Sequential({"conv": Conv2d(1, 3, 3), "relu": ReLU(), "flatten": Flatten(), "fc": Linear(48, 2)})
    left_out, frozen = plain.copy(), plain.copy()
    train(left_out, wrt=["fc.weight", "fc.bias"], momentum=0.9)
    train(frozen, freeze="relu", momentum=0.9)
    for name, tensor in frozen.state.items():
        torch.testing.assert_close(tensor, left_out.state[name])


def test_it_is_computed_once_where_nothing_changes_the_pictures() -> None:
    def passes(augment: str) -> int:
        network, count = residual(), 0
        forward = network.blocks["conv1"].forward

        def counted(x: Tensor) -> tuple[Tensor, object]:
            nonlocal count
            count += len(x)
            return forward(x)

        network.blocks["conv1"].forward = counted  # type: ignore[method-assign, assignment]
        train(network, freeze="sum", epochs=5, augment=augmentations(augment))
        return count

    assert passes("") == 20 + 1
    assert passes("flip") >= 5 * 20


def test_averages_and_checkpoints_go_with_it(tmp_path: Path) -> None:
    def settings(epochs: int) -> dict:
        return {"freeze": "sum", "average": 0.9, "epochs": epochs, "validation": pictures(6)}

    whole, stopped = residual(), residual()
    train(whole, **settings(4))
    run = fit(
        *(stopped, pictures(), cross_entropy()),
        **{"batch_size": 8, "rate": 0.1, "checkpoint": tmp_path / "run"} | settings(4),
    )
    for _ in range(5):
        next(run)
    run.close()
    resumed = residual()
    train(resumed, **settings(4), checkpoint=tmp_path / "run", resume=True)
    assert all(torch.equal(tensor, resumed.state[name]) for name, tensor in whole.state.items())


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("relu", SettingError, "not everything passes through 'relu'; the nearest where it does: 'norm' and 'sum'"),
        ("fc", SettingError, "not everything passes through 'fc'; the nearest where it does: 'flatten'"),
        ("rellu", GraphError, "no layer 'rellu'"),
    ],
)
def test_refused(layer: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train(residual(), freeze=layer)


def test_nothing_left_to_train_is_refused() -> None:
    with pytest.raises(SettingError, match="no weights left to train"):
        train(Sequential({"flatten": Flatten(), "fc": Linear(36, 2), "relu": ReLU(), "relu2": ReLU()}), freeze="relu")
