"""Sheets and legends: their sizes, and what stands where, read off the pixels."""

import itertools

import pytest
import torch

from blockprop.errors import SettingError, ShapeError
from blockprop.pictures import sheets
from blockprop.pictures.overlays import POSITIVE, SIGNED
from blockprop.pictures.sheets import legend, sheet, shortened, ticks

RED, BLUE = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0, 1])


def tile(color: torch.Tensor = RED, height: int = 64, width: int = 64) -> torch.Tensor:
    return color[:, None, None].expand(3, height, width)


def extent(page: torch.Tensor, color: torch.Tensor) -> tuple[int, int, int, int]:
    """(x1, y1, x2, y2) of all pixels of this color."""
    y, x = (page - color[:, None, None]).abs().amax(0).lt(0.01).nonzero(as_tuple=True)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def ink(part: torch.Tensor) -> int:
    """Pixels that differ from the first one."""
    return int((part - part[:, :1, :1]).abs().amax(0).gt(0.1).sum())


@pytest.mark.parametrize(("low", "high", "table"), [(0, 0.25, POSITIVE), (-4, 4, SIGNED)])
@pytest.mark.parametrize("dark", [False, True])
def test_a_legend_s_numbers_stand_under_their_colors(low: float, high: float, table, dark: bool) -> None:
    page = legend(401, low, high, dark=dark, quantile=None)
    ground = page[:, -1, 0]
    assert ground.mean() < 0.1 if dark else ground.mean() == 1
    row = page[:, 0]
    for part, _ in ticks(low, high):
        assert row[:, round(part * 400)].tolist() == pytest.approx(list(table(part)[:3]), abs=0.01)
    bar = int((page[:, :, 100] - page[:, :1, 100]).abs().amax(0).gt(0.01).nonzero()[0])
    marks = (page[:, bar] - ground[:, None]).abs().amax(0).gt(0.1).nonzero().flatten().tolist()
    assert marks == [0, 200, 400]
    numbers = page[:, bar + 5 :]
    places = [numbers[:, :, :60], numbers[:, :, 170:230], numbers[:, :, 341:]]
    assert all(ink(torch.cat([ground[:, None, None].expand(3, part.shape[1], 1), part], 2)) for part in places)


def test_a_legend_s_numbers_are_its_values() -> None:
    assert ticks(0, 0.25) == [(0, "0"), (0.5, "0.125"), (1, "0.25")]
    assert ticks(-4, 4) == [(0, "−4"), (0.5, "0"), (1, "4")]
    assert ticks(0, 3.14159e-7)[2] == (1, "3.14·10⁻⁷")
    assert ticks(0, 12345)[2] == (1, "1.23·10⁴")


def test_a_legend_says_its_title_and_where_the_colors_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    wrapped = sheets._wrapped
    monkeypatch.setattr(sheets, "_wrapped", lambda text, *rest: said.append(text) or wrapped(text, *rest))
    heights = [legend(400, 0, 1, *rest).shape[1] for rest in (("|∂S/∂I|",), ("", 0.95), ("norm", None), ("", None))]
    assert said == ["|∂S/∂I| · colors end at the 99 % quantile", "colors end at the 95 % quantile", "norm", ""]
    assert heights[0] == heights[1] == heights[2] > heights[3]


def test_legends_of_all_widths_and_of_none() -> None:
    for width in (48, 80, 200, 1000):
        assert legend(width, -1e-9, 1e-9, "a title that is rather long for a narrow legend").shape[2] == width
    with pytest.raises(SettingError, match="at least 48 pixels, got 20"):
        legend(20, 0, 1)
    with pytest.raises(SettingError, match="low < high"):
        legend(200, 1, 1)


@pytest.mark.parametrize("dark", [False, True])
def test_margins_are_even_and_tiles_equal(dark: bool) -> None:
    page = sheet([(tile(), "")] * 6, columns=3, side=90 + 6, dark=dark)
    margin, gap = round(96 / 9), round(96 / 16)
    assert page.shape == (3, 2 * margin + 2 * 96 + gap, 2 * margin + 3 * 96 + 2 * gap)
    assert extent(page, RED) == (margin, margin, page.shape[2] - margin, page.shape[1] - margin)
    assert int((page - RED[:, None, None]).abs().amax(0).lt(0.01).sum()) == 6 * 96 * 96
    assert page[:, 0, 0].mean() < 0.1 if dark else page[:, 0, 0].mean() == 1


