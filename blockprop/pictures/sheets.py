"""Sheets of pictures with captions, and the legend of their colors.

    page = sheet([(picture, "cat.jpg"), (over, "saliency")], title="Saliency", scale=(low, high, "|∂S/∂I|"))

Pictures are (3, h, w) in 0…1, or gray with 1 channel.
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from blockprop.errors import SettingError
from blockprop.pictures.overlays import QUANTILE, as_image, as_picture, as_tensor, colored, shares

GROUNDS = {False: ("#ffffff", "#1f2933", "#5b6672"), True: ("#14171a", "#f2f4f6", "#9aa5b1")}
"""Ground, ink and gray of light and of dark sheets."""
DOTS = "…"
NARROWEST = 48
"""Pixels of a legend, and of a column."""

Font = ImageFont.FreeTypeFont
Scale = tuple[float, float, str] | tuple[float, float, str, float | None]


def legend(
    width: int, low: float, high: float, title: str = "", quantile: float | None = QUANTILE, *, dark: bool = False
) -> Tensor:
    """A color bar from low to high with numbers, `width` pixels wide: what the colors of `heat` and `overlay` mean.

    quantile: of the values that the colors reach; it stands behind the title. None: nothing stands there.
    """
    if width < NARROWEST:
        raise SettingError(f"expected a legend of at least {NARROWEST} pixels, got {width}")
    shares(torch.zeros(1, 1), (low, high))
    ground, ink, gray = GROUNDS[dark]
    font = _font(max(11, min(20, width // 22)))
    line = _line_height(font)
    reach = f"colors end at the {100 * quantile:g} % quantile" if quantile else ""
    words = [text for text in _wrapped(" · ".join(filter(None, (title, reach))), font, width, 2) if text]
    bar, top = max(8, line * 2 // 3), line * len(words) + (line // 3 if words else 0)
    image = Image.new("RGB", (width, top + bar + line + line // 2), ground)
    pen = ImageDraw.Draw(image)
    for i, text in enumerate(words):
        pen.text((0, i * line), text, ink, font)
    share = torch.linspace(0, 1, width).expand(bar, -1)
    image.paste(as_image(colored(share, low < 0)), (0, top))
    marks = ticks(low, high)
    if 1.2 * sum(font.getlength(text) for _, text in marks) > width:
        del marks[1]
    for part, text in marks:
        x = round(part * (width - 1))
        pen.line((x, top + bar, x, top + bar + line // 4), gray)
        length = font.getlength(text)
        start = min(max(x - length / 2, 0), width - length)
        pen.text((start, top + bar + line // 4), text, gray, font)
    return as_tensor(image)


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Where the numbers of a legend stand, as shares of its length, and the numbers, to three digits."""
    marks = [0.0, 0.5, 1.0]
    return [(part, _number(low + part * (high - low))) for part in marks]


def _number(value: float) -> str:
    text = f"{value:.3g}"
    if "e" in text:
        digits, power = text.split("e")
        text = f"{digits}·10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return text.replace("-", "−")


