"""Elements taken from places that another input names, or put there; as in ONNX and in torch's gather and scatter.

Numbers of places are integers of any type; negative ones count from the end. On the CPU a number outside the axis
raises ShapeError; elsewhere a look at the numbers would cost more than it is worth, or there are none (device "meta").
"""

import math
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.reshaping import axis_of
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

REDUCTIONS = ("none", "add")


class Gather(Block):
    """Slices of one axis by their numbers:  y = x[..., index, ...], with the axes of index in place of that axis.

    d_x[..., i, ...] = sum of d_y where index = i     nothing propagates to index

    x: any shape that has the axis   index: integers, any shape   y: (*before the axis, *index, *after the axis)
    Raises ShapeError if x lacks the axis, index is not of integers or has some outside it. ONNX's Gather.
    """

    kind = "reshaping"

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, x: Tensor, index: Tensor) -> tuple[Tensor, Any]:
        axis = axis_of(self.axis, x)
        places = _from_start(index, x.shape[axis]).flatten()
        y = x.index_select(axis, places)
        return y.view(x.shape[:axis] + index.shape + x.shape[axis + 1 :]), (x.shape, places)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, None]:
        shape, places = saved
        axis = self.axis % len(shape)
        d_slices = d_y.reshape(*shape[:axis], len(places), *shape[axis + 1 :])
        return d_y.new_zeros(shape).index_add_(axis, places, d_slices), None


class GatherElements(Block):
    """Elements of one axis by their numbers:  y[.., j, ..] = x[.., index[.., j, ..], ..].

    d_x[.., i, ..] = sum of d_y[.., j, ..] where index[.., j, ..] = i     nothing propagates to index

    x: any shape that has the axis   index, y: as many axes, of which none but the gathered one may be longer than x's
    Raises ShapeError if they are, or index is not of integers or has some outside the axis. torch.gather.
    """

    kind = "reshaping"

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, x: Tensor, index: Tensor) -> tuple[Tensor, Any]:
        places = _element_places(x, self.axis, index)
        return x.gather(self.axis, places), (x.shape, places)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, None]:
        shape, places = saved
        return d_y.new_zeros(shape).scatter_add_(self.axis, places, d_y), None


class ScatterElements(Block):
    """Elements of one axis replaced by their numbers:  y = x, but y[.., index[.., j, ..], ..] = updates[.., j, ..].

    d_x = d_y, with 0 where it was replaced     d_updates[.., j, ..] = d_y[.., index[.., j, ..], ..]
    With reduction "add" the updates are added to x, and d_x = d_y.     Nothing propagates to index.

    x: any shape that has the axis   index, updates: one shape, of which no axis but that one may be longer than x's
    With reduction "none" no place may be named twice: which update stays there is not defined.
    Raises ShapeError if the shapes do not fit, or index is not of integers or has some outside the axis; SettingError
    for another reduction. ONNX's ScatterElements, torch.scatter.
    """

    kind = "reshaping"

    def __init__(self, axis: int, reduction: str = "none"):
        self.axis, self.reduction = axis, _checked_reduction(reduction)

    def forward(self, x: Tensor, index: Tensor, updates: Tensor) -> tuple[Tensor, Any]:
        places = _element_places(x, self.axis, index)
        if updates.shape != index.shape:
            raise ShapeError(f"expected updates of {tuple(index.shape)} as index, came {tuple(updates.shape)}")
        if self.reduction == "add":
            return x.scatter_add(self.axis, places, updates), places
        return x.scatter(self.axis, places, updates), places

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, None, Tensor]:
        d_x = d_y if self.reduction == "add" else d_y.scatter(self.axis, saved, 0)
        return d_x, None, d_y.gather(self.axis, saved)


class GatherND(Block):
    """Slices by the numbers of several axes:  y[j] = x[index[j, 0], …, index[j, k − 1]].

    d_x[i] = sum of d_y[j] where index[j] = i     nothing propagates to index

    x: (*batch, *sizes of k axes, *slice)   index: (*batch, *any, k)   y: (*batch, *any, *slice)
    batch_axes: how many axes of x and index are one and the same batch
    Raises ShapeError if the shapes do not fit, or index is not of integers or has some outside its axis; SettingError
    for negative batch_axes. ONNX's GatherND.
    """

    kind = "reshaping"

    def __init__(self, batch_axes: int = 0):
        if batch_axes < 0:
            raise SettingError(f"batch_axes must be at least 0, came {batch_axes}")
        self.batch_axes = batch_axes

    def forward(self, x: Tensor, index: Tensor) -> tuple[Tensor, Any]:
        places, rows, rest = _row_places(x, index, self.batch_axes)
        y = x.reshape(rows, math.prod(rest)).index_select(0, places)
        return y.view(index.shape[:-1] + rest), (x.shape, rows, rest, places)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, None]:
        shape, rows, rest, places = saved
        width = math.prod(rest)
        d_x = d_y.new_zeros(rows, width).index_add_(0, places, d_y.reshape(len(places), width))
        return d_x.view(shape), None


