"""Slopes to the two sides of a point: whether a function has a derivative there."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.calculus.recording import Differentiable, value_at
from blockprop.calculus.traced import as_real
from blockprop.errors import SettingError

STEPS = (1e-5, 1e-6, 1e-7)
"""In units of the point's size. At a kink the slopes differ by the same at all, elsewhere by a tenth at the next."""
ROUNDING = 1e-13
LEAST_JUMP = 1e-5
"""Slopes that differ by less, in units of their size, are equal."""
ELEMENTS = 100
"""So many elements of a point are looked at, each to both sides."""


def one_sided_slopes(f: Differentiable, *x: Any, along: Any, wrt: int = 0, step: float = 1e-6) -> tuple[Tensor, Tensor]:
    """The slopes of f along a direction v, coming from behind and going ahead; equal where f has a derivative.

    behind = (f(x) − f(x − h v)) / h     ahead = (f(x + h v) − f(x)) / h     each of the shape of f(x)

    step: h, in units of the largest element of x, at least of 1
    """
    points = [as_real(one) for one in x]
    here, way = points[wrt], as_real(along, points[wrt].dtype)
    h = step * max(1.0, float(here.abs().max())) if here.numel() else step
    there = [value_at(f, *points[:wrt], moved, *points[wrt + 1 :]) for moved in (here - h * way, here, here + h * way)]
    return (there[1] - there[0]) / h, (there[2] - there[1]) / h


class Kink(NamedTuple):
    """Where a function has no derivative: an element of its input, its number there, and both slopes in words."""

    place: tuple[int, ...]
    at: float
    behind: str
    ahead: str


def kink_at(f: Differentiable, *x: Any, wrt: int = 0) -> Kink | None:
    """The first element of x along which f has a kink, an edge or a jump; None if there is none.

    Looks at each of the first 100 elements of x, to both sides, in float64; in other types of number differences show
    nothing, and nothing is looked at.
    """
    here = as_real(x[wrt])
    if here.dtype != torch.float64:
        return None
    for number in range(min(here.numel(), ELEMENTS)):
        along = torch.zeros_like(here, memory_format=torch.contiguous_format)
        along.view(-1)[number] = 1
        if slopes := _differing_slopes(f, x, along, wrt):
            place = tuple(int(i) for i in torch.unravel_index(torch.tensor(number), here.shape)) if here.ndim else ()
            return Kink(place, float(here[place]), *slopes)
    return None


def require_differentiable(f: Differentiable, *x: Any, wrt: int = 0) -> None:
    """Raise SettingError if f has a kink at x (`kink_at`): it says where, and both slopes."""
    if (kink := kink_at(f, *x, wrt=wrt)) is None:
        return
    name = "x" if len(x) == 1 else f"input {wrt}"
    index = str(list(kink.place)) if kink.place else ""
    raise SettingError(
        f"the function has no derivative at {name}{index} = {kink.at:.6g}: its slope is {kink.behind} to the left and "
        f"{kink.ahead} to the right; kinks=True takes what the blocks decide there"
    )


def _differing_slopes(f: Differentiable, x: tuple[Any, ...], along: Tensor, wrt: int) -> tuple[str, str] | None:
    """The slopes to both sides, in words, if they differ however near."""
    value, size = value_at(f, *x).abs(), max(1.0, float(as_real(x[wrt]).abs().max()))
    suspected, far_jump, slopes = torch.tensor(True), torch.tensor(0.0), []
    for step in STEPS:
        behind, ahead = one_sided_slopes(f, *x, along=along, wrt=wrt, step=step)
        jump, largest = (ahead - behind).abs(), ahead.abs().maximum(behind.abs())
        rounding = ROUNDING * largest.maximum(value / (step * size))
        differ = (jump > LEAST_JUMP * largest.clamp_min(1) + rounding) & (jump > far_jump / 2)
        suspected, far_jump = suspected & (differ | (ahead.isnan() ^ behind.isnan())), jump.nan_to_num(0.0)
        slopes.append((behind, ahead))
        if not suspected.any():
            return None
    first = int(suspected.flatten().nonzero()[0])
    left, right = ([float(pair[side].flatten()[first]) for pair in slopes] for side in (0, 1))
    return _in_words(left), _in_words(right)


def _in_words(slopes: list[float]) -> str:
    """A slope, by differences of ever shorter steps."""
    if math.isnan(slopes[-1]):
        return "not a number"
    return "without bound" if abs(slopes[-1]) > 5 * abs(slopes[0]) + LEAST_JUMP else f"{slopes[-1]:.6g}"
