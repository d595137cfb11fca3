"""Runs of dreams: their records, films, the same bits twice, stopped and resumed."""

import itertools
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.errors import FormatError
from blockprop.pictures.scaling import noise, zoomed
from blockprop.visualize.dream import dream
from blockprop.visualize.dream_run import Dream
from blockprop.visualize.running import PictureRecord
from tests.visualize.closing import closed
from tests.visualize.dreams import photo, small, start


def test_records_are_numbered_over_all_octaves() -> None:
    run = start(preview_every=2)
    steps = list(run)
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {step.steps for step in steps} == {6}
    assert [step.step for step in steps if step.picture is not None] == [2, 4, 6]
    assert all(step.picture.shape == (1, 3, 40, 52) for step in steps if step.picture is not None)
    assert steps[2].value > steps[0].value
    assert steps[-1].best == max(step.value for step in steps)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(steps))


def test_the_picture_has_its_full_size_at_any_time() -> None:
    run = start()
    assert torch.equal(run.picture(), photo())
    for _ in run:
        picture = run.picture()
        assert picture.shape == (1, 3, 40, 52)
        assert 0 <= float(picture.min()) <= float(picture.max()) <= 1
        assert not torch.equal(picture, photo())


def test_a_picture_that_was_given_away_is_the_callers() -> None:
    expected = bits(start())[1]
    run = start(preview_every=1)
    for step in run:
        assert step.picture is not None
        step.picture.zero_()
    assert torch.equal(run.picture(), expected)


def test_what_came_in_stays_as_it_is() -> None:
    network, picture = small(), photo()
    before = {name: tensor.clone() for name, tensor in network.state.items()}
    list(dream(network, picture, "relu2", steps=2))
    assert torch.equal(picture, photo())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state.items())


def test_dreams_from_noise() -> None:
    *_, last = start(image="noise", size=(30, 44))
    assert last.picture is not None
    assert last.picture.shape == (1, 3, 30, 44)
    assert last.steps == 6
    assert closed(dream(small(), layers="relu2", size=90)).octaves == 6
    one, other = (closed(start(image="noise", size=(30, 44), seed=seed)) for seed in (0, 1))
    assert not torch.equal(one.picture(), other.picture())


