"""How maps are shown: in colors, or over their photograph; and boxes and masks on it.

    low, high = limits(saliency)
    over = overlay(picture, saliency, limits=(low, high))
    page = sheet([(picture, "cat.jpg"), (over, "saliency")], title="Saliency", scale=(low, high, "|∂S/∂I|"))

Pictures are (3, h, w) in 0…1, maps (h, w) or (1, h, w) of any size of number. Nothing is drawn in place.
"""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from blockprop.errors import NotFiniteError, SettingError, ShapeError, shape
from blockprop.pictures.colors import LUMINANCE
from blockprop.pictures.picture_files import from_pixels, to_pixels

AGAINST = ("#c9eafe", "#6ac1fe", "#0089e9", "#004fb0", "#001f4e")
FOR = ("#450405", "#9f1417", "#df5105", "#ff9b56", "#ffdec0")
POSITIVE = matplotlib.colormaps["inferno"]
SIGNED = LinearSegmentedColormap.from_list("signed", [*AGAINST, "#000000", *FOR], N=511)
"""Black at 0, as inferno is: matplotlib's maps for both signs are white there, which hides a photograph below.
The colors have lightness 0.25, 0.45, 0.62, 0.78, 0.92 in OKLab, the same for both signs."""
QUANTILE = 0.99
BOX_COLOR = "#ffd400"

Limits = tuple[float, float]


def limits(map: Tensor, quantile: float = QUANTILE) -> Limits:
    """Between which values the colors run: (0, q) for a map ≥ 0, else (−q, q), with q the quantile of |map|.

    A few outliers so do not turn the rest black. Where the quantile is 0, the largest value stands for it; a map of
    zeros gets (0, 1). Raises NotFiniteError for NaN and infinity.
    """
    if not 0 < quantile <= 1:
        raise SettingError(f"expected a quantile above 0 and up to 1, got {quantile}")
    values = _plane(map)
    sizes = values.abs()
    high = float(np.quantile(sizes.numpy(), quantile)) or float(sizes.max()) or 1.0
    return (-high if values.min() < 0 else 0.0, high)


def heat(map: Tensor, limits: Limits | None = None) -> Tensor:
    """The map in colors, (3, h, w): black over red to yellow for maps ≥ 0; for signed ones blue, black, red.

    limits: (low, high), by default `limits(map)`; what lies outside gets the color of the end.
    """
    return colored(*shares(_plane(map), limits))


def overlay(picture: Tensor, map: Tensor, strength: float = 0.9, limits: Limits | None = None) -> Tensor:
    """The photograph, gray and dimmed, with the map's colors over it: the stronger the map, the less of the photograph.

    map: of any size; it is brought to the picture's (bilinearly).   limits: as in `heat`.
    strength: 0…1, how far the strongest color covers the photograph.
    Raises ShapeError for several pictures or maps at once.
    """
    if not 0 <= strength <= 1:
        raise SettingError(f"expected a strength from 0 to 1, got {strength}")
    picture, values = as_picture(picture), _plane(map)
    if values.shape != picture.shape[1:]:
        size = tuple(picture.shape[1:])
        values = torch.nn.functional.interpolate(values[None, None], size, mode="bilinear", antialias=True)[0, 0]
    share, signed = shares(values, limits)
    height = (2 * share - 1).abs() if signed else share
    cover = strength * height**0.75
    return torch.lerp(_backdrop(picture), colored(share, signed), cover)


def _backdrop(picture: Tensor) -> Tensor:
    """The photograph in gray between black and a middle gray."""
    return 0.04 + 0.6 * _gray(picture).expand(3, -1, -1)


def _gray(picture: Tensor) -> Tensor:
    return torch.einsum("chw,c->hw", picture, torch.tensor(LUMINANCE))[None]


def shares(values: Tensor, between: Limits | None) -> tuple[Tensor, bool]:
    """The values as 0…1 between the limits, and whether 0 lies in the middle."""
    low, high = limits(values) if between is None else between
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SettingError(f"expected limits (low, high) with low < high, got {(low, high)}")
    return ((values - low) / (high - low)).clamp(0, 1), low < 0


def colored(share: Tensor, signed: bool) -> Tensor:
    table = SIGNED if signed else POSITIVE
    return torch.from_numpy(table(share.numpy())[..., :3]).permute(2, 0, 1).to(torch.float32)


def _plane(map: Tensor) -> Tensor:
    """The map as (h, w), float32, on the CPU."""
    plane = map[0] if map.dim() == 3 and len(map) == 1 else map
    if plane.dim() != 2 or not plane.numel():
        raise ShapeError(f"expected one map, h x w or 1 x h x w, got {shape(map)}")
    plane = plane.detach().to("cpu", torch.float32)
    if not bool(plane.isfinite().all()):
        raise NotFiniteError(f"the map has {int((~plane.isfinite()).sum()):,} values that are NaN or infinite")
    return plane


def as_picture(picture: Tensor) -> Tensor:
    """The picture as (3, h, w), rounded to 8 bits, on the CPU."""
    pixels = to_pixels(picture)
    return from_pixels(pixels).expand(3, *pixels.shape[:2])


def boxed(picture: Tensor, box: Sequence[float], color: str = BOX_COLOR) -> Tensor:
    """The picture with a frame around the box (x1, y1, x2, y2) in pixels; x2 and y2 are the first outside.

    The frame's outer edge is the box's; a dark line on both sides keeps it visible on every ground.
    Raises SettingError for a box that is empty or not in the picture.
    """
    pixels = as_picture(picture)
    (height, width), (left, top, right, bottom) = pixels.shape[1:], (round(float(side)) for side in box)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise SettingError(f"expected a box (x1, y1, x2, y2) inside {width} x {height} pixels, got {tuple(box)}")
    image = as_image(pixels)
    pen, line = ImageDraw.Draw(image), _line(height, width)
    edge = max(1, line // 2)
    for grow, thick, ink in ((edge, line + 2 * edge, "#101010"), (0, line, color)):
        pen.rectangle((left - grow, top - grow, right - 1 + grow, bottom - 1 + grow), outline=_rgb(ink), width=thick)
    return as_tensor(image)


def masked(picture: Tensor, mask: Tensor, color: str = BOX_COLOR) -> Tensor:
    """The picture with what is outside of the mask gray and dimmed, and the mask's outline inside it.

    mask: (h, w) or (1, h, w), bool (or numbers: inside where above 0.5), of the picture's size. ShapeError otherwise.
    """
    pixels = as_picture(picture)
    inside = _plane(mask) > 0.5
    if inside.shape != pixels.shape[1:]:
        raise ShapeError(f"expected a mask of the picture's size, {shape(pixels[0])}, got {shape(inside)}")
    line = _line(*inside.shape)
    outside = (~inside).float()[None, None]
    near = torch.nn.functional.max_pool2d(outside, 2 * line + 1, 1, line)[0, 0] > 0
    seen = torch.where(inside, pixels, 0.65 * _backdrop(pixels))
    ink = torch.tensor(_rgb(color), dtype=torch.float32)[:, None, None] / 255
    return torch.where(inside & near, ink, seen)


def _line(height: int, width: int) -> int:
    return max(1, round(min(height, width) / 110))


def _rgb(color: str) -> tuple[int, ...]:
    try:
        return ImageColor.getrgb(color)[:3]
    except ValueError:
        raise SettingError(f'expected a color such as "red" or "#ff8800", got {color!r}') from None


def as_image(picture: Tensor) -> Image.Image:
    return Image.fromarray(to_pixels(picture))


def as_tensor(image: Image.Image) -> Tensor:
    return from_pixels(np.asarray(image))
