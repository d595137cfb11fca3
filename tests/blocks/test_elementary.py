"""Elementary functions by name, powers and remainders: kinks, extreme inputs, numbers by hand, errors."""

import math

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import Function, Power, Remainder
from blockprop.blocks.elementary import _FUNCTIONS
from blockprop.errors import SettingError

STEPS = ("sign", "floor", "ceil", "round", "trunc")


def test_every_name_stands_in_the_docstring() -> None:
    words = Function.__doc__.replace(",", " ").split()
    assert [name for name in _FUNCTIONS if name not in words] == []


def test_an_unknown_name_is_answered_with_all_of_them() -> None:
    with pytest.raises(SettingError, match=r"one of sin, cos, .*trunc, came 'sine'"):
        Function("sine")


@pytest.mark.parametrize("name", STEPS)
def test_a_step_stops_even_an_infinite_derivative(name: str) -> None:
    _, saved = Function(name).forward(torch.tensor([-1.0, 0.0, 2.5]))
    assert Function(name).propagate(saved, torch.tensor([1.0, math.inf, math.nan]))[0].tolist() == [0, 0, 0]


def test_halves_are_rounded_to_the_even_number() -> None:
    assert Function("round")(torch.tensor([0.5, 1.5, 2.5, -0.5])).tolist() == [0, 2, 2, 0]


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_nothing_propagates_to_integers(name: str) -> None:
    _, saved = Function(name).forward(torch.tensor([1, 2])) if name not in ("mish", "log_sigmoid") else (None, None)
    assert Function(name).propagate(saved, torch.ones(2)) == (None,)


@pytest.mark.parametrize(("name", "reference"), [("mish", F.mish), ("softsign", F.softsign), ("erf", torch.erf)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_extreme_inputs(name: str, reference: object, dtype: torch.dtype) -> None:
    x = torch.tensor([-200, -90, -20, -1e-30, 0, 1e-30, 20, 90, 200], dtype=dtype)
    exact = x.double().clone().requires_grad_()
    reference(exact).sum().backward()
    _, saved = Function(name).forward(x)
    (d_x,) = Function(name).propagate(saved, torch.ones_like(x))
    torch.testing.assert_close(d_x, exact.grad.to(dtype), rtol=0.02 if dtype == torch.bfloat16 else 1e-6, atol=1e-12)


def test_powers_where_the_formulas_have_holes() -> None:
    a = torch.tensor([0.0, 0.0, 0.0, -2.0, -2.0, math.nan])
    b = torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0, 1.0])
    y, saved = Power().forward(a, b)
    d_a, d_b = Power().propagate(saved, torch.ones(6))
    assert y[:5].tolist() == [1, 0, 0, -8, 1]
    assert d_a.tolist() == [0, 1, 0, 12, 0, 1]
    assert d_b[:5].tolist() == [0, 0, 0, 0, 0]
    assert d_b[5].isnan()


def test_a_negative_power_of_zero_gives_the_exponent_no_derivative() -> None:
    _, saved = Power().forward(torch.tensor([0.0]), torch.tensor([-1.0]))
    assert Power().propagate(saved, torch.ones(1))[1].tolist() == [0]


@pytest.mark.parametrize(
    ("truncated", "y", "quotients"), [(False, [1, 2, -2, -1], [2, -3, -3, 2]), (True, [1, -1, 1, -1], [2, -2, -2, 2])]
)
def test_remainders_by_hand(truncated: bool, y: list[int], quotients: list[int]) -> None:
    block = Remainder(truncated)
    found, saved = block.forward(torch.tensor([7.0, -7.0, 7.0, -7.0]), torch.tensor([3.0, 3.0, -3.0, -3.0]))
    d_a, d_b = block.propagate(saved, torch.full((4,), 10.0))
    assert found.tolist() == y
    assert d_a.tolist() == [10] * 4
    assert d_b.tolist() == [-10 * quotient for quotient in quotients]


def test_inputs_of_integers_and_of_another_precision() -> None:
    a, b = torch.tensor([2.0], dtype=torch.float32), torch.tensor([3.0], dtype=torch.float64)
    for block in (Power(), Remainder()):
        d_a, d_b = block.propagate(block.forward(a, b)[1], torch.ones(1, dtype=torch.float64))
        assert (d_a.dtype, d_b.dtype) == (torch.float32, torch.float64)
        assert block.propagate(block.forward(a, b.long())[1], torch.ones(1))[1] is None
        assert block.propagate(block.forward(a.long(), b)[1], torch.ones(1))[0] is None
