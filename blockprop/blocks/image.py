"""Pictures in other sizes."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.sizes import Size, checked, sizes_of
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

_ONE_AXIS = {"nearest": "nearest", "bilinear": "linear"}


class Resize(Block):
    """The picture in another size (upsampling as well as downsampling):  y = R_h x R_wᵀ.

    d_x = R_hᵀ d_y R_w

    R_h: (h', h) has one row for each new row of the picture, which says what it takes from the old ones: 1 from one
    (mode "nearest": ⌊p h / h'⌋) or two parts from the nearest two ("bilinear": at (p + ½) h / h' − ½, or, with
    align_corners, at p (h − 1) / (h' − 1)). No smoothing before downsampling, as torch without antialias.

    x: (n, c, h, w)   y: (n, c, h', w')   Give either size = (h', w'), or scale with h' = ⌊h scale⌋ (one number for both
    axes, or two). Sizes may be formulas (see sizes.py) of x and of what further inputs there are for their sizes alone.
    The backward pass gives the same bits each time, on CUDA, too.
    Raises ShapeError for other axes or nothing left of y; SettingError for both or none of size and scale.
    """

    kind = "image"

    def __init__(
        self,
        size: Size | Sequence[Size] | None = None,
        scale: float | tuple[float, float] | list[float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ):
        if (size is None) == (scale is None):
            raise SettingError(f"give either size or scale, came size={size} and scale={scale}")
        if mode not in _ONE_AXIS:
            raise SettingError(f"mode must be one of {', '.join(_ONE_AXIS)}, came {mode!r}")
        if align_corners and mode == "nearest":
            raise SettingError("align_corners needs mode='bilinear'")
        self.size: Any = tuple(size) if isinstance(size, list) else size
        self.scale: Any = tuple(scale) if isinstance(scale, list) else scale
        self.mode, self.align_corners = mode, align_corners
        wanted = self.size if scale is None else self.scale
        self._given = wanted if isinstance(wanted, tuple) else (wanted, wanted)
        numbers = [n for n in self._given if not (isinstance(checked(n) if scale is None else n, str))]
        if len(self._given) != 2 or min(numbers, default=1) <= 0:
            raise SettingError(f"size or scale must be one positive number or two, came {wanted}")

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 4 or min(x.shape[1:]) < 1 or min(self._outputs(x, others)) < 1:
            raise ShapeError(f"expected (n, c, h, w) of which something is left, came {tuple(x.shape)}")
        extent = self._given if self.size is None else self._outputs(x, others)
        if not len(x):  # torch refuses an empty batch here
            return x.new_zeros(*x.shape[:2], *self._outputs(x, others)), (x.shape, extent, len(others))
        return self._interpolate(x, self.mode, extent), (x.shape, extent, len(others))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        shape, extent, others = saved
        d_columns = self._back(d_y, -2, shape[2], extent, lambda rows, d: rows.t() @ d)
        return (self._back(d_columns, -1, shape[3], extent, lambda columns, d: d @ columns), *(None,) * others)

    def _back(
        self, d: Tensor, axis: int, size: int, given: Any, multiply: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Undo one axis: by its matrix, or, if each element was just repeated, by adding up (four times as fast)."""
        copies = d.shape[axis] // size
        if (
            self.mode == "nearest"
            and d.shape[axis] == copies * size
            and self._sources(size, d.dtype, given[axis]) == [i for i in range(size) for _ in range(copies)]
        ):
            return functools.reduce(torch.add, d.unflatten(axis, (size, copies)).unbind(axis))
        return multiply(self._matrix(size, d, given[axis]), d)

    def _sources(self, size: int, dtype: torch.dtype, given: Any) -> list[float]:
        """Of which old element each new one is a copy, by torch's own rule, which rounds in its own way."""
        numbers = torch.arange(size, dtype=dtype)[None, None]
        return self._interpolate(numbers, "nearest", (given,))[0, 0].tolist()

    def _outputs(self, x: Tensor, others: tuple[Tensor, ...]) -> tuple[int, ...]:
        if self.scale is None:
            return sizes_of(self._given, (x, *others))
        return tuple(math.floor(n * scale) for n, scale in zip(x.shape[2:], self._given, strict=True))

    def _matrix(self, size: int, like: Tensor, given: Any) -> Tensor:
        """R of one axis: (outputs, size). Resizing is linear, so its matrix is what it makes of the unit vectors."""
        units = torch.eye(size, dtype=like.dtype, device=like.device)[None]
        return self._interpolate(units, _ONE_AXIS[self.mode], (given,))[0].t()

    def _interpolate(self, x: Tensor, mode: str, given: tuple[Any, ...]) -> Tensor:
        size, scale = (given, None) if self.scale is None else (None, given)
        corners = None if self.mode == "nearest" else self.align_corners
        return F.interpolate(x, size, scale, mode, corners)
