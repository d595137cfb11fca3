"""Ascents: every update by hand, the same bits twice, interrupted and resumed; pictures that a real network knows."""

import itertools
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Affine, Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, ReLU, Sigmoid, Softmax
from blockprop.engine.network import Network, Sequential
from blockprop.engine.objectives import Objective
from blockprop.errors import FormatError, GraphError, NotFiniteError, SettingError, ShapeError
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import Preprocessing, read_classes, with_preprocessing
from blockprop.visualize import ascent as ascent_module
from blockprop.visualize.ascent import Ascent, ascend
from blockprop.visualize.judging import judge
from blockprop.visualize.maximize import maximize
from blockprop.visualize.objectives.each import each
from blockprop.visualize.objectives.penalties import l2
from blockprop.visualize.objectives.scores import score
from blockprop.visualize.pipeline import fourier, pipeline, pixels, robust
from blockprop.visualize.running import PictureRecord
from tests.conftest import DataFile
from tests.visualize.closing import closed

PLAIN = {"l2": 0.0, "total_variation": 0.0, "doubt": 0.0}
CLASSES = ["tench", "goldfish", "goose", "dog"]


def small(channels: int = 3) -> Network:
    """Conv, ReLU, pool, Dropout, scores, softmax; for pictures of 16 x 16."""
    blocks = {
        "conv": Conv2d(channels, 8, 5),
        "relu": ReLU(),
        "pool": GlobalAvgPool(),
        "drop": Dropout(0.5),
        "fc": Linear(8, 4),
        "softmax": Softmax(),
    }
    kind = "RGB" if channels == 3 else "gray"
    return with_preprocessing(Sequential(blocks), Preprocessing(16, 2.0, 1.0, 0.5, kind), CLASSES)


def start(**settings: Any) -> Ascent:
    """A short run of a network that is the same each time."""
    torch.manual_seed(1)
    return maximize(small(), "goose", **{"steps": 6, "count": 2, **PLAIN, **settings})


def squeezenet(data_file: DataFile) -> Network:
    path = data_file("weights/squeezenet1_1.safetensors")
    classes = read_classes(data_file("imagenet_classes.txt"))
    return with_preprocessing(pretrained("squeezenet1_1", path), classes=classes)


# Updates, by hand -----------------------------------------------------------------------------------------------------


class Slope(Objective):
    """3 a − b, summed over the examples: its gradient is the same everywhere."""

    nodes = ("image",)

    def evaluate(self, outputs: Any, target: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        y = outputs["image"]
        slope = torch.tensor([3.0, -1.0]).expand_as(y)
        return (slope * y).sum(), {"image": slope}

    def __repr__(self) -> str:
        return "slope"


def straight() -> Network:
    return Sequential({"image": Affine(1.0)})


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("plain", [0.3, -0.1]),
        ("normalized", [0.3 / 10**0.5, -0.1 / 10**0.5]),
        ("adam", [0.1, -0.1]),
        (lambda parameters: torch.optim.SGD(parameters, lr=0.2), [0.6, -0.2]),
    ],
)
def test_one_step_goes_up(optimizer: Any, expected: list[float]) -> None:
    numbers = torch.zeros(2, 2)
    (step,) = ascend(straight(), numbers, Slope(), 1, 0.1, optimizer)
    assert step.picture is not None
    torch.testing.assert_close(step.picture, torch.tensor([expected] * 2))
    assert not numbers.any()
    assert (step.step, step.steps, step.value, step.parts) == (1, 1, 0.0, {"slope": 0.0})


def test_the_best_step_is_kept_when_the_rate_overshoots() -> None:
    run = ascend(straight(), torch.tensor([[0.9, 0.5]]), -1 * l2(), 3, 2.5, "plain")
    steps = list(run)
    values = [step.value for step in steps]
    assert steps[-1].best == max(values) == values[0]
    assert steps[-1].best_step == 1
    assert torch.equal(run.best_picture(), torch.tensor([[0.9, 0.5]]))
    assert torch.equal(run.picture(), steps[-1].picture)