def test_noise_has_all_sizes_on_gray() -> None:
    found = noise(3, 200, 130, seed=1)
    assert found.shape == (1, 3, 200, 130)
    assert float(found.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(found.std()) == pytest.approx(0.1, rel=0.05)
    halves = [float(F.avg_pool2d(found, size).std()) for size in (4, 16, 32)]
    assert halves[0] > halves[1] > halves[2] > 0.2 * halves[0]
    assert float((found[..., 1:] - found[..., :-1]).abs().mean()) < 0.03


@pytest.mark.parametrize(
    ("size", "octaves", "smallest"), [((40, 52), 4, 19), ((768, 1024), 4, 373), ((30, 4000), 8, 379)]
)
def test_a_large_dream_begins_as_small_as_others(size: tuple[int, int], octaves: int, smallest: int) -> None:
    run = closed(dream(small(), photo(*size), "relu1"))
    assert run.octaves == octaves
    assert run.sizes[0][1] == smallest
    assert run.sizes[-1] == size


@pytest.mark.parametrize(("size", "expected"), [(26, (20, 26)), (104, (80, 104)), (52, (40, 52)), (None, (40, 52))])
def test_a_photograph_is_brought_to_the_size_also_beyond_its_own(size: int | None, expected: tuple[int, int]) -> None:
    run = start(size=size, octaves=3, steps=1)
    assert run.sizes[-1] == expected
    assert list(run)[-1].picture.shape == (1, 3, *expected)  # type: ignore[union-attr]


def test_enlarged_in_tiles_it_is_the_same_dream() -> None:
    whole, tiled = (start(size=150, octaves=1, steps=2, jitter=3, tile=tile).finish() for tile in (None, 64))
    assert whole is not None
    assert tiled is not None
    torch.testing.assert_close(tiled.picture, whole.picture)


def test_a_step_counts_by_the_pixels_of_its_octave() -> None:
    run = start(image=photo(40, 60), octaves=2, octave_scale=2.0, steps=2, frames=2, zoom=1.0)
    pixels = [20 * 30] * 2 + [40 * 60] * 2
    shares = [step.share for step in run]
    assert shares == pytest.approx([sum((pixels * 2)[:n]) / (2 * sum(pixels)) for n in range(1, 9)])
    assert shares[-1] == 1


def test_a_film_dreams_on_the_frame_before() -> None:
    film = list(start(frames=3, zoom=1.1, rotation=2.0, jitter=0))
    assert len(film) == 18
    frames = [step.picture for step in film if step.picture is not None]
    assert [step.step for step in film if step.picture is not None] == [6, 12, 18]
    *_, first = start(jitter=0)
    assert first.picture is not None
    assert torch.equal(frames[0], first.picture)
    *_, second = start(image=zoomed(first.picture, 1.1, 2.0), jitter=0)
    assert second.picture is not None
    assert torch.equal(frames[1], second.picture)


def test_zooming_by_hand() -> None:
    picture = photo(6, 6)
    assert zoomed(picture, 1.0) is picture
    torch.testing.assert_close(zoomed(picture, 1.0, 90.0), picture.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    flat = torch.full((1, 3, 5, 8), 0.25)
    torch.testing.assert_close(zoomed(flat, 1.3, 20.0), flat)
    slope = torch.linspace(0, 1, 64).expand(1, 3, 32, 64)
    found = zoomed(slope, 2.0)
    torch.testing.assert_close(found[..., 8:56], 0.25 + slope[..., 8:56] / 2, rtol=0, atol=1e-2)
    oblong = zoomed(torch.nn.functional.pad(torch.ones(1, 3, 20, 20), (20, 20)), 1.0, 90.0)
    torch.testing.assert_close(oblong[:, :, 1:-1], torch.ones(1, 3, 18, 60), rtol=0, atol=1e-4)


def bits(run: Dream) -> tuple[list[float], Tensor]:
    values = [step.value for step in run]
    return values, run.picture()


def test_the_same_seed_gives_the_same_bits() -> None:
    values, picture = bits(start())
    again, same = bits(start())
    assert values == again
    assert torch.equal(picture, same)
    assert not torch.equal(picture, bits(start(seed=1))[1])
    torch.manual_seed(9)
    for _ in zip(*(runs := [start(), start()]), strict=True):
        torch.rand(1)
    assert all(torch.equal(run.picture(), picture) for run in runs)


KINDS = {
    "photo": {},
    "noise": {"image": "noise", "size": 30},
    "film": {"frames": 2, "rotation": 1.0, "steps": 2},
    "tiled": {"tile": 32},
    "guided": {"guide": photo(20, 20), "layers": {"relu2": 1, "conv1:2": 0.5}},
    "double": {"image": photo(dtype=torch.float64)},
}


@pytest.mark.filterwarnings("ignore:.*the run is over")
@pytest.mark.parametrize("kind", KINDS)
def test_resumed_it_gives_the_same_bits(kind: str, tmp_path: Path) -> None:
    settings = KINDS[kind]
    whole = start(**settings)
    values, picture = bits(whole)
    for count in range(1, len(values) + 1):
        state = tmp_path / f"state{count}"
        first = start(state=state, **settings)
        early = [step.value for step in itertools.islice(first, count)]
        shown = first.picture()
        first.close()
        second = start(state=state, resume=True, **settings)
        assert torch.equal(second.picture(), shown)
        late, resumed = bits(second)
        assert early + late == values
        assert torch.equal(resumed, picture)
        assert (second.best_value, second.best_step) == (whole.best_value, whole.best_step)


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    list(start(state=state))
    for other, told in (
        ({"seed": 1}, "seed in the file is 0, here it is 1"),
        ({"rate": 0.1}, "rate"),
        ({"layers": "relu1"}, "objective"),
        ({"image": photo() * 0.5}, "picture"),
        ({"steps": 4}, "steps in"),
        ({"octaves": 3}, "octaves"),
        ({"octave_scale": 1.5}, "octave_scale"),
        ({"tile": 32}, "tile"),
        ({"zoom": 1.2}, "zoom"),
        ({"rotation": 5.0}, "rotation"),
        ({"guide": photo(20, 20)}, "objective"),
    ):
        with pytest.raises(FormatError, match=f"cannot resume, the {told}"):
            start(state=state, resume=True, **other)
    list(start(state=state, guide=photo(20, 20)))
    with pytest.raises(FormatError, match="guide at 'relu2'"):
        start(state=state, resume=True, guide=photo(22, 22))
    assert closed(start(state=state)).step == 0
    assert closed(start(state=tmp_path / "none", resume=True)).step == 0


def test_a_film_may_become_longer(tmp_path: Path) -> None:
    state = tmp_path / "state"
    list(start(state=state))
    longer = start(state=state, resume=True, frames=2)
    assert (longer.step, longer.steps) == (6, 12)
    assert torch.equal(bits(longer)[1], bits(start(frames=2))[1])


def test_ctrl_c_ends_after_the_step_with_everything_usable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values, picture = bits(start())
    state = tmp_path / "state"
    run = start(state=state)
    advance = Dream.advance

    def pressed(self: Dream) -> Any:
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(Dream, "advance", pressed)
    seen: list[PictureRecord] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(run)
    monkeypatch.undo()
    assert run.step == 3
    assert run.picture().shape == (1, 3, 40, 52)
    late, resumed = bits(start(state=state, resume=True))
    assert late == values[3:]
    assert torch.equal(resumed, picture)


def test_state_is_written_from_time_to_time(tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = start(state=state)
    run.save_seconds = 0.0
    next(run)
    assert closed(start(state=state, resume=True)).step == 1
