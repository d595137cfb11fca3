"""How well a mask, a box or a map fits the truth, by hand."""

import pytest
import torch

from blockprop.errors import NotFiniteError, ShapeError
from blockprop.visualize.attribution.segmentation import (
    bounding_box,
    box_intersection_over_union,
    intersection_over_union,
    pointing_game,
)
from tests.visualize.objects import DISC, HEIGHT, WIDTH, hill, rectangle


def test_intersection_over_union_by_hand() -> None:
    first, second = rectangle(0, 0, 10, 10), rectangle(5, 0, 15, 10)
    assert intersection_over_union(first, second) == 50 / 150
    assert intersection_over_union(first, first) == 1
    assert intersection_over_union(first, rectangle(10, 0, 20, 10)) == 0
    assert intersection_over_union(first, rectangle(2, 3, 6, 5)) == 8 / 100
    empty = torch.zeros_like(first)
    assert intersection_over_union(first, empty) == 0
    assert intersection_over_union(empty, empty) == 1


def test_box_intersection_over_union_by_hand() -> None:
    assert box_intersection_over_union((0, 0, 10, 10), (5, 0, 15, 10)) == 50 / 150
    assert box_intersection_over_union((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert box_intersection_over_union((0, 0, 10, 10), (20, 20, 30, 30)) == 0
    assert box_intersection_over_union((0, 0, 10, 10), (20, 5, 30, 8)) == 0
    assert box_intersection_over_union((0, 0, 10, 10), (2, 3, 6, 5)) == 8 / 100
    assert box_intersection_over_union((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_boxes_and_the_masks_that_fill_them_agree() -> None:
    generator = torch.Generator().manual_seed(6)
    for _ in range(50):
        corners = torch.randint(0, HEIGHT, (2, 4), generator=generator).view(2, 2, 2).sort(1).values
        boxes = [(int(c[0, 0]), int(c[0, 1]), int(c[1, 0]) + 1, int(c[1, 1]) + 1) for c in corners]
        masks = [rectangle(*box) for box in boxes]
        assert [bounding_box(mask) for mask in masks] == boxes
        assert box_intersection_over_union(*boxes) == pytest.approx(intersection_over_union(*masks))


def test_bounding_box_of_scattered_points_and_of_nothing() -> None:
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    assert bounding_box(mask) == (0, 0, 0, 0)
    mask[4, 70] = mask[59, 2] = True
    assert bounding_box(mask) == (2, 4, 71, 60)


@pytest.mark.parametrize(
    ("place", "hit"), [((30, 35), True), ((30, 65), True), ((30, 66), False), ((51, 56), True), ((52, 57), False)]
)
def test_pointing_game_by_hand(place: tuple[int, int], hit: bool) -> None:
    """The disc ends at radius 15; straight and at 45° another 15 pixels are allowed.

    (51, 56) is 21 · √2 = 29.70 from its center; its outermost pixel that way, (40, 46), is 10² + 11² = 14.87² away
    from the center, and (51, 56) is 14.87 away from that.  (52, 57) is 31.1 from the center.
    """
    map = torch.zeros(HEIGHT, WIDTH)
    map[place] = 1
    assert pointing_game(map, DISC) is hit
    assert pointing_game(map, DISC, tolerance=0) is bool(DISC[place])


def test_pointing_game_takes_maps_of_another_size() -> None:
    map = torch.zeros(6, 8)
    map[3, 3] = 1
    assert pointing_game(map, DISC, tolerance=0)
    assert not pointing_game(map.flip(1), rectangle(0, 0, 20, 60), tolerance=15)
    assert not pointing_game(map, torch.zeros_like(DISC))


def test_a_map_that_shrinks_is_averaged() -> None:
    """Of each 10 x 10 values one is high on the disc; plain bilinear sampling would see only the four in the middle."""
    map = torch.zeros(10 * HEIGHT, 10 * WIDTH)
    map[::10, ::10] = DISC.float()
    map[:100, :100] = 0.001
    assert pointing_game(map, DISC, tolerance=0)


def test_wrong_input_to_the_measures() -> None:
    with pytest.raises(ShapeError, match="one size, came 60 x 80 and 80 x 60"):
        intersection_over_union(DISC, DISC.t())
    with pytest.raises(ShapeError, match=r"torch.bool, came 60 x 80 of torch.float32"):
        intersection_over_union(DISC.float(), DISC)
    with pytest.raises(ShapeError, match="came 1 x 60 x 80"):
        pointing_game(hill(), DISC[None])
    with pytest.raises(NotFiniteError):
        pointing_game(hill() * float("nan"), DISC)
