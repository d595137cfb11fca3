"""Formulas as text: what they compute, and where they are not understood."""

import math

import pytest
import torch

from blockprop.calculus import TextFunction, gradient, value_at
from blockprop.errors import SettingError


@pytest.mark.parametrize(
    ("text", "at", "value", "slopes"),
    [
        ("x**2 + 10*y**2", [3.0, 1.0], 19.0, [6.0, 20.0]),
        ("y", [4.0], 4.0, [1.0]),
        ("-x**2", [3.0], -9.0, [-6.0]),  # the power comes first
        ("2**x", [3.0], 8.0, [8 * math.log(2)]),
        ("x**y", [2.0, 3.0], 8.0, [12.0, 8 * math.log(2)]),
        ("x**(1/2)", [4.0], 2.0, [0.25]),
        ("sin(pi*x)*e**y", [0.5, 0.0], 1.0, [0.0, 1.0]),
        ("max(x, 2) + min(y, 1)/4 - abs(x)", [3.0, 5.0], 0.25, [0.0, 0.0]),
        ("(1 - x)**2 + 100*(y - x**2)**2", [0.0, 0.0], 1.0, [-2.0, 0.0]),
        ("  log(+x) ", [1.0], 0.0, [1.0]),
        ("sigmoid(x) + relu(x) + tanh(0*x) + 1e-3", [0.5], 1.123459331201854, [1.2350037122015945]),
    ],
)
def test_what_it_computes(text: str, at: list[float], value: float, slopes: list[float]) -> None:
    formula = TextFunction(text)
    assert float(value_at(formula, at)) == pytest.approx(value, rel=1e-13)
    torch.testing.assert_close(gradient(formula, at), torch.tensor(slopes, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_its_variables_and_whole_grids() -> None:
    formula = TextFunction("y*x + 1")
    assert formula.variables == ("x", "y")
    grid = torch.randn(2, 3, 4, dtype=torch.float64)
    assert torch.equal(value_at(formula, grid), grid[0] * grid[1] + 1)
    assert TextFunction("w*b", ("b", "w")).variables == ("b", "w")
    with pytest.raises(SettingError, match=r"is a function of 2, x and y; 3 came"):
        value_at(formula, [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("text", "said", "column"),
    [
        ("x**2 +* y", "cannot be read: invalid syntax", 7),
        ("x**2 +", "it ends too soon", 7),
        ("y**", "it ends too soon", 4),
        ("1 + sin x", r"sin takes its argument in brackets: sin\(x\)", 9),
        ("1 + x^2", r"a power is written x\*\*2, not x\^2", 6),
        ("é + x", "there is no 'é' in a formula: names are x, y, pi, e", 1),
        ("x + é*y", "there is no 'é'", 5),
        ("y + 2x", r"a product needs its \*, as in 2\*x", 5),
        ("x + sn(x)", "no function 'sn'; did you mean 'sin'", 5),
        ("x + Sin(x)", "did you mean 'sin'", 5),
        ("x*sin", r"sin is a function and takes its argument in brackets: sin\(x\)", 3),
        ("x(2)", r"a product needs its \*", 1),
        ("max(x)", "max takes 2 numbers", 1),
        ("(x", r"'\(' was never closed", 1),
        ("x if y else 1", "a formula decides nothing", 1),
        ("x < y", "a formula compares nothing", 1),
        ("x.real", "functions stand by themselves", 1),
        ("x**2 + 3,5*x", "a number has its fraction behind a point", 1),
        ("True*x", "True is no real number", 1),
        ("1j*x", "1j is no real number", 1),
        ("__import__('os').system('x')", "there is no function", 1),
        ("x*().__class__", "has no place in a formula", 3),
        ("(lambda: x)()", "there is no function", 1),
        ("x @ y", "has no place in a formula", 3),
        ("x + sin(*y)", "sin takes one number", 5),
        ("-" * 90 + "x", "more than 60 deep", 62),
    ],
)
def test_what_is_not_understood_is_said_with_its_column(text: str, said: str, column: int) -> None:
    with pytest.raises(SettingError, match=said) as raised:
        TextFunction(text)
    sentence, shown, caret = str(raised.value).split("\n")
    assert sentence.endswith(f"at column {column}")
    assert shown.removeprefix("    ") == text
    assert caret == " " * (4 + column - 1) + "^"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a formula is lacking"),
        ("1 + pi", "has no variable; they are x and y"),
        ("x**" + "9" * 5000, "at most 1000 characters"),
        ("(" * 450 + "x" + ")" * 450, "cannot be read"),
        ("x\n+1", "on one line"),
        ("x\0", "control characters"),
    ],
)
def test_what_is_no_formula_at_all(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        TextFunction(text)
