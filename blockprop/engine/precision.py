"""Numbers near the ends of their type: half precision made wide, and distances from a mean that lose no digits."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_HALVES = (torch.float16, torch.bfloat16)
LEAST = 1e-30
"""A sum of squares in float32 below it has lost digits."""


def wide(x: Tensor) -> Tensor:
    """x, in float32 if it is in half precision: there its squares and sums neither overflow nor lose digits."""
    return x.float() if x.dtype in _HALVES else x


def is_held(squares: Tensor, least: float = 0.0) -> bool:
    """Whether sums of squares are within the range of their type, from `least` on; float64's is taken for enough."""
    return squares.dtype is torch.float64 or not anywhere(~((squares >= least) & (squares < math.inf)))


def anywhere(condition: Tensor) -> bool:
    """Whether it holds at some place; of sizes without numbers, as an importer tries them, at none."""
    return not condition.is_meta and bool(condition.any())


def all_finite(x: Tensor) -> bool:
    """Whether no number of x is infinite or NaN, as its sum tells at once (which may overflow, too: then it is False).

    Fast arithmetic adds what has no part in a result, times 0. Infinities make NaN of that, and where some have come
    out the work is done again with what has a part alone.
    """
    return not anywhere(~x.sum().isfinite())


def shares(weight: Tensor, d: Tensor) -> Tensor:
    """weight · d, and 0 where the weight is 0: what has no part gets nothing, even of infinities."""
    products = weight * d
    return products if all_finite(products) else products.masked_fill_(weight == 0, 0)


def centered(x: Tensor, axes: Sequence[int]) -> Tensor:
    """x − mean over the axes, as a new tensor of wide numbers: exactly 0 where all are equal.

    The first element is taken away beforehand. A mean by itself is rounded: that of three times 88.7 is off by 8e-6,
    and what should have no variance has some.
    """
    x = wide(x)
    if not all(x.shape[axis] for axis in axes):
        return x.clone()
    first = x
    for axis in axes:
        first = first.narrow(axis, 0, 1)
    distance = x - first
    return distance.sub_(distance.mean(tuple(axes), keepdim=True))
