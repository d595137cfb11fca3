"""What all pooling shares: windows along one, two or three axes, and whether they fit."""

from typing import ClassVar

from torch import Tensor

from blockprop.blocks.convolution import Sizes, per_axis, untouched
from blockprop.engine.block import Block, Shape
from blockprop.errors import SettingError, ShapeError


class Windows(Block):
    """A block that looks at windows of its input. torch pools no row, so one axis counts as a picture of one row."""

    kind = "pooling"
    pools = True
    axes: ClassVar[int]

    def _set(self, kernel: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes, ceil_mode: bool) -> None:
        self.kernel, self.padding = untouched(kernel), untouched(padding)
        self.stride = None if stride is None else untouched(stride)
        self.ceil_mode = ceil_mode
        row = (1,) * (2 - self.axes)
        self._kernel = row + per_axis("kernel", kernel, self.axes, 1)
        self._stride = self._kernel if stride is None else row + per_axis("stride", stride, self.axes, 1)
        self._padding = (0,) * (2 - self.axes) + per_axis("padding", padding, self.axes, 0)
        self._dilation = row + per_axis("dilation", dilation, self.axes, 1)
        self._reach = tuple(d * (k - 1) + 1 for d, k in zip(self._dilation, self._kernel, strict=True))
        if any(2 * p > r for p, r in zip(self._padding, self._reach, strict=True)):
            raise SettingError(f"padding must be at most half of the window, came {padding} for a kernel of {kernel}")

    def at_most(self, *shapes: Shape) -> Shape | None:
        return (*shapes[0][:2], *(size + 1 for size in shapes[0][2:]))

    def _require_fit(self, x: Tensor) -> None:
        if x.dim() != self.axes + 2:
            raise ShapeError(f"expected (n, c, {', '.join('dhw'[-self.axes :])}), came {tuple(x.shape)}")
        reach, paddings = self._reach[-self.axes :], self._padding[-self.axes :]
        for size, window, padding in zip(x.shape[2:], reach, paddings, strict=True):
            if size < 1 or size + 2 * padding < window:
                raise ShapeError(f"the window of {self.kernel} does not fit into {tuple(x.shape)}")

    def _with_row(self, x: Tensor) -> Tensor:
        return x if self.axes > 1 else x.unsqueeze(2)

    def _without_row(self, x: Tensor) -> Tensor:
        return x if self.axes > 1 else x.squeeze(2)
