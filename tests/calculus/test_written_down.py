"""Functions part of which is computed beside the blocks: refused, not differentiated wrongly."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from blockprop.blocks import Exp, Function, Tanh
from blockprop.calculus import descend, directional_derivative, gradient, jacobian, linearize
from blockprop.errors import SettingError, UnsupportedError
from tests.calculus.functions import SIZE, random_function

BESIDE: list[Callable[[Any], Any]] = [
    lambda x: x[0] * math.sin(x[1]),
    lambda x: x[0] + float(x[1]) ** 2,
    lambda x: (x * torch.exp(x.tensor)).sum(),
    lambda x: x[0] * x.tensor[1],
    lambda x: (x * np.tanh(x.tensor.numpy())).sum(),
    lambda x: x.sum() + 1e-2 * math.exp(x[0]),
]


@pytest.mark.parametrize("case", range(len(BESIDE)))
@pytest.mark.parametrize(
    "derivative",
    [
        gradient,
        jacobian,
        linearize,
        lambda f, x: directional_derivative(f, x, along=[1.0, 0.5]),
        lambda f, x: descend(f, x, rate=0.1).finish(),
    ],
)
def test_what_is_computed_beside_the_blocks_is_refused(case: int, derivative: Callable[..., Any]) -> None:
    with pytest.raises(SettingError, match=r"changes otherwise than its blocks do: .*Function\(.sin.\)\(v\)"):
        derivative(BESIDE[case], [0.7, 1.3])


@pytest.mark.parametrize("compared", ["<", "<=", ">", ">=", "==", "!="])
@pytest.mark.parametrize("sides", ["x {} 2", "2 {} x", "x {} x", "x[0] {} x[1]"])
def test_a_value_is_not_compared_in_silence(compared: str, sides: str) -> None:
    """`x == 0` would be False, always."""
    f = eval(f"lambda x: x if {sides.format(compared)} else -x")
    with pytest.raises(SettingError, match=r"compare its number, as in `if float\(v\) > 0`"):
        gradient(f, 3.0) if "[" not in sides else gradient(f, [1.0, 2.0])


@pytest.mark.parametrize("f", [lambda x: x % 2, lambda x: 7 % x, lambda x: x // 2, lambda x: 7 // x])
def test_remainders_say_what_to_write(f: Callable[[Any], Any]) -> None:
    with pytest.raises(UnsupportedError, match=r'Function\("floor"\)\(a / b\)'):
        gradient(f, 3.5)


def test_numbers_may_decide_and_be_constants() -> None:
    assert float(gradient(lambda x: x * math.sin(2.0), 1.0)) == math.sin(2.0)
    assert float(gradient(lambda x: x**2 if float(x) > 1 else 3 * x, 2.0)) == 4
    assert float(gradient(lambda x: x * float(x.shape == ()), 5.0)) == 1
    assert float(gradient(lambda x: x * math.sin(x), 1.0, kinks=True)) == math.sin(1.0)  # it does not look


@pytest.mark.parametrize("seed", range(20))
def test_what_the_blocks_do_compute_is_not(seed: int) -> None:
    f, _ = random_function(seed)
    x = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    jacobian(f, 10.0 ** (seed % 7 - 3) * x)


def test_what_bends_much_or_is_large_is_not() -> None:
    assert float(gradient(lambda x: Tanh()(1e4 * x), 0.0)) == 1e4
    gradient(lambda x: Function("sin")(1000 * x) * 1e5, 0.3)
    gradient(lambda x: Exp()(30 * x), 20.0)
    gradient(lambda x: 1e9 + x, 1 / 7)
    gradient(lambda x: x**3, 0.0)
    gradient(lambda x: x - x, 3.0)
    gradient(lambda x: 1 / x, 1e-3)