def sheet(
    tiles: Sequence[tuple[Tensor, str]],
    columns: int | None = None,
    title: str = "",
    subtitle: str = "",
    dark: bool = False,
    side: int = 256,
    scale: Scale | Sequence[Scale] | None = None,
) -> Tensor:
    """Pictures side by side, each with its caption below, as one picture.

    tiles: (picture, caption); a caption may have several lines, the first in ink, the others gray. What is too long is
        shortened in the middle. Pictures of different sizes are fitted into equal cells, whole and undistorted.
    columns: by default so many that the sheet is rather wide than high and its last row as full as can be.
    side: pixels of a cell's longer side; the margins and letters grow with it.
    scale: (low, high, title) or (low, high, title, quantile) of a legend at the foot; or several of these.
    Raises SettingError without tiles.
    """
    if not tiles:
        raise SettingError("there are no pictures to put on a sheet; it needs at least one")
    if side < 2 * NARROWEST or (columns is not None and columns < 1):
        raise SettingError(
            f"expected cells of {2 * NARROWEST} pixels or more and at least one column, got {side} and {columns}"
        )
    columns = min(columns or _columns(len(tiles)), len(tiles))
    drawn = _cells(tiles, side, dark)
    cell_width, cell_height = drawn[0].size
    margin, gap = round(side / 9), round(side / 16)
    width = 2 * margin + columns * (cell_width + gap) - gap
    head = _head(width, title, subtitle, dark, side)
    top = margin + (head.height if head else 0)
    height = top + math.ceil(len(tiles) / columns) * (cell_height + gap) - gap + margin
    bars = [as_image(legend(min(columns, 3) * (cell_width + gap) - gap, *bar, dark=dark)) for bar in _scales(scale)]
    foot = height - margin + gap
    height += sum(bar.height + gap for bar in bars) + (gap if bars else 0)
    page = Image.new("RGB", (width, height), GROUNDS[dark][0])
    if head:
        page.paste(head, (0, margin))
    for i, cell in enumerate(drawn):
        page.paste(cell, (margin + i % columns * (cell_width + gap), top + i // columns * (cell_height + gap)))
    for bar in bars:
        foot += gap
        page.paste(bar, (margin, foot))
        foot += bar.height
    return as_tensor(page)


def _scales(scale: Scale | Sequence[Scale] | None) -> Sequence[Scale]:
    if not scale:
        return ()
    return scale if isinstance(scale[0], tuple) else (scale,)  # type: ignore[return-value]


def _cells(tiles: Sequence[tuple[Tensor, str]], side: int, dark: bool) -> list[Image.Image]:
    """Each picture above its caption, all of one size; small pictures stand on their captions."""
    ground, ink, gray = GROUNDS[dark]
    fitted = [_fitted(picture, side) for picture, _ in tiles]
    width = max(NARROWEST, side // 3, *(image.width for image in fitted))
    height = max(image.height for image in fitted)
    font = _font(max(10, round(side / 17)))
    line = _line_height(font)
    lines, space = max(len(caption.splitlines()) for _, caption in tiles), round(line * 0.35)
    cells = []
    for image, (_, caption) in zip(fitted, tiles, strict=True):
        cell = Image.new("RGB", (width, height + (space + lines * line if lines else 0)), ground)
        cell.paste(image, (0, height - image.height))
        pen = ImageDraw.Draw(cell)
        for j, text in enumerate(caption.splitlines()):
            pen.text((0, height + space + j * line), shortened(text, font, width), gray if j else ink, font)
        cells.append(cell)
    return cells


def _columns(count: int) -> int:
    """Between √n and twice as many, but no more than 8 if √n is less: those that leave the fewest cells empty."""
    if count <= 4:
        return count
    low = math.ceil(math.sqrt(count))
    return min(range(low, max(low, min(8, 2 * low - 1)) + 1), key=lambda c: (-count % c, abs(c - 1.2 * low)))


def _head(width: int, title: str, subtitle: str, dark: bool, side: int) -> Image.Image | None:
    """The title and subtitle, with the space below them."""
    ground, ink, gray = GROUNDS[dark]
    margin = round(side / 9)
    lines = []
    for text, font, color, most in (
        (title, _font(max(13, round(side / 11)), bold=True), ink, 2),
        (subtitle, _font(max(10, round(side / 16))), gray, 4),
    ):
        lines += [(line, font, color) for line in _wrapped(text, font, width - 2 * margin, most) if line]
    if not lines:
        return None
    heights = [_line_height(font) for _, font, _ in lines]
    image = Image.new("RGB", (width, sum(heights) + round(side / 14)), ground)
    pen, y = ImageDraw.Draw(image), 0
    for (text, font, color), height in zip(lines, heights, strict=True):
        pen.text((margin, y), text, color, font)
        y += height
    return image


def _fitted(picture: Tensor, side: int) -> Image.Image:
    image = as_image(as_picture(picture))
    ratio = side / max(image.size)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    how = Image.Resampling.LANCZOS if ratio < 1 else Image.Resampling.BICUBIC
    return image if size == image.size else image.resize(size, how)


@cache
def _font(size: int, bold: bool = False) -> Font:
    """DejaVu Sans, which comes with matplotlib and knows Greek letters and mathematical signs."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def _line_height(font: Font) -> int:
    return round(font.size * 1.35)


def shortened(text: str, font: Font, width: float) -> str:
    """The text, with so much of its middle replaced by "…" that it is at most `width` pixels long."""
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the largest number of characters that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(_cut(text, middle)) <= width else (low, middle - 1)
    return _cut(text, low)


def _cut(text: str, keep: int) -> str:
    start, end = keep - keep // 2, keep // 2
    return text[:start].rstrip() + DOTS + text[len(text) - end :].lstrip()


def _wrapped(text: str, font: Font, width: float, most: int) -> list[str]:
    """Lines of whole words; the last one that is allowed is shortened if more would follow."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most - 1:
        count = 1
        while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        lines.append(shortened(" ".join(words[:count]), font, width))
        words = words[count:]
    return [*lines, shortened(" ".join(words), font, width)] if words else lines
