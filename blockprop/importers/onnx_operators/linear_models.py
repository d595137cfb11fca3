"""Handlers of the linear models of ai.onnx.ml: what scikit-learn's LogisticRegression, Ridge and their like become."""

from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import GraphError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.scores import (
    ML,
    best,
    is_above,
    label_count,
    labelled,
    of_two,
    real,
    transformed,
)
from blockprop.importers.onnx_operators.table import operator


def linear(
    call: OnnxCall, x: Input, coefficients: Sequence[float], intercepts: Sequence[float] | None, outputs: int, part: str
) -> Any:
    """W x + b with the rows of W one after the other among the coefficients."""
    if outputs < 1 or not coefficients or len(coefficients) % outputs:
        raise GraphError(f"{len(coefficients)} coefficients for {outputs} outputs")
    weight = torch.tensor(coefficients, dtype=torch.float32).view(outputs, -1)
    bias = None if not intercepts else torch.tensor(intercepts, dtype=torch.float32)
    settings = {"features_in": weight.shape[1], "features_out": outputs, "with_bias": bias is not None}
    held = {"weight": Known(weight, trained=True), "bias": None if bias is None else Known(bias, trained=True)}
    x = call.add(blocks.Cast("float32"), x, part="real") if x.dtype != torch.float32 else x
    return call.add(call.block(blocks.Linear, settings, **held), x, part=part)


@operator("LinearRegressor", 1, domain=ML)
def linear_regressor(
    call: OnnxCall,
    x: Input,
    *,
    coefficients: list[float] | None = None,
    intercepts: list[float] | None = None,
    targets: int,
    post_transform: str,
) -> Any:
    part = "" if post_transform == "NONE" else "scores"
    return transformed(call, linear(call, x, coefficients or [], intercepts, targets, part), post_transform)


@operator("LinearClassifier", 1, domain=ML)
def linear_classifier(
    call: OnnxCall,
    x: Input,
    *,
    coefficients: list[float],
    intercepts: list[float] | None = None,
    classlabels_ints: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
    multi_class: int = 0,
    post_transform: str,
) -> Any:
    count = label_count(classlabels_ints, classlabels_strings)
    outputs = len(intercepts) if intercepts else count
    scores = linear(call, x, coefficients, intercepts, outputs, "" if post_transform == "NONE" else "scores")
    if outputs == 1 and count == 2:
        labels = labelled(call, is_above(call, scores, 0.0), classlabels_ints, classlabels_strings)
        return labels, of_two(call, scores, post_transform, opposite=False)
    if outputs != count:
        raise GraphError(f"{outputs} scores for {count} classes")
    labels = labelled(call, best(call, scores), classlabels_ints, classlabels_strings)
    return labels, transformed(call, scores, post_transform)


@operator("Scaler", 1, domain=ML)
def scaler(call: OnnxCall, x: Input, *, offset: list[float] | None = None, scale: list[float] | None = None) -> Any:
    """(x − offset) · scale, column by column; not trained, as where it comes from."""
    y = real(call, x)
    if offset and any(offset):
        y = call.add(blocks.Sub(), y, _row(call, offset, "offset", y), part="centered")
    return y if not scale else call.add(blocks.Mul(), y, _row(call, scale, "scale", y))


def _row(call: OnnxCall, numbers: Sequence[float], name: str, x: Input) -> Known:
    return Known(torch.tensor(numbers, dtype=x.dtype), f"{call.name}.{name}")


@operator("Normalizer", 1, domain=ML)
def normalizer(call: OnnxCall, x: Input, *, norm: str) -> Any:
    y = real(call, x)
    if norm in ("L1", "L2"):
        return call.add(blocks.LpNorm(-1, int(norm[1])), y)
    if norm != "MAX":
        raise GraphError(f"the norm {norm!r}")
    largest = call.add(blocks.MaxOver((-1,), True), y, part="largest")
    is_zero = call.add(blocks.Compare("equal", 0.0), largest, part="zero")
    one = Known(torch.ones((), dtype=y.dtype))
    return call.add(blocks.Div(), y, call.add(blocks.Where(), is_zero, one, largest, part="divisor"))
