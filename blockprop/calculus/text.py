"""A formula given as text, as a function made of blocks: read by Python's own parser, node by node, and never run."""

import ast
import functools
import math
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks import Abs, Exp, Function, Log, Max, Min, ReLU, Sigmoid, Softplus, Sqrt, Tanh
from blockprop.calculus.traced import Traced
from blockprop.engine.asked import texts
from blockprop.engine.briefly import brief
from blockprop.errors import SettingError, did_you_mean

LONGEST, DEEPEST = 1000, 60
"""Characters of a formula, and how deep its brackets and operators may stand in each other."""
CONSTANTS = {"pi": math.pi, "e": math.e}
ELEMENTARY = (
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erf"),
    *("exp2", "expm1", "log1p", "log2", "log10", "sign", "floor", "ceil", "round"),
)
FUNCTIONS: dict[str, tuple[Callable[[], Any], int]] = {
    "exp": (Exp, 1),
    "log": (Log, 1),
    "sqrt": (Sqrt, 1),
    "abs": (Abs, 1),
    "tanh": (Tanh, 1),
    "sigmoid": (Sigmoid, 1),
    "relu": (ReLU, 1),
    "softplus": (Softplus, 1),
    "max": (Max, 2),
    "min": (Min, 2),
    **{name: (functools.partial(Function, name), 1) for name in ELEMENTARY},
}
"""By name: the block, and how many numbers it takes."""
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
INSTEAD: dict[type[ast.AST], str] = {
    ast.BitXor: "a power is written x**2, not x^2",
    ast.Compare: "a formula compares nothing; max, min, abs and relu decide",
    ast.IfExp: "a formula decides nothing; max, min, abs and relu do",
    ast.Tuple: "a number has its fraction behind a point, not a comma",
    ast.Attribute: "functions stand by themselves, as sin(x)",
}
"""What to write in place of what Python knows and a formula does not."""


