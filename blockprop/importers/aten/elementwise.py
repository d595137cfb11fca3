"""Handlers of operators that work element by element: arithmetic, comparisons, choices."""

from dataclasses import replace
from typing import Any

import torch

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.errors import UnsupportedError
from blockprop.importers.aten.table import aten
from blockprop.importers.calls import Call, is_zero, number
from blockprop.importers.graph import Flow, Known, Value
from blockprop.importers.problems import CHOSEN_BY_VALUES


@aten("add")
def add(call: Call, self: Value, other: Any, alpha: float = 1) -> Value:
    added, constant = number(other), number(self)
    if added is not None:
        return call.add(blocks.Affine(shift=added * alpha), self)
    if constant is not None and alpha == 1:
        return call.add(blocks.Affine(shift=constant), other)
    return call.add(blocks.Add(), self, scaled(call, other, alpha))


@aten("sub", "subtract")
def sub(call: Call, self: Value, other: Any, alpha: float = 1) -> Value:
    taken, constant = number(other), number(self)
    if taken is not None:
        return call.add(blocks.Affine(shift=-taken * alpha), self)
    if constant is not None:
        return call.add(blocks.Affine(-alpha, constant), other)
    return call.add(blocks.Sub(), self, scaled(call, other, alpha))


@aten("rsub")
def rsub(call: Call, self: Value, other: Any, alpha: float = 1) -> Value:
    whole = number(other)
    if whole is not None:
        return call.add(blocks.Affine(-alpha, whole), self)
    return call.add(blocks.Sub(), other, scaled(call, self, alpha))


@aten("mul", "multiply")
def mul(call: Call, self: Value, other: Any) -> Value:
    factor, constant = number(other), number(self)
    for x, mask in ((self, other), (other, self)):
        if isinstance(mask, Flow) and (relu := rectified(call, mask, x, 0)) is not None:
            return relu
    if factor is not None:
        return call.add(blocks.Affine(factor), self)
    if constant is not None:
        return call.add(blocks.Affine(constant), other)
    return call.add(blocks.Mul(), self, other)


@aten("div", "divide", "true_divide", "floor_divide")
def div(call: Call, self: Value, other: Any, rounding_mode: str | None = None) -> Value:
    if call.operator.startswith("aten.floor_divide"):
        rounding_mode = "floor"
    part = "quotient" if rounding_mode else ""
    divisor = number(other)
    if divisor and rounding_mode is None and self.dtype.is_floating_point:
        y = call.add(blocks.Affine(1 / divisor), self, part=part)
    else:
        y = call.add(blocks.Div(), self, other if divisor is None else constant(divisor, self), part=part)
    if rounding_mode is None:
        return y
    rounded = call.add(blocks.Function(rounding_mode), y, part="" if self.dtype.is_floating_point else "rounded")
    return rounded if self.dtype.is_floating_point else call.add(blocks.Cast(name_of(self.dtype)), rounded)


@aten("remainder", "fmod")
def remainder(call: Call, self: Value, other: Any) -> Value:
    truncated = call.operator.startswith("aten.fmod")
    divisor = number(other)
    return call.add(blocks.Remainder(truncated), self, other if divisor is None else constant(divisor, self))


@aten("maximum", "minimum", "fmax", "fmin")
def extreme(call: Call, self: Value, other: Value) -> Value:
    name = call.operator.split(".")[1]
    return larger_or_smaller(call, self, other, "max" in name, "first" if name.startswith("f") else "shared")


def larger_or_smaller(call: Call, a: Value, b: Value, larger: bool, ties: str) -> Value:
    """The larger of two, or the smaller; ReLU where one of them is 0."""
    if larger and is_zero(b) and covers(a, b):
        return call.add(blocks.ReLU(), a)
    if larger and is_zero(a) and covers(b, a):
        return call.add(blocks.ReLU(), b)
    return call.add((blocks.Max if larger else blocks.Min)(ties), a, b)


@aten("addcmul", "addcdiv")
def addc(call: Call, self: Value, tensor1: Value, tensor2: Value, value: float = 1) -> Value:
    kind = blocks.Mul if call.operator.startswith("aten.addcmul") else blocks.Div
    y = call.add(kind(), tensor1, tensor2, part="product")
    return call.add(blocks.Add(), self, scaled(call, y, value))


