"""Gradient ascent: updates by hand, the same bits twice, stopped and resumed, dead rectifiers."""

import itertools
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Conv2d, Flatten, GlobalAvgPool, ReLU, Sigmoid
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropWarning, FormatError, SettingError
from blockprop.visualize import ascent as ascent_module
from blockprop.visualize.ascent import Ascent, ascend
from blockprop.visualize.maximize import maximize
from blockprop.visualize.objectives.penalties import l2
from blockprop.visualize.objectives.scores import score
from blockprop.visualize.pipeline import fourier, pipeline, pixels, robust
from blockprop.visualize.running import PictureRecord
from tests.visualize.ascents import PLAIN, small, start, straight
from tests.visualize.closing import closed


class Slope(Objective):
    """3 a − b, summed over the examples: its gradient is the same everywhere."""

    nodes = ("image",)

    def evaluate(self, outputs: Any, target: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        y = outputs["image"]
        slope = torch.tensor([3.0, -1.0]).expand_as(y)
        return (slope * y).sum(), {"image": slope}

    def __repr__(self) -> str:
        return "slope"


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
    with pytest.warns(BlockpropWarning, match=r"the run is over \(\d of \d steps\)"):
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
        ({"canvas": "pixels"}, r"network, or what is around it \(canvas=…"),
        ({"optimizer": "plain"}, "optimizer"),
        ({"count": 3}, "numbers"),
    ):
        with pytest.raises(FormatError, match=told):
            start(state=state, resume=True, **other)
    assert closed(start(state=state, resume=True, steps=9)).step == 6
    with pytest.raises(FormatError, match="has made 6 steps already; here are only 4"):
        start(state=state, resume=True, steps=4)
    list(start(state=state, optimizer=lambda p: torch.optim.RMSprop(p, 0.01)))
    with pytest.raises(FormatError, match="optimizer in the file"):
        start(state=state, resume=True, optimizer=lambda p: torch.optim.RMSprop(p, 0.02))
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
