"""Maps in colors, over photographs; boxes and masks: read off the pixels."""

import pytest
import torch

from blockprop.errors import NotFiniteError, SettingError, ShapeError
from blockprop.pictures.overlays import AGAINST, FOR, POSITIVE, SIGNED, boxed, heat, limits, masked, overlay

YELLOW = [1.0, pytest.approx(0xD4 / 255), 0.0]


def photo(height: int = 20, width: int = 30) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(3, height, width)


def color_at(table, share: float) -> list:
    return pytest.approx(list(table(float(share))[:3]), abs=1e-6)


def test_limits_are_a_quantile_that_outliers_do_not_move() -> None:
    map = torch.arange(100.0).reshape(10, 10)
    assert limits(map) == (0, pytest.approx(98.01))
    map[9, 9] = 1e9
    assert limits(map)[1] < 1e8
    assert limits(map, 0.5) == (0, 49.5)
    assert limits(torch.arange(-50.0, 50.0).reshape(1, 10, 10)) == (pytest.approx(-49.01), pytest.approx(49.01))
    assert limits(torch.zeros(3, 4)) == (0, 1)
    sparse = torch.zeros(100, 100)
    sparse[3, 4] = 7
    assert limits(sparse) == (0, 7)
    with pytest.raises(SettingError, match="a quantile above 0 and up to 1, got 0"):
        limits(map, 0)


def test_limits_of_very_many_values() -> None:
    assert limits(torch.linspace(0, 1, 2**24 + 8)[None]) == (0, pytest.approx(0.99, abs=1e-4))  # too many for torch's


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_heat_goes_from_black_to_the_end_of_the_colors(scale: float) -> None:
    picture = heat(torch.tensor([[0.0, 0.5, 1.0, 3.0]]) * scale, (0, scale))
    assert picture.shape == (3, 1, 4)
    assert picture.dtype == torch.float32
    for i, share in enumerate((0.0, 0.5, 1.0, 1.0)):
        assert picture[:, 0, i].tolist() == color_at(POSITIVE, share)
    assert picture[:, 0, 0].max() < 0.02


def test_signed_heat_is_black_in_the_middle_and_red_where_it_counts_for() -> None:
    picture = heat(torch.tensor([[-2.0, -1, 0, 1, 2]]), (-2, 2))
    assert picture[:, 0, 2].tolist() == [0, 0, 0]
    for i in range(5):
        assert picture[:, 0, i].tolist() == color_at(SIGNED, i / 4)
    red, _, blue = picture[:, 0]
    assert red[3] > 2 * blue[3]
    assert blue[1] > 2 * red[1]


