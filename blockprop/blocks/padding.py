"""Borders around a tensor: of zeros, of another number, or of its own elements."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.sizes import MOST_AXES, Size, checked_sizes, sizes_of
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


class Pad(Block):
    """More places around the last axes:  y = x with a border of zeros (or another value), or of x's own elements.

    d_x = d_y without the border, plus the border's d_y at the places that it was copied from

    pads: (before, after) of the last axis, then of the one before it, and so on, as in torch. Negative numbers cut.
    Formulas (see sizes.py) of x and of what further inputs there are for their sizes alone are allowed.
    mode, for x = a b c d and pads (2, 2), gives
        constant  v v|a b c d|v v   with v = value      replicate  a a|a b c d|d d
        reflect   c b|a b c d|c b                       circular   c d|a b c d|a b
    Raises ShapeError if x has too few axes or elements to copy; SettingError for pads not in pairs, an unknown mode,
    and cutting with any mode but constant.
    """

    kind = "reshaping"

    def __init__(self, pads: Sequence[Size], mode: str = "constant", value: float = 0.0):
        self.pads, self.mode, self.value = checked_sizes(pads, 2 * MOST_AXES), mode, value
        if mode != "constant" and mode not in _BORDERS:
            raise SettingError(f"mode must be one of constant, {', '.join(_BORDERS)}, came {mode!r}")
        if len(self.pads) % 2 or (mode != "constant" and any(isinstance(pad, int) and pad < 0 for pad in self.pads)):
            raise SettingError(f"pads must be pairs (before, after), negative for constant alone, came {self.pads}")

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, Any]:
        pads = sizes_of(self.pads, (x, *others))
        borders = self._borders(pads)
        self._check(x, borders)
        if self.mode == "constant":
            return F.pad(x, pads, value=self.value), (pads, len(others))
        for axis, before, after in borders:
            first, last = _BORDERS[self.mode](x.shape[axis], before, after)
            x = torch.cat([_take(x, axis, first), x, _take(x, axis, last)], axis)
        return x, (pads, len(others))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        pads, others = saved
        if self.mode == "constant":
            return (F.pad(d_y, [-pad for pad in pads]), *(None,) * others)
        d = d_y
        for axis, before, after in reversed(self._borders(pads)):
            size = d.shape[axis] - before - after
            d_border = d.narrow(axis, 0, before), d.narrow(axis, before + size, after)
            d = d.narrow(axis, before, size).clone()
            for places, back in zip(_BORDERS[self.mode](size, before, after), d_border, strict=True):
                _give_back(d, axis, places, back)
        return (d, *(None,) * others)

    def _borders(self, pads: tuple[int, ...]) -> list[tuple[int, int, int]]:
        """(axis, before, after), last axis first."""
        pairs = zip(pads[::2], pads[1::2], strict=True)
        return [(-1 - i, before, after) for i, (before, after) in enumerate(pairs) if before or after]

    def _check(self, x: Tensor, borders: list[tuple[int, int, int]]) -> None:
        if 2 * x.dim() < len(self.pads):
            raise ShapeError(f"expected at least {len(self.pads) // 2} axes, came {tuple(x.shape)}")
        for axis, before, after in borders:
            size = x.shape[axis]
            least = {"constant": -before - after, "replicate": 1, "circular": max(before, after)}
            cut = self.mode != "constant" and min(before, after) < 0
            if cut or size < least.get(self.mode, max(before, after) + 1):
                raise ShapeError(f"{tuple(x.shape)} has too few elements to pad by {self.pads} with mode {self.mode}")


def _reflect(size: int, before: int, after: int) -> tuple[range, range]:
    return range(before, 0, -1), range(size - 2, size - 2 - after, -1)


def _replicate(size: int, before: int, after: int) -> tuple[list[int], list[int]]:
    return [0] * before, [size - 1] * after


def _circular(size: int, before: int, after: int) -> tuple[range, range]:
    return range(size - before, size), range(after)


_BORDERS: dict[str, Any] = {"reflect": _reflect, "replicate": _replicate, "circular": _circular}
"""(size, elements before, elements after) -> the places of x that each of the two borders is copied from."""


def _take(x: Tensor, axis: int, places: range | list[int]) -> Tensor:
    return x.index_select(axis, torch.tensor(places, dtype=torch.long, device=x.device))


def _give_back(d_x: Tensor, axis: int, places: range | list[int], d_border: Tensor) -> None:
    """Add to d_x, in place, what was copied from these places: all different, or all one and the same."""
    if isinstance(places, list):  # summed first, because CUDA adds to one place in no fixed order
        places, d_border = places[:1], d_border.sum(axis, keepdim=True)
    if len(places):
        d_x.index_add_(axis, torch.tensor(places, device=d_x.device), d_border)
