"""Random changes of training pictures that leave their class as it is, so that a network learns what does not matter.

    fit(network, data, cross_entropy(), augment=augmentations("flip,shift:4,cutout:8"))

Each is a function (x, generator) -> x of pictures (n, c, h, w) in 0…1, and draws new numbers for each of them.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.precision import wide
from blockprop.errors import SettingError, suggestion

MOST_PIXELS = 10_000
Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def flip() -> Augmentation:
    """Every second picture mirrored left to right."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.where(_drawn(x, 0, 1, generator) < 0.5, x.flip(3), x)

    return change


def shift(pixels: float) -> Augmentation:
    """Moved by up to `pixels` whole pixels each way; what comes in at the edges is mirrored."""
    if not 1 <= pixels <= MOST_PIXELS or pixels != int(pixels):
        raise SettingError(f"shift: expected a whole number of pixels from 1 up, came {pixels}")
    most = int(pixels)

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        n, c, h, w = x.shape
        if most >= min(h, w):
            raise SettingError(f"shift: pictures of {h} x {w} pixels cannot be moved by {most}")
        padded = F.pad(x, (most, most, most, most), mode="reflect")
        down, right = (torch.randint(2 * most + 1, (n, 1), generator=generator).to(x.device) for _ in range(2))
        rows = (down + torch.arange(h, device=x.device)).view(n, 1, h, 1)
        columns = (right + torch.arange(w, device=x.device)).view(n, 1, 1, w)
        picture = torch.arange(n, device=x.device).view(n, 1, 1, 1)
        return padded[picture, torch.arange(c, device=x.device).view(1, c, 1, 1), rows, columns]

    return change


def rotate(degrees: float) -> Augmentation:
    """Turned by up to `degrees` either way about the center, bilinearly; the corners are mirrored."""
    if not 0 < degrees <= 180:
        raise SettingError(f"rotate: expected degrees above 0, up to 180, came {degrees}")

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        angle = _drawn(wide(x), -degrees, degrees, generator).flatten() * (math.pi / 180)
        ratio = x.shape[2] / x.shape[3]
        cos, sin = angle.cos(), angle.sin()
        return _resampled(x, cos, -sin * ratio, sin / ratio, cos)

    return change


def zoom(share: float) -> Augmentation:
    """Made larger or smaller by up to `share` (below 1) of its size, bilinearly; the edges are mirrored."""
    if not 0 < share < 1:
        raise SettingError(f"zoom: expected a number above 0 and below 1, came {share}")

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        factor = _drawn(wide(x), 1 - share, 1 + share, generator).flatten()
        none = torch.zeros_like(factor)
        return _resampled(x, factor, none, none, factor)

    return change


def color(share: float) -> Augmentation:
    """Brightness, contrast and saturation each times a factor of 1 ± `share` (0…1); the result stays in 0…1."""
    if not 0 < share <= 1:
        raise SettingError(f"color: expected a number above 0, up to 1, came {share}")

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        brightness, contrast, saturation = (_drawn(x, 1 - share, 1 + share, generator) for _ in range(3))
        mean = x.mean((1, 2, 3), keepdim=True)
        x = torch.lerp(mean, x, contrast) * brightness
        return torch.lerp(x.mean(1, keepdim=True), x, saturation).clamp_(0, 1)

    return change


def cutout(pixels: float) -> Augmentation:
    """A square of `pixels` × `pixels` anywhere takes the picture's mean color (DeVries and Taylor 2017).

    Its center lies in the picture, so that a part of it may lie outside.
    """
    if not pixels >= 1:
        raise SettingError(f"cutout: expected pixels from 1 up, came {pixels}")

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        h, w = x.shape[2:]
        rows = (torch.arange(h, device=x.device).view(1, 1, h, 1) + 0.5 - h * _drawn(x, 0, 1, generator)).abs()
        columns = (torch.arange(w, device=x.device).view(1, 1, 1, w) + 0.5 - w * _drawn(x, 0, 1, generator)).abs()
        return torch.where((rows <= pixels / 2) & (columns <= pixels / 2), x.mean((2, 3), keepdim=True), x)

    return change


AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
    "flip": flip,
    "shift": shift,
    "rotate": rotate,
    "zoom": zoom,
    "color": color,
    "cutout": cutout,
}


def augmentations(text: str) -> list[Augmentation]:
    """Those that a text names, in its order: "flip,shift:4,rotate:10,zoom:0.1,color:0.2,cutout:8"; none for "".

    Raises SettingError for an unknown name or a number that makes no sense.
    """
    chosen = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, amount = part.partition(":")
        if name not in AUGMENTATIONS:
            raise SettingError(f"there is no augmentation {name!r}{suggestion(name, AUGMENTATIONS)}")
        if (name == "flip") == bool(colon):
            raise SettingError(f"expected flip or, with a number, such as {name if colon else part}:4, came {part!r}")
        chosen.append(AUGMENTATIONS[name](*([_number(part, amount)] if colon else [])))
    return chosen


def augmented(x: Tensor, changes: Sequence[Augmentation], seed: int, step: int) -> Tensor:
    """The pictures after all changes, which depend on seed and step alone. SettingError for what is no pictures."""
    if x.dim() != 4 or not x.is_floating_point():
        raise SettingError(f"augmentations are for pictures (n, c, h, w) of real numbers, came {tuple(x.shape)}")
    generator = torch.Generator().manual_seed(2**40 + seed * 1_000_003 + step)
    for change in changes:
        x = change(x, generator)
    return x


def _number(part: str, amount: str) -> float:
    try:
        number = float(amount)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingError(f"expected a number after the colon, such as shift:4, came {part!r}")
    return number


def _drawn(x: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """A uniform number for each picture, (n, 1, 1, 1)."""
    numbers = torch.rand(len(x), 1, 1, 1, generator=generator, dtype=torch.float64)
    return (low + (high - low) * numbers).to(x.device, x.dtype)


def _resampled(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Each picture at the places (a·u + b·v, c·u + d·v), for u from left −1 to right 1 and v from top to bottom."""
    none = torch.zeros_like(a)
    matrices = torch.stack([torch.stack([a, b, none], 1), torch.stack([c, d, none], 1)], 1)
    grid = F.affine_grid(matrices, list(x.shape), align_corners=False)  # wide: as in GridSample
    return F.grid_sample(wide(x), grid, mode="bilinear", padding_mode="reflection", align_corners=False).to(x.dtype)
