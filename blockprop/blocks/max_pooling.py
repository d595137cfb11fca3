"""Max pooling: the largest value of each window goes forward, and its whole derivative back to where it stood."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.convolution import Sizes, untouched
from blockprop.blocks.windows import Windows
from blockprop.engine.precision import anywhere
from blockprop.errors import ShapeError


class _MaxPool(Windows):
    def __init__(
        self,
        kernel: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ):
        self._set(kernel, stride, padding, dilation, ceil_mode)
        self.dilation = untouched(dilation)
        self._windows = (self._kernel, self._stride, self._padding, self._dilation, ceil_mode)
        self._overlapping = any(s < r for s, r in zip(self._stride, self._reach, strict=True))

    def _require_fit(self, x: Tensor) -> None:
        super()._require_fit(x)
        settings = zip(self._reach, self._stride, self._padding, self._dilation, strict=True)
        for size, (reach, stride, padding, dilation) in zip(x.shape[2:][::-1], [*settings][::-1], strict=False):
            if dilation <= size:  # then every window has a place in x; torch names places outside for one that has not
                continue
            for first in range(-padding, size + padding + (stride if self.ceil_mode else 1) - reach, stride):
                if first < size and not any(0 <= place < size for place in range(first, first + reach, dilation)):
                    raise ShapeError(
                        f"a window of {self.kernel} with dilation {self.dilation} has no place in {tuple(x.shape)}: "
                        "it has no maximum; a larger input or a smaller dilation has one"
                    )


class MaxPool2d(_MaxPool):
    """The maximum of each window:  y[n, c, p] = max over k of x[n, c, p·stride + k·dilation − padding].

    d_x = d_y at the place of each window's maximum, 0 elsewhere, and the sum where windows share their maximum.
    At a tie the whole derivative goes to the first maximum, row by row. NaN counts as larger than any number, and the
    last NaN of a window as its maximum (as in torch).

    x: (n, c, h, w)
    y: (n, c, h', w') with h' = ⌊(h + 2 padding − dilation (kernel − 1) − 1) / stride⌋ + 1, with ceil_mode ⌈⌉
    kernel, stride (the kernel's by default), padding, dilation: one number for both axes, or two.
    Raises ShapeError for other axes, if the window does not fit, and if one lies in the padding alone; SettingError for
    sizes below 1 and a padding of more than half a window.
    """

    axes = 2

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self._require_fit(x)
        y, winners = maxima(x, *self._windows)
        return y, (winners, x.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        winners, shape = saved
        return (to_winners(d_y, winners, shape, self._overlapping),)


def maxima(x: Tensor, *windows: Any) -> tuple[Tensor, Tensor]:
    """(y, winners): the maximum of each window, and where it stands: its place among the h · w, counted row by row."""
    pool = _pool_in_lanes if x.is_cpu and x.is_contiguous() else _POOL[x.dim()]
    y, winners = pool(x, *windows)
    return y, narrow(winners, x)


def to_winners(d_y: Tensor, winners: Tensor, shape: torch.Size, overlapping: bool) -> Tensor:
    """d_x: each d_y at its window's winner, 0 elsewhere. Overlapping windows may share a winner: there d_y is added."""
    d_x = _zeros(shape, d_y)  # (n, c, h · w)
    put = d_x.scatter_add_ if overlapping else d_x.scatter_  # which is faster, but keeps only one at each place
    return put(2, winners.flatten(2).long(), d_y.flatten(2)).view(shape)


class MaxPool1d(_MaxPool):
    """The maximum of each window along the last axis:  y[p] = max over k of x[p·stride + k·dilation − padding].

    d_x = d_y at the place of each window's maximum, 0 elsewhere, and the sum where windows share their maximum.
    At a tie the whole derivative goes to the first maximum. NaN counts as larger than any number.

    x: (n, c, w)   y: (n, c, w')   Settings, sizes and errors as in MaxPool2d.
    """

    axes = 1

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self._require_fit(x)
        picture = self._with_row(x)
        y, winners = maxima(picture, *self._windows)
        return self._without_row(y), (winners, picture.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        winners, shape = saved
        return (self._without_row(to_winners(self._with_row(d_y), winners, shape, self._overlapping)),)


class MaxPool3d(_MaxPool):
    """The maximum of each window of a volume: what MaxPool2d is, with depth in front of h and w.

    d_x = d_y at the place of each window's maximum, 0 elsewhere, and the sum where windows share their maximum.

    x: (n, c, d, h, w)   y: (n, c, d', h', w')   Ties, settings, sizes and errors as in MaxPool2d.
    """

    axes = 3

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        self._require_fit(x)
        y, winners = maxima(x, *self._windows)
        return y, (winners, x.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        winners, shape = saved
        return (to_winners(d_y, winners, shape, self._overlapping),)


_POOL: dict[int, Any] = {4: F.max_pool2d_with_indices, 5: F.max_pool3d_with_indices}
_LANES = {4: torch.channels_last, 5: torch.channels_last_3d}


def _pool_in_lanes(x: Tensor, *windows: Any) -> tuple[Tensor, Tensor]:
    """What _POOL gives for a contiguous x: (n, c, ...) on a CPU, in a half to a quarter of the time.

    torch's CPU kernel goes element by element, unless channels lie side by side in memory: then it handles as many at
    once as a vector holds. Pooling knows no difference between batch and channels, so several examples of few channels
    make one example of many, and this is copied into that order first.
    """
    n, c, *places = x.shape
    together = 1
    while n % (2 * together) == 0 and 2 * together * c <= 64 and n:
        together *= 2
    lanes = x.view(n // together, together * c, *places).contiguous(memory_format=_LANES[x.dim()])
    y, winners = _POOL[x.dim()](lanes, *windows)
    if x.dim() == 5 and anywhere(y == -math.inf):  # of which torch's kernel for volumes names no place
        return _POOL[5](x, *windows)
    shape = (n, c, *y.shape[2:])
    return y.contiguous().view(shape), narrow(winners, x).contiguous().view(shape)


def narrow(places: Tensor, x: Tensor) -> Tensor:
    """Numbers of places in x's pictures, in as few bytes as hold them: torch gives eight."""
    return places.to(torch.int16 if x.shape[2:].numel() <= 2**15 else torch.int32)


def _zeros(shape: torch.Size, d_y: Tensor) -> Tensor:
    """Zeros (n, c, places), in d_y's order of memory, so that no block has to copy."""
    n, c, *places = shape
    order = _LANES.get(len(shape), torch.contiguous_format)
    if d_y.is_contiguous(memory_format=order) and not d_y.is_contiguous():
        return d_y.new_zeros(n, math.prod(places), c).transpose(1, 2)
    return d_y.new_zeros(n, c, math.prod(places))