@pytest.mark.parametrize("count", [1, 2, 6, 20])
@pytest.mark.parametrize("scale", [None, (0, 1, "share"), (0, 1, "share", None)])
def test_titles_captions_and_legends_add_only_height(count: int, scale) -> None:
    bare = sheet([(tile(), "")] * count, side=128)
    full = sheet([(tile(), "one\ntwo")] * count, None, "Title", "and subtitle", False, 128, scale)
    assert full.shape[2] == bare.shape[2]
    assert full.shape[1] > bare.shape[1]
    left, top, right, _ = extent(full, RED)
    assert (left, right) == (round(128 / 9), full.shape[2] - round(128 / 9))
    assert ink(full[:, :top])
    assert ink(full[:, -round(128 / 9) :]) == 0


def test_pictures_of_different_sizes_are_fitted_whole() -> None:
    page = sheet([(tile(RED, 200, 400), "a"), (tile(BLUE, 30, 15), "b"), (torch.rand(1, 9, 9), "gray")], 3, side=128)
    x1, y1, x2, y2 = extent(page, RED)
    assert (x2 - x1, y2 - y1) == (128, 64)
    left, top, right, bottom = extent(page, BLUE)
    assert (right - left, bottom - top) == (64, 128)
    assert bottom == y2  # both stand on their captions
    assert sheet([(tile(RED, 300, 2), "very thin")], side=96, scale=(0, 1, "share")).shape[0] == 3


def test_the_number_of_columns() -> None:
    found = [sheets._columns(n) for n in (1, 2, 3, 4, 6, 7, 8, 9, 12, 20, 100)]
    assert found == [1, 2, 3, 4, 3, 4, 4, 3, 4, 5, 10]
    assert sheet([(tile(), "")] * 2, columns=9, side=96).shape == sheet([(tile(), "")] * 2, columns=2, side=96).shape


@pytest.mark.parametrize("width", [30, 60, 100, 250])
def test_long_captions_are_shortened_in_the_middle(width: int) -> None:
    font = sheets._font(14)
    text = "n02099601_golden_retriever, a dog.jpg"
    short = shortened(text, font, width)
    assert font.getlength(short) <= width
    start, end = short.split("…")
    assert text.startswith(start)
    assert text.endswith(end)
    assert len(start) + len(end) > width / 14 - 2
    assert shortened("dog", font, width) == "dog"


def test_a_caption_stays_in_its_column() -> None:
    page = sheet([(tile(), "W" * 100), (tile(BLUE), "")], 2, side=128)
    x1, _, x2, y2 = extent(page, RED)
    assert ink(page[:, y2 + 1 :, x1:x2]) > 50
    assert ink(page[:, y2 + 1 :, x2:]) == 0


def test_titles_are_wrapped() -> None:
    font = sheets._font(12)
    words = "one two three four five six seven"
    lines = sheets._wrapped(words, font, 80, 9)
    assert " ".join(lines) == words
    assert all(font.getlength(line) <= 80 for line in lines)
    assert all(font.getlength(f"{a} {b.split()[0]}") > 80 for a, b in itertools.pairwise(lines))
    few = sheets._wrapped(words, font, 80, 2)
    assert few[0] == lines[0]
    assert "…" in few[1]
    assert sheets._wrapped("", font, 80, 2) == []


def test_sheets_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match="no pictures to put on a sheet"):
        sheet([])
    for options in ({"columns": 0}, {"side": 10}):
        with pytest.raises(SettingError, match="96 pixels or more and at least one column"):
            sheet([(tile(), "")], **options)
    with pytest.raises(ShapeError, match="expected one picture"):
        sheet([(torch.zeros(1, 3, 4, 4)[0, 0], "")])
