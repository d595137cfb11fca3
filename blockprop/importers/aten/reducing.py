"""Handlers of operators that sum, average, choose along axes, and of those that make numbers."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.elementwise import cast, larger_or_smaller
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, axes_of, axis_from_start, number
from blockprop.importers.graph import Flow, Known, Value
from blockprop.importers.symbols import AxisSize, Symbol, larger


@aten("sum", "mean", "prod", "amax", "amin", "logsumexp", "nansum")
def reduction(call: Call, self: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    kinds: dict[str, Any] = {
        "sum": blocks.Sum,
        "mean": blocks.Mean,
        "prod": blocks.Product,
        "amax": functools.partial(blocks.MaxOver, ties="shared"),
        "amin": functools.partial(blocks.MinOver, ties="shared"),
        "logsumexp": blocks.LogSumExp,
    }
    name = call.operator.split(".")[1]
    if name not in kinds:
        raise UnsupportedError("sums that leave out NaN")
    if self.axes == 0:
        return cast(call, self, dtype)
    if name == "mean" and not keepdim and self.axes > 2 and axes_of(dim, self.axes) == tuple(range(2, self.axes)):
        return call.add(blocks.GlobalAvgPool(), cast(call, self, dtype))
    return call.add(kinds[name](axes_of(dim, self.axes), keepdim), cast(call, self, dtype))


@aten("max", "min")
def extreme_over(call: Call, self: Value, dim: Any = None, keepdim: bool = False, other: Value | None = None) -> Any:
    larger = call.operator.startswith("aten.max")
    if other is not None:
        return larger_or_smaller(call, self, other, larger, "shared")
    axes = axes_of(dim, self.axes)
    kind, ties = blocks.MaxOver if larger else blocks.MinOver, "shared" if dim is None else "first"
    y = call.add(kind(axes, keepdim, ties), self)
    if dim is None:
        return y
    return y, call.add((blocks.ArgMax if larger else blocks.ArgMin)(axes[0], keepdim), self, part="index")


@aten("argmax", "argmin")
def argmax(call: Call, self: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    if dim is None:
        self, dim = call.add(blocks.Flatten(0), self, part="flat"), 0
    kind = blocks.ArgMax if "max" in call.operator else blocks.ArgMin
    return call.add(kind(axis_from_start(dim, self.axes), keepdim), self)


@aten("var", "std", "var_mean", "std_mean")
def variance(
    call: Call, self: Value, dim: Any = None, correction: Any = None, unbiased: bool = True, keepdim: bool = False
) -> Any:
    name, axes = call.operator.split(".")[1], axes_of(dim, self.axes)
    if correction is None:
        correction = 1 if unbiased else 0
    kind = blocks.StandardDeviation if name.startswith("std") else blocks.Variance
    y = call.add(kind(axes, correction, keepdim), self)
    return (y, call.add(blocks.Mean(axes, keepdim), self, part="mean")) if name.endswith("mean") else y


@aten("norm", "linalg_vector_norm")
def norm(
    call: Call, self: Value, p: Any = 2, ord: Any = None, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Value:
    order = ord if ord is not None else p
    if order not in (1, 2):  # None is 2 for torch.norm alone, whose p has that default
        raise UnsupportedError(f"a norm of order {order}")
    return call.add(blocks.Norm(axes_of(dim, self.axes), keepdim, int(order)), cast(call, self, dtype))


@aten("cumsum")
def cumsum(call: Call, self: Value, dim: int, dtype: Any = None) -> Value:
    return call.add(blocks.CumSum(dim), cast(call, self, dtype))


@aten("topk")
def topk(call: Call, self: Value, k: AxisSize, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    if isinstance(k, int):
        return call.add(blocks.TopK(k, dim, largest, sorted), self)
    pair = call.add(blocks.Sort(dim, descending=largest), self, part="sorted")
    (stop,), others = call.graph.formulas([k], pair[0])
    parts = [call.add(blocks.Slice(axis_from_start(dim, self.axes), 0, stop), y, *others) for y in pair]
    return tuple(parts)


@aten("sort")
def sort(call: Call, self: Value, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    return call.add(blocks.Sort(dim, descending), self)


@aten("one_hot")
def one_hot(call: Call, self: Value, num_classes: int = -1) -> Value:
    if num_classes < 0:
        raise UnsupportedError("one_hot without a number of classes")
    return call.add(blocks.Cast("int64"), call.add(blocks.OneHot(num_classes), self, part="float"))


def filled(call: Call, shape: Sequence[AxisSize], value: Any, dtype: torch.dtype | None) -> Value:
    """A tensor with one number everywhere: a constant, or made anew where a size is free or the number is computed."""
    if isinstance(value, Known):
        value = value.tensor.item()
    if isinstance(value, Flow):
        number = cast(call, value, dtype or value.dtype)
        return call.add(blocks.Add(), filled(call, shape, 0, number.dtype), number)
    dtype = dtype or torch.get_default_dtype()
    if not any(isinstance(size, Symbol) for size in shape):
        return Known(torch.full(tuple(shape), value, dtype=dtype))  # type: ignore[arg-type]
    sizes, others = call.graph.formulas(shape)
    flow = call.add(blocks.Filled(sizes, value, name_of(dtype)), *others, part="filled")
    return Flow(flow.key, flow.trials, filled=value)


@aten("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty")
def make(
    call: Call, size: Sequence[AxisSize], fill_value: Any = 0, dtype: Any = None, self: Value | None = None, **_: Any
) -> Value:
    value = 1 if "ones" in call.operator else fill_value
    like = None
    if self is not None:
        like = self.dtype
    elif "full" in call.operator and isinstance(value, int):
        like = torch.bool if isinstance(value, bool) else torch.int64
    return filled(call, size, value, dtype or like)


@aten("zeros_like", "ones_like", "full_like", "empty_like", "fill", "zero")
def make_like(call: Call, self: Value, fill_value: Any = 0, value: Any = None, dtype: Any = None, **_: Any) -> Value:
    number = 1 if "ones" in call.operator else fill_value if value is None else value
    return filled(call, self.shape, number, dtype or self.dtype)


@aten("arange")
def arange(call: Call, end: Any, start: Any = 0, step: Any = 1, dtype: Any = None, **_: Any) -> Value:
    sizes = (start, end, step)
    if any(isinstance(size, float) and not size.is_integer() for size in sizes):
        return Known(torch.arange(start, end, step, dtype=dtype))
    if dtype is None:
        dtype = torch.get_default_dtype() if any(isinstance(size, float) for size in sizes) else torch.int64
    if not any(isinstance(size, Symbol) for size in sizes):
        return Known(torch.arange(start, end, step, dtype=dtype))
    formulas, others = call.graph.formulas([int(s) if isinstance(s, float) else s for s in sizes])
    first, last, width = formulas
    return call.add(blocks.Range(first, last, width, name_of(dtype)), *others)


@aten("scalar_tensor")
def scalar_tensor(call: Call, s: Any, dtype: Any = None, **_: Any) -> Value:
    if isinstance(s, Flow):
        return cast(call, s, dtype)
    return Known(torch.tensor(s, dtype=dtype))


@aten("rand", "randn", "randint", "rand_like", "randn_like", "bernoulli", "normal", "multinomial", "randperm")
def random(call: Call, **_: Any) -> Value:
    raise UnsupportedError("random numbers have no block; import the model in evaluation mode")


@aten("eye")
def eye(call: Call, n: Any, m: Any = None, dtype: Any = None, **_: Any) -> Value:
    row = arange(call, n)
    column = row if m is None or m == n else arange(call, m)
    column = call.add(blocks.Unsqueeze((0,)), column, part="columns")
    same = call.add(blocks.Compare("equal"), call.add(blocks.Unsqueeze((1,)), row, part="rows"), column, part="same")
    return cast(call, same, dtype or torch.get_default_dtype())


@aten("linspace")
def linspace(call: Call, start: Any, end: Any, steps: Any, dtype: Any = None, **_: Any) -> Value:
    first, last = number(start), number(end)
    if first is None or last is None or not isinstance(steps, Symbol):
        raise UnsupportedError("ends or a number of steps that are computed")
    dtype = dtype or torch.get_default_dtype()
    gaps = larger(steps - 1, 1)
    (count, low, high), others = call.graph.formulas([steps, gaps, gaps + 1])
    row = call.add(blocks.Range(0, count, 1, name_of(dtype)), *others, part="row")
    divisor = call.add(blocks.Range(low, high, 1, name_of(dtype)), *others, part="gaps")
    share = call.add(blocks.Div(), row, divisor, part="share")
    return call.add(blocks.Affine(float(last - first), float(first)), share)


@aten("item")
def item(call: Call, self: Value) -> Value:
    return call.add(blocks.Detach(), self)


@aten("sym_size", "size")
def size(call: Call, self: Value, dim: int | None = None) -> Any:
    return self.shape if dim is None else self.shape[dim]


@aten("sym_numel", "numel")
def count(call: Call, self: Value) -> AxisSize:
    return math.prod(self.shape)
