"""Handlers of operators that make one number of many along some axes."""

from collections.abc import Callable
from typing import Any

from blockprop import blocks
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.table import operator

Reduce = Callable[[OnnxCall, Any, tuple[int, ...], bool], Any]


def _reduction(name: str, by_attribute: tuple[int, ...], by_input: tuple[int, ...], reduce: Reduce) -> None:
    @operator(name, *by_attribute)
    def with_attribute(call: OnnxCall, x: Input, *, axes: list[int] | None = None, keepdims: int) -> Any:
        return _over(call, x, axes, keepdims, False, reduce)

    @operator(name, *by_input)
    def with_input(
        call: OnnxCall, x: Input, axes: Input | None = None, *, keepdims: int, noop_with_empty_axes: int = 0
    ) -> Any:
        chosen = None if axes is None else call.whole_in(axes)
        return _over(call, x, chosen, keepdims, bool(noop_with_empty_axes), reduce)


def _over(call: OnnxCall, x: Input, axes: Any, keepdims: int, empty_means_none: bool, reduce: Reduce) -> Any:
    if not axes and not empty_means_none:
        axes = range(x.axes)
    return reduce(call, x, tuple(axis % x.axes for axis in axes or ()), bool(keepdims))


def _by(kind: Any) -> Reduce:
    """A reduction that is one block, and that leaves a tensor as it is over no axes."""

    def reduce(call: OnnxCall, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
        return call.add(kind(axes, keep), x) if axes else x

    return reduce


def _norm(order: int) -> Reduce:
    def reduce(call: OnnxCall, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
        return call.add(blocks.Norm(axes, keep, order), x) if axes else call.add(blocks.Abs(), x)

    return reduce


def _sum_of_squares(call: OnnxCall, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    squares = call.add(blocks.Mul(), x, x, part="squares" if axes else "")
    return call.add(blocks.Sum(axes, keep), squares) if axes else squares


def _log_of_sum(call: OnnxCall, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    return call.add(blocks.Log(), call.add(blocks.Sum(axes, keep), x, part="sum") if axes else x)


_reduction("ReduceSum", (1, 11), (13,), _by(blocks.Sum))
_reduction("ReduceMean", (1, 11, 13), (18,), _by(blocks.Mean))
_reduction("ReduceMax", (1, 11, 12, 13), (18, 20), _by(blocks.MaxOver))
_reduction("ReduceMin", (1, 11, 12, 13), (18, 20), _by(blocks.MinOver))
_reduction("ReduceProd", (1, 11, 13), (18,), _by(blocks.Product))
_reduction("ReduceL1", (1, 11, 13), (18,), _norm(1))
_reduction("ReduceL2", (1, 11, 13), (18,), _norm(2))
_reduction("ReduceSumSquare", (1, 11, 13), (18,), _sum_of_squares)
_reduction("ReduceLogSum", (1, 11, 13), (18, 28), _log_of_sum)
_reduction("ReduceLogSumExp", (1, 11, 13), (18, 28), _by(blocks.LogSumExp))
