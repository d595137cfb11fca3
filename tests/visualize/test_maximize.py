"""Ascents: every update by hand, the same bits twice, interrupted and resumed; pictures that a real network knows."""

import itertools
from typing import Any

import pytest
import torch

from blockprop.engine.network import Network
from blockprop.errors import GraphError, NotFiniteError, SettingError, ShapeError
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import read_classes
from blockprop.visualize.ascent import ascend
from blockprop.visualize.judging import judge
from blockprop.visualize.maximize import maximize
from blockprop.visualize.objectives.each import each
from blockprop.visualize.objectives.penalties import l2
from blockprop.visualize.objectives.scores import score
from blockprop.visualize.pipeline import fourier
from tests.conftest import DataFile
from tests.visualize.ascents import PLAIN, small, start, straight


def squeezenet(data_file: DataFile) -> Network:
    path = data_file("weights/squeezenet1_1.safetensors")
    classes = read_classes(data_file("imagenet_classes.txt"))
    return with_preprocessing(pretrained("squeezenet1_1", path), classes=classes)


def test_the_value_rises_and_previews_come_when_asked() -> None:
    run = start(steps=40, preview_every=15)
    steps = list(run)
    assert [step.step for step in steps] == list(range(1, 41))
    assert [step.step for step in steps if step.picture is not None] == [15, 30, 40]
    assert steps[-1].value > steps[0].value
    assert steps[-1].best == max(step.value for step in steps)
    assert steps[-1].picture is not None
    assert steps[-1].picture.shape == (2, 3, 16, 16)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(steps))


def test_the_network_stays_as_it_is() -> None:
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state.items()}
    list(maximize(network, 1, steps=3))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state.items())
    assert network.blocks["drop"].generator is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("canvas", ["fourier", "pixels"])
def test_gray_networks(canvas: str) -> None:
    *_, last = maximize(small(1), "dog", steps=3, canvas=canvas)
    assert last.picture is not None
    assert last.picture.shape == (1, 1, 16, 16)


def test_sizes() -> None:
    assert next(maximize(small(), 0, steps=1)).picture.shape[2:] == (16, 16)  # type: ignore[union-attr]
    assert next(maximize(small(), 0, (24, 20), steps=1)).picture.shape[2:] == (24, 20)  # type: ignore[union-attr]
    photo = torch.rand(1, 3, 20, 28)
    assert next(maximize(small(), 0, steps=1, start=photo)).picture.shape[2:] == (20, 28)  # type: ignore[union-attr]
    assert next(maximize(small(), 0, 18, steps=1, start=photo)).picture.shape[2:] == (18, 18)  # type: ignore[union-attr]
    own = fourier(17, 19)
    assert next(maximize(small(), 0, steps=1, canvas=own)).picture.shape[2:] == (17, 19)  # type: ignore[union-attr]


def test_a_picture_to_start_from_is_still_there_after_a_small_step() -> None:
    photo = torch.rand(1, 3, 16, 16) * 0.8 + 0.1
    (step,) = maximize(small(), 0, steps=1, start=photo, rate=1e-4, canvas="pixels")
    assert step.picture is not None
    torch.testing.assert_close(step.picture, photo, rtol=0, atol=1e-3)


@pytest.mark.parametrize("target", ["goose", "conv", "relu:3", "conv:1,2,2", {"goose": 1, "conv:2": -0.5}], ids=str)
def test_all_kinds_of_targets(target: Any) -> None:
    steps = list(maximize(small(), target, steps=30, transforms=(), **PLAIN))
    assert steps[-1].value > steps[0].value


