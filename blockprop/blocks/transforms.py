"""Random changes of a picture that its objective should survive: moved, turned, scaled, cut, noisy.

They act in every forward pass, with or without `training`: what is wanted is a picture that looks the same to the
network after each of them. Each example of a batch is changed in its own way, and each pass draws anew.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.convolution import Sizes, per_axis, untouched
from blockprop.blocks.kernels import grid_sampler_backward
from blockprop.blocks.resampling import one_of
from blockprop.engine.block import Block
from blockprop.engine.precision import wide
from blockprop.errors import SettingError, ShapeError

Places = list[list[int]]
"""(row, column) of each example."""


class _Moving(Block):
    """What the transforms share that change where things are: a few numbers drawn for each example."""

    kind = "image"
    generator: torch.Generator | None = None
    """Draws the numbers, on its own device; None stands for torch's global generator on the CPU."""

    def _uniform(self, x: Tensor, numbers: int) -> Tensor:
        """Numbers in 0…1: (examples, numbers); the first example's are the same for any number of examples.

        For an x without numbers nothing is drawn: they are 0.
        """
        if x.is_meta:
            return torch.zeros(len(x), numbers, dtype=torch.float64, device="cpu")
        device = None if self.generator is None else self.generator.device
        return torch.rand(len(x), numbers, generator=self.generator, dtype=torch.float64, device=device)


class Jitter(_Moving):
    """A picture shifted by up to `reach` whole elements along both axes:  y_{p + s} = x_p,  s drawn for each example.

    d_x_p = d_y_{p + s}, and 0 where nothing of x_p is left in y

    mode: "crop" keeps the part of y that is there for any s, so that y is smaller by 2 reach (lucid's jitter(2 reach));
    "wrap" brings back at one end what leaves at the other and keeps the size (the jitter of DeepDream).

    x: (n, c, h, w)   y: (n, c, h − 2 reach, w − 2 reach), or as x
    Raises ShapeError for other axes or nothing left of y; SettingError for a reach below 0 or an unknown mode.
    """

    def __init__(self, reach: int, mode: str = "crop"):
        one_of("mode", mode, ("crop", "wrap"))
        if reach < 0:
            raise SettingError(f"reach must be at least 0, came {reach}")
        self.reach, self.mode = reach, mode

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        lost = 2 * self.reach if self.mode == "crop" else 0
        if x.dim() != 4 or min(x.shape[2:]) <= lost:
            raise ShapeError(f"expected (n, c, h, w) with more than {lost} rows and columns, came {tuple(x.shape)}")
        size = (x.shape[2] - lost, x.shape[3] - lost)
        shifts = self.draw(x)
        if self.mode == "wrap":
            return _rolled(x, shifts), (x.shape, shifts)
        corners = [[self.reach - shift for shift in both] for both in shifts]
        return _cut(x, corners, size), (x.shape, corners)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        shape, places = saved
        if self.mode == "wrap":
            return (_rolled(d_y, [[-shift for shift in both] for both in places]),)
        return (_put_back(d_y, places, shape),)

    def draw(self, x: Tensor) -> Places:
        """(down, right) for each example of x, from −reach to reach."""
        shifts: Places = (self._uniform(x, 2) * (2 * self.reach + 1)).long().sub_(self.reach).tolist()
        return shifts


