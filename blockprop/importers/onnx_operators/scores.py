"""What classifiers of the domain ai.onnx.ml have in common: from scores to shares, and to the label of the best."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall, Texts

ML = "ai.onnx.ml"
LEAST = 1e-7
"""SOFTMAX_ZERO takes smaller scores for 0."""


def transformed(call: OnnxCall, scores: Input, name: str, part: str = "") -> Any:
    """The scores (n, classes) after a post transform."""
    if name == "NONE":
        return scores
    if name == "LOGISTIC":
        return call.add(blocks.Sigmoid(), scores, part=part)
    if name == "SOFTMAX":
        return call.add(blocks.Softmax(1), scores, part=part)
    if name == "SOFTMAX_ZERO":
        is_some = call.add(blocks.Compare("greater", LEAST), call.add(blocks.Abs(), scores, part="sizes"), part="some")
        nothing = Known(torch.full((), -math.inf, dtype=scores.dtype))
        return call.add(blocks.Softmax(1), call.add(blocks.Where(), is_some, scores, nothing, part="kept"), part=part)
    raise UnsupportedError(f"the post transform {name!r}")


def of_two(call: OnnxCall, score: Input, name: str, opposite: bool) -> Any:
    """(n, 2) from the score (n, 1) of the second class alone: shares if LOGISTIC, else −s or 1 − s, and s."""
    if name == "PROBIT":
        raise UnsupportedError(f"the post transform {name!r}")
    if name == "LOGISTIC":
        other = call.add(blocks.Affine(-1), score, part="opposite")
        return call.add(blocks.Sigmoid(), call.add(blocks.Concat(1), other, score, part="both"))
    other = call.add(blocks.Affine(-1, 0.0 if opposite else 1.0), score, part="other")
    return call.add(blocks.Concat(1), other, score)


def best(call: OnnxCall, scores: Input) -> Any:
    """The place of the largest score of each row: (n,)."""
    return call.add(blocks.ArgMax(1), scores, part="best")


def is_above(call: OnnxCall, score: Input, level: float) -> Any:
    """1 where the score (n, 1) is above the level, else 0: (n,)."""
    over = call.add(blocks.Compare("greater", level), score, part="over")
    return call.add(blocks.Squeeze((1,)), call.add(blocks.Cast("int64"), over, part="class"), part="best")


def label_count(numbers: Sequence[int] | None, texts: Sequence[str] | None) -> int:
    """How many classes the labels name; GraphError if there are none, or both kinds."""
    if bool(numbers) == bool(texts):
        raise GraphError("it needs labels of its classes, either numbers or texts")
    return len(numbers or texts or ())


def labelled(call: OnnxCall, place: Any, numbers: Sequence[int] | None, texts: Sequence[str] | None) -> Any:
    """The label of each place; of texts their numbers, with the texts beside them."""
    call.state.classes = list(map(str, numbers or texts or ()))
    if texts:
        return Texts(place, tuple(texts))
    assert numbers is not None
    if list(numbers) == list(range(len(numbers))):
        return place
    return call.add(blocks.Gather(0), Known(torch.tensor(numbers)), place, part="label")


def real(call: OnnxCall, x: Input, part: str = "real") -> Any:
    """x as real numbers: integers become float32."""
    return x if x.dtype.is_floating_point else call.add(blocks.Cast("float32"), x, part=part)