class TextFunction:
    """A function of one or two variables given as text, "x**2 + 10*y**2": f(v) with v = (x, y), one number.

    Numbers, + − * / **, brackets, pi, e, and the functions of FUNCTIONS. Called with a vector of as many elements as
    there are variables; each element may be a whole grid: (2, h, w) gives (h, w).

    variables: the names there may be, in the order of v; those that the formula does not have are left out.
    Raises SettingError, which says at which column, for what is no formula and for names that are unknown.
    """

    def __init__(self, text: str, variables: Sequence[str] = ("x", "y")):
        if not isinstance(text, str):
            raise SettingError(f'expected a formula as text, such as "x**2 + 10*y**2", came {brief(text)}')
        self.text, self._known = text.strip(), texts("variables", variables, "x")
        self._tree = self._parsed()
        named = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        self._require(self._tree, 0)
        self.variables = tuple(name for name in variables if name in named)
        if not self.variables:
            raise SettingError(f"the formula {self.text!r} has no variable; they are {' and '.join(variables)}")

    def __repr__(self) -> str:
        return f"TextFunction({self.text!r})"

    def __call__(self, v: Traced) -> Traced:
        """f(v), as blocks."""
        if v.shape[:1] != (len(self.variables),):
            raise SettingError(
                f"{self.text} is a function of {len(self.variables)}, {' and '.join(self.variables)}; "
                f"{v.shape[0] if v.ndim else 'one number'} came"
            )
        result: Traced = self._made(self._tree, dict(zip(self.variables, v, strict=True)))
        return result

    def _parsed(self) -> ast.expr:
        if len(self.text) > LONGEST:
            raise SettingError(f"a formula has at most {LONGEST} characters, this one has {len(self.text)}")
        if "\n" in self.text or not self.text.isprintable():
            raise SettingError("a formula stands on one line, without control characters")
        if not self.text:
            raise SettingError('a formula is lacking, such as "x**2 + 10*y**2"')
        try:
            with warnings.catch_warnings(action="ignore"):  # of numbers written close to words, which fail anyway
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            said = (error.msg or "").partition(". Perhaps")[0].partition(" (")[0].lower()
            if not error.offset:  # so the parser says that there should be more
                raise self._fault("the formula cannot be read: it ends too soon", len(self.text)) from None
            column = min(error.offset - 1, len(self.text))
            before = re.findall(r"\w+", self.text[:column])
            hint = "; a product needs its *, as in 2*x" if "decimal literal" in said else ""
            if said == "invalid syntax" and before and before[-1] in FUNCTIONS:
                hint = f"; {before[-1]} takes its argument in brackets: {before[-1]}(x)"
            raise self._fault(f"the formula cannot be read: {said or 'it is not one'}{hint}", column) from None
        except (ValueError, RecursionError, MemoryError):
            raise SettingError("the formula cannot be read: its brackets or numbers are too many") from None

    def _fault(self, said: str, column: int) -> SettingError:
        return SettingError(f"{said}, at column {column + 1}\n    {self.text}\n    {' ' * column}^")

    def _at(self, node: ast.AST, said: str) -> SettingError:
        """A fault of a node, at its column in characters (the parser counts bytes)."""
        place = len(self.text.encode()[: getattr(node, "col_offset", 0)].decode())
        if isinstance(node, ast.BinOp):  # its operator stands behind what is on its left
            behind = self.text.encode()[node.left.end_col_offset :].decode()
            place = len(self.text) - len(behind.lstrip(" )"))
        return self._fault(said, place)

    def _require(self, node: ast.expr, depth: int) -> None:
        """SettingError for the first part that is none of a formula's."""
        if depth > DEEPEST:
            raise self._at(node, f"brackets and operators stand in each other more than {DEEPEST} deep")
        for child in self._children(node):
            self._require(child, depth + 1)

    def _children(self, node: ast.expr) -> Iterator[ast.expr]:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, int | float):
                raise self._at(node, f"{ast.unparse(node)} is no real number")
        elif isinstance(node, ast.Name):
            self._require_name(node)
        elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            yield from (node.left, node.right)
        elif isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
            yield node.operand
        elif isinstance(node, ast.Call):
            self._require_call(node)
            yield from node.args
        else:
            kind: ast.AST = node.op if isinstance(node, ast.BinOp | ast.UnaryOp) else node
            instead = INSTEAD.get(type(kind), "numbers, + − * / **, brackets and functions such as sin(x) do")
            raise self._at(node, f"{ast.unparse(node)[:40]!r} has no place in a formula: {instead}")

    def _require_name(self, node: ast.Name) -> None:
        if node.id in FUNCTIONS:
            raise self._at(node, f"{node.id} is a function and takes its argument in brackets: {node.id}(x)")
        if node.id not in self._known and node.id not in CONSTANTS:
            known = ", ".join((*self._known, *CONSTANTS))
            hint = did_you_mean(node.id, [*FUNCTIONS, *CONSTANTS])
            raise self._at(node, f"there is no {node.id!r} in a formula: names are {known}{hint}")

    def _require_call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        if name not in FUNCTIONS:
            if name in (*self._known, *CONSTANTS):
                raise self._at(node, f"{name} is no function; a product needs its *, as in {name}*(…)")
            hint = did_you_mean(name, FUNCTIONS) or f"; there are {', '.join(FUNCTIONS)}"
            raise self._at(node, f"there is no function {name[:40]!r}{hint}")
        count = FUNCTIONS[name][1]
        if len(node.args) != count or node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
            raise self._at(node, f"{name} takes {'one number' if count == 1 else f'{count} numbers'}")

    def _made(self, node: ast.expr, values: dict[str, Traced]) -> Any:
        """A part of the formula, of values; numbers are tensors, so that 1/0 is what tensors make of it."""
        if isinstance(node, ast.Constant):
            return _number(node.value)
        if isinstance(node, ast.Name):
            return values[node.id] if node.id in values else _number(CONSTANTS[node.id])
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](self._made(node.left, values), self._made(node.right, values))
        if isinstance(node, ast.UnaryOp):
            return OPERATORS[type(node.op)](self._made(node.operand, values))
        assert isinstance(node, ast.Call)
        block = FUNCTIONS[ast.unparse(node.func)][0]()
        return block(*(self._made(one, values) for one in node.args))


def _number(value: Any) -> Tensor:
    try:
        return torch.tensor(float(value), dtype=torch.float64)
    except OverflowError:
        return torch.tensor(math.inf, dtype=torch.float64)
