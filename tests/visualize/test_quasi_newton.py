"""L-BFGS: the full matrix as an oracle, shorter steps where the loss rises, and what happens at the lowest point."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.visualize.style.quasi_newton import LBFGS, Point


def quadratic(scale: float = 1.0) -> tuple[Any, Tensor]:
    """½ (x − c)ᵀ A (x − c), A diagonal in the pixels, and c."""
    generator = torch.Generator().manual_seed(2)
    a = torch.rand(1, 3, 6, 8, generator=generator, dtype=torch.float64) * 3 + 0.1
    c = torch.rand(1, 3, 6, 8, generator=generator, dtype=torch.float64)

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
    _, y, curvature = optimizer.pairs[-1]
    matrix = torch.eye(n, dtype=torch.float64) * (curvature / float((y * y).sum()))
    for s, y, curvature in optimizer.pairs:  # Nocedal and Wright 2006, eq. 6.17
        v = torch.eye(n, dtype=torch.float64) - torch.outer(s.flatten(), y.flatten()) / curvature
        matrix = v @ matrix @ v.T + torch.outer(s.flatten(), s.flatten()) / curvature
    expected = -(matrix @ point.d.flatten()).view_as(c)
    torch.testing.assert_close(optimizer._direction(point.d), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("history", [1, 2, 5, 40])
def test_lbfgs_keeps_as_many_pairs_as_it_says_the_latest_ones(history: int) -> None:
    optimizer = LBFGS(history=history)
    for i in range(1, 3 * history + 1):
        optimizer._remember(torch.full((1, 1, 2, 2), float(i)), torch.ones(1, 1, 2, 2))
        assert [int(s[0, 0, 0, 0]) for s, _, _ in optimizer.pairs] == list(range(max(1, i - history + 1), i + 1))


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
