"""Every number that a public function of calculus and learning takes: in its range, or refused in one sentence."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from blockprop import calculus, learning
from blockprop.calculus import Traced, descend
from blockprop.errors import BlockpropError
from blockprop.networks import lecture, lecture_example


def square(v: Traced) -> Any:
    return (v * v).sum()


POINT = torch.tensor([1.0, 2.0], dtype=torch.float64)
X, TARGET = lecture_example()
RECORDING = calculus.record(square, POINT)
CALLS: dict[str, Callable[..., Any]] = {
    "descend": lambda **s: descend(square, POINT, **s),
    "directional_derivative": lambda **s: calculus.directional_derivative(square, POINT, along=POINT, **s),
    "gradient": lambda **s: calculus.gradient(square, POINT, **s),
    "hessian": lambda **s: calculus.hessian(square, POINT, **s),
    "hessian_vector_product": lambda **s: calculus.hessian_vector_product(square, POINT, along=POINT, **s),
    "jacobian": lambda **s: calculus.jacobian(square, POINT, **s),
    "judge": lambda **s: calculus.judge(square, [*descend(square, POINT, steps=3)], **({"rate": 0.1} | s)),
    "kink_at": lambda **s: calculus.kink_at(square, POINT, **s),
    "one_sided_slopes": lambda **s: calculus.one_sided_slopes(square, POINT, along=POINT, **s),
    "require_differentiable": lambda **s: calculus.require_differentiable(square, POINT, **s),
    "require_written_down": lambda **s: calculus.require_written_down(RECORDING, square, **s),
    "explain": lambda **s: learning.explain(lecture(), X, **({"of": "x[0]", "target": TARGET} | s)),
    "stepper": lambda **s: learning.stepper(lecture(), X, target=TARGET, **s),
}
NO_NUMBERS = [None, "", "4", True, math.nan, [1], (), torch.ones(2), 10**400, -1]
NO_COUNTS = [*NO_NUMBERS, 2.5, math.inf, 10**30]


def numbers() -> list[tuple[str, str, list[Any]]]:
    """(function, setting, what it must refuse) of each setting that is annotated as a number."""
    found = []
    for room in (calculus, learning):
        for name in room.__all__:
            public = getattr(room, name)
            if inspect.isclass(public):
                continue
            for setting in inspect.signature(public).parameters.values():
                kind = str(getattr(setting.annotation, "__name__", setting.annotation))
                if kind in ("int", "float", "int | str"):
                    wild = NO_NUMBERS if kind == "float" else NO_COUNTS
                    found.append((name, setting.name, wild))
    return found


def test_all_of_them_are_tried() -> None:
    settings = {(name, setting) for name, setting, _ in numbers()}
    assert {("descend", "steps"), ("explain", "digits"), ("gradient", "wrt"), ("stepper", "rate")} <= settings
    assert {name for name, _ in settings} == CALLS.keys()


@pytest.mark.parametrize(("name", "setting", "wild"), numbers())
def test_numbers_that_are_none(name: str, setting: str, wild: list[Any]) -> None:
    for value in wild:
        if setting == "steps" and type(value) is int and value > 0:
            continue  # without end, if one likes
        with pytest.raises(BlockpropError, match=r"^[^\n]{10,160}$") as raised:
            CALLS[name](**{setting: value})
        assert setting in str(raised.value) or "the network has no" in str(raised.value), value


NAMES = {"of": "explain", "by": "explain", "nodes": "stepper", "check": "stepper"}
BLANK: list[Any] = ["", "  ", "\n", 3, math.nan, torch.ones(2), b"x", [None], [""], [" "], [3]]


@pytest.mark.parametrize("setting", NAMES)
@pytest.mark.parametrize("blank", BLANK, ids=repr)
def test_names_that_are_none(setting: str, blank: Any) -> None:
    with pytest.raises(BlockpropError, match=r"^[^\n]{10,160}$") as raised:
        CALLS[NAMES[setting]](**{setting: blank})
    assert str(raised.value).startswith(("expected the name of an element, as fc1.weight[…], came ", setting))


@pytest.mark.parametrize("formula", ["", "  ", None, 3, ["x"], b"x", math.nan])
def test_formulas_that_are_none(formula: Any) -> None:
    with pytest.raises(BlockpropError, match=r"^(expected a formula as text|a formula is lacking), such as"):
        calculus.TextFunction(formula)


@pytest.mark.parametrize("block", [None, "ReLU", 3, int, torch.ones(2)], ids=repr)
def test_formulas_of_no_block(block: Any) -> None:
    with pytest.raises(BlockpropError, match=r"^expected a block or its class, came "):
        learning.formulas_of(block)


def test_a_title_may_be_a_number() -> None:
    assert "<h1>3</h1>" in CALLS["stepper"](title=3).html
