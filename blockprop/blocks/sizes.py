"""Sizes that follow the input: a setting such as "a0*a1" is worked out anew from the sizes of a block's inputs.

The letters stand for the block's inputs in their order, the number behind for an axis: "a0" is the first axis of the
first input, "b2" the third axis of the second. Whole numbers, + − * // %, brackets, and max and min of two are allowed.
So a network that was imported with free batch, height and width stays free.
"""

import ast
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import Tensor

from blockprop.errors import SettingError, ShapeError

Size = int | str
"""A whole number, or a formula of the inputs' sizes."""

T = TypeVar("T")

MOST_AXES = 64
"""Axes that a tensor has at most, in torch."""
LONGEST = 2000
"""Characters of a formula; more cannot be meant, and could exhaust the parser's stack."""

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def size_of(formula: Size, inputs: Sequence[Tensor]) -> int:
    """The number that a size is for these inputs. ShapeError if an input lacks the axis, or it divides by 0."""
    if isinstance(formula, int):
        return formula
    try:
        return _value(_parsed(formula), inputs)
    except (IndexError, ZeroDivisionError) as error:
        shapes = " and ".join(str(tuple(x.shape)) for x in inputs) or "no inputs"
        raise ShapeError(f"the size {formula!r} cannot be worked out from {shapes} ({error})") from None


def sizes_of(formulas: Sequence[Size], inputs: Sequence[Tensor]) -> tuple[int, ...]:
    """`size_of` for each."""
    return tuple([size_of(formula, inputs) for formula in formulas])


def checked(formula: Any) -> Any:
    """The size itself, if it is a whole number or a formula; SettingError otherwise."""
    if isinstance(formula, str):
        _parsed(formula)
    elif isinstance(formula, bool) or not isinstance(formula, int):
        raise SettingError(f"expected a whole number, or a formula such as 'a0*a1', came {formula!r}")
    return formula


def each_axis(given: Sequence[T], most: int = MOST_AXES) -> tuple[T, ...]:
    """What is given for each axis. SettingError if it is more than there can be axes."""
    if len(given) > most:
        raise SettingError(f"expected at most {most}, as many as a tensor can have axes, came {len(given)}")
    return tuple(given)


def checked_sizes(formulas: Sequence[Any], most: int = MOST_AXES) -> tuple[Any, ...]:
    """The sizes of axes themselves, if each is a whole number or a formula; SettingError otherwise."""
    return tuple(map(checked, each_axis(formulas, most)))


@functools.lru_cache(1000)
def _parsed(formula: str) -> ast.expr:
    try:
        if len(formula) > LONGEST:
            raise ValueError("too long")
        tree = ast.parse(formula, mode="eval").body
        _check(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SettingError(f"expected a formula of sizes such as 'a0*a1', came {formula[:80]!r} ({error})") from None
    return tree


def _check(tree: ast.expr) -> None:
    match tree:
        case ast.Constant(value=int()) | ast.Name():
            if isinstance(tree, ast.Name) and not (
                tree.id[0].islower() and tree.id[1:].isascii() and tree.id[1:].isdigit()
            ):
                raise ValueError(f"{tree.id!r} is not a letter and a number")
        case ast.BinOp(left, kind, right) if type(kind) in _OPERATORS:
            _check(left)
            _check(right)
        case ast.UnaryOp(ast.USub(), operand):
            _check(operand)
        case ast.Call(ast.Name("max" | "min"), [left, right], []):
            _check(left)
            _check(right)
        case _:
            raise ValueError(f"{type(tree).__name__} is not allowed")


def _value(tree: Any, inputs: Sequence[Tensor]) -> int:
    match tree:
        case ast.Constant(value):
            return value  # type: ignore[return-value]  # checked to be a whole number
        case ast.Name(name):
            return inputs[ord(name[0]) - ord("a")].shape[int(name[1:])]
        case ast.UnaryOp(_, operand):
            return -_value(operand, inputs)
        case ast.Call(ast.Name(name), [left, right]):
            return (max if name == "max" else min)(_value(left, inputs), _value(right, inputs))
        case _:
            return _OPERATORS[type(tree.op)](_value(tree.left, inputs), _value(tree.right, inputs))
