"""Pictures, sequences and volumes in other sizes, along any axes, by all the rules of ONNX and torch."""

import math
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.blocks.bands import Band
from blockprop.blocks.sizes import Size, checked, each_axis, sizes_of
from blockprop.engine.block import Block
from blockprop.engine.briefly import brief_repr
from blockprop.engine.precision import wide
from blockprop.errors import SettingError, ShapeError


class Line(NamedTuple):
    """One axis: so many old places and new ones, the scale from old to new, and the part of the old that is wanted."""

    size: int
    outputs: int
    scale: Fraction
    start: float = 0.0
    end: float = 1.0

    @property
    def length(self) -> float:
        """How many new places there would be, if there could be a part of one."""
        return float(self.size * self.scale)


class Step(NamedTuple):
    """What happens along one axis."""

    axis: int
    matrix: Band
    """R: (outputs, size), in float64."""
    outside: Tensor | None
    """The new places that take nothing of x, but the extrapolation value."""

    def __repr__(self) -> str:
        return brief_repr(self)


class Resample(Block):
    """x in another size along some axes, one by one:  y = R_h x R_wᵀ, and so on for any number of axes.

    d_x = R_hᵀ d_y R_w

    Row p of R says what place p of y takes of x. coordinates tells where p lies in x, as a real number u:

        half_pixel            (p + ½) / scale − ½
        half_pixel_symmetric  the same, moved so that the middles of x and y meet
        pytorch_half_pixel    half_pixel; 0 if y has one place only
        tf_half_pixel_for_nn  (p + ½) / scale
        asymmetric            p / scale
        align_corners         p (size − 1) / (size · scale − 1)
        tf_crop_and_resize    align_corners, of the part of x from start to end; extrapolation_value outside of x

    mode: "nearest" takes the place next to u, rounded by nearest_mode: round_prefer_floor, round_prefer_ceil (which
    differ at halves), floor or ceil. "linear" weighs the two places around u by 1 − |distance|, "cubic" the four
    around it by Keys's polynomials with cubic_coefficient; antialias makes these windows wider by 1 / scale where the
    scale is below 1. Places outside of x are its nearest end, or with exclude_outside left out.

    x: any shape   y: the same, but along axes sizes, or ⌊size · scale⌋ with scales (one number for all axes, or one for
    each). Sizes may be formulas (see sizes.py) of x and of what further inputs there are for their sizes alone.
    keep_aspect_ratio: "stretch" takes the sizes as they are; "not_larger" and "not_smaller" scale all axes alike, so
    that none becomes larger, or smaller, than its size. roi, for tf_crop_and_resize: the starts of all axes, then the
    ends, 0…1. The backward pass gives the same bits each time, on CUDA, too.

    torch's modes: nearest-exact is nearest with round_prefer_ceil; bilinear is linear, bicubic is cubic, and their
    antialias is so with exclude_outside and cubic_coefficient −0.5.
    Raises ShapeError if x lacks an axis or places, or nothing is left of y; SettingError for settings that do not fit.
    Source: ONNX, operator Resize, versions 10 to 19; Keys 1981, eq. 4.
    """

    kind = "image"

    def __init__(
        self,
        sizes: Size | Sequence[Size] | None = None,
        scales: float | Sequence[float] | None = None,
        mode: str = "nearest",
        coordinates: str = "half_pixel",
        axes: Sequence[int] = (-2, -1),
        nearest_mode: str = "round_prefer_floor",
        cubic_coefficient: float = -0.75,
        exclude_outside: bool = False,
        antialias: bool = False,
        keep_aspect_ratio: str = "stretch",
        roi: Sequence[float] | None = None,
        extrapolation_value: float = 0.0,
    ):
        self.axes = each_axis(axes)
        self.sizes: Any = tuple(sizes) if isinstance(sizes, list) else sizes
        self.scales: Any = tuple(scales) if isinstance(scales, list) else scales
        self.roi = None if roi is None else tuple(roi)
        self.mode, self.coordinates, self.nearest_mode = mode, coordinates, nearest_mode
        self.keep_aspect_ratio = keep_aspect_ratio
        self.cubic_coefficient, self.exclude_outside, self.antialias = cubic_coefficient, exclude_outside, antialias
        self.extrapolation_value = extrapolation_value
        one_of("mode", mode, _RADIUS)
        one_of("coordinates", coordinates, _COORDINATES)
        one_of("nearest_mode", nearest_mode, _ROUNDED)
        one_of("keep_aspect_ratio", keep_aspect_ratio, _POLICIES)
        self._given = self._read_given()
        self._starts, self._ends = self._read_part()

    def _read_given(self) -> tuple[Any, ...]:
        if (self.sizes is None) == (self.scales is None):
            raise SettingError(f"give either sizes or scales, came sizes={self.sizes} and scales={self.scales}")
        wanted = self.scales if self.sizes is None else self.sizes
        by_axis = wanted if isinstance(wanted, tuple) else (wanted,) * len(self.axes)
        numbers = by_axis if self.sizes is None else [n for n in by_axis if not isinstance(checked(n), str)]
        if len(by_axis) != len(self.axes) or not all(0 < n < math.inf for n in numbers):
            raise SettingError(f"expected a positive number for each of the axes {self.axes}, came {wanted}")
        return by_axis

    def _read_part(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        count = len(self.axes)
        if self.coordinates != "tf_crop_and_resize":
            return (0.0,) * count, (1.0,) * count
        if self.roi is None or len(self.roi) != 2 * count:
            raise SettingError(f"tf_crop_and_resize needs a roi of {2 * count} numbers, came {self.roi}")
        return self.roi[:count], self.roi[count:]

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, Any]:
        lines = [(axis, line) for axis, line in self._lines(x, others) if not _is_identity(line)]
        if x.is_meta:
            return self._sizes_alone(x, lines), ((), len(others))
        steps = [self._step(axis, line) for axis, line in lines]
        y = x if self.mode == "nearest" else wide(x)
        for step in sorted(steps, key=_cost):
            y = step.matrix.times(y, step.axis)
            if step.outside is not None:
                y.index_fill_(step.axis, step.outside.to(y.device), self.extrapolation_value)
        return y.to(x.dtype), (steps, len(others))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        steps, others = saved
        d_x = d_y if self.mode == "nearest" else wide(d_y)
        for step in sorted(steps, key=_cost, reverse=True):
            if step.outside is not None:
                d_x = d_x.index_fill(step.axis, step.outside.to(d_x.device), 0.0)
            d_x = step.matrix.transposed().times(d_x, step.axis)
        return (d_x.to(d_y.dtype), *(None,) * others)

    def _lines(self, x: Tensor, others: tuple[Tensor, ...]) -> list[tuple[int, Line]]:
        """(axis, its line) for each axis."""
        if not all(-x.dim() <= axis < x.dim() and x.shape[axis] for axis in self.axes):
            raise ShapeError(f"expected an input with places along the axes {self.axes}, came {tuple(x.shape)}")
        olds = [x.shape[axis] for axis in self.axes]
        if self.sizes is None:
            scales = [Fraction(scale) for scale in self._given]
            news = [math.floor(old * scale) for old, scale in zip(olds, self._given, strict=True)]
        else:
            news = [*sizes_of(self._given, (x, *others))]
            scales = [Fraction(new, old) for new, old in zip(news, olds, strict=True)]
            choose = _POLICIES[self.keep_aspect_ratio]
            if choose is not None:
                scales = [choose(scales)] * len(scales)
                news = [math.floor(old * scale + Fraction(1, 2)) for old, scale in zip(olds, scales, strict=True)]
        if min(news) < 1:
            raise ShapeError(f"nothing is left of {tuple(x.shape)} along the axes {self.axes}")
        lines = map(Line, olds, news, scales, self._starts, self._ends)
        return [(axis % x.dim(), line) for axis, line in zip(self.axes, lines, strict=True)]

    def _sizes_alone(self, x: Tensor, lines: list[tuple[int, Line]]) -> Tensor:
        """The output, and beside it what the matrices take, on a device without numbers."""
        shape, held = list(x.shape), []
        for axis, line in lines:
            shape[axis] = line.outputs
            held.append(x.new_empty((line.outputs, 2 * self._reach(line)), dtype=torch.float64))
        return x.new_empty(shape)

    def _step(self, axis: int, line: Line) -> Step:
        u = _COORDINATES[self.coordinates](torch.arange(line.outputs, dtype=torch.float64), line)
        outside = None
        if self.coordinates == "tf_crop_and_resize":
            beyond = (u < 0) | (u > line.size - 1)
            outside = beyond.nonzero()[:, 0] if beyond.any() else None
            u = u.clamp(0, line.size - 1)
        if self.mode == "nearest":
            places = _ROUNDED[self.nearest_mode](u)[:, None]
            weights = torch.ones_like(places)
        else:
            places, weights = self._window(u, line)
        rows = torch.arange(line.outputs)[:, None].expand_as(places)
        columns = places.clamp(0, line.size - 1).long()
        return Step(axis, Band.of(rows, columns, weights, (line.outputs, line.size)), outside)

    def _reach(self, line: Line) -> int:
        """How many places on either side have a part in one."""
        scale = min(1.0, float(line.scale)) if self.antialias else 1.0
        return math.ceil(_RADIUS[self.mode] / scale)

    def _window(self, u: Tensor, line: Line) -> tuple[Tensor, Tensor]:
        """(places, weights) around each u: (outputs, places)."""
        scale = min(1.0, float(line.scale)) if self.antialias else 1.0
        reach = self._reach(line)
        places = u.ceil()[:, None] + torch.arange(-reach, reach)
        distances = (places - u[:, None]).abs() * scale
        weights = _triangle(distances) if self.mode == "linear" else _keys(distances, self.cubic_coefficient)
        if self.exclude_outside:
            weights = weights * ((places >= 0) & (places < line.size))
        return places, weights / weights.sum(1, keepdim=True)