def test_each_picture_has_its_own_target() -> None:
    network = small()
    objective, x = each(network, ["goose", 0, "conv:2"]), torch.rand(6, 3, 16, 16)
    trace = network.forward(x)
    value, seeds = objective.evaluate(trace.values)
    expected = 0.0
    d_x = torch.zeros_like(x)
    for i, target in enumerate(["goose", 0, "conv:2"]):
        rows = slice(2 * i, 2 * i + 2)
        alone = network.forward(x[rows])
        own, own_seeds = score(network, target).evaluate(alone.values)
        expected += float(own)
        d_x[rows] = network.backward(alone, own_seeds, wrt="inputs")["x"]
    assert float(value) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(network.backward(trace, seeds, wrt="inputs")["x"], d_x)
    with pytest.raises(ShapeError, match="3 targets need"):
        objective.evaluate({name: trace[name][:4] for name in objective.nodes})


def test_a_batch_of_targets() -> None:
    network = small()
    run = maximize(network, each(network, range(4)), steps=4, count=2, diversity=1.0, diversity_node="relu")
    *_, last = run
    assert last.picture is not None
    assert len(last.picture) == 8


def test_only_classes_are_doubted() -> None:
    step = next(maximize(small(), each(small(), ["goose", "conv:2"]), steps=1))
    assert any("doubt(2, None)" in name for name in step.parts)
    assert not any("doubt" in name for name in next(maximize(small(), "conv:2", steps=1)).parts)


def test_doubt_prefers_a_class_to_one_that_is_always_above_it() -> None:
    network = small()
    fc = network.parameters["fc.weight"]
    fc[3] = 1.5 * fc[2]

    def confidence(weight: float) -> float:
        run = maximize(network, "goose", steps=60, transforms=(), **PLAIN | {"doubt": weight})
        *_, last = run
        assert last.picture is not None
        return judge(network, last.picture, "goose").confidence

    assert confidence(3.0) > confidence(0.0)


def test_diversity_makes_pictures_less_alike() -> None:
    def alike(weight: float) -> float:
        run = start(steps=40, transforms=(), diversity=weight, diversity_node="conv", canvas="pixels")
        *_, last = run
        return next(v for name, v in last.parts.items() if "diversity" in name) / -weight

    assert alike(30.0) < alike(1e-6)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"steps": 0}, "steps of 1 or more"),
        ({"rate": 0.0}, "rate above 0"),
        ({"optimizer": "adma"}, "did you mean 'adam'"),
        ({"canvas": "oil"}, "no canvas 'oil'"),
        ({"start": "blue"}, "noise, gray or a picture"),
        ({"preview_every": 0}, "preview_every"),
        ({"resume": True}, "needs the path"),
        ({"count": 0}, "at least one picture"),
        ({"diversity": 1.0}, "diversity_node"),
        ({"size": 0}, "at least 1 pixel"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        start(**settings)


def test_bad_targets_are_refused() -> None:
    with pytest.raises(SettingError, match="goldfish"):
        maximize(small(), "goldfisch")
    with pytest.raises(GraphError, match="relu"):
        maximize(small(), "relus:3")
    with pytest.raises(SettingError, match="several targets"):
        each(small(), "goose")
    with pytest.raises(ShapeError, match="picture"):
        maximize(small(), 0, start=torch.zeros(3, 16, 16))


def test_numbers_that_overflow_are_told() -> None:
    with pytest.raises(NotFiniteError, match=r"step \d+"):
        list(ascend(straight(), torch.zeros(1, 2), l2(), 200, 1e30, "plain"))
    network = small()
    network.parameters["fc.bias"].fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="fc"):
        list(maximize(network, 1, steps=2))


def test_squeezenet_is_sure_of_what_is_made_for_it(data_file: DataFile) -> None:
    network = squeezenet(data_file)
    *_, last = maximize(network, each(network, ["goose", "zebra"]), 96, steps=64)
    assert last.picture is not None
    for picture, name in zip(last.picture, ("goose", "zebra"), strict=True):
        assert judge(network, picture[None], name).confidence > 0.9


def test_from_gray_too(data_file: DataFile) -> None:
    network = squeezenet(data_file)
    *_, last = maximize(network, "goose", 64, steps=20, start="gray")
    assert last.value > 5
    assert last.picture is not None
    assert last.picture.std() > 0.02