def test_the_best_step_may_lie_in_the_middle() -> None:
    run = ascend(straight(), torch.tensor([[0.9, 0.5]]), -1 * l2(), 3, 0.3, "normalized")
    *_, last = run
    assert last.best_step == 2
    torch.testing.assert_close(run.best_picture(), torch.tensor([[0.6, 0.5]]))


def test_parts_add_up_to_the_value() -> None:
    step = next(start(l2=3.0, total_variation=2.0, doubt=0.1, diversity=0.5, diversity_node="relu"))
    names = ["score('goose')", "-0.1 * doubt(2)", "-3 * l2()", "-2 * total_variation()", "-0.5 * diversity('relu')"]
    assert list(step.parts) == names
    assert sum(step.parts.values()) == pytest.approx(step.value)
    assert all(value <= 0 for name, value in step.parts.items() if name != "score('goose')")


# Records --------------------------------------------------------------------------------------------------------------


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


# Several targets in a batch -------------------------------------------------------------------------------------------


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


# Twice the same, interrupted, resumed ---------------------------------------------------------------------------------


def bits(run: Ascent) -> tuple[list[float], Tensor]:
    values = [step.value for step in run]
    return values, run.picture()


@pytest.mark.parametrize("optimizer", ["adam", "plain"])
def test_the_same_seed_gives_the_same_bits(optimizer: str) -> None:
    values, picture = bits(start(optimizer=optimizer))
    again, same = bits(start(optimizer=optimizer))
    assert values == again
    assert torch.equal(picture, same)
    assert not torch.equal(picture, bits(start(seed=1, optimizer=optimizer))[1])


def test_another_seed_draws_other_transforms() -> None:
    assert not torch.equal(bits(start(start="gray"))[1], bits(start(start="gray", seed=1))[1])


def test_two_runs_at_once_do_not_disturb_each_other() -> None:
    torch.manual_seed(1)
    network = small()
    alone = bits(maximize(network, "goose", steps=6, **PLAIN))
    graph = pipeline(network, fourier(16, 16), robust(16, 16))
    runs = [ascend(graph, fourier(16, 16).start(1), score(network, "goose"), 6) for _ in range(2)]
    for _ in zip(*runs, strict=True):
        pass
    assert all(torch.equal(run.picture(), alone[1]) for run in runs)


@pytest.mark.parametrize(
    "optimizer", ["adam", "normalized", lambda p: torch.optim.RMSprop(p, 0.01)], ids=["adam", "normalized", "own"]
)
def test_resumed_it_gives_the_same_bits(optimizer: Any, tmp_path: Path) -> None:
    whole = start(optimizer=optimizer, redirect_steps=4)
    values, picture = bits(whole)
    state = tmp_path / "state"
    first = start(optimizer=optimizer, redirect_steps=4, state=state)
    early = [step.value for step in itertools.islice(first, 3)]
    first.close()
    second = start(optimizer=optimizer, redirect_steps=4, state=state, resume=True)
    late, resumed = bits(second)
    assert early + late == values
    assert torch.equal(resumed, picture)
    assert torch.equal(second.best_picture(), whole.best_picture())
    over = start(optimizer=optimizer, redirect_steps=4, state=state, resume=True)
    assert list(over) == []
    assert torch.equal(over.picture(), picture)


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    list(start(state=state))
    for other, told in (
        ({"seed": 1}, "seed in the file is 0, here it is 1"),
        ({"rate": 0.1}, "rate"),
        ({"l2": 1.0}, "objective"),
        ({"canvas": "pixels"}, "network and canvas"),
        ({"optimizer": "plain"}, "optimizer"),
        ({"count": 3}, "numbers"),
    ):
        with pytest.raises(FormatError, match=told):
            start(state=state, resume=True, **other)
    assert closed(start(state=state, resume=True, steps=9)).step == 6
    assert closed(start(state=state)).step == 0


def test_ctrl_c_ends_after_the_step_with_everything_usable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values, picture = bits(start())
    state = tmp_path / "state"
    run = start(state=state)
    checked = Ascent._check

    def pressed(self: Ascent, d: Tensor, telling: Tensor) -> None:
        checked(self, d, telling)
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ascent_module.Ascent, "_check", pressed)
    seen: list[PictureRecord] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(run)
    monkeypatch.undo()
    assert run.step == 3
    assert run.picture().shape == run.best_picture().shape == (2, 3, 16, 16)
    late, resumed = bits(start(state=state, resume=True))
    assert late == values[3:]
    assert torch.equal(resumed, picture)


