"""From a saliency map to a mask: pictures whose object is known, measures worked by hand, what must not matter."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from blockprop.errors import BlockpropError, DataError, NotFiniteError, SettingError, ShapeError
from blockprop.visualize.attribution.segmentation import (
    bounding_box,
    box_intersection_over_union,
    intersection_over_union,
    segment,
)
from tests.visualize.objects import DISC, HEIGHT, WIDTH, distance, hill, rectangle

BOX = (20, 15, 51, 46)
"""Around a disc of radius 15 with its center at x = 35, y = 30."""


def red_on_green(*objects: Tensor, noise: float = 0.08) -> Tensor:
    x = torch.tensor([0.2, 0.7, 0.2])[:, None, None].repeat(1, HEIGHT, WIDTH)
    for mask in objects or (DISC,):
        x[:, mask] = torch.tensor([0.8, 0.2, 0.1])[:, None]
    return (x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize("rounds", [1, 5])
def test_a_red_disc_on_green_is_found_from_a_part_of_it(rounds: int, hold: bool) -> None:
    found = segment(red_on_green(), hill(), rounds=rounds, hold=hold)
    assert found.note == ""
    assert found.mask.dtype == torch.bool
    assert found.mask.shape == (HEIGHT, WIDTH)
    assert intersection_over_union(found.mask, DISC) > 0.97
    assert box_intersection_over_union(found.box, BOX) > 0.9
    if not hold:  # no seed outside the disc can then stay foreground
        assert torch.equal(found.mask, DISC)
        assert found.box == BOX


def test_of_two_equal_objects_the_larger_one_is_the_mask_and_the_smaller_one_is_left_out() -> None:
    small = distance(12, 68) <= 5
    found = segment(red_on_green(DISC, small), hill(), hold=False)
    assert torch.equal(found.mask, DISC)


def test_parts_that_touch_at_a_corner_are_one() -> None:
    squares = rectangle(20, 15, 40, 35) | rectangle(40, 35, 55, 50)
    found = segment(red_on_green(squares), hill(25, 30), hold=False)
    assert torch.equal(found.mask, squares)
    assert found.box == (20, 15, 55, 50)


def test_further_rounds_learn_colors_that_no_seed_has() -> None:
    """A bar that goes from red to blue, with seeds at its red end only."""
    bar, picture = rectangle(10, 20, 70, 40), red_on_green(rectangle(0, 0, 0, 0), noise=0.03)
    red, blue = (torch.tensor(color)[:, None, None] for color in ([0.8, 0.2, 0.1], [0.2, 0.3, 0.6]))
    noise = 0.03 * torch.randn(3, 20, 60, generator=torch.Generator().manual_seed(0))
    picture[:, 20:40, 10:70] = red + (blue - red) * torch.linspace(0, 1, 60) + noise
    map = hill(y=30, x=18, size=6)
    found = [segment(picture, map, rounds=rounds, hold=False).mask for rounds in (1, 2, 5, 20)]
    overlaps = [intersection_over_union(mask, bar) for mask in found]
    assert 0.4 < overlaps[0] < overlaps[1] < 0.6
    assert torch.equal(found[2], bar)
    assert torch.equal(found[3], found[2])  # it ends where nothing changes


def test_seeds_are_the_quantiles_of_the_map() -> None:
    map = torch.arange(100.0).reshape(10, 10)
    seeds = segment(torch.rand(3, 10, 10), map).seeds
    assert seeds.dtype == torch.int8
    expected = torch.zeros(100, dtype=torch.int8)
    expected[:30], expected[95:] = -1, 1  # the quantiles are 0.30 · 99 = 29.7 and 0.95 · 99 = 94.05
    assert torch.equal(seeds.flatten(), expected)
    other = segment(torch.rand(3, 10, 10), map, foreground=0.5, background=0.1).seeds
    assert (int((other == 1).sum()), int((other == -1).sum())) == (50, 10)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0] * 97 + [1, 2, 3], [-1] * 97 + [1, 1, 1]),  # most of it zero, as Grad-CAM's: both quantiles are 0
        (
            [0] * 50 + [1] * 40 + [2] * 10,
            [-1] * 50 + [0] * 40 + [1] * 10,
        ),  # no value below the 30 % quantile, none above
        ([5] * 3 + [7] * 97, [-1] * 3 + [1] * 97),  # both quantiles are the maximum
        ([-1] * 97 + [0] * 3, [-1] * 97 + [1] * 3),
    ],
)
def test_seeds_of_maps_with_ties(values: list[int], expected: list[int]) -> None:
    found = segment(torch.rand(3, 10, 10), torch.tensor(values, dtype=torch.float32).reshape(10, 10))
    assert found.seeds.flatten().tolist() == expected


def test_held_seeds_stay_and_others_follow_their_colors() -> None:
    hole = distance(24, 35) <= 4
    map = torch.where(hole, -1.0, hill())
    held, free = (segment(red_on_green(), map, hold=hold) for hold in (True, False))
    assert (held.seeds[hole] == -1).all()
    assert not held.mask[hole].any()
    assert intersection_over_union(held.mask | hole, DISC) > 0.97
    assert torch.equal(free.mask, DISC)


def many_colors() -> Tensor:
    """Patches of more colors than the mixtures have: where they start decides what they find."""
    patches = torch.rand(1, 3, 8, 10, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.interpolate(patches, (HEIGHT, WIDTH), mode="bicubic")[0].clamp(0, 1)


def test_the_same_bits_twice_whatever_opencv_drew_before() -> None:
    import cv2

    picture, map = many_colors(), hill(size=20)
    first = segment(picture, map, rounds=1, hold=True)
    for number in range(10):
        cv2.setRNGSeed(number)
        again = segment(picture, map, rounds=1, hold=True)
        assert torch.equal(again.mask, first.mask)
        assert torch.equal(again.seeds, first.seeds)
        assert again.box == first.box
    others = [segment(picture, map, rounds=1, hold=True, seed=seed).mask for seed in range(1, 10)]
    assert not all(torch.equal(other, first.mask) for other in others), "the picture must be one where it matters"


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("hold", [True, False])
def test_a_mirrored_picture_gives_the_mirrored_mask(axis: int, hold: bool) -> None:
    found = segment(red_on_green(), hill(), hold=hold)
    other = segment(red_on_green().flip(axis), hill().flip(axis - 1), hold=hold)
    assert torch.equal(other.mask.flip(axis - 1), found.mask)
    many = segment(many_colors(), hill(size=20), hold=hold, rounds=1)
    mirror = segment(many_colors().flip(axis), hill(size=20).flip(axis - 1), hold=hold, rounds=1)
    assert torch.equal(mirror.mask.flip(axis - 1), many.mask)
    x1, y1, x2, y2 = found.box
    mirrored = (x1, HEIGHT - y2, x2, HEIGHT - y1) if axis == 1 else (WIDTH - x2, y1, WIDTH - x1, y2)
    assert other.box == mirrored


def test_scale_type_layout_and_extra_axes_do_not_matter_and_nothing_is_changed() -> None:
    picture, map = red_on_green(), hill()
    copies = picture.clone(), map.clone()
    expected = segment(picture, map).mask
    assert torch.equal(segment(picture[None], map[None, None]).mask, expected)
    assert torch.equal(segment(picture, map[None].double() * 1e-12).mask, expected)
    strange = picture.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(segment(strange, map.t().contiguous().t()).mask, expected)
    assert torch.equal(segment(picture * 1.0001 - 0.00005, map).mask, expected)
    assert torch.equal(picture, copies[0])
    assert torch.equal(map, copies[1])


def test_the_order_of_channels_does_not_matter() -> None:
    found = segment(red_on_green(), hill())
    assert torch.equal(segment(red_on_green().flip(0), hill()).mask, found.mask)


def test_a_map_of_another_size_is_resized() -> None:
    coarse = torch.nn.functional.avg_pool2d(hill()[None, None], 4)
    assert coarse.shape[2:] == (15, 20)
    found = segment(red_on_green(), coarse)
    assert found.mask.shape == (HEIGHT, WIDTH)
    assert intersection_over_union(found.mask, DISC) > 0.97
    fine = hill().repeat_interleave(3, 0).repeat_interleave(3, 1)
    assert intersection_over_union(segment(red_on_green(), fine).mask, DISC) > 0.97


def test_a_gray_picture_is_taken() -> None:
    gray = torch.where(DISC, 0.8, 0.2)[None]
    assert torch.equal(segment(gray, hill(), hold=False).mask, DISC)


def test_smoothing_turns_scattered_points_into_a_region() -> None:
    scattered = torch.where(torch.rand(DISC.shape, generator=torch.Generator().manual_seed(3)) < 0.1, hill(), 0.0)
    rough, smooth = (segment(red_on_green(), scattered, smooth=s).seeds == 1 for s in (0.0, 0.05))
    assert (smooth & DISC).sum() / smooth.sum() > 0.9
    assert not torch.equal(rough, smooth)


@pytest.mark.parametrize("value", [0.0, 3.0, -1.0])
def test_a_constant_map_gives_the_whole_picture_and_says_so(value: float) -> None:
    found = segment(red_on_green(), torch.full((HEIGHT, WIDTH), value))
    assert found.mask.all()
    assert found.box == (0, 0, WIDTH, HEIGHT)
    assert not found.seeds.any()
    assert "constant" in found.note


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 9), (3, 3), (5, 4)])
@pytest.mark.parametrize("hold", [True, False])
def test_tiny_pictures(size: tuple[int, int], hold: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    for _ in range(20):
        picture, map = torch.rand(3, *size, generator=generator), torch.rand(size, generator=generator)
        for x, m in ((picture, map), (picture.round(), map), (picture * 0, map), (picture, map.round())):
            found = segment(x, m, hold=hold)
            assert found.mask.any()
            assert found.box == bounding_box(found.mask)


@pytest.mark.parametrize("hold", [True, False])
def test_all_seeds_or_almost_all_of_one_kind(hold: bool) -> None:
    almost = segment(red_on_green(), hill(), foreground=0.0, background=0.0, hold=hold)
    assert int((almost.seeds == 1).sum()) > 0.99 * almost.seeds.numel()
    assert almost.mask.any()
    none_undecided = segment(red_on_green(), hill(), foreground=0.7, background=0.7, hold=hold)
    assert none_undecided.seeds.all()
    few = segment(red_on_green(), hill(), foreground=1.0, background=1.0, hold=hold)
    assert int((few.seeds == 1).sum()) == 1
    assert few.mask.any()


def test_where_the_cut_leaves_nothing_the_seeds_stand_for_the_object() -> None:
    """Noise, and seeds anywhere in it: the colors of a few are unlike the others' only by chance."""
    picture = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(5))
    map = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(6))
    map[20:22, 30:33] = 2.0
    found = segment(picture, map, foreground=0.99, hold=False)
    assert found.note.startswith("the graph cut left nothing")
    assert found.box == (30, 20, 33, 22)
    assert torch.equal(found.mask, rectangle(30, 20, 33, 22))


