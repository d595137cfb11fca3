"""Handlers of operators of two or more tensors, element by element, and of comparisons and logic."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.engine.block import Block
from blockprop.errors import UnsupportedError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import WITHOUT_KERNELS, Input, OnnxCall
from blockprop.importers.onnx_operators.activations import cast_to
from blockprop.importers.onnx_operators.table import operator

# A constant number becomes a setting of the block: fewer nodes, and nothing to train.


@operator("Add", 7, 13, 14)
def add(call: OnnxCall, a: Input, b: Input) -> Any:
    for x, other in ((a, b), (b, a)):
        shift = call.scalar(other, x.axes)
        if shift is not None and not isinstance(x, Known):
            return call.add(blocks.Affine(shift=shift), x)
    return call.add(blocks.Add(), a, b)


@operator("Sub", 7, 13, 14)
def sub(call: OnnxCall, a: Input, b: Input) -> Any:
    left, right = call.scalar(a, b.axes), call.scalar(b, a.axes)
    if right is not None and not isinstance(a, Known):
        return call.add(blocks.Affine(shift=-right), a)
    if left is not None and not isinstance(b, Known):
        return call.add(blocks.Affine(-1, left), b)
    return call.add(blocks.Sub(), a, b)


@operator("Mul", 7, 13, 14)
def mul(call: OnnxCall, a: Input, b: Input) -> Any:
    for x, other in ((a, b), (b, a)):
        factor = call.scalar(other, x.axes)
        if factor is not None and not isinstance(x, Known):
            return call.add(blocks.Affine(factor), x)
    return call.add(blocks.Mul(), a, b)


@operator("Div", 7, 13, 14)
def div(call: OnnxCall, a: Input, b: Input) -> Any:
    if not a.dtype.is_floating_point:
        return _whole_quotient(call, a, b)
    left, right = call.scalar(a, b.axes), call.scalar(b, a.axes)
    if right and not isinstance(a, Known) and _is_power_of_two(right):  # 1 / right is exact then
        return call.add(blocks.Affine(1 / right), a)
    if left == 1 and not isinstance(b, Known):
        return call.add(blocks.Function("reciprocal"), b)
    return call.add(blocks.Div(), a, b)


def _is_power_of_two(number: float) -> bool:
    return number.hex().lstrip("-").startswith("0x1.0000000000000p") if isinstance(number, float) else False


def _whole_quotient(call: OnnxCall, a: Input, b: Input) -> Any:
    """a / b of whole numbers, rounded towards 0. In float64, which holds all that sizes and places can be."""
    if isinstance(a, Known) and isinstance(b, Known) and a.dtype not in WITHOUT_KERNELS:
        if not bool(b.tensor.all()):
            raise UnsupportedError("a division by 0")
        return Known(torch.div(a.tensor, b.tensor, rounding_mode="trunc"))
    wide = [call.add(blocks.Cast("float64"), x, part=part) for x, part in ((a, "dividend"), (b, "divisor"))]
    quotient = call.add(blocks.Function("trunc"), call.add(blocks.Div(), *wide, part="quotient"), part="trunc")
    return call.add(blocks.Cast(name_of(a.dtype)), quotient)


@operator("Pow", 7, 12, 13, 15)
def power(call: OnnxCall, a: Input, b: Input) -> Any:
    exponent = call.scalar(b, a.axes)
    if exponent is None and isinstance(b, Known) and b.tensor.numel() == 1 and b.axes <= a.axes:
        exponent = b.tensor.item()  # an initializer: nobody trains an exponent
    if exponent is not None and not isinstance(a, Known):
        exact = float(exponent)
        if not a.dtype.is_floating_point:
            if exact < 0 or not exact.is_integer():
                raise UnsupportedError(f"whole numbers to the power of {exact}")
            return call.add(blocks.Pow(int(exact)), a)
        return a if exact == 1 else call.add(blocks.Sqrt() if exact == 0.5 else blocks.Pow(exact), a)
    y = call.add(
        blocks.Power(), a, b, part="" if b.dtype == a.dtype or b.dtype.itemsize <= a.dtype.itemsize else "power"
    )
    return y if y.dtype == a.dtype else cast_to(call, y, a.dtype)


@operator("Mod", 10, 13, 28)
def mod(call: OnnxCall, a: Input, b: Input, *, fmod: int) -> Any:
    return call.add(blocks.Remainder(bool(fmod)), a, b)


def _variadic(name: str, *versions: int, combine: Callable[..., Any]) -> None:
    @operator(name, *versions)
    def handle(call: OnnxCall, *x: Input) -> Any:
        return x[0] if len(x) == 1 else combine(call, *x)


def _in_turn(block: Block, call: OnnxCall, *x: Input) -> Any:
    """The block of two applied one after the other; the last node has the call's name."""
    y = x[0]
    for i, other in enumerate(x[1:], 2):
        y = call.add(block, y, other, part="" if i == len(x) else f"of_{i}")
    return y


