"""Handlers of operators that move, cut, repeat and join elements."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.importers.aten.elementwise import cast, constant
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, axes_of, axis_from_start, number
from blockprop.importers.graph import Flow, Value
from blockprop.importers.symbols import Size, Symbol

END = 2**63 - 1
"""How torch writes "to the end" of an axis."""

# Shapes ---------------------------------------------------------------------------------------------------------------


def reshape_to(call: Call, x: Value, wanted: Sequence[Size], part: str = "") -> Value:
    """A Reshape node: on what follows the batch axis, where that stays as it is."""
    own = x.shape
    sizes, others = call.sizes(wanted, x)
    if len(own) > 1 and len(sizes) > 1 and (sizes[0] == "a0" or sizes[0] == own[0]) and _one_unknown(sizes[1:]):
        rest = sizes[1:] if others else _with_rest(sizes[1:])
        if not any(isinstance(size, str) for size in rest):
            others = ()
        return call.add(blocks.Reshape(rest), x, *others, part=part)
    return call.add(blocks.Reshape(sizes, start_axis=0), x, *others, part=part)


def _one_unknown(sizes: Sequence[int | str]) -> bool:
    return sum(size == -1 for size in sizes) <= 1


def _with_rest(sizes: Sequence[int | str]) -> tuple[int | str, ...]:
    """−1 instead of the only formula: the same, and easier to read."""
    formulas = [i for i, size in enumerate(sizes) if isinstance(size, str)]
    if len(formulas) == 1 and -1 not in sizes and 0 not in sizes:
        return (*sizes[: formulas[0]], -1, *sizes[formulas[0] + 1 :])
    return tuple(sizes)


@aten("view", "reshape", "_unsafe_view", "_reshape_alias")
def reshape(
    call: Call, self: Value, size: Any = None, shape: Any = None, dtype: Any = None, stride: Any = None
) -> Value:
    if dtype is not None:
        raise call.refuse("a view of the bits as another type of number")
    return reshape_to(call, self, size if shape is None else shape)


@aten("view_as", "reshape_as")
def reshape_as(call: Call, self: Value, other: Value) -> Value:
    return reshape_to(call, self, other.shape)


@aten("flatten")
def flatten(call: Call, self: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    axes = self.axes
    if axes == 0:
        return call.add(blocks.Reshape((1,), start_axis=0), self)
    start, end = axis_from_start(start_dim, axes), axis_from_start(end_dim, axes)
    if end == axes - 1:
        return call.add(blocks.Flatten(start), self)
    own = self.shape
    return reshape_to(call, self, (*own[:start], math.prod(own[start : end + 1]), *own[end + 1 :]))


@aten("unflatten")
def unflatten(call: Call, self: Value, dim: int, sizes: Sequence[Size]) -> Value:
    own, axis = self.shape, axis_from_start(dim, self.axes)
    if -1 in sizes and any(isinstance(size, Symbol) for size in (*own[:axis], *own[axis + 1 :])):
        known = math.prod(size for size in sizes if size != -1)
        sizes = [own[axis] // known if size == -1 else size for size in sizes]
    return reshape_to(call, self, (*own[:axis], *sizes, *own[axis + 1 :]))


@aten("squeeze")
def squeeze(call: Call, self: Value, dim: Any = None) -> Value:
    own = self.shape
    axes = tuple(axis for axis in axes_of(dim, self.axes) if own[axis] == 1)
    return call.add(blocks.Squeeze(axes), self) if axes else self


@aten("unsqueeze")
def unsqueeze(call: Call, self: Value, dim: int) -> Value:
    return call.add(blocks.Unsqueeze((axis_from_start(dim, self.axes + 1),)), self)


@aten("transpose", "swapaxes", "swapdims")
def transpose(call: Call, self: Value, **axes: int) -> Value:
    a, b = (axis_from_start(axis, self.axes) for axis in axes.values())
    order = list(range(self.axes))
    order[a], order[b] = b, a
    return permute(call, self, order)


@aten("t", "numpy_T", "mT", "adjoint")
def turn(call: Call, self: Value) -> Value:
    last_two = [*range(self.axes - 2), self.axes - 1, self.axes - 2] if self.axes > 1 else [0]
    return permute(call, self, last_two if "numpy" not in call.operator else list(range(self.axes))[::-1])


@aten("permute")
def permute(call: Call, self: Value, dims: Sequence[int]) -> Value:
    order = tuple(axis_from_start(axis, self.axes) for axis in dims)
    return self if order == tuple(range(self.axes)) else call.add(blocks.Transpose(order), self)


@aten("movedim", "moveaxis")
def movedim(call: Call, self: Value, source: Any, destination: Any) -> Value:
    sources, places = axes_of(source, self.axes), axes_of(destination, self.axes)
    order = [axis for axis in range(self.axes) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute(call, self, order)


@aten("expand", "expand_as", "broadcast_to")
def expand(call: Call, self: Value, size: Any = None, implicit: bool = False, other: Value | None = None) -> Value:
    wanted = other.shape if other is not None else size
    front = len(wanted) - self.axes
    own = self.shape
    if all(size == -1 or (i >= front and (size == own[i - front])) for i, size in enumerate(wanted)):
        return self
    # The operand's own axes are no help here: what is repeated takes its size from elsewhere.
    sizes, others = call.graph.sizes(wanted, self) if front == 0 else call.graph.formulas(wanted, self)
    return call.add(blocks.Expand(sizes), self, *others)


@aten("repeat", "tile")
def repeat(call: Call, self: Value, repeats: Any = None, dims: Any = None) -> Value:
    counts = list(repeats if repeats is not None else dims)
    counts = [1] * (self.axes - len(counts)) + counts
    if any(isinstance(count, Symbol) for count in counts):
        if self.axes == len(counts) and all(s == 1 for s, c in zip(self.shape, counts, strict=True) if c != 1):
            return expand(call, self, [-1 if count == 1 else count for count in counts])
        if all(isinstance(count, int) and count == 1 for count in counts[len(counts) - self.axes :]):
            return expand(call, self, [*counts[: len(counts) - self.axes], *self.shape])
        raise call.refuse("a free number of repetitions")
    return call.add(blocks.Repeat(tuple(counts)), self)


@aten("repeat_interleave")
def repeat_interleave(call: Call, self: Value, repeats: Any, dim: int | None = None, output_size: Any = None) -> Value:
    if not isinstance(repeats, int):
        raise call.refuse("repetitions that differ from element to element")
    if dim is None:
        self, dim = call.add(blocks.Flatten(0), self, part="flat"), 0
    return call.add(blocks.RepeatInterleave(repeats, dim), self)


# Joining and parting --------------------------------------------------------------------------------------------------


@aten("cat", "concat", "concatenate")
def cat(call: Call, tensors: Sequence[Value], dim: int = 0) -> Value:
    parts = [x for x in tensors if not (x.axes == 1 and x.shape == (0,))]
    return parts[0] if len(parts) == 1 else call.add(blocks.Concat(dim), *parts)


@aten("stack")
def stack(call: Call, tensors: Sequence[Value], dim: int = 0) -> Value:
    axis = axis_from_start(dim, tensors[0].axes + 1)
    parts = [call.add(blocks.Unsqueeze((axis,)), x, part="part") for x in tensors]
    return call.add(blocks.Concat(axis), *parts)


@aten("split", "split_with_sizes", "chunk", "tensor_split")
def split(
    call: Call,
    self: Value,
    split_size: Any = None,
    split_sizes: Any = None,
    chunks: Any = None,
    dim: int = 0,
    **more: Any,
) -> Any:
    axis = axis_from_start(dim, self.axes)
    whole = self.shape[axis]
    if more:
        raise call.refuse("splitting at given places")
    sizes = split_sizes if split_sizes is not None else split_size
    if isinstance(sizes, list | tuple):
        parts = list(sizes)
    elif not isinstance(whole, int):
        raise call.refuse("splitting a free axis into equal parts")
    else:
        step = sizes if sizes is not None else -(-whole // chunks)
        parts = [min(step, whole - start) for start in range(0, whole, step)] if step else [whole]
    if any(isinstance(size, Symbol) for size in parts):
        return tuple(_slices(call, self, axis, parts))
    found = call.add(blocks.Split(tuple(parts), axis), self)
    return found if len(parts) > 1 else (found,)


def _slices(call: Call, x: Value, axis: int, parts: Sequence[Size]) -> list[Value]:
    found, start = [], 0
    for i, size in enumerate(parts):
        found.append(slice_of(call, x, axis, start, start + size, part=f"part{i}"))
        start = start + size
    return found


@aten("unbind")
def unbind(call: Call, self: Value, dim: int = 0) -> Any:
    count = self.shape[dim]
    if not isinstance(count, int):
        raise call.refuse("taking a free axis apart")
    return tuple(call.add(blocks.Select(dim, i), self, part=f"part{i}") for i in range(count))


@aten("select")
def select(call: Call, self: Value, dim: int, index: Any) -> Value:
    if isinstance(index, Symbol):
        wide = slice_of(call, self, axis_from_start(dim, self.axes), index, index + 1, part="slice")
        return call.add(blocks.Squeeze((axis_from_start(dim, self.axes),)), wide)
    return call.add(blocks.Select(dim, index), self)


@aten("slice", "narrow")
def slice_(
    call: Call, self: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1, length: Any = None
) -> Value:
    return slice_of(
        call, self, axis_from_start(dim, self.axes), start or 0, start + length if length is not None else end, step
    )


def slice_of(call: Call, x: Value, axis: int, start: Size, stop: Size | None, step: int = 1, part: str = "") -> Value:
    """A Slice node, or x itself if nothing is cut off."""
    whole = x.shape[axis]
    if stop is not None and (stop == whole or (isinstance(stop, int) and stop >= END)):
        stop = None
    if isinstance(stop, int) and isinstance(whole, int) and stop >= whole:
        stop = None
    if isinstance(start, int) and start == 0 and stop is None and step == 1:
        return x
    # Python's own rules for what lies beyond the end hold for the block, too.
    (first, last), others = call.graph.formulas([start, 0 if stop is None else stop], x)
    return call.add(blocks.Slice(axis, first, None if stop is None else last, step), x, *others, part=part)


@aten("index_select")
def index_select(call: Call, self: Value, dim: int, index: Value) -> Value:
    return call.add(blocks.Gather(axis_from_start(dim, self.axes)), self, index)


@aten("index")
def index(call: Call, self: Value, indices: Sequence[Value | None]) -> Value:
    used = [axis for axis, each in enumerate(indices) if each is not None]
    if any(indices[axis].dtype in (torch.bool, torch.uint8) for axis in used):  # type: ignore[union-attr]
        raise call.refuse("choosing elements by a mask gives as many as there happen to be")
    if len(used) == 1:
        return call.add(blocks.Gather(used[0]), self, indices[used[0]])  # type: ignore[arg-type]
    if used != list(range(used[0], used[-1] + 1)):
        raise call.refuse("indices for axes that are not neighbors")
    # x[i, j] is the flattened pair of axes at i · size_j + j.
    own = self.shape
    x = reshape_to(
        call, self, (*own[: used[0]], math.prod(own[axis] for axis in used), *own[used[-1] + 1 :]), part="flat"
    )
    if any(isinstance(own[axis], Symbol) for axis in used[1:]):
        raise call.refuse("several indices into free axes")
    place: Value = indices[used[0]]  # type: ignore[assignment]
    for axis in used[1:]:
        wide = call.add(blocks.Affine(own[axis]), place, part="row")
        place = call.add(blocks.Add(), wide, indices[axis], part="place")  # type: ignore[arg-type]
    return call.add(blocks.Gather(used[0]), x, place)


@aten("gather")
def gather(call: Call, self: Value, dim: int, index: Value, sparse_grad: bool = False) -> Value:
    return call.add(blocks.GatherElements(axis_from_start(dim, self.axes)), self, index)


@aten("scatter", "scatter_add")
def scatter(
    call: Call, self: Value, dim: int, index: Value, src: Any = None, value: Any = None, reduce: Any = None
) -> Value:
    source = src if src is not None else value
    if number(source) is not None or reduce is not None:
        raise call.refuse("scattering a number, or with a reduction")
    kind = "add" if "add" in call.operator else "none"
    return call.add(blocks.ScatterElements(axis_from_start(dim, self.axes), kind), self, index, source)


@aten("index_put")
def index_put(
    call: Call, self: Value, indices: Sequence[Value | None], values: Value, accumulate: bool = False
) -> Value:
    if len(indices) != 1 or indices[0] is None or indices[0].dtype != torch.bool or accumulate:
        raise call.refuse("writing at places given by numbers")
    filled = number(values)
    if filled is None:
        raise call.refuse("writing several values at the places of a mask")
    return call.add(blocks.Where(), indices[0], constant(filled, self), self)


# Borders, order, triangles --------------------------------------------------------------------------------------------


@aten("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d",
      "replication_pad3d", "reflection_pad3d")  # fmt: skip
def pad(
    call: Call, self: Value, pad: Any = None, padding: Any = None, mode: str = "constant", value: Any = 0.0
) -> Value:
    name = call.operator.split(".")[1]
    if name.startswith("refl"):
        mode = "reflect"
    if name.startswith("repl"):
        mode = "replicate"
    pads = list(pad if pad is not None else padding)
    if all(isinstance(p, int) and p == 0 for p in pads):
        return self
    formulas, others = call.graph.formulas(pads, self)
    return call.add(blocks.Pad(formulas, mode, float(number(value) or 0.0)), self, *others)


@aten("roll")
def roll(call: Call, self: Value, shifts: Any, dims: Any = ()) -> Value:
    if any(isinstance(shift, Symbol) for shift in shifts) or not dims:
        raise call.refuse("rolling by a free number of places, or all axes as one")
    return call.add(blocks.Roll(tuple(shifts), tuple(dims)), self)


@aten("flip")
def flip(call: Call, self: Value, dims: Sequence[int]) -> Value:
    return call.add(blocks.Flip(tuple(dims)), self)


@aten("tril", "triu")
def triangle(call: Call, self: Value, diagonal: int = 0) -> Value:
    return call.add(blocks.Triangle("tril" in call.operator, diagonal), self)


@aten("diagonal")
def diagonal(call: Call, self: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    return call.add(blocks.Diagonal(offset, dim1, dim2), self)


@aten("pixel_shuffle")
def pixel_shuffle(call: Call, self: Value, upscale_factor: int) -> Value:
    return call.add(blocks.PixelShuffle(upscale_factor), self)


@aten("pixel_unshuffle")
def pixel_unshuffle(call: Call, self: Value, downscale_factor: int) -> Value:
    return call.add(blocks.PixelUnshuffle(downscale_factor), self)


@aten("channel_shuffle")
def channel_shuffle(call: Call, self: Value, groups: int) -> Value:
    n, c, *rest = self.shape
    parted = reshape_to(call, self, (n, groups, c // groups, *rest), part="groups")
    order = (0, 2, 1, *range(3, 3 + len(rest)))
    return reshape_to(call, call.add(blocks.Transpose(order), parted, part="transpose"), (n, c, *rest))


@aten("im2col")
def unfold(call: Call, self: Value, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Value:
    return call.add(blocks.Unfold(tuple(kernel_size), tuple(dilation), tuple(padding), tuple(stride)), self)


@aten("col2im")
def fold(
    call: Call, self: Value, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Value:
    if any(isinstance(size, Symbol) for size in output_size):
        raise call.refuse("folding to a free size")
    settings = (tuple(each) for each in (output_size, kernel_size, dilation, padding, stride))
    return call.add(blocks.Fold(*settings), self)


# Types of number, copies ----------------------------------------------------------------------------------------------


@aten("contiguous", "clone", "alias", "lift_fresh_copy", "lift_fresh", "lift", "alias_copy", "positive",
      "resolve_conj", "resolve_neg", "view_as_real_copy")  # fmt: skip
def same(call: Call, self: Value, **_: Any) -> Value:
    return self


@aten("detach", "detach_copy")
def detach(call: Call, self: Value) -> Value:
    return call.add(blocks.Detach(), self) if isinstance(self, Flow) else self


@aten("to", "_to_copy", "type_as")
def to(call: Call, self: Value, dtype: Any = None, other: Value | None = None, **_: Any) -> Value:
    wanted = other.dtype if other is not None else dtype
    if wanted is None or wanted == self.dtype:
        return self
    return call.add(blocks.Cast(name_of(wanted)), self)


@aten("copy")
def copy(call: Call, self: Value, src: Value, non_blocking: bool = False) -> Value:
    return expand(call, cast(call, src, self.dtype), other=self)