@aten("lerp")
def lerp(call: Call, self: Value, end: Value, weight: Any) -> Value:
    way = call.add(blocks.Sub(), end, self, part="difference")
    share = number(weight)
    step = scaled(call, way, share) if share is not None else call.add(blocks.Mul(), way, weight, part="step")
    return call.add(blocks.Add(), self, step)


_COMPARED = {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
    "less": "less", "less_equal": "less_equal", "greater": "greater", "greater_equal": "greater_equal",
    "not_equal": "not_equal",
}  # fmt: skip


@aten(*_COMPARED)
def compare(call: Call, self: Value, other: Any) -> Value:
    kind, value = _COMPARED[call.operator.split(".")[1].rstrip("_")], number(other)
    if value is None and is_zero(other) and covers(self, other):
        value = 0
    if value is None:
        return call.add(blocks.Compare(kind), self, other)
    y = call.add(blocks.Compare(kind, value), self)
    return replace(y, sign_of=(self, kind)) if value == 0 and isinstance(self, Flow) else y


_LOGIC = {"and": "and", "or": "or", "xor": "xor", "not": "not"}


@aten(*(f"{kind}_{name}" for kind in ("logical", "bitwise") for name in _LOGIC), "__and__", "__or__", "__xor__")
def logic(call: Call, self: Value, other: Any = None) -> Value:
    name = call.operator.split(".")[1].strip("_").split("_")[-1]
    if "logical" in call.operator:
        self = cast(call, self, torch.bool)
        other = cast(call, other, torch.bool) if isinstance(other, Flow | Known) else other
    if other is not None and not isinstance(other, Flow | Known):
        other = constant(other, self)
    return call.add(blocks.Logic(name), *([self] if other is None else [self, other]))


@aten("where")
def where(call: Call, condition: Value, self: Any = None, other: Any = None) -> Value:
    if self is None:
        raise UnsupportedError(CHOSEN_BY_VALUES)
    if (relu := rectified(call, condition, self, other)) is not None:
        return relu
    a, b = (value if number(value) is None else number(value) for value in (self, other))
    like = next((value for value in (a, b) if isinstance(value, Flow | Known)), condition)
    return call.add(blocks.Where(), condition, constant(a, like), constant(b, like))


@aten("masked_fill")
def masked_fill(call: Call, self: Value, mask: Value, value: Any) -> Value:
    filled = number(value)
    if filled == 0 and (relu := rectified(call, mask, 0, self)) is not None:
        return relu
    return call.add(blocks.Where(), mask, constant(filled, self) if filled is not None else value, self)


@aten("isnan")
def isnan(call: Call, self: Value) -> Value:
    return call.add(blocks.Compare("not_equal"), self, self)


def constant(value: Any, like: Value) -> Value:
    """A number as a constant of the type of `like`; a tensor as it is."""
    if isinstance(value, Flow | Known):
        return value
    floating = isinstance(value, float) and not (like.dtype.is_floating_point or like.dtype.is_complex)
    return Known(torch.tensor(value, dtype=torch.float32 if floating else like.dtype))


def covers(x: Value, other: Value) -> bool:
    """Whether x keeps its shape if the other is broadcast to it."""
    pairs = [[v.trials[i].shape if isinstance(v, Flow) else v.shape for v in (x, other)] for i in range(2)]
    return all(torch.broadcast_shapes(shape, other_shape) == shape for shape, other_shape in pairs)


def rectified(call: Call, condition: Value, inside: Any, outside: Any) -> Value | None:
    """A ReLU, if this is one written out: x where x > 0, else 0."""
    if not isinstance(condition, Flow) or condition.sign_of is None:
        return None
    x, kind = condition.sign_of
    kept, cleared = (inside, outside) if kind in ("greater", "greater_equal") else (outside, inside)
    if kind in ("equal", "not_equal") or kept is not x or not is_zero(cleared):
        return None
    return call.add(blocks.ReLU(), x)


def scaled(call: Call, value: Value, factor: float) -> Value:
    """The value times a number, without a node for 1."""
    return value if factor == 1 else call.add(blocks.Affine(factor), value, part="scaled")


def cast(call: Call, value: Value, dtype: torch.dtype | None) -> Value:
    """The value in another type of number, without a node if it has it."""
    if dtype is None or dtype == value.dtype:
        return value
    y = call.add(blocks.Cast(name_of(dtype)), value, part="cast")
    return replace(y, sign_of=value.sign_of) if isinstance(value, Flow) else y