def test_both_signs_are_equally_light() -> None:
    def lightness(color: str) -> float:  # OKLab's
        rgb = torch.tensor([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        to_cones = [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.6806995, 0.10739696]]
        to_cones.append([0.08830246, 0.28171884, 0.6299787])
        cones = (torch.tensor(to_cones) @ linear) ** (1 / 3)
        return float(cones @ torch.tensor([0.21045426, 0.79361779, -0.00407205]))

    expected = [0.25, 0.45, 0.62, 0.78, 0.92]
    assert [lightness(color) for color in FOR] == pytest.approx(expected, abs=0.01)
    assert [lightness(color) for color in reversed(AGAINST)] == pytest.approx(expected, abs=0.01)


def test_overlay_shows_the_photograph_where_the_map_is_nothing_and_colors_where_it_is_much() -> None:
    map = torch.zeros(20, 30)
    map[:, 15:] = 2.0
    picture = photo()
    before = picture.clone()
    over = overlay(picture, map, strength=1, limits=(0, 2))
    assert over.shape == (3, 20, 30)
    assert over[:, 3, 20].tolist() == color_at(POSITIVE, 1)
    left = over[:, :, :14]
    assert (left[0] == left[1]).all()
    luminance = torch.einsum("chw,c->hw", picture, torch.tensor([0.299, 0.587, 0.114]))[:, :14]
    assert (left[0] - (0.04 + 0.6 * luminance)).abs().max() < 0.01
    assert torch.equal(picture, before)
    assert torch.equal(overlay(picture, map, strength=0)[0], overlay(picture, map, strength=0)[2])


def test_overlay_of_a_signed_map_covers_by_its_size() -> None:
    over = overlay(torch.ones(3, 2, 4), torch.tensor([[-1.0, -0.01, 0, 1], [-1, 0, 0, 1]]), 1, (-1, 1))
    assert over[:, 0, 0].tolist() == color_at(SIGNED, 0)
    assert over[:, 0, 3].tolist() == color_at(SIGNED, 1)
    assert over[:, 0, 2].tolist() == pytest.approx([0.64] * 3)


def test_overlay_brings_a_coarse_map_to_the_picture_s_size() -> None:
    coarse = torch.zeros(1, 2, 3)
    coarse[0, 1, 2] = 1
    over = overlay(photo(40, 60), coarse)
    colored = (over[0] - over[2]).abs()
    assert colored[:8, :30].max() < 0.01
    assert colored[35, 55] > 0.2
    assert overlay(photo(8, 8)[:1], torch.rand(64, 64)).shape == (3, 8, 8)


def test_maps_that_do_not_fit_are_refused() -> None:
    for wrong in (torch.zeros(2, 3, 4), torch.zeros(4), torch.zeros(0, 4)):
        with pytest.raises(ShapeError, match="expected one map"):
            heat(wrong)
    with pytest.raises(NotFiniteError, match="map has 1 values that are NaN"):
        heat(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ShapeError, match="expected one picture"):
        overlay(torch.zeros(2, 3, 4, 4), torch.ones(4, 4))
    with pytest.raises(SettingError, match="strength from 0 to 1, got 2"):
        overlay(photo(), torch.ones(4, 4), 2)
    for bad in ((1, 1), (2, 1), (0, float("inf"))):
        with pytest.raises(SettingError, match="low < high"):
            heat(torch.ones(2, 2), bad)


def test_a_box_s_frame_lies_on_its_edge() -> None:
    picture = torch.full((3, 40, 50), 0.5)
    out = boxed(picture, (10, 5, 30, 25))
    assert out[:, 5, 10].tolist() == out[:, 24, 29].tolist() == out[:, 5, 29].tolist() == YELLOW
    for y, x in ((4, 10), (25, 29), (15, 30), (15, 9), (6, 11), (15, 11)):
        assert out[:, y, x].max() < 0.1, (y, x)  # dark on both sides
    assert out[:, 15, 20].tolist() == picture_gray(out)
    assert picture.eq(0.5).all()
    everything = boxed(picture, (0, 0, 50, 40), "#ff0000")
    assert everything[:, 0, 0].tolist() == everything[:, 39, 49].tolist() == [1, 0, 0]


def picture_gray(out: torch.Tensor) -> list:
    return out[:, 0, 0].tolist()


def test_boxes_that_are_not_in_the_picture_are_refused() -> None:
    for box in ((0, 0, 0, 0), (5, 5, 4, 9), (-1, 0, 5, 5), (0, 0, 31, 5), (0, 0, 5, 21)):
        with pytest.raises(SettingError, match="inside 30 x 20 pixels, got"):
            boxed(photo(), box)
    with pytest.raises(SettingError, match="expected a color such as"):
        boxed(photo(), (0, 0, 5, 5), "yellowish")


def test_a_mask_keeps_what_is_inside_and_outlines_it() -> None:
    picture, mask = photo(40, 50), torch.zeros(40, 50, dtype=torch.bool)
    mask[10:30, 15:35] = True
    out = masked(picture, mask)
    assert (out[:, 11:29, 16:34] - picture[:, 11:29, 16:34]).abs().max() <= 0.5 / 255 + 1e-6
    for y, x in ((10, 15), (29, 34), (10, 25), (20, 34)):
        assert out[:, y, x].tolist() == YELLOW
    outside = out[:, ~mask]
    assert (outside[0] == outside[1]).all()
    assert outside.max() < 0.45
    assert torch.equal(masked(picture, mask[None].float()), out)
    whole = masked(picture, torch.ones(40, 50))
    assert (whole - picture).abs().max() <= 0.5 / 255 + 1e-6  # no outline where nothing is outside
    with pytest.raises(ShapeError, match="picture's size, 40 x 50, got 4 x 4"):
        masked(picture, torch.ones(4, 4))