class RandomCrop(_Moving):
    """A part of a picture, cut out at a random place:  y_p = x_{p + corner},  the corner drawn for each example.

    d_x_{p + corner} = d_y_p, and 0 elsewhere

    size: (height, width) of the part, or one number for both
    x: (n, c, h, w)   y: (n, c, *size)
    Raises ShapeError for other axes or a smaller x, SettingError for sizes below 1.
    """

    def __init__(self, size: Sizes):
        self.size = untouched(size)
        self._size = per_axis("size", size, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 4 or x.shape[2] < self._size[0] or x.shape[3] < self._size[1]:
            raise ShapeError(f"expected (n, c, h, w) of at least {self._size}, came {tuple(x.shape)}")
        corners = self.draw(x)
        return _cut(x, corners, self._size), (x.shape, corners)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        shape, corners = saved
        return (_put_back(d_y, corners, shape),)

    def draw(self, x: Tensor) -> Places:
        """(top, left) for each example of x."""
        choices = [whole - part + 1 for whole, part in zip(x.shape[2:], self._size, strict=True)]
        uniform = self._uniform(x, 2)
        corners: Places = (uniform * uniform.new_tensor(choices)).long().tolist()
        return corners


class RandomAffine(_Moving):
    """A picture turned, scaled and shifted at random:  y[n, c, p] = Σ_k w_k x[n, c, k],  w = weights around u(n, p).

    d_x[n, c, k] = Σ_p w_k d_y[n, c, p]

    u(p) = m + R (p − m − t) / s is the place that comes to p. R turns by an angle out of ±degrees, s is out of `scales`
    (above 1: larger), t is out of ±shift elements along both axes, m is the middle of the picture. They are drawn for
    each example, all values equally likely; a positive angle turns the picture counterclockwise. w has two places along
    each axis, of weights 1 − |distance|.
    border: the value of places outside of the picture, or "replicate" for that of the picture's nearest element.

    x, y: (n, c, h, w), of real numbers
    Raises ShapeError for other axes, SettingError for scales that are not two positive numbers in order.
    """

    def __init__(
        self,
        degrees: float = 0.0,
        scales: Sequence[float] = (1.0, 1.0),
        shift: float = 0.0,
        border: float | str = 0.5,
    ):
        if isinstance(border, str):
            one_of("border", border, ("replicate",))
        self.degrees, self.scales, self.shift, self.border = degrees, tuple(scales), shift, border
        if len(self.scales) != 2 or not 0 < self.scales[0] <= self.scales[1]:
            raise SettingError(f"scales must be the smallest and the largest, both positive, came {self.scales}")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 4 or min(x.shape[1:]) < 1:
            raise ShapeError(f"expected (n, c, h, w), came {tuple(x.shape)}")
        kind, x = x.dtype, wide(x)  # as in GridSample
        grid = self._grid(x)
        if isinstance(self.border, str):
            return F.grid_sample(x, grid, padding_mode="border", align_corners=False).to(kind), grid
        # Outside of what is sampled there are zeros, so the border's value becomes 0 in between.
        y = F.grid_sample(x - self.border if self.border else x, grid, align_corners=False)
        return (y.add_(self.border) if self.border else y).to(kind), grid

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        # As in GridSample.propagate, which takes 3.4 times as long: the tests hold one against the other. The values of
        # x have a part in the grid's derivative alone, which is not asked for; so one zero stands for all of them.
        d = wide(d_y)
        nothing = d.new_zeros(()).expand(d.shape)
        border = int(isinstance(self.border, str))
        return (grid_sampler_backward(d, nothing, saved, 0, border, False, [True, False])[0].to(d_y.dtype),)

    def draw(self, x: Tensor) -> Tensor:
        """(angle in degrees, scale, elements down, elements to the right) for each example of x: (n, 4)."""
        low, high = self.scales
        uniform = self._uniform(x, 4)
        least = uniform.new_tensor([-self.degrees, low, -self.shift, -self.shift])
        return least + uniform * uniform.new_tensor([2 * self.degrees, high - low, 2 * self.shift, 2 * self.shift])

    def _grid(self, x: Tensor) -> Tensor:
        """u(n, p) in the numbers of GridSample, −1…1 between the outer edges: (n, h, w, 2), the column first."""
        angle, scale, down, right = self.draw(x).unsqueeze(-1).unbind(1)
        across, along = torch.sin(angle.deg2rad()) / scale, torch.cos(angle.deg2rad()) / scale
        h, w = x.shape[2:]
        rows, columns = (torch.arange(n, device=angle.device) - (n - 1) / 2 - t for n, t in ((h, down), (w, right)))
        grid = x.new_empty(len(x), h, w, 2)
        # A sum of what the row and what the column adds: a third of the time of affine_grid's product of matrices.
        for i, of_row, of_column in (
            (0, -across * rows * 2 / w, along * columns * 2 / w),
            (1, along * rows * 2 / h, across * columns * 2 / h),
        ):
            torch.add(of_row.to(x).unsqueeze(2), of_column.to(x).unsqueeze(1), out=grid[..., i])
        return grid


class Noise(Block):
    """Normal noise on everything:  y = x + deviation · z,  z drawn for each element.

    d_x = d_y: the tensor itself, not a copy

    x, y: any shape, of real numbers   Raises SettingError for a deviation below 0.
    """

    kind = "image"
    generator: torch.Generator | None = None
    """Draws the noise, on its own device; None stands for torch's global generator on the input's device."""

    def __init__(self, deviation: float):
        if deviation < 0:
            raise SettingError(f"deviation must be at least 0, came {deviation}")
        self.deviation = deviation

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return self.draw(x).add_(x), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y,)

    def draw(self, x: Tensor) -> Tensor:
        """New noise in the shape, type of number and place of x; it does not depend on x's memory layout."""
        device = x.device if self.generator is None else self.generator.device
        z = torch.randn(x.shape, generator=self.generator, dtype=x.dtype, device=device)
        return z.mul_(self.deviation).to(x.device)


def _cut(x: Tensor, corners: Places, size: tuple[int, ...]) -> Tensor:
    """A part of each example, from its corner on; of a single example without a copy."""
    h, w = size
    parts = [x[i : i + 1, :, top : top + h, left : left + w] for i, (top, left) in enumerate(corners)]
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts) if parts else x.new_empty(*x.shape[:2], h, w)


def _put_back(d_y: Tensor, corners: Places, shape: torch.Size) -> Tensor:
    """What _cut's output passes back to its input."""
    d_x = d_y.new_zeros(shape)
    h, w = d_y.shape[2:]
    for i, (top, left) in enumerate(corners):
        d_x[i, :, top : top + h, left : left + w] = d_y[i]
    return d_x


def _rolled(x: Tensor, shifts: Places) -> Tensor:
    """Each example rolled along both axes."""
    parts = [x[i : i + 1].roll(shift, (2, 3)) for i, shift in enumerate(shifts)]
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts) if parts else x.new_empty(x.shape)
