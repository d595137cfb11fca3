"""From a saliency map to the object: seeds, color models, graph cut, mask and box; and how well they fit the truth.

    found = segment(picture, map)
    found.mask, found.box

Source: Simonyan, Vedaldi, Zisserman 2013, "Deep inside convolutional networks", section 3.2.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from blockprop.engine.briefly import brief_repr
from blockprop.errors import DataError, NotFiniteError, SettingError, ShapeError, shape

ImageArray = np.ndarray[Any, Any]
Box = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in pixels; x2 and y2 are the first ones outside."""

OUTSIDE = 0.5
"""A picture may leave 0…1 by so much and is clamped; beyond, its numbers mean something else."""


class Segmentation(NamedTuple):
    """mask: (h, w), bool, one connected object.   box: around the mask.

    seeds: (h, w), int8: 1 foreground, −1 background, 0 undecided.   note: what did not go as usual, or "".
    """

    mask: Tensor
    box: Box
    seeds: Tensor
    note: str = ""

    def __repr__(self) -> str:
        return brief_repr(self)


def segment(
    picture: Tensor,
    map: Tensor,
    foreground: float = 0.95,
    background: float = 0.30,
    rounds: int = 5,
    smooth: float = 0.0,
    hold: bool = False,
    seed: int = 0,
) -> Segmentation:
    """The object that a saliency map points to: where the colors of its highest places go on.

    The map's quantiles give seeds (foreground at least the one, background at most the other). A Gaussian mixture of
    five colors is fitted to the seeds of either kind, a graph cut parts the picture between the two, and the mask is
    the largest connected part of the foreground.
    picture: (1, 3, h, w) or (3, h, w), RGB in 0…1; gray with one channel.
    map: (h, w), with any axes of 1 in front; one of another size is resized bilinearly to the picture's. Of signed
        attributions take the size: what speaks against a class lies on the object, too.
    rounds: graph cuts; after each, the mixtures are fitted anew to what it found, until nothing changes (GrabCut).
    smooth: sigma of a Gaussian blur of the map before, as a fraction of the picture's shorter side.
    hold: whether seeds stay what they are; by default only their colors count, since the places of low gradient that
        are scattered over any object would make holes in it.
    seed: of the random starts of the mixtures; the same gives the same mask. OpenCV's generator is set to it.
    A constant map has no seeds and gives the whole picture; where the cut's largest part holds none of the foreground
    seeds, their own largest part stands for it; `note` says so.
    Raises ShapeError, SettingError, NotFiniteError for a NaN or an infinity, DataError for a picture beyond 0…1.
    Source: Simonyan, Vedaldi, Zisserman 2013, section 3.2; graph cut: Boykov, Jolly 2001; rounds: Rother, Kolmogorov,
    Blake 2004, by OpenCV. Departures: the paper makes one cut (rounds=1) with another program; ties at a quantile,
    frequent in Grad-CAM's maps, become seeds, too.
    """
    _check_settings(foreground, background, rounds, smooth, seed)
    colors = _colors(picture)
    height, width, _ = colors.shape
    values = _smoothed(_of_size(_checked_map(map), height, width), smooth)
    seeds = _seeds(values, foreground, background)
    if not seeds.any():
        whole = torch.ones(height, width, dtype=torch.bool)
        note = "the map is constant and points nowhere; the mask is the whole picture"
        return Segmentation(whole, (0, 0, width, height), torch.from_numpy(seeds), note)
    part, note = _largest_part(_cut(colors, seeds, rounds, hold, seed)), ""
    if not part[seeds == 1].any():
        part = _largest_part(seeds == 1)
        note = "the graph cut left nothing where the map points; the mask is the largest part of the foreground seeds"
    mask = torch.from_numpy(part)
    return Segmentation(mask, bounding_box(mask), torch.from_numpy(seeds), note)


def _seeds(values: ImageArray, foreground: float, background: float) -> ImageArray:
    """1, −1 and 0 as in Segmentation; all 0 for constant values.

    Values equal to a quantile are seeds, since in a map with many zeros none might lie below. Where both quantiles are
    the same number, it is background if there is anything above it, otherwise foreground.
    """
    high, low = np.quantile(values, [foreground, background])
    above, below = values >= high, values <= low
    if high == low and (values > high).any():
        above = values > high
    elif high == low:
        below = values < low
    if not above.any() or not below.any():
        return np.zeros(values.shape, np.int8)
    return above.astype(np.int8) - below.astype(np.int8)


