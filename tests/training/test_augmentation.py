"""Each augmentation does what it says, to each picture by itself, and nothing else."""

import math

import pytest
import torch
from torch import Tensor

from blockprop.errors import SettingError
from blockprop.training.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    augmentations,
    augmented,
    color,
    cutout,
    flip,
    rotate,
    shift,
    zoom,
)


def drawn(change: Augmentation, x: Tensor, seed: int = 0) -> Tensor:
    return change(x, torch.Generator().manual_seed(seed))


def pictures(n: int = 64, c: int = 3, h: int = 12, w: int = 16) -> Tensor:
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_type_and_range_stay_and_the_pictures_too(name: str, channels: int) -> None:
    x = pictures(c=channels)
    before = x.clone()
    (change,) = augmentations("flip" if name == "flip" else f"{name}:{1 if name in ('shift', 'cutout') else 0.5}")
    y = drawn(change, x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert y.min() >= 0
    assert y.max() <= 1
    assert (x == before).all()
    assert (y != x).any()
    assert (drawn(change, x) == y).all()
    assert (drawn(change, x, seed=1) != y).any()


def test_flip_mirrors_half_of_the_pictures() -> None:
    x = pictures(n=1000, h=2, w=4)
    y = drawn(flip(), x)
    mirrored = (y == x.flip(3)).flatten(1).all(1)
    kept = (y == x).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 0.45 < mirrored.float().mean() < 0.55


def test_shift_moves_by_whole_pixels_and_mirrors_at_the_edges() -> None:
    x = pictures(n=200, h=5, w=6)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    y, seen = drawn(shift(2), x), set()
    for i in range(len(x)):
        places = [(r, c) for r in range(5) for c in range(5) if (padded[i, :, r : r + 5, c : c + 6] == y[i]).all()]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 25


def test_rotate_does_not_stretch_oblong_pictures() -> None:
    rows, columns = torch.arange(20).view(20, 1) - 9.5, torch.arange(40).view(1, 40) - 19.5
    spot = (-(rows**2 + columns**2) / 20).exp().view(1, 1, 20, 40)  # turned about the center it stays
    for seed in range(5):
        error = (drawn(rotate(180), spot, seed) - spot)[:, :, :, 10:30].abs()
        assert error.max() < 0.05


def test_rotate_turns_by_no_more_than_it_may() -> None:
    x = torch.zeros(300, 1, 41, 41)
    x[:, 0, 20, 35] = 1  # 15 pixels right of the center
    y = drawn(rotate(30), x)
    places = y.flatten(1).argmax(1)
    angles = torch.atan2((places // 41 - 20).float(), (places % 41 - 20).float()) * 180 / math.pi
    assert angles.abs().max() <= 33
    assert angles.min() < -24
    assert angles.max() > 24


def test_zoom_keeps_the_center_and_moves_the_rest_by_its_share() -> None:
    x = torch.zeros(300, 1, 41, 41)
    x[:, 0, 20, 30] = 1
    distances = drawn(zoom(0.2), x).flatten(1).argmax(1) % 41 - 20
    assert distances.min() == 8  # 10 / 1.2
    assert distances.max() in (12, 13)  # 10 / 0.8


def test_color_changes_brightness_contrast_and_saturation_by_their_factors() -> None:
    x = 0.4 + 0.2 * pictures(n=500)
    y = drawn(color(0.2), x)
    brightness = y.mean((1, 2, 3)) / x.mean((1, 2, 3))
    assert 0.79 < brightness.min() < 0.83
    assert 1.17 < brightness.max() < 1.21
    spread = (y.mean(1).std((1, 2)) / x.mean(1).std((1, 2))) / brightness
    assert 0.79 < spread.min() < 0.83
    assert 1.17 < spread.max() < 1.21
    gray = x.mean(1, keepdim=True).expand_as(x)
    kept = drawn(color(0.2), gray)
    assert torch.allclose(kept[:, 0], kept[:, 2], atol=1e-6)


def test_cutout_fills_a_square_with_the_mean_color() -> None:
    x = pictures(n=300)
    y = drawn(cutout(4), x)
    changed = (y != x).any(1)
    rows, columns = changed.any(2).sum(1), changed.any(1).sum(1)
    assert rows.max() == 4
    assert columns.max() == 4
    assert rows.min() >= 2  # no more than half lies outside
    assert (changed.flatten(1).sum(1) == rows * columns).all()
    means = x.mean((2, 3))
    for i in range(20):
        assert torch.allclose(y[i][:, changed[i]], means[i][:, None].expand(3, int(changed[i].sum())))


def test_all_depends_on_seed_and_step_alone_and_each_picture_gets_its_own_numbers() -> None:
    changes = augmentations("flip, shift:2,color:0.3")
    same = torch.full((8, 3, 12, 16), 0.5) * torch.linspace(0, 1, 16)
    y = augmented(same, changes, seed=3, step=5)
    assert (y == augmented(same, changes, seed=3, step=5)).all()
    assert (y != augmented(same, changes, seed=3, step=6)).any()
    assert (y != augmented(same, changes, seed=4, step=5)).any()
    assert len({tuple(row) for row in y.flatten(1).tolist()}) == 8


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("flipp", "there is no augmentation 'flipp'; did you mean 'flip'"),
        ("flip:2", "came 'flip:2'"),
        ("shift", "such as shift:4"),
        ("shift:x", "came 'shift:x'"),
        ("shift:1.5", "whole number of pixels"),
        ("rotate:0", "degrees above 0"),
        ("rotate:nan", "expected a number after the colon"),
        ("zoom:1", "zoom: expected a number above 0 and below 1"),
        ("shift:99999", "whole number of pixels"),
        ("color:-1", "color: expected a number above 0"),
        ("cutout:0", "cutout: expected pixels from 1 up"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, told: str) -> None:
    with pytest.raises(SettingError) as error:
        augmentations(text)
    assert told in str(error.value)


def test_what_is_no_picture_or_too_small_is_refused() -> None:
    with pytest.raises(SettingError, match="for pictures"):
        augmented(torch.rand(4, 8), [flip()], 0, 0)
    with pytest.raises(SettingError, match="cannot be moved by 9"):
        augmented(torch.rand(4, 3, 8, 8), [shift(9)], 0, 0)


def test_none_are_named_by_an_empty_text() -> None:
    assert augmentations("") == []
