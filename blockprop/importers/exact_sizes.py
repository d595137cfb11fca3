"""Tensors of sizes: small tensors whose elements follow the sizes of the network's inputs, computed while importing.

Exporters write the arithmetic of shapes into the graph: Shape, Gather, Mul, Concat, then Reshape. Here the elements are
whole numbers, Symbols (importers/symbols.py) and Quotients of them, in numpy arrays of objects. A comparison is allowed
only where every size would decide alike.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.graph import Flow, Known
from blockprop.importers.symbols import AxisSize, Symbol

LARGEST_CONSTANT = 4096
"""Elements of a constant that may take part in the arithmetic of sizes."""
SURELY_LARGER = 2**31
"""No axis has so many elements, so that a minimum with more is the size itself."""
LONGEST_FORMULA = 1000
"""Characters of a formula."""


class FreeSizeError(UnsupportedError):
    """Something that must be known at import hangs on a size that was to stay free; it says what."""

    def __init__(self, what: str, where: str = ""):
        super().__init__(f"{where}{': ' * bool(where)}{what} hangs on a free size")
        self.what, self.where = what, where

    def at(self, where: str) -> "FreeSizeError":
        """The same error with the place where it arose, unless it has one."""
        return self if self.where else FreeSizeError(self.what, where)


class Quotient:
    """A quotient of two sizes, kept exact until it is rounded."""

    __slots__ = ("bottom", "top")

    def __init__(self, top: AxisSize, bottom: AxisSize = 1):
        self.top, self.bottom = top, bottom

    @property
    def trials(self) -> tuple[float, ...]:
        """Its values in the two trial runs."""
        return tuple(a / b for a, b in zip(trials_of(self.top), trials_of(self.bottom), strict=True))

    def floor(self) -> AxisSize:
        """The whole number at or below it."""
        return self.top // self.bottom

    def ceil(self) -> AxisSize:
        """The whole number at or above it."""
        return -((-self.top) // self.bottom)

    def __add__(self, other: Any) -> Any:
        o = ratio(other)
        return _reduced(self.top * o.bottom + o.top * self.bottom, self.bottom * o.bottom)

    def __sub__(self, other: Any) -> Any:
        return self + -ratio(other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __neg__(self) -> "Quotient":
        return Quotient(-self.top, self.bottom)

    def __mul__(self, other: Any) -> Any:
        o = ratio(other)
        return _reduced(self.top * o.top, self.bottom * o.bottom)

    def __truediv__(self, other: Any) -> Any:
        o = ratio(other)
        return _reduced(self.top * o.bottom, self.bottom * o.top)

    def __rtruediv__(self, other: Any) -> Any:
        return ratio(other) / self

    __radd__ = __add__
    __rmul__ = __mul__


def ratio(value: Any) -> Quotient:
    """Any number as a Quotient. A float stands for the simple fraction that rounds to it, if there is one."""
    if isinstance(value, Quotient):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnsupportedError(f"a size is multiplied by {value}")
        exact = Fraction(value)
        simple = exact.limit_denominator(1000)
        chosen = simple if np.float32(float(simple)) == np.float32(value) else exact
        return Quotient(chosen.numerator, chosen.denominator)
    return Quotient(value)


def _reduced(top: AxisSize, bottom: AxisSize) -> Quotient:
    if top == bottom:
        return Quotient(1)
    if isinstance(top, int) and isinstance(bottom, int):
        divisor = math.gcd(top, bottom) * (-1 if bottom < 0 else 1)
        if divisor:
            return Quotient(top // divisor, bottom // divisor)
    return Quotient(top, bottom)


class Numbers:
    """A tensor of numbers and sizes; shape and axes are the tensor's. dtype: what ONNX holds them in."""

    def __init__(self, array: Any, dtype: torch.dtype):
        self.array, self.dtype = np.asarray(array, dtype=object), dtype
        for value in self.array.flat:
            texts = [part.text for part in parts_of(value) if isinstance(part, Symbol)]
            if max(map(len, texts), default=0) > LONGEST_FORMULA or max(map(abs, trials_of(value))) > 2**63:
                raise UnsupportedError("the arithmetic of sizes grows beyond what can be meant")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def axes(self) -> int:
        return self.array.ndim

    @property
    def is_plain(self) -> bool:
        """Whether no element follows a free size."""
        return all(isinstance(value, bool | int | float) for value in self.array.flat)

    def tensor(self) -> Tensor:
        """Its elements for torch. FreeSizeError if one of them follows a free size."""
        if not self.is_plain:
            raise FreeSizeError("a number that must be known")
        return torch.tensor(self.array.tolist(), dtype=self.dtype).reshape(self.shape)


def numbers_of(value: Any) -> Numbers | None:
    """The value as Numbers, if it is one or a small constant; else None."""
    if isinstance(value, Numbers):
        return value
    if isinstance(value, Known) and not value.trained and value.tensor.numel() <= LARGEST_CONSTANT:
        flat = np.empty(value.tensor.numel(), dtype=object)
        flat[:] = value.tensor.flatten().tolist()
        return Numbers(flat.reshape(value.shape), value.dtype)
    return None