def _cut(colors: ImageArray, seeds: ImageArray, rounds: int, hold: bool, seed: int) -> ImageArray:
    """Which pixels are foreground after so many graph cuts."""
    import cv2  # large, and nothing else needs it

    cv2.setRNGSeed(seed)
    outer, inner = _color_models(colors, seeds)
    sure, sure_not = (cv2.GC_FGD, cv2.GC_BGD) if hold else (cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    kinds = np.select([seeds == 1, seeds == -1], [sure, sure_not], cv2.GC_PR_BGD).astype(np.uint8)
    foreground = np.zeros(seeds.shape, bool)
    for i in range(rounds):
        before = foreground
        # OpenCV would fit the first mixtures to undecided pixels, too; these here know the seeds alone
        mode = cv2.GC_EVAL if i else cv2.GC_EVAL_FREEZE_MODEL
        cv2.grabCut(colors, kinds, (0, 0, 1, 1), outer, inner, 1, mode)
        foreground = (kinds == cv2.GC_FGD) | (kinds == cv2.GC_PR_FGD)
        if not foreground.any() or foreground.all() or (i and np.array_equal(foreground, before)):
            break
    return foreground


def _color_models(colors: ImageArray, seeds: ImageArray) -> tuple[ImageArray, ImageArray]:
    """OpenCV's mixtures of the background's and of the foreground's seeds."""
    import cv2

    samples, kinds = colors[seeds != 0], np.where(seeds[seeds != 0] == 1, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    order = np.lexsort(samples.T)  # else a mirrored picture would get other random starts
    outer, inner = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(samples[order][None], kinds[order][None], (0, 0, 1, 1), outer, inner, 0, cv2.GC_INIT_WITH_MASK)
    return outer, inner


def _largest_part(found: ImageArray) -> ImageArray:
    """The largest part whose pixels touch, be it at corners; of equal ones the first."""
    import cv2

    if not found.any():
        return found
    _, labels, sizes, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    return np.asarray(labels == 1 + int(np.argmax(sizes[1:, cv2.CC_STAT_AREA])))


def bounding_box(mask: Tensor) -> Box:
    """The smallest box around all that is true in a mask (h, w); (0, 0, 0, 0) if nothing is."""
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def intersection_over_union(first: Tensor, second: Tensor) -> float:
    """|A ∩ B| / |A ∪ B| of two masks (h, w), bool; two empty ones agree.  Raises ShapeError if they do not fit."""
    for mask in (first, second):
        _check_mask(mask)
    if first.shape != second.shape:
        raise ShapeError(f"expected masks of one size, came {shape(first)} and {shape(second)}")
    second = second.to(first.device)
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def box_intersection_over_union(first: Box, second: Box) -> float:
    """Intersection over union of two boxes' areas; two empty ones have none."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0) * max(height, 0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - common
    return common / union if union > 0 else 0.0


def pointing_game(map: Tensor, mask: Tensor, tolerance: float = 15) -> bool:
    """Whether the map's maximum lies on the mask, or not more than `tolerance` pixels from it.

    map: as in `segment`; resized bilinearly to the mask's size. Of several equal maxima the first counts.
    mask: (h, w), bool.   Raises ShapeError, and NotFiniteError for a NaN or an infinity.
    Source: Zhang et al. 2016, "Top-down neural attention by excitation backprop", section 4.1.
    """
    _check_mask(mask)
    height, width = mask.shape
    y, x = divmod(int(_of_size(_checked_map(map), height, width).argmax()), width)
    places = mask.nonzero()
    return bool(((places - places.new_tensor([y, x])).square().sum(1) <= tolerance**2).any())


def _check_settings(foreground: float, background: float, rounds: int, smooth: float, seed: int) -> None:
    if not 0 <= background <= foreground <= 1:
        raise SettingError(f"expected 0 ≤ background ≤ foreground ≤ 1, came {background!r} and {foreground!r}")
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise SettingError(f"rounds: expected a whole number of at least 1, came {rounds!r}")
    if not 0 <= smooth <= 1:
        raise SettingError(f"smooth: expected a fraction of the picture's shorter side, in 0…1, came {smooth!r}")
    if not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise SettingError(f"seed: expected a whole number from 0 to 2147483647, came {seed!r}")


def _colors(picture: Tensor) -> ImageArray:
    """The picture as OpenCV wants it: (h, w, 3), uint8. The order of channels is all the same to it."""
    x = picture[0] if picture.dim() == 4 and len(picture) == 1 else picture
    if x.dim() != 3 or len(x) not in (1, 3) or not x.numel() or not x.is_floating_point():
        wanted = "a picture (3, h, w) or (1, 3, h, w) of floats in 0…1"
        raise ShapeError(f"expected {wanted}, came {shape(picture)} of {picture.dtype}")
    x = x.detach().float().cpu()
    if not x.isfinite().all():
        raise NotFiniteError("the picture has a NaN or an infinity in it")
    low, high = float(x.min()), float(x.max())
    if low < -OUTSIDE or high > 1 + OUTSIDE:
        raise DataError(f"expected a picture in 0…1, this one goes from {low:g} to {high:g}")
    levels = x.clamp(0, 1).mul(255).round().byte().expand(3, -1, -1)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())


def _checked_map(map: Tensor) -> Tensor:
    """The map as (h, w), float64 on the CPU."""
    if map.dim() < 2 or map.numel() != map.shape[-1] * map.shape[-2] or not map.numel():
        raise ShapeError(f"expected one saliency map (h, w), came {shape(map)}")
    if map.is_complex():
        raise ShapeError(f"expected a saliency map of real numbers, came {map.dtype}")
    values = map.detach().reshape(map.shape[-2:]).cpu().double()
    if not values.isfinite().all():
        bad = int((~values.isfinite()).sum())
        raise NotFiniteError(f"the saliency map has {bad} values of {values.numel()} that are NaN or infinite")
    return values


def _of_size(values: Tensor, height: int, width: int) -> ImageArray:
    """The map, resized bilinearly if it has another size (where it shrinks: smoothed, so that nothing is skipped)."""
    if values.shape != (height, width):
        values = functional.interpolate(
            values[None, None], (height, width), mode="bilinear", align_corners=False, antialias=True
        )[0, 0]
    return values.numpy()


def _smoothed(values: ImageArray, smooth: float) -> ImageArray:
    sigma = smooth * min(values.shape)
    if sigma == 0:
        return values
    import cv2

    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma))


def _check_mask(mask: Tensor) -> None:
    if mask.dim() != 2 or mask.dtype != torch.bool:
        raise ShapeError(f"expected a mask (h, w) of torch.bool, came {shape(mask)} of {mask.dtype}")
