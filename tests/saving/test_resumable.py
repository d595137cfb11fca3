"""Runs of every kind: handing out records, ending, going on from a file, and being dropped."""

import gc
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from blockprop.blocks import Conv2d, Linear
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropWarning, FormatError, SettingError
from blockprop.saving.checkpoints import write_checkpoint
from blockprop.saving.resumable import VERSION, Keeping, Resumable
from blockprop.training.fit import fit
from blockprop.visualize.dream import dream
from blockprop.visualize.maximize import maximize
from blockprop.visualize.style.stylize import stylize


class Counting(Resumable[int]):
    """Counts to a number, and says what happens to it."""

    def __init__(self, last: int = 3, name: str = "a", keep: Keeping | None = None, told: list[str] | None = None):
        self.last, self.name, self.told = last, name, [] if told is None else told
        super().__init__(keep)

    @property
    def is_over(self) -> bool:
        return self.step >= self.last

    def advance(self) -> int:
        if self.step == 100:
            raise ArithmeticError("too large")
        self.step += 1
        return self.step

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def progress(self, state: dict[str, Any]) -> dict[str, tuple[int, int]]:
        return {"numbers": (state["step"], self.last)}

    def state(self) -> dict[str, Any]:
        self.told.append(f"saved at {self.step}")
        return {"step": self.step}

    def restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]

    def begin(self) -> None:
        self.told.append("begin")

    def end(self) -> None:
        self.told.append("end")

    def leave(self) -> None:
        self.told.append("leave")


def test_it_is_an_iterator_that_ends_for_good() -> None:
    run = Counting()
    assert next(run) == 1
    assert list(run) == [2, 3]
    assert list(run) == []
    run.close()
    assert run.told == ["begin", "end"]


def test_finish_makes_what_is_left_and_gives_the_last_record(tmp_path: Path) -> None:
    assert Counting().finish() == 3
    run = Counting(keep=Keeping(tmp_path / "run"))
    next(run)
    assert run.finish() == 3
    with pytest.warns(BlockpropWarning, match=r"run: the run is over \(3 of 3 numbers\), so nothing is left to do"):
        assert Counting(keep=Keeping(tmp_path / "run", resume=True)).finish() is None


def test_stopped_it_stays_stopped_and_goes_on_from_its_file(tmp_path: Path) -> None:
    keep = Keeping(tmp_path / "run")
    run = Counting(keep=keep)
    next(run)
    run.close()
    run.close()
    assert list(run) == []
    assert run.told == ["begin", "saved at 1", "leave"]
    assert list(Counting(keep=Keeping(keep.path, resume=True))) == [2, 3]
    with pytest.raises(FormatError, match="run: cannot resume, the name in the file is a, here it is b"):
        Counting(name="b", keep=Keeping(keep.path, resume=True))


def test_it_may_go_further_than_before_but_not_less_far_than_it_is(tmp_path: Path) -> None:
    Counting(keep=Keeping(tmp_path / "run")).finish()
    with pytest.raises(FormatError, match="cannot resume, it has made 3 numbers already; here are only 2"):
        Counting(2, keep=Keeping(tmp_path / "run", resume=True))
    assert list(Counting(5, keep=Keeping(tmp_path / "run", resume=True))) == [4, 5]


@pytest.mark.parametrize("state", [{}, {"version": 1}, {"identity": {"name": "a"}, "step": 1}])
def test_files_of_earlier_versions_are_refused_in_a_sentence(state: dict, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "run", state)
    with pytest.raises(FormatError, match="written by another version of blockprop"):
        Counting(keep=Keeping(tmp_path / "run", resume=True))


@pytest.mark.parametrize(
    "damage",
    [{"step": "two"}, {"step": None}, {"identity": 3}, {"identity": None}, {"identity": {}}, {"step": {}}],
    ids=str,
)
def test_damaged_states_are_refused_in_a_sentence(damage: dict, tmp_path: Path) -> None:
    state = {"version": VERSION, "identity": {"name": "a"}, "device": "cpu", "step": 1}
    write_checkpoint(tmp_path / "run", state | damage)
    with pytest.raises(FormatError, match="run: cannot resume"):
        Counting(keep=Keeping(tmp_path / "run", resume=True)).finish()


def test_what_only_the_first_step_finds_out_is_the_files_fault_too(tmp_path: Path) -> None:
    Counting(100, keep=Keeping(tmp_path / "run")).finish()
    with pytest.raises(FormatError, match="the state in it does not fit"):
        Counting(102, keep=Keeping(tmp_path / "run", resume=True)).finish()


