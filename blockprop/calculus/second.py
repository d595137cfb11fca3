"""Second derivatives: differences of exact gradients, with a bound of how far off they may be."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.calculus.derivatives import direction, gradient
from blockprop.calculus.recording import Differentiable, input_number, record
from blockprop.errors import NotFiniteError, ShapeError

LONGEST, SHRINK, LEVELS = 0.1, 2.0, 16
"""The first step in units of the point's size; by how much each next one is shorter; how many there are."""
ROUNDINGS = 4
"""By so many times its last place a gradient may be off."""
SMALL = 1e-11
"""An error that is good enough, in units of the product."""


class HessianProduct(NamedTuple):
    """H v, in the shape of v, and by how much it may be off (the largest element)."""

    product: Tensor
    error: float


@torch.no_grad()
def hessian_vector_product(f: Differentiable, *x: Any, along: Any, wrt: int = 0) -> HessianProduct:
    """The second derivatives of a function of one number, times a vector:  (H v)_i = Σ_j ∂²f/∂x_i∂x_j v_j.

    H v = d/dh ∇f(x + h v) at h = 0, by central differences of exact gradients: their steps are halved, and what is left
    of h², h⁴, … is extrapolated away (Ridders 1982), until rounding takes over. `error` is what the last estimates
    differ by, and no less than rounding: for smooth functions about 1e-11 of the size of H v in float64; it is large at
    a kink.

    along: v, in the shape of x.   About 10 gradients. f, x, wrt and errors as in `gradient`.
    """
    points = record(f, *x).points
    wrt = input_number(wrt, len(points))
    way = direction(along, points[wrt])
    size = _size(way)
    gradient(f, *points, wrt=wrt, kinks=True)  # what is wrong at x itself is said
    if not size:
        return HessianProduct(torch.zeros_like(way), 0.0)
    reach = _size(points[wrt]) or 1.0
    best = HessianProduct(way, float("inf"))
    earlier: list[Tensor] = []
    for level in range(LEVELS):
        h = LONGEST * reach / size / SHRINK**level
        try:
            ahead, behind = (
                gradient(f, *points[:wrt], points[wrt] + step * way, *points[wrt + 1 :], wrt=wrt, kinks=True)
                for step in (h, -h)
            )
        except NotFiniteError:  # over an edge, behind which there is no function
            earlier = []
            continue
        row = [(ahead - behind) / (2 * h)]
        rounding = ROUNDINGS * torch.finfo(way.dtype).eps * max(_size(ahead), _size(behind)) / h
        for power, coarse in enumerate(earlier, 1):
            factor = SHRINK ** (2 * power)
            row.append((factor * row[-1] - coarse) / (factor - 1))
            error = max(_size(row[-1] - row[-2]), _size(row[-1] - coarse), rounding)
            if error <= best.error:
                best = HessianProduct(row[-1], error)
        if best.error <= rounding or best.error < SMALL * _size(best.product):  # smaller steps would round more
            break
        earlier = row
    if best.error == float("inf"):
        raise NotFiniteError("the gradient is not finite on both sides of x: there are no second derivatives")
    return HessianProduct(*best)


@torch.no_grad()
def hessian(f: Differentiable, *x: Any, wrt: int = 0) -> Tensor:
    """All second derivatives of a function of one number, (n, n) for the n elements of x: symmetric.

    Row by row by `hessian_vector_product`, with its error; the two halves are averaged. f, x, wrt as there.
    """
    recording = record(f, *x)
    if recording.value.numel() != 1:
        raise ShapeError("second derivatives are of a function that gives one number")
    here = recording.points[input_number(wrt, len(recording.points))]
    units = torch.eye(here.numel(), dtype=here.dtype).reshape(-1, *here.shape)
    rows = [hessian_vector_product(f, *x, along=unit, wrt=wrt).product.flatten() for unit in units]
    h = torch.stack(rows)
    return (h + h.T) / 2


def _size(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0
