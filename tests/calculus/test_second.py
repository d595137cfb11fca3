"""Second derivatives by differences of exact gradients: how far off, and that they say so."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Abs, Exp, Function, Log, Sqrt, Tanh
from blockprop.calculus import hessian, hessian_vector_product
from blockprop.errors import NotFiniteError, ShapeError
from tests.calculus.functions import SIZE, random_function

A = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_of_a_parabola_it_is_the_matrix() -> None:
    h = hessian(lambda x: x @ A @ x / 2, [0.3, -2.0, 1e3])
    torch.testing.assert_close(h, (A + A.T) / 2, rtol=1e-10, atol=1e-10)
    assert hessian(lambda x: x[0] ** 2 + 10 * x[1] ** 2, [3.0, 1.0]).round(decimals=9).tolist() == [[2, 0], [0, 20]]


@pytest.mark.parametrize("x", [1e-6, 0.01, 3.0, 1e5])
def test_at_any_size_and_beside_an_edge(x: float) -> None:
    found = hessian_vector_product(lambda x: Log()(x), x, along=2.0)
    assert float(found.product) == pytest.approx(-2 / x**2, rel=1e-9)
    assert abs(float(found.product) + 2 / x**2) <= found.error
    assert found.error < 1e-7 / x**2


@pytest.mark.parametrize("seed", range(8))
def test_the_error_that_is_stated_is_that_of_random_functions(seed: int) -> None:
    ours, theirs = random_function(seed)
    x, v = (torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (7, 8))

    def weighted(y: Any) -> Any:
        return (A * y).sum()

    rows = torch.autograd.functional.hessian(lambda x: weighted(theirs(x)), x)
    expected = (rows * v).sum((2, 3))
    found = hessian_vector_product(lambda x: weighted(ours(x)), x, along=v)
    off = float((found.product - expected).abs().max())
    size = max(1.0, float(expected.abs().max()))
    assert off <= 10 * found.error + 1e-10 * size  # what torch's own rounds to, too
    assert off <= 1e-7 * size


def test_few_gradients_are_enough() -> None:
    calls: list[Any] = []

    def f(x: Any) -> Any:
        calls.append(x)
        return Exp()(x) * Function("sin")(x)

    found = hessian_vector_product(f, 1.0, along=1.0)
    expected = 2 * math.e * math.cos(1)
    assert abs(float(found.product) - expected) <= found.error < 1e-10
    assert len(calls) <= 13


def test_at_a_kink_the_error_is_large() -> None:
    assert hessian_vector_product(lambda x: Abs()(x - 1), 1.0, along=1.0).error > 1
    beside = hessian_vector_product(lambda x: Abs()(x - 1) + x**3, 1.001, along=1.0)  # within the first steps
    assert float(beside.product) == pytest.approx(6.006, abs=beside.error)
    assert beside.error < 1e-6


def test_the_length_of_the_direction_counts_and_none_is_none() -> None:
    def f(x: Any) -> Any:
        return (Exp()(x[0]) * Function("sin")(x[1])).sum() + Tanh()(x @ x)

    one, many = (hessian_vector_product(f, [0.5, 0.2], along=[s, -s]).product for s in (1.0, 1e6))
    torch.testing.assert_close(many, 1e6 * one, rtol=1e-8, atol=0)
    assert hessian_vector_product(f, [0.5, 0.2], along=[0.0, 0.0]).product.tolist() == [0, 0]


def test_what_goes_wrong_is_said() -> None:
    with pytest.raises(NotFiniteError, match="the derivative by x is inf"):
        hessian_vector_product(lambda x: Sqrt()(x), 0.0, along=1.0)
    with pytest.raises(ShapeError, match="this one gives 2"):
        hessian_vector_product(lambda x: x * x, [1.0, 2.0], along=[1.0, 0.0])
    with pytest.raises(ShapeError, match="a direction of shape 2"):
        hessian_vector_product(lambda x: x @ x, [1.0, 2.0], along=1.0)
    with pytest.raises(ShapeError, match="one number"):
        hessian(lambda x: x * x, [1.0, 2.0])


def symmetric(h: Tensor) -> bool:
    return torch.equal(h, h.T)


def test_the_hessian_is_symmetric() -> None:
    assert symmetric(hessian(lambda x: Function("sin")(x @ A).sum(), [0.1, 0.2, 0.3]))
