"""Blocks that give places: of what is not 0, of the best boxes, of maxima; how many can follow from the numbers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks.convolution import Sizes, untouched
from blockprop.engine.block import Block
from blockprop.errors import GraphError, SettingError, ShapeError


class NonZero(Block):
    """The places of the elements other than 0, row by row:  y[:, k] is the k-th of them.

    d_x = None: y is of places, and changes in steps

    x: any shape with at least one axis   y: (axes, count) of int64, where count follows from the numbers in x
    """

    kind = "other"

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.is_meta:  # as many as there can be
            return x.new_empty(x.dim(), x.numel(), dtype=torch.int64), None
        return x.nonzero().t().contiguous(), None

    def propagate(self, saved: Any, d_y: Tensor | None) -> tuple[None]:
        return (None,)


class NonMaxSuppression(Block):
    """The best boxes of each class: one after the other, without those that overlap a better one too much.

    Forward only, no d_x: y is of numbers of boxes, and asked for a derivative, the block says so.

    boxes: (n, boxes, 4), corners y, x, y, x in any order, or with centered the middle x, y and width, height
    scores: (n, classes, boxes)   y: (selected, 3) of int64: picture, class, box; by picture and class, the best first
    most: boxes for each picture and class   overlap: intersection over union from above which the worse box goes
    least: the score that a box must exceed, or None
    Raises ShapeError for other shapes, SettingError for an overlap outside 0…1 or a negative number of boxes.
    Source: ONNX, operator NonMaxSuppression.
    """

    kind = "other"

    def __init__(self, most: int = 0, overlap: float = 0.0, least: float | None = None, centered: bool = False):
        if most < 0 or not 0 <= overlap <= 1:
            raise SettingError(f"expected a number of boxes and an overlap in 0…1, came {most} and {overlap}")
        self.most, self.overlap, self.least, self.centered = most, overlap, least, centered

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Any]:
        fits = boxes.dim() == scores.dim() == 3 and boxes.shape[2] == 4
        if not fits or (boxes.shape[0], boxes.shape[1]) != (scores.shape[0], scores.shape[2]):
            raise ShapeError(
                f"expected (n, boxes, 4) and (n, classes, boxes), came {tuple(boxes.shape)} and {tuple(scores.shape)}"
            )
        n, classes, count = scores.shape
        if boxes.is_meta:
            return scores.new_empty(n * classes * min(self.most, count), 3, dtype=torch.int64), None
        low, high = self._corners(boxes)
        rows = [
            (picture, kind, box)
            for picture in range(n)
            for kind in range(classes)
            for box in self._selected(low[picture], high[picture], scores[picture, kind])
        ]
        return torch.tensor(rows, dtype=torch.int64, device=boxes.device).reshape(-1, 3), None

    def propagate(self, saved: Any, d_y: Tensor | None) -> tuple[None, None]:
        if d_y is not None:
            raise GraphError(
                "NonMaxSuppression is forward only: it gives numbers of boxes, which have no derivative; go back from "
                "the boxes or scores that it takes"
            )
        return None, None

    def _corners(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        if self.centered:
            middle, half = boxes[..., :2], boxes[..., 2:] / 2
            return middle - half, middle + half
        return boxes[..., :2].minimum(boxes[..., 2:]), boxes[..., :2].maximum(boxes[..., 2:])

    def _selected(self, low: Tensor, high: Tensor, scores: Tensor) -> list[int]:
        order = scores.argsort(descending=True, stable=True)
        if self.least is not None:
            order = order[scores[order] > self.least]
        areas = (high - low).prod(1)
        selected: list[int] = []
        while len(order) and len(selected) < self.most:
            best, order = order[0], order[1:]
            selected.append(int(best))
            common = (high[order].minimum(high[best]) - low[order].maximum(low[best])).clamp_(min=0).prod(1)
            order = order[~(common / (areas[order] + areas[best] - common) > self.overlap)]
        return selected


class MaxPlaces(Block):
    """Where the maximum of each window stands, of all elements of x counted from 0:  the places of MaxPool's maxima.

    d_x = None: y is of places, and changes in steps

    x: (n, channels, ...) with one, two or three axes of places   y: (n, channels, ...) of int64, sizes as in MaxPool2d
    by_columns: places of a channel are counted along the columns, the first axis of places the fastest
    Settings and errors as in MaxPool2d.
    """

    kind = "pooling"

    def __init__(
        self,
        kernel: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        by_columns: bool = False,
    ):
        self.kernel, self.padding, self.dilation = map(untouched, (kernel, padding, dilation))
        self.stride = self.kernel if stride is None else untouched(stride)
        self.ceil_mode, self.by_columns = ceil_mode, by_columns

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if not 3 <= x.dim() <= 5:
            raise ShapeError(f"expected (n, channels, ...) with one to three axes of places, came {tuple(x.shape)}")
        windows = self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode
        places = _POOL[x.dim()](x, *windows, return_indices=True)[1]
        sizes = x.shape[2:]
        if self.by_columns:
            along = torch.unravel_index(places, sizes)
            places, step = torch.zeros_like(places), 1
            for axis, size in zip(along, sizes, strict=True):
                places, step = places + axis * step, step * size
        planes = torch.arange(x.shape[0] * x.shape[1], device=x.device).view(*x.shape[:2], *[1] * len(sizes))
        return places + planes * sizes.numel(), None

    def propagate(self, saved: Any, d_y: Tensor | None) -> tuple[None]:
        return (None,)


_POOL: dict[int, Any] = {3: F.max_pool1d, 4: F.max_pool2d, 5: F.max_pool3d}
