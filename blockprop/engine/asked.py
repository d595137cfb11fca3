"""What people give for a setting: a whole number, a number, or names, in its range; else one sentence that says so."""

import math
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

from torch import Tensor

from blockprop.engine.briefly import brief
from blockprop.errors import SettingError


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int. SettingError if it is no whole number from the least to the most; True is none."""
    try:
        if isinstance(value, bool):
            raise TypeError("a bool")
        count = operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        count = None
    if count is None or count < least or (most is not None and count > most):
        upto = f"from {least} on" if most is None else f"from {least} to {most:,}"
        raise SettingError(f"{name}: expected a whole number {upto}, came {brief_number(value)}")
    return count


def real(value: Any, what: str, least: float = -math.inf, above: float = -math.inf, below: float = math.inf) -> float:
    """The value as a float, finite. SettingError if it is none in this range; `what` says which. True is none."""
    number = _float(value)
    if not (math.isfinite(number) and least <= number < below and number > above):
        raise SettingError(f"expected {what}, came {brief_number(value)}")
    return number


def texts(name: str, value: Any, example: str) -> tuple[str, ...]:
    """The names in a list. SettingError for a single text, which is a row of letters, and for what is no text."""
    if isinstance(value, str) or not isinstance(value, Iterable) or isinstance(value, Tensor):
        raise SettingError(f"{name}: expected a list of names, as [{example!r}], came {brief(value)}")
    found = tuple(value)
    for one in found:
        text(name, one, example)
    return found


def text(name: str, value: Any, example: str) -> str:
    """The value. SettingError if it is no text, or a blank one."""
    if not isinstance(value, str) or not value.strip():
        raise SettingError(f"{name}: expected a name, as {example!r}, came {brief(value)}")
    return value


def _float(value: Any) -> float:
    """Not a number for what is none."""
    if isinstance(value, bool) or not isinstance(value, Real | Tensor):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan


def brief_number(value: Any) -> str:
    """A tensor of one number with that number."""
    return f"a tensor of {value.item()}" if isinstance(value, Tensor) and value.numel() == 1 else brief(value)