def test_another_device_is_said(tmp_path: Path) -> None:
    class Elsewhere(Counting):
        device = "cuda"

    next(Elsewhere(keep=Keeping(tmp_path / "run")))
    with pytest.warns(BlockpropWarning, match="made on cuda and goes on on cpu"):
        assert Counting(keep=Keeping(tmp_path / "run", resume=True)).finish() == 3


def test_the_file_is_written_at_the_end_and_when_time_has_passed(tmp_path: Path) -> None:
    seldom, often = Counting(keep=Keeping(tmp_path / "a")), Counting(keep=Keeping(tmp_path / "b", seconds=0.0))
    seldom.finish()
    often.finish()
    assert seldom.told == ["begin", "saved at 3", "end"]
    assert often.told == ["begin", "saved at 1", "saved at 2", "saved at 3", "end"]


def test_what_is_done_with_a_record_is_done_before_the_file_holds_it_and_before_ctrl_c(tmp_path: Path) -> None:
    run = Counting(keep=Keeping(tmp_path / "run", seconds=0.0))

    def interrupted(count: int) -> None:
        if count == 2:
            signal.raise_signal(signal.SIGINT)
        run.told.append(f"done with {count}")

    run.observe(interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert run.told[:5] == ["begin", "done with 1", "saved at 1", "done with 2", "saved at 2"]
    assert run.told[-1] == "leave"


def test_after_an_error_in_what_is_done_with_a_record_nothing_is_saved(tmp_path: Path) -> None:
    run = Counting(keep=Keeping(tmp_path / "run", seconds=0.0))
    run.observe([].remove)
    with pytest.raises(ValueError, match="not in list"):
        next(run)
    assert run.told == ["begin"]


def test_after_an_error_nothing_is_saved(tmp_path: Path) -> None:
    run = Counting(200, keep=Keeping(tmp_path / "run"))
    with pytest.raises(ArithmeticError):
        run.finish()
    assert run.told == ["begin"]
    assert list(run) == []


def test_dropped_between_two_steps_it_is_closed_at_once(tmp_path: Path) -> None:
    told: list[str] = []
    for count in Counting(keep=Keeping(tmp_path / "run"), told=told):
        if count == 2:
            break
    assert told == ["begin", "saved at 2", "leave"]


def network(*_: object) -> Sequential:
    torch.manual_seed(0)
    return Sequential({"conv": Conv2d(3, 2, 3)})


def picture() -> torch.Tensor:
    return torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


MADE: dict[str, Callable[..., Any]] = {
    "Counting": Counting,
    "TrainingRun": lambda: fit(Sequential(Linear(2, 1)), (torch.ones(4, 2), torch.ones(4, 1)), mean_squared_error()),
    "Ascent": lambda: maximize(network(), "conv:1", 8, steps=2, transforms=()),
    "Dream": lambda: dream(network(), picture(), "conv", steps=1, octaves=1),
    "Stylization": lambda: stylize(
        network(), picture(), picture(), steps=1, scales=1, content_layers="conv", style_layers="conv"
    ),
}


@pytest.mark.parametrize("kind", MADE)
def test_dropped_before_its_first_step_it_warns(kind: str) -> None:
    with pytest.warns(UserWarning, match=rf"a run \({kind}\) was dropped before its first step: loop over it, or call"):
        MADE[kind]()


@pytest.mark.parametrize("kind", MADE)
def test_started_or_closed_it_does_not_warn(kind: str) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run = MADE[kind]()
        next(run)
        del run
        run = MADE[kind]()
        run.close()
        del run
        gc.collect()
    assert warned == []


def test_one_that_could_not_be_made_or_has_no_step_left_does_not_warn_of_being_dropped(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", BlockpropWarning)
        Counting(keep=Keeping(tmp_path / "run")).finish()
        Counting(keep=Keeping(tmp_path / "run", resume=True))
        with pytest.raises(FormatError):
            Counting(name="b", keep=Keeping(tmp_path / "run", resume=True))
        with pytest.raises(SettingError):
            fit(Sequential(Linear(2, 1)), (torch.ones(4, 2), torch.ones(4, 1)), mean_squared_error(), wrt=())
        with pytest.raises(SettingError):
            maximize(network(), "conv:1", 8, preview_every=0)
        gc.collect()
    assert warned == []


def test_a_script_that_forgets_to_loop_is_told_so() -> None:
    code = """
import torch
from blockprop import Sequential, fit, mean_squared_error
from blockprop.blocks import Linear
run = fit(Sequential(Linear(2, 1)), (torch.ones(4, 2), torch.ones(4, 1)), mean_squared_error())
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert "UserWarning: a run (TrainingRun) was dropped before its first step" in told
    assert "Traceback" not in told


def test_resuming_needs_a_path() -> None:
    with pytest.raises(SettingError, match="resume needs the path of a state"):
        Keeping(resume=True)