def _is_identity(line: Line) -> bool:
    return line.scale == 1 and (line.start, line.end) == (0, 1)


def _cost(step: Step) -> tuple[float, int]:
    """What shrinks x goes first; then rows before columns, or after them if they grow: that is fastest."""
    outputs, size = len(step.matrix.columns), step.matrix.size
    return outputs / size, step.axis if outputs < size else -step.axis


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _keys(distance: Tensor, a: float) -> Tensor:
    """Keys's piecewise cubic, of distances from 0 on."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return torch.where(distance <= 1, near, far) * (distance < 2)


def _divided(p: Tensor, scale: Fraction) -> Tensor:
    """p / scale, right to the last bit: what lies halfway between two places must do so here, too."""
    return p * float(scale.denominator) / float(scale.numerator)


def _half_pixel(p: Tensor, line: Line) -> Tensor:
    return _divided(p + 0.5, line.scale) - 0.5


def _half_pixel_symmetric(p: Tensor, line: Line) -> Tensor:
    return _divided(p + 0.5 - line.outputs / 2, line.scale) + line.size / 2 - 0.5


def _pytorch_half_pixel(p: Tensor, line: Line) -> Tensor:
    return _half_pixel(p, line) if line.outputs > 1 else torch.zeros_like(p)


def _tf_half_pixel_for_nn(p: Tensor, line: Line) -> Tensor:
    return _divided(p + 0.5, line.scale)


def _asymmetric(p: Tensor, line: Line) -> Tensor:
    return _divided(p, line.scale)


def _align_corners(p: Tensor, line: Line) -> Tensor:
    return p * (line.size - 1) / (line.length - 1) if line.outputs > 1 else torch.zeros_like(p)


def _tf_crop_and_resize(p: Tensor, line: Line) -> Tensor:
    way = p / (line.length - 1) if line.length > 1 else torch.full_like(p, 0.5)
    return (line.start * (1 - way) + line.end * way) * (line.size - 1)


_RADIUS = {"nearest": 0.5, "linear": 1, "cubic": 2}
_COORDINATES: dict[str, Callable[[Tensor, Line], Tensor]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "tf_half_pixel_for_nn": _tf_half_pixel_for_nn,
    "asymmetric": _asymmetric,
    "align_corners": _align_corners,
    "tf_crop_and_resize": _tf_crop_and_resize,
}
_ROUNDED: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda place: (place - 0.5).ceil(),
    "round_prefer_ceil": lambda place: (place + 0.5).floor(),
    "floor": torch.floor,
    "ceil": torch.ceil,
}
_POLICIES: dict[str, Callable[[Sequence[Fraction]], Fraction] | None] = {
    "stretch": None,
    "not_larger": min,
    "not_smaller": max,
}


def one_of(name: str, value: str, table: Collection[str]) -> None:
    """SettingError if the value is not in the table."""
    if value not in table:
        raise SettingError(f"{name} must be one of {', '.join(table)}, came {value!r}")
