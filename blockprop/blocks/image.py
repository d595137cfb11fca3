"""Pictures in other sizes."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.bands import Band
from blockprop.blocks.sizes import Size, checked, sizes_of
from blockprop.engine.block import Block
from blockprop.engine.precision import wide
from blockprop.errors import SettingError, ShapeError

_AXES = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,)}
_AXES["bicubic"] = (2,)
"""The modes, and of how many axes of places they are."""


class Resize(Block):
    """The picture in another size (upsampling as well as downsampling), as torch does it:  y = R_h x R_wᵀ.

    d_x = R_hᵀ d_y R_w

    R_h: (h', h) has one row for each new row of the picture, which says what it takes from the old ones: 1 from one
    (mode "nearest": ⌊p h / h'⌋, "nearest-exact": ⌊(p + ½) h / h'⌋), parts from the nearest two ("bilinear": at
    (p + ½) h / h' − ½, or, with align_corners, at p (h − 1) / (h' − 1)) or four ("bicubic"). Without antialias there is
    no smoothing before downsampling. Sequences are "linear", volumes "trilinear"; both may be nearest.

    x: (n, c, h, w)   y: (n, c, h', w'), and with one or three axes of places likewise. Give either size = (h', w'), or
    scale with h' = ⌊h scale⌋ (one number for all axes, or one for each), of which p h / h' becomes p / scale.
    Sizes may be formulas (see sizes.py) of x and of what further inputs there are for their sizes alone.
    The backward pass gives the same bits each time, on CUDA, too.
    Raises ShapeError for other axes or nothing left of y; SettingError for both or none of size and scale, and for
    modes that have no align_corners or antialias.
    Source: torch.nn.functional.interpolate. Resample has the rules of ONNX.
    """

    kind = "image"

    def __init__(
        self,
        size: Size | Sequence[Size] | None = None,
        scale: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
        antialias: bool = False,
    ):
        if (size is None) == (scale is None):
            raise SettingError(f"give either size or scale, came size={size} and scale={scale}")
        if mode not in _AXES:
            raise SettingError(f"mode must be one of {', '.join(_AXES)}, came {mode!r}")
        if align_corners and mode.startswith("nearest"):
            raise SettingError("align_corners needs mode='bilinear', or another that mixes places")
        if antialias and mode not in ("bilinear", "bicubic"):
            raise SettingError(f"antialias needs mode='bilinear' or 'bicubic', came {mode!r}")
        self.size: Any = tuple(size) if isinstance(size, list) else size
        self.scale: Any = tuple(scale) if isinstance(scale, list) else scale
        self.mode, self.align_corners, self.antialias = mode, align_corners, antialias
        self._read()

    def _read(self) -> None:
        wanted = self.size if self.scale is None else self.scale
        by_axis = wanted if isinstance(wanted, tuple) else (wanted,)
        numbers = [n for n in by_axis if not isinstance(checked(n) if self.scale is None else n, str)]
        if isinstance(wanted, tuple) and len(wanted) not in _AXES[self.mode]:
            axes = " or ".join(map(str, _AXES[self.mode]))
            raise SettingError(f"mode {self.mode!r} is of {axes} axes of places, came {wanted}")
        if min(numbers, default=1) <= 0:
            raise SettingError(f"size or scale must be positive, came {wanted}")

    def given(self, axes: int) -> tuple[Any, ...]:
        """The size or the scale along each of so many axes of places."""
        wanted = self.size if self.scale is None else self.scale
        return wanted if isinstance(wanted, tuple) else (wanted,) * axes

    def forward(self, x: Tensor, *others: Tensor) -> tuple[Tensor, Any]:
        places = x.dim() - 2
        if places not in _AXES[self.mode] or len(self.given(places)) != places or min(x.shape[1:]) < 1:
            raise ShapeError(f"{self!r} expected (n, c, places) with places to resize, came {tuple(x.shape)}")
        outputs = self.outputs(x, others)
        if min(outputs) < 1:
            raise ShapeError(f"nothing is left of {tuple(x.shape)} by {self!r}")
        extent = self.given(places) if self.size is None else outputs
        if not len(x):  # torch refuses an empty batch here
            return x.new_zeros(*x.shape[:2], *outputs), (x.shape, extent, len(others))
        return self._interpolate(x, self.mode, extent), (x.shape, extent, len(others))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        shape, extent, others = saved
        d_x = wide(d_y)
        for axis in range(2, len(shape)):
            d_x = self._back(d_x, axis, shape[axis], extent[axis - 2])
        return (d_x.to(d_y.dtype), *(None,) * others)

    def _back(self, d: Tensor, axis: int, size: int, extent: Any) -> Tensor:
        """Undo one axis: by its matrix, or, if each element was just repeated, by adding up (four times as fast)."""
        copies = d.shape[axis] // size
        if (
            self.mode.startswith("nearest")
            and d.shape[axis] == copies * size
            and self.sources(size, extent, d) == [i for i in range(size) for _ in range(copies)]
        ):
            return functools.reduce(torch.add, d.unflatten(axis, (size, copies)).unbind(axis + 1))
        return self.matrix(size, extent, d).transposed().times(d, axis)

    def sources(self, size: int, extent: Any, like: Tensor) -> list[int]:
        """To which old element each new one is nearest, by torch's own rule, which rounds in its own way, and for each
        type of number and number of axes in another.
        """
        places = torch.arange(size, dtype=like.dtype, device=like.device)
        return [int(place) for place in self._along(places[None], extent, like.dim() - 2)[0].tolist()]

    def outputs(self, x: Tensor, others: tuple[Tensor, ...] = ()) -> tuple[int, ...]:
        """h', w' for these inputs."""
        if self.scale is None:
            return sizes_of(self.given(x.dim() - 2), (x, *others))
        return tuple(math.floor(n * scale) for n, scale in zip(x.shape[2:], self.given(x.dim() - 2), strict=True))

    def matrix(self, size: int, extent: Any, like: Tensor) -> Band:
        """R of one axis of so many places, for numbers and axes like these.

        Resizing is linear, and each new place takes of a few neighbors: what becomes of combs with a 1 at every m-th
        place, m more than these neighbors, says how much; about where they stand says what becomes of 0, 1, 2, …
        """
        numbers = torch.arange(size, dtype=like.dtype, device=like.device)
        about = self._along(numbers[None], extent, like.dim() - 2)[0].cpu().double().round()
        step = min(size, self._reach(size, len(about)))
        firsts = torch.arange(step)
        combs = (torch.arange(size)[None] % step == firsts[:, None]).to(numbers)
        weights = self._along(combs, extent, like.dim() - 2).cpu().double()
        nth = ((about[None] - firsts[:, None]) / step).round().clamp(min=0)
        nth = torch.minimum(nth, ((size - 1 - firsts) // step)[:, None])
        columns = (firsts[:, None] + nth * step).long()
        rows = torch.arange(len(about)).expand_as(columns)
        return Band.of(rows, columns, weights, (len(about), size))

    def _reach(self, size: int, outputs: int) -> int:
        """More than the places that a new one may take of, and some around for `about`."""
        width = 2.0 * max(size / outputs, 1.0) + 2 if self.antialias else 1.0
        return 2 * math.ceil(2 * width) + 6

    def _along(self, rows: Tensor, extent: Any, axes: int) -> Tensor:
        """Each of these rows resized, as the last of so many axes of places, for which torch rounds differently."""
        still: Any = (1 if self.scale is None else 1.0,) * (axes - 1)
        resized = self._interpolate(rows.view(1, len(rows), *(1,) * (axes - 1), -1), self.mode, (*still, extent))
        return resized.view(len(rows), -1)

    def _interpolate(self, x: Tensor, mode: str, extent: tuple[Any, ...]) -> Tensor:
        size, scale = (extent, None) if self.scale is None else (None, extent)
        corners = None if mode.startswith("nearest") else self.align_corners
        numbers = wide(x) if self.antialias else x  # which torch lacks in half precision
        return F.interpolate(numbers, size, scale, mode, corners, antialias=self.antialias).to(x.dtype)
