"""Stylizations step by step: sizes, optimizers, records, stopped and resumed."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from blockprop.errors import FormatError
from blockprop.visualize.style.quasi_newton import LBFGS, Point
from blockprop.visualize.style.stylize import _suitable_history
from tests.visualize.closing import closed
from tests.visualize.styles import pictures, start


def test_the_loss_goes_down_and_the_records_tell() -> None:
    run = start(steps=(6, 8), preview_every=5)
    steps = list(run)
    assert [step.step for step in steps] == list(range(1, 15))
    assert [step.step for step in steps if step.picture is not None] == [5, 10, 14]
    for values in ([step.value for step in steps[:6]], [step.value for step in steps[6:]]):
        assert values == sorted(values, reverse=True)
        assert values[-1] < 0.9 * values[0]
    last = steps[-1]
    assert list(last.parts) == ["content", "style 1", "style 2", "total variation", "range"]
    assert sum(last.parts.values()) == pytest.approx(last.value)
    assert (last.best, last.best_step) == (last.value, 14)
    assert last.picture is not None
    assert last.picture.shape == (1, 3, 48, 64)
    assert 0 <= float(last.picture.min()) < float(last.picture.max()) <= 1
    assert all(step.picture is None or step.picture.shape == (1, 3, 48, 64) for step in steps)


def test_a_step_counts_by_the_pixels_of_its_size() -> None:
    run = start(steps=(2, 1), scales=2)
    (first, second), shares = [h * w for h, w in run.sizes], [step.share for step in run]
    assert shares == pytest.approx([first / (2 * first + second), 2 * first / (2 * first + second), 1])


def test_a_size_beyond_the_contents_own() -> None:
    run = start(size=96, steps=1)
    assert list(run)[-1].picture.shape == (1, 3, 72, 96)  # type: ignore[union-attr]


def test_the_best_value_begins_anew_with_each_size() -> None:
    run = start(steps=(2, 1))
    next(run), next(run)
    run.best_value = 0.0
    step = next(run)
    assert (step.best, step.best_step) == (step.value, 3)


def test_details_of_the_content_come_back_when_the_picture_is_enlarged() -> None:
    content = pictures((48, 64))[0]
    runs = [start(details=details, steps=(1, 1)) for details in (0.0, 1.0)]
    for run in runs:
        next(run)
        run.enter(1)
    smooth, detailed = (run.point.x for run in runs)  # type: ignore[union-attr]
    coarse = F.interpolate(content, (34, 45), mode="bicubic", antialias=True)
    fine = content - F.interpolate(coarse, (48, 64), mode="bicubic", antialias=True)
    torch.testing.assert_close(detailed - smooth, fine)


def test_lbfgs_goes_on_with_what_it_learned_at_the_size_before() -> None:
    run = start(steps=(5, 1))
    for _ in range(5):
        next(run)
    before = run.optimizer.pairs  # type: ignore[union-attr]
    run.enter(1)
    after = run.optimizer.pairs  # type: ignore[union-attr]
    assert len(after) == len(before) == 5
    for (s, y, _, ratio), (larger_s, larger_y, curvature, larger_ratio) in zip(before, after, strict=True):
        assert larger_s.shape == larger_y.shape == (1, 3, 48, 64)
        assert curvature == pytest.approx(float((larger_s.double() * larger_y.double()).sum()), rel=1e-3)
        a, b = float(s.float().mean()) * ratio, float(larger_s.float().mean()) * larger_ratio  # times 1 / the largest y
        assert a * float(larger_y.float().sum()) == pytest.approx(b * float(y.float().sum()), rel=0.3, abs=1e-2)


def test_the_value_is_that_of_the_picture_of_the_record() -> None:
    run = start(scales=1, steps=5)
    *_, last = run
    assert run.losses is not None
    assert run.point is not None
    assert run.losses(run.point.x).value == last.value


def test_pictures_before_the_first_step_and_in_between() -> None:
    run = start(preview_every=1)
    (content,) = pictures((48, 64))
    assert float((run.picture() - content).abs().mean()) < 0.05  # has been at half the size
    first = next(run)
    assert first.picture is not None
    assert torch.equal(first.picture, run.picture())


def test_of_large_pictures_fewer_are_remembered() -> None:
    assert _suitable_history((384, 512), 2) == 20
    assert _suitable_history((384, 512), 8) == 14
    assert _suitable_history((1024, 1366), 2) == 7
    assert _suitable_history((3000, 4000), 2) == 5
    assert closed(start()).settings["history"] == 20


@pytest.mark.parametrize("name", ["noise", "content", "picture"])
def test_where_it_starts(name: str) -> None:
    picture = pictures((30, 30), seed=9)[0]
    run = start(start=picture if name == "picture" else name, scales=1)
    (content,) = pictures((48, 64))
    if name == "content":
        assert torch.equal(run.picture(), content)
        assert closed(start(style_weight=None)).weights.style == 1000
    if name == "noise":
        assert closed(start(start="noise", style_weight=None)).weights.style == pytest.approx(1000 / 15)
        assert 0.02 < float(run.picture().std()) < 0.2
        assert not torch.equal(run.picture(), closed(start(start="noise", scales=1, seed=1)).picture())
    if name == "picture":
        assert float(run.picture().mean()) == pytest.approx(float(picture.mean()), abs=0.01)
    values = [step.value for step in run]
    assert values[-1] < values[0]


def test_the_same_seed_gives_the_same_bits_and_coarse_sizes_follow_the_square_root_of_two() -> None:
    one, other = start(start="noise", scales=3), start(start="noise", scales=3)
    assert torch.equal(list(one)[-1].picture, list(other)[-1].picture)
    assert one.sizes == [[24, 32], [34, 45], [48, 64]]


@pytest.mark.parametrize(
    "optimizer", ["adam", "normalized", lambda p: torch.optim.SGD(p, lr=0.1)], ids=["adam", "normalized", "SGD"]
)
def test_other_optimizers_go_down(optimizer: Any) -> None:
    steps = list(start(optimizer=optimizer, scales=1, steps=12))
    assert steps[-1].value < steps[0].value


def test_adam_is_torchs() -> None:
    run = start(optimizer="adam", scales=1, steps=3, rate=0.03)
    (content,) = pictures((48, 64))
    x = content.clone()
    theirs = torch.optim.Adam([x], lr=0.03)
    next(run)
    assert run.losses is not None
    for _ in range(2):
        next(run)
    for _ in range(3):
        x.grad = run.losses(x).d
        theirs.step()
    assert run.point is not None
    assert torch.equal(run.point.x, x)


@pytest.mark.filterwarnings("ignore:.*the run is over")
@pytest.mark.parametrize("stop", [1, 4, 5, 8, 9, 12])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_resumed_equals_uninterrupted(tmp_path: Path, stop: int, optimizer: str) -> None:
    settings = {"optimizer": optimizer, "start": "noise", "scales": 3}
    whole = list(start(**settings))
    path = tmp_path / "run.state"
    run = start(**settings, state=path)
    for _ in range(stop):
        next(run)
    run.close()
    assert path.exists()
    resumed = start(**settings, state=path, resume=True)
    assert torch.equal(resumed.picture(), run.picture())
    rest = list(resumed)
    assert [step.step for step in rest] == list(range(stop + 1, 13))
    for mine, theirs in zip(rest, whole[stop:], strict=True):
        assert (mine.value, mine.parts, mine.best, mine.best_step) == (
            theirs.value,
            theirs.parts,
            theirs.best,
            theirs.best_step,
        )
    if rest:
        assert torch.equal(rest[-1].picture, whole[-1].picture)


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    run = start(state=path)
    next(run)
    run.close()
    for name, settings in {
        "style_weight": {"style_weight": 7.0},
        "content_weight": {"content_weight": 7.0},
        "total_variation": {"total_variation": 7.0},
        "seed": {"seed": 3},
        "style_layers": {"style_layers": "relu1"},
        "sizes (size=…, scales=…)": {"scales": 1},
        "colors": {"colors": "matched"},
        "optimizer": {"optimizer": lambda p: torch.optim.Adam(p, 0.1)},
    }.items():
        with pytest.raises(FormatError, match=re.escape(f"cannot resume, the {name} in")):
            start(**settings, state=path, resume=True)


def test_ctrl_c_waits_for_the_end_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.state"
    run = start(state=path, steps=5)
    steps = [next(run)]
    plain = LBFGS.step

    def interrupted(self: LBFGS, *arguments: Any) -> Point:
        signal.raise_signal(signal.SIGINT)
        return plain(self, *arguments)

    monkeypatch.setattr(LBFGS, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(run)
    monkeypatch.undo()
    assert run.step == 2
    rest = list(start(state=path, steps=5, resume=True))
    assert [*steps, *rest][-1].value == list(start(steps=5))[-1].value
    assert [step.step for step in rest] == list(range(3, 11))
