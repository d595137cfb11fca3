"""Handlers of support vector machines."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.linear_models import linear
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


def _kernel(call: OnnxCall, x: Input, vectors: Tensor, kind: str, settings: Sequence[float] | None) -> Any:
    """K(x, v) for each support vector: (n, vectors)."""
    gamma, shift, degree = [*(settings or ()), 0.0, 0.0, 0.0][:3]
    held = Known(vectors, f"{call.name}.vectors", trained=True)
    if kind == "RBF":
        distances = call.add(blocks.SquaredDistances(), x, held, part="distances")
        return call.add(blocks.Exp(), call.add(blocks.Affine(-gamma), distances, part="near"), part="kernel")
    settings_of = {"features_in": vectors.shape[1], "features_out": len(vectors), "with_bias": False}
    products = call.add(call.block(blocks.Linear, settings_of, weight=held), x, part="products")
    if kind == "LINEAR":
        return products
    products = call.add(blocks.Affine(gamma, shift), products, part="shifted")
    if kind == "POLY":
        return call.add(blocks.Pow(degree), products, part="kernel")
    if kind == "SIGMOID":
        return call.add(blocks.Tanh(), products, part="kernel")
    raise GraphError(f"the kernel_type {kind!r}")


def _vectors(numbers: Sequence[float], count: int) -> Tensor:
    if not numbers or len(numbers) % count:
        raise GraphError(f"{len(numbers)} numbers for {count} support vectors")
    return torch.tensor(numbers, dtype=torch.float32).view(count, -1)


@operator("SVMRegressor", 1, domain=ML)
def svm_regressor(
    call: OnnxCall,
    x: Input,
    *,
    coefficients: list[float] | None = None,
    kernel_params: list[float] | None = None,
    kernel_type: str,
    n_supports: int,
    one_class: int,
    post_transform: str,
    rho: list[float] | None = None,
    support_vectors: list[float] | None = None,
) -> Any:
    if post_transform != "NONE":
        raise UnsupportedError(f"the post transform {post_transform!r}")
    x, part = real(call, x), "score" if one_class else ""
    features = x
    if n_supports:
        features = _kernel(call, x, _vectors(support_vectors or [], n_supports), kernel_type, kernel_params)
    y = linear(call, features, coefficients or [], rho, 1, part)
    if not one_class:
        return y
    over = call.add(blocks.Compare("greater", 0.0), y, part="over")
    return call.add(blocks.Affine(2.0, -1.0), call.add(blocks.Cast("float32"), over, part="inside"))


@operator("SVMClassifier", 1, domain=ML)
def svm_classifier(
    call: OnnxCall,
    x: Input,
    *,
    classlabels_ints: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
    coefficients: list[float] | None = None,
    kernel_params: list[float] | None = None,
    kernel_type: str,
    post_transform: str,
    prob_a: list[float] | None = None,
    prob_b: list[float] | None = None,
    rho: list[float] | None = None,
    support_vectors: list[float] | None = None,
    vectors_per_class: list[int] | None = None,
) -> Any:
    count, x = label_count(classlabels_ints, classlabels_strings), real(call, x)
    if not vectors_per_class:
        raise UnsupportedError("a linear machine without support vectors")
    if len(vectors_per_class) != count or len(rho or ()) != count * (count - 1) // 2:
        raise GraphError(f"{len(vectors_per_class)} classes of vectors and {len(rho or ())} of rho for {count} labels")
    vectors = _vectors(support_vectors or [], sum(vectors_per_class))
    kernel = _kernel(call, x, vectors, kernel_type, kernel_params)
    weights = _pairwise(coefficients or [], vectors_per_class)
    scores = linear(call, kernel, weights.flatten().tolist(), rho, len(weights), "scores")
    place = _elected(call, scores, count)
    labels = labelled(call, place, classlabels_ints, classlabels_strings)
    if prob_a:
        return labels, _probabilities(call, scores, prob_a, prob_b or [], count)
    if count == 2:
        is_positive = all(number >= 0 for number in coefficients or ())
        return labels, of_two(call, scores, post_transform, opposite=not is_positive)
    return labels, transformed(call, scores, post_transform)


def _pairwise(coefficients: Sequence[float], per_class: Sequence[int]) -> Tensor:
    """The weight of each support vector in each pair of classes: (pairs, vectors). libsvm packs them by classes."""
    count, total = len(per_class), sum(per_class)
    if len(coefficients) != (count - 1) * total:
        raise GraphError(f"{len(coefficients)} coefficients for {total} support vectors of {count} classes")
    packed, starts = torch.tensor(coefficients).view(count - 1, total), [0, *itertools.accumulate(per_class)]
    rows = []
    for a, b in itertools.combinations(range(count), 2):
        row = torch.zeros(total)
        row[starts[a] : starts[a + 1]] = packed[b - 1, starts[a] : starts[a + 1]]
        row[starts[b] : starts[b + 1]] = packed[a, starts[b] : starts[b + 1]]
        rows.append(row)
    return torch.stack(rows)


def _elected(call: OnnxCall, scores: Input, count: int) -> Any:
    """The class with the most votes of the pairs."""
    if count == 2:
        return call.add(blocks.Affine(-1, 1), is_above(call, scores, 0.0), part="elected")
    pairs = list(itertools.combinations(range(count), 2))
    first = torch.zeros(len(pairs), count)
    for i, (a, b) in enumerate(pairs):
        first[i, a], first[i, b] = 1.0, -1.0
    over = call.add(blocks.Compare("greater", 0.0), scores, part="over")
    one, zero = (Known(torch.tensor(number, dtype=scores.dtype)) for number in (1.0, 0.0))
    won = call.add(blocks.Where(), over, one, zero, part="won")
    votes = call.add(blocks.MatMul(), won, Known(first), part="votes")
    lost = Known((first < 0).sum(0).float())
    return best(call, call.add(blocks.Add(), votes, lost, part="all_votes"))


def _probabilities(call: OnnxCall, scores: Input, a: Sequence[float], b: Sequence[float], count: int) -> Any:
    """Platt's sigmoid of each pair's score, and from them the shares of all classes."""
    factor, shift = (Known(torch.tensor(numbers, dtype=torch.float32)) for numbers in (a, b))
    exponent = call.add(blocks.Mul(), scores, factor, part="exponent")
    exponent = call.add(blocks.Add(), exponent, shift, part="shifted_exponent")
    pairs = call.add(blocks.Sigmoid(), call.add(blocks.Affine(-1), exponent, part="logit"), part="pairs")
    pairs = call.add(blocks.Clamp(1e-7, 1 - 1e-7), pairs, part="clipped")
    return call.add(blocks.PairwiseCoupling(count, 0.005 / count), pairs)  # as exact as libsvm is
