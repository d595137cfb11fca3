"""L-BFGS: the full matrix as an oracle, shorter steps where the loss rises, and what happens at the lowest point."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.visualize.style.quasi_newton import LBFGS, Point


def quadratic(scale: float = 1.0, dtype: torch.dtype = torch.float64) -> tuple[Any, Tensor]:
    """½ (x − c)ᵀ A (x − c), A diagonal in the pixels, and c."""
    generator = torch.Generator().manual_seed(2)
    a, c = (torch.rand(1, 3, 6, 8, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    a = a * 3 + 0.1

    def evaluate(x: Tensor) -> Point:
        d = scale * a * (x - c)
        return Point(x, float((d * (x - c)).sum() / 2), {}, d)

    return evaluate, c


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("smoothness", [0.0, 0.6])
def test_lbfgs_finds_the_lowest_point(smoothness: float, scale: float) -> None:
    evaluate, c = quadratic(scale)
    optimizer = LBFGS(history=10, smoothness=smoothness)
    point = evaluate(torch.zeros_like(c))
    values = [point.value]
    for _ in range(60):
        point = optimizer.step(point, evaluate)
        values.append(point.value)
    assert values == sorted(values, reverse=True)
    torch.testing.assert_close(point.x, c, rtol=0, atol=1e-4)


def test_lbfgs_direction_is_that_of_the_full_bfgs_matrix() -> None:
    evaluate, c = quadratic()
    optimizer = LBFGS(history=50, smoothness=0.0)
    point = evaluate(torch.zeros_like(c))
    for _ in range(4):
        point = optimizer.step(point, evaluate)
    n = c.numel()
    pairs = [(s * ratio, y, curvature * ratio) for s, y, curvature, ratio in optimizer.pairs]
    _, y, curvature = pairs[-1]
    matrix = torch.eye(n, dtype=torch.float64) * (curvature / float((y * y).sum()))
    for s, y, curvature in pairs:  # Nocedal and Wright 2006, eq. 6.17
        v = torch.eye(n, dtype=torch.float64) - torch.outer(s.flatten(), y.flatten()) / curvature
        matrix = v @ matrix @ v.T + torch.outer(s.flatten(), s.flatten()) / curvature
    expected = -(matrix @ point.d.flatten()).view_as(c)
    torch.testing.assert_close(optimizer._direction(point.d), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("history", [1, 2, 5, 40])
def test_lbfgs_keeps_as_many_pairs_as_it_says_the_latest_ones(history: int) -> None:
    optimizer = LBFGS(history=history)
    for i in range(1, 3 * history + 1):
        optimizer._remember(torch.full((1, 1, 2, 2), float(i)), torch.ones(1, 1, 2, 2))
        assert [int(pair.ratio) for pair in optimizer.pairs] == list(range(max(1, i - history + 1), i + 1))


def test_lbfgs_takes_shorter_steps_where_the_loss_would_rise() -> None:
    def evaluate(x: Tensor) -> Point:
        value = (x - 3).abs().pow(1.5).sum()
        return Point(x, float(value), {}, 1.5 * (x - 3).abs().sqrt() * (x - 3).sign())

    optimizer, point, values = LBFGS(), evaluate(torch.zeros(1, 1, 2, 2)), []
    for _ in range(40):
        point = optimizer.step(point, evaluate)
        values.append(point.value)
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-3


def test_lbfgs_steps_back_from_what_is_not_finite() -> None:
    def evaluate(x: Tensor) -> Point:
        inside = float(x.max()) < 0.01
        return Point(x, float(-x.sum()) if inside else math.nan, {}, -torch.ones_like(x))

    point = evaluate(torch.zeros(1, 1, 2, 2))
    found = LBFGS().step(point, evaluate)
    assert math.isfinite(found.value)
    assert found.value < point.value


def test_lbfgs_stays_at_the_lowest_point() -> None:
    evaluate, c = quadratic()
    point = evaluate(c)
    assert LBFGS().step(point, evaluate) is point


@pytest.mark.parametrize("smoothness", [0.0, 0.6])
def test_lbfgs_in_single_precision_goes_as_in_double_with_pairs_in_half(smoothness: float) -> None:
    values = []
    for dtype, kept in ((torch.float64, torch.float64), (torch.float32, torch.float16)):
        evaluate, c = quadratic(dtype=dtype)
        optimizer, point = LBFGS(smoothness=smoothness), evaluate(torch.zeros_like(c))
        for _ in range(12):
            point = optimizer.step(point, evaluate)
        values.append(point.value)
        assert {x.dtype for pair in optimizer.pairs for x in pair[:2]} == {kept}
    assert values[1] == pytest.approx(values[0], rel=0.3)


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1.0, 1e10, 1e30])
def test_lbfgs_has_pairs_of_any_size(size: float) -> None:
    s, y = torch.rand(2, 1, 1, 4, 4, generator=torch.Generator().manual_seed(1)) * size
    optimizer = LBFGS()
    optimizer._remember(s.double().float(), (y.double() / size**0.5).float())
    (pair,) = optimizer.pairs
    assert pair.ratio == pytest.approx(float(s.max() / y.max()) * size**0.5, rel=1e-4)
    assert pair.curvature == pytest.approx(float((s.double() * y.double()).sum() / s.max() / y.max()), rel=2e-3)