def test_state_is_written_from_time_to_time(tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = start(state=state)
    run.save_seconds = 0.0
    next(run)
    assert closed(start(state=state, resume=True)).step == 1


# Dead rectifiers ------------------------------------------------------------------------------------------------------


def dead() -> Network:
    """A ReLU that is closed on gray, and opens where the first channel is above 0.6."""
    network = Sequential({"conv": Conv2d(3, 1, 1), "relu": ReLU(), "pool": GlobalAvgPool(), "flat": Flatten()})
    network.parameters["conv.weight"].copy_(torch.tensor([5.0, 0.0, 0.0]).view(1, 3, 1, 1))
    network.parameters["conv.bias"].fill_(-3.0)
    return network


def test_a_dead_rectifier_opens_in_the_first_steps() -> None:
    steps = list(maximize(dead(), "flat", 8, steps=40, start="gray", canvas="pixels", transforms=(), **PLAIN))
    assert steps[0].value == 0
    assert steps[-1].value > 0.5


def test_without_redirection_a_dead_rectifier_is_told() -> None:
    with pytest.raises(SettingError, match="gradient was zero everywhere in all 1 steps"):
        list(maximize(dead(), "flat", 8, start="gray", canvas="pixels", transforms=(), redirect_steps=0, **PLAIN))


def test_penalties_do_not_hide_that_nothing_comes_back() -> None:
    network = dead()
    network.parameters["conv.weight"].zero_()
    with pytest.raises(SettingError, match="gradient was zero everywhere in all 20 steps"):
        list(maximize(network, "flat", 8, start="noise"))


def test_only_the_dead_example_is_redirected() -> None:
    network, canvas = dead(), pixels(4, 4)
    picture = torch.full((2, 3, 4, 4), 0.5)
    picture[0] = 0.8
    graph = pipeline(network, canvas)
    numbers = canvas.start(2, picture)
    objective = score(network, "flat")
    with_rule = ascend(graph, numbers, objective, 1, 1.0, "plain")
    own = ascend(graph, numbers[:1], objective, 1, 1.0, "plain", redirect_steps=0)
    list(with_rule), list(own)
    assert torch.equal(with_rule.picture()[0], own.picture()[0])
    assert (with_rule.picture()[1, 0] > 0.5).all()


def test_networks_without_rectifiers_need_no_redirection() -> None:
    network = Sequential({"conv": Conv2d(3, 2, 3), "act": Sigmoid(), "pool": GlobalAvgPool()})
    assert len(list(maximize(network, 1, 8, steps=2))) == 2


# Bad input ------------------------------------------------------------------------------------------------------------


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


# How good it is -------------------------------------------------------------------------------------------------------


def test_judge_by_hand() -> None:
    network, picture = small(), torch.rand(1, 3, 16, 16)
    seen = judge(network, picture, "goose", network)
    levels = (picture * 255).round() / 255
    assert seen.confidence == pytest.approx(float(network(levels)[0, 2]), rel=1e-5)
    assert seen.transferred == seen.confidence
    assert seen.agrees is True
    assert 0 < seen.cropped < 1
    assert 0 < seen.jpeg < 1
    assert seen == judge(network, picture, 2, network)
    flat = torch.full((1, 3, 16, 16), 128 / 255)
    assert judge(network, flat, 1).jpeg == pytest.approx(judge(network, flat, 1).confidence, rel=1e-4)
    assert 0 < judge(small(1), picture[:, :1], 1).jpeg < 1


def test_only_classes_and_single_pictures_are_judged() -> None:
    with pytest.raises(SettingError, match="is none"):
        judge(small(), torch.rand(1, 3, 16, 16), "relu:3")
    with pytest.raises(ShapeError, match="one picture"):
        judge(small(), torch.rand(2, 3, 16, 16), 1)


# A real network -------------------------------------------------------------------------------------------------------


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
