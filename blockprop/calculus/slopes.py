"""Slopes to the two sides of a point: whether a function has a derivative there."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.calculus.recording import Differentiable, Recording, input_number, value_at
from blockprop.calculus.traced import as_real
from blockprop.engine.asked import real
from blockprop.errors import SettingError

STEPS = (1e-5, 1e-6, 1e-7)
"""In units of the point's size. At a kink the slopes differ by the same at all, elsewhere by a tenth at the next."""
ROUNDING = 1e-13
LEAST_JUMP = 1e-5
"""Slopes that differ by less, in units of their size, are equal."""
FAR = 1e-3
"""By so much, in units of its size, a derivative is none of differences."""
ELEMENTS = 100
"""Of a point of so many elements each is looked at by itself."""


def one_sided_slopes(f: Differentiable, *x: Any, along: Any, wrt: int = 0, step: float = 1e-6) -> tuple[Tensor, Tensor]:
    """The slopes of f along a direction v, coming from behind and going ahead; equal where f has a derivative.

    behind = (f(x) − f(x − h v)) / h     ahead = (f(x + h v) − f(x)) / h     each of the shape of f(x)

    step: h, in units of the largest element of x, at least of 1
    """
    points = [as_real(one) for one in x]
    wrt, step = input_number(wrt, len(points)), real(step, "a step above 0", above=0)
    here, way = points[wrt], as_real(along, points[wrt].dtype)
    h = step * max(1.0, float(here.abs().max())) if here.numel() else step
    there = [value_at(f, *points[:wrt], moved, *points[wrt + 1 :]) for moved in (here - h * way, here, here + h * way)]
    return (there[1] - there[0]) / h, (there[2] - there[1]) / h


class Kink(NamedTuple):
    """Where a function has no derivative: an element of its input, its number there, and both slopes in words.

    place: None, and at NaN, if no element by itself shows it, but a direction does; the slopes are along that.
    """

    place: tuple[int, ...] | None
    at: float
    behind: str
    ahead: str

    def in_words(self, name: str) -> str:
        """Where it is, and both slopes; name: of the input."""
        index = str(list(self.place)) if self.place else ""
        where = f"{name}{index} = {self.at:.6g}" if self.place is not None else f"{name}, along a direction"
        return f"no derivative at {where}: its slope is {self.behind} to the left and {self.ahead} to the right"


def kink_at(f: Differentiable, *x: Any, wrt: int = 0) -> Kink | None:
    """An element of x along which f has a kink, an edge or a jump; None if there is none.

    Looks to both sides of each element of x up to 100; and along a random direction, in which a kink of any of them
    shows, and which is narrowed down by halves. In float64: in other types of number differences show nothing.
    """
    here = as_real(x[input_number(wrt, len(x))])
    if here.dtype != torch.float64 or not here.numel():
        return None
    lengths = 1.0 + torch.rand(here.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def slopes(span: range) -> tuple[str, str] | None:
        along = torch.zeros_like(here, memory_format=torch.contiguous_format)
        along.view(-1)[span.start : span.stop] = 1.0 if len(span) == 1 else lengths.view(-1)[span.start : span.stop]
        return _differing_slopes(f, x, along, wrt)

    spans = [range(i, i + 1) for i in range(here.numel())] if here.numel() <= ELEMENTS else []
    span = next((one for one in (*spans, range(here.numel())) if slopes(one)), None)
    if span is None:
        return None
    while len(span) > 1:
        halves = (span[: len(span) // 2], span[len(span) // 2 :])
        half = next((one for one in halves if slopes(one)), None)
        if half is None:
            return Kink(None, math.nan, *(slopes(span) or ("", "")))
        span = half
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(span.start), here.shape)) if here.ndim else ()
    return Kink(place, float(here[place]), *(slopes(span) or ("", "")))


def require_differentiable(f: Differentiable, *x: Any, wrt: int = 0) -> None:
    """Raise SettingError if f has a kink at x (`kink_at`): it says where, and both slopes."""
    if (kink := kink_at(f, *x, wrt=wrt)) is not None:
        said = kink.in_words("x" if len(x) == 1 else f"input {wrt}")
        raise SettingError(f"the function has {said}; kinks=True takes what the blocks decide there")


@torch.no_grad()
def require_written_down(recording: Recording, f: Differentiable, wrt: int = 0) -> None:
    """Raise SettingError if what goes back is not how f changes: part of it was computed beside the blocks.

    `math.sin(v)` is a plain number, and a constant to the blocks. One sweep for a random sum of the results, held
    against differences along a random direction. In float64: in other types of number differences show nothing.
    """
    wrt = input_number(wrt, len(recording.points))
    here, y, generator = recording.points[wrt], recording.value, torch.Generator().manual_seed(0)
    if here.dtype != torch.float64 or y.dtype != torch.float64 or not (here.numel() and y.numel()):
        return
    along, weights = (torch.randn(one.shape, dtype=one.dtype, generator=generator) for one in (here, y))
    name = recording.inputs[wrt]
    parts = recording.back(weights, (name,))[name] * along
    largest, before = max(1.0, float(here.abs().max())), 0.0
    for step in STEPS:
        slopes = [weights * one for one in one_sided_slopes(f, *recording.points, along=along, wrt=wrt, step=step)]
        between = (slopes[0] + slopes[1]).sum() / 2
        size = max(float(parts.abs().sum()), *(float(one.abs().sum()) for one in slopes))
        off = abs(float(between - parts.sum()))
        rounding = ROUNDING * float((weights * y).abs().sum()) / (step * largest)
        if not off > max(FAR * size + rounding, before / 2):  # what bends is nearer at the next; where f ends is NaN
            return
        before = off
    raise SettingError(
        f"the function changes otherwise than its blocks do: along a direction by {float(between):.6g}, and by "
        f"{float(parts.sum()):.6g} as they say. What is computed of numbers, as math.sin(v) or v.tensor, is a constant "
        'to them; write it with blocks, as Function("sin")(v)'
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