class ScatterND(Block):
    """Slices replaced by the numbers of several axes:  y = x, but y[index[j, 0], …, index[j, k − 1]] = updates[j].

    d_x = d_y, with 0 where it was replaced     d_updates[j] = d_y[index[j, 0], …, index[j, k − 1]]
    With reduction "add" the updates are added to x, and d_x = d_y.     Nothing propagates to index.

    x: (*sizes of k axes, *slice)   index: (*any, k)   updates: (*any, *slice)
    With reduction "none" no place may be named twice: which update stays there is not defined.
    Raises ShapeError if the shapes do not fit, or index is not of integers or has some outside its axis; SettingError
    for another reduction. ONNX's ScatterND, torch's index_put.
    """

    kind = "reshaping"

    def __init__(self, reduction: str = "none"):
        self.reduction = _checked_reduction(reduction)

    def forward(self, x: Tensor, index: Tensor, updates: Tensor) -> tuple[Tensor, Any]:
        places, rows, rest = _row_places(x, index)
        if updates.shape != index.shape[:-1] + rest:
            raise ShapeError(f"expected updates of {tuple(index.shape[:-1] + rest)}, came {tuple(updates.shape)}")
        table = x.reshape(rows, math.prod(rest))
        new = updates.reshape(len(places), math.prod(rest))
        y = table.index_add(0, places, new) if self.reduction == "add" else table.index_copy(0, places, new)
        return y.view(x.shape), (table.shape, places, updates.shape)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor, None, Tensor]:
        table, places, shape = saved
        d_table = d_y.reshape(table)
        d_x = d_y if self.reduction == "add" else d_table.index_fill(0, places, 0).view(d_y.shape)
        return d_x, None, d_table.index_select(0, places).view(shape)


class Select(Block):
    """One slice of an axis, which is left out of y:  y = x[..., index, ...].

    d_x = d_y at that slice, 0 elsewhere

    index: negative numbers count from the end   Raises ShapeError if x lacks the axis or the slice.
    """

    kind = "reshaping"

    def __init__(self, axis: int, index: int):
        self.axis, self.index = axis, index

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        size = x.shape[axis_of(self.axis, x)]
        if not -size <= self.index < size:
            raise ShapeError(f"expected an element {self.index} along axis {self.axis}, came {tuple(x.shape)}")
        return x.select(self.axis, self.index), x.shape

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        d_x = d_y.new_zeros(saved)
        d_x.select(self.axis, self.index).copy_(d_y)
        return (d_x,)


def _checked_reduction(reduction: str) -> str:
    if reduction not in REDUCTIONS:
        raise SettingError(f"reduction must be one of {', '.join(REDUCTIONS)}, came {reduction!r}")
    return reduction


def _from_start(index: Tensor, size: int) -> Tensor:
    """The numbers as int64, counted from the start of an axis of this size."""
    if index.is_floating_point() or index.dtype == torch.bool:
        raise ShapeError(f"expected an index of integers, came {index.dtype}")
    index = index.long()
    if index.device.type == "cpu" and index.numel():
        low, high = (int(number) for number in index.aminmax())
        if not -size <= low <= high < size:
            raise ShapeError(f"expected an index within {-size}…{size - 1}, came {low}…{high}")
        if low >= 0:
            return index
    return torch.where(index < 0, index + size, index)


def _element_places(x: Tensor, axis: int, index: Tensor) -> Tensor:
    axis = axis_of(axis, x)
    fits = index.dim() == x.dim() and all(
        count <= size for i, (count, size) in enumerate(zip(index.shape, x.shape, strict=True)) if i != axis
    )
    if not fits:
        raise ShapeError(f"expected an index that fits {tuple(x.shape)} but for axis {axis}, came {tuple(index.shape)}")
    return _from_start(index, x.shape[axis])


def _row_places(x: Tensor, index: Tensor, batch_axes: int = 0) -> tuple[Tensor, int, torch.Size]:
    """(the number of each named slice among all slices of x, how many slices x has, the shape of a slice)"""
    k = index.shape[-1] if index.dim() else 0
    if index.dim() <= batch_axes or x.dim() < batch_axes + k or x.shape[:batch_axes] != index.shape[:batch_axes]:
        raise ShapeError(
            f"expected (*batch, *any, k) for x of (*batch, *k axes, *slice) with {batch_axes} batch axes, "
            f"came {tuple(index.shape)} for {tuple(x.shape)}"
        )
    batch, sizes = x.shape[:batch_axes], x.shape[batch_axes : batch_axes + k]
    offsets = torch.arange(math.prod(batch), device=x.device).view(*batch, *[1] * (index.dim() - 1 - batch_axes))
    numbers = offsets.expand(index.shape[:-1])
    for coordinate, size in zip(index.unbind(-1), sizes, strict=True):
        numbers = numbers * size + _from_start(coordinate, size)
    return numbers.flatten(), math.prod(batch) * math.prod(sizes), x.shape[batch_axes + k :]