PICTURE, MAP = torch.rand(3, 6, 8), torch.rand(6, 8)


@pytest.mark.parametrize(
    ("picture", "map", "kind", "text"),
    [
        (torch.rand(6, 8), MAP, ShapeError, "came 6 x 8"),
        (torch.rand(2, 3, 6, 8), MAP, ShapeError, "came 2 x 3 x 6 x 8"),
        (torch.rand(4, 6, 8), MAP, ShapeError, "came 4 x 6 x 8"),
        (torch.rand(3, 0, 8), MAP, ShapeError, "came 3 x 0 x 8"),
        (torch.zeros(3, 6, 8, dtype=torch.uint8), MAP, ShapeError, "uint8"),
        (PICTURE * 255, MAP, DataError, "this one goes from"),
        (PICTURE * float("nan"), MAP, NotFiniteError, "the picture has a NaN"),
        (PICTURE, torch.rand(3, 6, 8), ShapeError, r"one saliency map \(h, w\), came 3 x 6 x 8"),
        (PICTURE, torch.rand(8), ShapeError, "came 8"),
        (PICTURE, torch.rand(0, 8), ShapeError, "came 0 x 8"),
        (PICTURE, MAP * 1j, ShapeError, "complex"),
        (PICTURE, MAP.where(MAP > 0.5, torch.nan), NotFiniteError, "values of 48"),
        (PICTURE, MAP.masked_fill(MAP.ge(MAP.max()), torch.inf), NotFiniteError, "1 values of 48"),
    ],
)
def test_wrong_pictures_and_maps(picture: Tensor, map: Tensor, kind: type[BlockpropError], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        segment(picture, map)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"foreground": 1.1},
        {"background": -0.1},
        {"foreground": 0.2},
        {"foreground": float("nan")},
        {"rounds": 0},
        {"rounds": 1.5},
        {"rounds": True},
        {"smooth": -0.1},
        {"smooth": float("nan")},
        {"seed": -1},
        {"seed": 2**31},
    ],
)
def test_wrong_settings(settings: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        segment(PICTURE, MAP, **settings)  # type: ignore[arg-type]


def test_opencv_is_loaded_only_when_needed() -> None:
    code = "import sys, blockprop.visualize.attribution.segmentation; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
