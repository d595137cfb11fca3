"""Gradient descent on functions: by hand, beside the optimizer of training, and what it refuses."""

from typing import Any

import pytest
import torch

from blockprop import descend
from blockprop.blocks import Abs, Function, Log, Sqrt
from blockprop.calculus import TextFunction
from blockprop.errors import NotFiniteError, SettingError, ShapeError
from blockprop.training import GradientDescent

BOWL = TextFunction("x**2 + 10*y**2")


def test_by_hand() -> None:
    """∇ = (2x, 20y): from (3, 1) with rate 1/16 to (3 − 6/16, 1 − 20/16), then (2.625 − 5.25/16, −1/4 + 5/16)."""
    records = list(descend(BOWL, [3.0, 1.0], rate=1 / 16, steps=2))
    assert [(record.step, *record.x.tolist(), record.value) for record in records] == [
        (0, 3.0, 1.0, 19.0),
        (1, 2.625, -0.25, 2.625**2 + 0.625),
        (2, 2.296875, 0.0625, 2.296875**2 + 10 * 0.0625**2),
    ]
    assert records[0].gradient_norm == pytest.approx((6**2 + 20**2) ** 0.5)


def test_momentum_by_hand() -> None:
    """f = x², m = 1/2, α = 1/4: V = 4, 4, 2 …; x = 2, 1, 0 …"""
    records = list(descend(lambda x: x**2, 2.0, rate=0.25, momentum=0.5, steps=3))
    assert [float(record.x) for record in records] == [2.0, 1.0, 0.0, -0.5]  # V = 4, 4, 2


def test_as_training_does_it() -> None:
    x = torch.tensor([3.0, 1.0], dtype=torch.float64)
    optimizer = GradientDescent([x], 0.03, 0.8)
    run = descend(BOWL, x.clone(), rate=0.03, momentum=0.8, steps=20)
    for _ in range(20):
        optimizer.update([x], [torch.tensor([2.0, 20.0], dtype=torch.float64) * x])
    last = run.finish()
    assert last is not None
    torch.testing.assert_close(last.x, x, rtol=1e-13, atol=1e-13)
    assert last.step == last.steps == 20


def test_matrices_and_networks() -> None:
    """‖W X − Y‖² is smallest at the W of least squares."""
    x, y = (torch.randn(3, 8, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (0, 1))
    last = descend(
        lambda w: ((w @ x - y) ** 2).sum(), torch.zeros(3, 3).double(), rate=0.02, steps=2000, tolerance=1e-9
    ).finish()
    assert last is not None
    assert last.step < 2000
    torch.testing.assert_close(last.x, torch.linalg.lstsq(x.T, y.T).solution.T, rtol=1e-8, atol=1e-8)


def test_it_ends_where_nothing_moves() -> None:
    assert len(list(descend(BOWL, [0.0, 0.0], tolerance=1e-12))) == 1
    assert len(list(descend(BOWL, [3.0, 1.0], rate=0.05, steps=900, tolerance=1e-6))) < 200
    assert len(list(descend(BOWL, [3.0, 1.0], steps=0))) == 1


def f(x: Any) -> Any:
    return x


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "said"),
    [
        ((BOWL, [3.0, 1.0]), {"rate": 0}, SettingError, "a rate above 0"),
        ((BOWL, [3.0, 1.0]), {"rate": float("nan")}, SettingError, "a rate above 0"),
        ((BOWL, [3.0, 1.0]), {"momentum": 1.0}, SettingError, "momentum in 0…1"),
        ((BOWL, [3.0, 1.0]), {"steps": -1}, SettingError, "steps"),
        ((BOWL, [3.0]), {}, SettingError, "a function of 2, x and y"),
        ((BOWL, [3.0, float("inf")]), {}, NotFiniteError, "the start is not finite"),
        ((lambda x: Abs()(x), 0.0), {}, SettingError, "its slope is -1 to the left and 1 to the right"),
        ((lambda x: Log()(x), 0.0), {}, NotFiniteError, r"Log\(\) \(node 'log1'\) gives -inf"),
        ((lambda x: x * x, [1.0, 2.0]), {}, ShapeError, "this one gives 2"),
        ((lambda x: Function("log2")(x), 1.0), {"rate": 1.0}, NotFiniteError, "step 1: the function is not finite"),
        ((lambda x: Sqrt()(x), 0.0), {"kinks": True}, NotFiniteError, "step 0: the derivative by x is inf"),
    ],
)
def test_what_goes_wrong_is_said(arguments: Any, settings: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        descend(*arguments, **settings).finish()


def test_where_the_blocks_decide_if_asked() -> None:
    assert descend(lambda x: Abs()(x), 0.0, kinks=True).finish().x == 0  # type: ignore[union-attr]