def _total(call: OnnxCall, *x: Input) -> Any:
    return call.add(blocks.Add(), *x)


def _mean(call: OnnxCall, *x: Input) -> Any:
    return call.add(blocks.Affine(1 / len(x)), call.add(blocks.Add(), *x, part="sum"))


_variadic("Sum", 6, 8, 13, combine=_total)
_variadic("Mean", 6, 8, 13, combine=_mean)


def _extreme(call: OnnxCall, *x: Input, larger: bool) -> Any:
    """The larger (or smaller) of two; of a tensor and a constant number it is Clamp, or ReLU."""
    if len(x) == 2 and x[0].dtype.is_floating_point:
        for a, b in ((x[0], x[1]), (x[1], x[0])):
            bound = call.scalar(b, a.axes)
            if bound is not None and not isinstance(a, Known):
                if larger and bound == 0:
                    return call.add(blocks.ReLU(), a)
                return call.add(blocks.Clamp(low=bound) if larger else blocks.Clamp(high=bound), a)
    return _in_turn(blocks.Max() if larger else blocks.Min(), call, *x)


_variadic("Max", 6, 8, 12, 13, combine=functools.partial(_extreme, larger=True))
_variadic("Min", 6, 8, 12, 13, combine=functools.partial(_extreme, larger=False))


def _comparison(name: str, *versions: int, kind: str, mirrored: str) -> None:
    @operator(name, *versions)
    def handle(call: OnnxCall, a: Input, b: Input) -> Any:
        left, right = call.scalar(a, b.axes), call.scalar(b, a.axes)
        if right is not None and not isinstance(a, Known):
            return call.add(blocks.Compare(kind, right), a)
        if left is not None and not isinstance(b, Known):
            return call.add(blocks.Compare(mirrored, left), b)
        return call.add(blocks.Compare(kind), a, b)


_comparison("Equal", 7, 11, 13, 19, kind="equal", mirrored="equal")
_comparison("Less", 7, 9, 13, kind="less", mirrored="greater")
_comparison("Greater", 7, 9, 13, kind="greater", mirrored="less")
_comparison("LessOrEqual", 12, 16, kind="less_equal", mirrored="greater_equal")
_comparison("GreaterOrEqual", 12, 16, kind="greater_equal", mirrored="less_equal")


def _logic(name: str, *versions: int, kind: str) -> None:
    @operator(name, *versions)
    def handle(call: OnnxCall, *x: Input) -> Any:
        return call.add(blocks.Logic(kind), *x)


_logic("And", 7, kind="and")
_logic("Or", 7, kind="or")
_logic("Xor", 7, kind="xor")
_logic("Not", 1, kind="not")
_logic("BitwiseAnd", 18, kind="and")
_logic("BitwiseOr", 18, kind="or")
_logic("BitwiseXor", 18, kind="xor")
_logic("BitwiseNot", 18, kind="not")


@operator("IsNaN", 9, 13, 20)
def is_nan(call: OnnxCall, x: Input) -> Any:
    return call.add(blocks.Compare("not_equal"), x, x)


@operator("IsInf", 10, 20)
def is_inf(call: OnnxCall, x: Input, *, detect_negative: int, detect_positive: int) -> Any:
    if detect_negative and detect_positive:
        return call.add(blocks.Compare("equal", float("inf")), call.add(blocks.Abs(), x, part="abs"))
    if not detect_negative and not detect_positive:
        return call.add(blocks.Compare("less"), x, x)
    return call.add(blocks.Compare("equal", float("inf" if detect_positive else "-inf")), x)


@operator("Where", 9, 16)
def where(call: OnnxCall, condition: Input, a: Input, b: Input) -> Any:
    return call.add(blocks.Where(), condition, a, b)