def shape_of(value: "Flow | Known | Numbers") -> Numbers | Known:
    """Its shape as a tensor: constant, or Numbers if any axis is free."""
    array = np.empty(value.axes, dtype=object)
    array[:] = value.shape
    return settled(Numbers(array, torch.int64))


def settled(numbers: Numbers) -> Numbers | Known:
    """A constant if no element follows a free size; Quotients that are whole become whole."""
    flat = numbers.array.reshape(-1)
    for i, value in enumerate(flat):
        if isinstance(value, Quotient) and _known(value.top, value.bottom):
            top, bottom = trials_of(value.top)[0], trials_of(value.bottom)[0]
            flat[i] = top / bottom
    return Known(numbers.tensor()) if numbers.is_plain else numbers


def trials_of(value: Any) -> tuple[Any, ...]:
    """Its values in the two trial runs."""
    return value.trials if isinstance(value, Symbol | Quotient) else (value, value)


def parts_of(value: Any) -> tuple[Any, ...]:
    return (value.top, value.bottom) if isinstance(value, Quotient) else (value,)


def _known(*sizes: AxisSize) -> bool:
    return all(isinstance(size, int) for size in sizes)


def is_less(a: Any, b: Any) -> bool:
    """a < b; FreeSizeError if that hangs on a free size."""
    if not isinstance(a, Symbol | Quotient) and not isinstance(b, Symbol | Quotient):
        return bool(a < b)
    outcomes = {x < y for x, y in zip(trials_of(a), trials_of(b), strict=True)}
    if len(outcomes) == 1 and ((_is_size(a) and _is_bound(b)) or (_is_size(b) and _is_bound(a))):
        return outcomes.pop()
    raise FreeSizeError("a comparison")


def is_equal(a: Any, b: Any) -> bool:
    """a == b; FreeSizeError if that hangs on a free size."""
    if not isinstance(a, Symbol | Quotient) and not isinstance(b, Symbol | Quotient):
        return bool(a == b)
    if isinstance(a, Symbol) and a == b:
        return True
    if (_is_size(a) and _is_bound(b) and b != 0) or (_is_size(b) and _is_bound(a) and a != 0):
        return False
    raise FreeSizeError("a comparison")


def _is_size(value: Any) -> bool:
    """Whether it is the size of something, and so from 0 to 2**31 whatever the input."""
    return isinstance(value, Symbol) and min(value.trials) >= 0


def _is_bound(value: Any) -> bool:
    return isinstance(value, int | float) and (value <= 0 or value >= SURELY_LARGER)


def smaller(a: Any, b: Any) -> Any:
    """min(a, b)."""
    return a if a is b or is_less(a, b) else b


def larger(a: Any, b: Any) -> Any:
    """max(a, b)."""
    return b if a is not b and is_less(a, b) else a


def quotient(a: Any, b: Any, whole: bool) -> Any:
    """a / b; for whole numbers rounded towards 0, as ONNX has it."""
    if not whole:
        return ratio(a) / b if isinstance(a, Symbol | Quotient) or isinstance(b, Symbol | Quotient) else a / b
    if min(*trials_of(a), *trials_of(b)) >= 0 or (_known(a, b) and a % b == 0):
        return a // b
    if _known(a, b):
        return math.trunc(Fraction(a, b))
    raise FreeSizeError("a division of negative sizes")


def remainder(a: Any, b: Any, truncated: bool) -> Any:
    """a − b ⌊a / b⌋, or rounded towards 0."""
    if isinstance(a, float) or isinstance(b, float):
        return math.fmod(a, b) if truncated else a % b
    return a - b * quotient(a, b, whole=True) if truncated else a % b


def truncated(value: Any) -> Any:
    """The whole number that a cast makes of it."""
    if isinstance(value, Quotient):
        return value.floor() if min(value.trials) >= 0 else value.ceil()
    return value if isinstance(value, Symbol) else int(value)


def product(*values: Any) -> Any:
    """a b, exact if one of them follows a size."""
    a, b = values
    return ratio(a) * b if isinstance(a, float) != isinstance(b, float) and _follows(a, b) else a * b


def total(*values: Any) -> Any:
    """a + b, exact if one of them follows a size."""
    a, b = values
    return ratio(a) + b if isinstance(a, float) != isinstance(b, float) and _follows(a, b) else a + b


def _follows(*values: Any) -> bool:
    return any(isinstance(value, Symbol) for value in values)


def each(function: Callable[..., Any], *arrays: Any) -> Any:
    """The function of the elements, with broadcasting, as an array of objects."""
    arrays = tuple(np.asarray(array, dtype=object) for array in arrays)
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        raise GraphError("the shapes of its inputs cannot be broadcast") from None
    results = np.empty(bounded(shape), dtype=object)
    arrays = tuple(np.broadcast_to(array, shape) for array in arrays)
    for place in np.ndindex(results.shape):
        results[place] = function(*(array[place] for array in arrays))
    return results


def bounded(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape, if it is one that the arithmetic of sizes may have."""
    if math.prod(shape) > LARGEST_CONSTANT:
        raise UnsupportedError(f"a tensor of {math.prod(shape)} sizes")
    return tuple(shape)


def whole(values: Sequence[Any]) -> list[int]:
    """The values as numbers that hang on no free size."""
    if not all(isinstance(value, int) for value in values):
        raise FreeSizeError("a number that must be known")
    return list(values)
