"""Blocks that make numbers instead of taking them: weights that stand alone, constants, and numbers in a row."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.sizes import Size, checked, checked_sizes, each_axis, sizes_of
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError

LARGEST = 2**31
"""Elements that Filled and Range make at most: a size in a file must not exhaust the memory."""


class Parameter(Block):
    """A weight by itself, such as a positional embedding:  y = value.

    d_value = d_y     no inputs, so there is no d_x

    shape: of y and value, which starts at 0; or a tensor of real numbers, a copy of which it starts as.
    """

    kind = "weights"
    parameter_names = ("value",)

    def __init__(self, shape: tuple[int, ...] | list[int] | Tensor = ()):
        if isinstance(shape, Tensor) and not shape.is_floating_point():
            raise SettingError(f"a parameter is of real numbers, these are {name_of(shape.dtype)}: Constant takes them")
        self.value = _start(shape, torch.float32)
        self.shape = tuple(self.value.shape)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        return self.value, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[()]:
        return ()

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        return {"value": d_y}


class Constant(Block):
    """Numbers that are saved with the network but not trained, such as a mask:  y = value.

    No inputs, so there is no d_x.   y, value: shape, of the type `dtype` ("float32", "int64", "bool", …), starting at 0

    shape: or a tensor, which says the type, too; it starts as a copy of that.
    """

    kind = "other"
    buffer_names = ("value",)

    def __init__(self, shape: tuple[int, ...] | list[int] | Tensor = (), dtype: str = "float32"):
        self.value = _start(shape, dtype_named(dtype))
        self.shape, self.dtype = tuple(self.value.shape), name_of(self.value.dtype)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        return self.value, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[()]:
        return ()


class Filled(Block):
    """One number at every place of a shape that may follow other tensors:  y = value.

    The inputs are there for their sizes alone (see sizes.py), so each d_x is None.

    shape: of numbers and formulas   value: a number   dtype: of y   Raises ShapeError for a negative size.
    """

    kind = "other"

    def __init__(self, shape: Sequence[Size], value: float = 0.0, dtype: str = "float32"):
        self.shape, self.value, self.dtype = checked_sizes(shape), value, dtype
        dtype_named(dtype)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        shape = sizes_of(self.shape, inputs)
        if min(shape, default=0) < 0 or math.prod(shape) > LARGEST:
            raise ShapeError(f"the shape {self.shape} is {shape} here, which cannot be made")
        device = inputs[0].device if inputs else None
        return torch.full(shape, self.value, dtype=dtype_named(self.dtype), device=device), len(inputs)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[None, ...]:
        return (None,) * saved


class Range(Block):
    """Numbers in a row that may follow the size of another tensor:  y = start, start + step, … below stop.

    The inputs are there for their sizes alone (see sizes.py), so each d_x is None.

    start, stop, step: numbers or formulas   y: (count,) of the type dtype
    Raises ShapeError for a step of 0.
    """

    kind = "other"

    def __init__(self, start: Size, stop: Size, step: Size = 1, dtype: str = "int64"):
        self.start, self.stop, self.step, self.dtype = checked(start), checked(stop), checked(step), dtype
        dtype_named(dtype)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        start, stop, step = sizes_of((self.start, self.stop, self.step), inputs)
        if step == 0 or abs(stop - start) // abs(step) > LARGEST:
            raise ShapeError(f"no numbers can be made from {start} to {stop} in steps of {step}")
        stop = max(start, stop) if step > 0 else min(start, stop)
        device = inputs[0].device if inputs else None
        return torch.arange(start, stop, step, dtype=dtype_named(self.dtype), device=device), len(inputs)

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[None, ...]:
        return (None,) * saved


def dtype_named(name: str) -> torch.dtype:
    """The type of number by name, such as "float32"; SettingError if there is none."""
    dtype = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(dtype, torch.dtype):
        raise SettingError(f"expected a type of number such as 'float32' or 'int64', came {name!r}")
    return dtype


def name_of(dtype: torch.dtype) -> str:
    """The name of a type of number: "float32"."""
    return str(dtype).removeprefix("torch.")


def _start(shape: Sequence[int] | Tensor, dtype: torch.dtype) -> Tensor:
    """Zeros of the shape, or a copy of the tensor."""
    return shape.detach().clone() if isinstance(shape, Tensor) else torch.zeros(_plain_shape(shape), dtype=dtype)


def _plain_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(shape, tuple | list):
        raise SettingError(f"expected a shape such as (2, 3), or a tensor to start as, came a {type(shape).__name__}")
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in shape):
        raise SettingError(
            f"a shape is of whole numbers from 0 on, came {tuple(shape)}; numbers to start as come in a tensor"
        )
    return each_axis(shape)
