"""All objectives and penalties at the edges of float16, bfloat16 and float32, beside torch's, and float64."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.objectives import Objective, binary_cross_entropy, cross_entropy, mean_squared_error
from tests.cases.objectives import OBJECTIVES, PENALTIES
from tests.edges import Results, edges, largest, wrong

CANCELLING = ("diversity", "total_variation", "WeightedSum", "l2")
"""Sums of squares of differences."""


def rows() -> list[Any]:
    """(objective, its output and target, torch's) of each, by its title."""
    made = [(str(case), case.objective, case.made, case.reference) for case in OBJECTIVES]
    made += [(str(p), p.penalty, lambda g, p=p: (p.made(g), None), lambda y, _, p=p: p.reference(y)) for p in PENALTIES]
    return [pytest.param(*row, id=title) for title, *row in made]


@pytest.mark.parametrize(("objective", "made", "reference"), rows())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_at_its_edges_an_objective_is_torchs_or_better(
    objective: Objective, made: Callable[..., Any], reference: Callable[..., Any], dtype: torch.dtype
) -> None:
    y, target = made(torch.Generator().manual_seed(0))
    y = y.to(dtype)
    target = target.to(dtype) if target is not None and target.is_floating_point() else target
    faults = []
    tried = [("usual", (y,)), *edges((y,), dtype)]
    for title, (x,) in tried if target is not None else tried[::3]:  # torch's versions of the penalties are slow
        if "∞" in title and not title.startswith("one"):
            continue  # what is infinite everywhere has no value
        value, seeds = objective.evaluate({"y": x}, target)
        results = {"value": value, "seed": seeds["y"]}
        size = largest([x])
        noise = size * size if type(objective).__name__ in CANCELLING else size
        if type(objective).__name__ == "diversity":  # which knows no size, so that its derivative grows as x shrinks
            noise = max(noise, 1 / max(size, 1e-30))
        torchs, exact = _torchs(reference, x, target), _torchs(reference, x.double(), target)
        if exact is not None:
            faults += [f"{title}: {fault}" for fault in wrong(results, torchs, exact, noise)]
    assert not faults, "\n".join(faults[:12])


def _torchs(reference: Callable[..., Tensor], y: Tensor, target: Any) -> Results | None:
    """None where torch has no kernel for the type of number."""
    x = y.clone().requires_grad_()
    try:
        value = reference(x, target.to(y.dtype) if target is not None and target.is_floating_point() else target)
        value.backward()
    except RuntimeError:
        return None
    return {"value": value.detach(), "seed": x.grad}


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 3.0])])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_class_of_minus_infinity_that_is_not_the_target(weights: Tensor | None, dtype: torch.dtype) -> None:
    y = torch.tensor([[0.0, 1.0, -math.inf], [2.0, -math.inf, 0.5]], dtype=dtype)
    target = torch.tensor([1, 0])
    value, seeds = cross_entropy(weights).evaluate({"y": y}, target)
    x = y.clone().requires_grad_()
    F.cross_entropy(x, target, None if weights is None else weights.to(dtype)).backward()
    assert value.isfinite()
    torch.testing.assert_close(seeds["y"], x.grad, rtol=4 * torch.finfo(dtype).eps, atol=0)


def test_answers_that_are_sure_and_right_cost_nothing() -> None:
    y, t = torch.tensor([[math.inf, -math.inf]]), torch.tensor([[1.0, 0.0]])
    value, seeds = binary_cross_entropy().evaluate({"y": y}, t)
    assert value.item() == 0.0
    assert seeds["y"].tolist() == [[0.0, 0.0]]


def test_large_differences_of_half_precision_have_a_mean_square() -> None:
    y, t = torch.tensor([[300.0, 0.0, 0.0, 0.0]], dtype=torch.float16), torch.zeros(1, 4, dtype=torch.float16)
    assert mean_squared_error().evaluate({"y": y}, t)[0].item() == pytest.approx(22500, rel=1e-3)
