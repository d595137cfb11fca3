"""Derivatives of functions of tensors, exact to rounding: found by error propagation from seeds of 1."""

from typing import Any

import torch
from torch import Tensor

from blockprop.calculus.recording import Differentiable, Recording, Which, record
from blockprop.calculus.rows import unit_rows
from blockprop.calculus.slopes import require_differentiable, require_written_down
from blockprop.calculus.traced import as_real
from blockprop.errors import ShapeError, shape


@torch.no_grad()
def gradient(f: Differentiable, *x: Any, wrt: Which = 0, kinks: bool = False) -> Tensor:
    """The gradient of a function that gives one number: (∇f)_i = ∂f/∂x_i, in the shape of x.

    What it is by matrices: ΔL = tr((∂L/∂X) ΔX) = Σ_ij (∇L)_ij ΔX_ij, so ∇L = (∂L/∂X)ᵀ in numerator layout (`jacobian`).

    f: a network, a block, or a Python function written with blocks (`record`).   x: its inputs.
    wrt: by which of them, from 0 on; or the name of a parameter or node, "fc1.weight".
    kinks: take what the blocks decide where f has no derivative by an input; refused otherwise (`kink_at`).
    Raises ShapeError if f gives more than one number, NotFiniteError if it or a derivative is not finite, SettingError
    at a kink, and if part of f is computed beside the blocks (`math.sin(v)`).
    """
    recording = _recorded(f, x, (wrt,), kinks)
    if recording.value.numel() != 1:
        came = shape(recording.value)
        raise ShapeError(
            f"a gradient is of a function that gives one number, this one gives {came}; jacobian takes any"
        )
    name = recording.name_of(wrt)
    return recording.back(torch.ones_like(recording.value), (name,))[name]


@torch.no_grad()
def jacobian(f: Differentiable, *x: Any, wrt: Which = 0, kinks: bool = False) -> Tensor:
    """The derivative ∂y/∂x in numerator layout: the axes of y, then those of x in reverse order.

    y = f(x)        by a scalar      by a vector (n)          by a matrix (p, q)
    scalar          ()               (n), a row: ∂y/∂x_j      (q, p): ∂y/∂X_ji at i, j
    vector (m)      (m): ∂y_i/∂x     (m, n): ∂y_i/∂x_j        (m, q, p): ∂y_i/∂X_kj at i, j, k
    matrix (m, n)   (m, n)           (m, n, k)                (m, n, q, p)

    A scalar is a tensor of shape () or (1, 1). A vector is one of shape (n), or a matrix of one column or one row; by
    a column (n, 1) or a row, a scalar has the derivative (1, n), and a column has (m, 1) by a scalar, so that matrices
    can be multiplied: ∂(Xᵀ A X)/∂X = Xᵀ (A + Aᵀ). More axes go on in the same way. Of functions of functions,
    ∂z/∂x = ∂z/∂y ∂y/∂x, in this order.

    A sweep for each element of y, or for some dozens of them at once (`unit_rows`).
    f, x, wrt, kinks and errors as in `gradient`.
    """
    recording = _recorded(f, x, (wrt,), kinks)
    name, of = recording.name_of(wrt), recording.tensor(wrt)
    rows = [found[name] for found in unit_rows(recording, (name,))]
    return numerator_layout(torch.cat(rows or [of.new_zeros(0, *of.shape)]), recording.value.shape, of.shape)


def numerator_layout(rows: Tensor, y: torch.Size, x: torch.Size) -> Tensor:
    """The derivatives of each element of y, (elements of y, *x), as `jacobian` arranges them."""
    reverse = rows.reshape(len(rows), *x).permute(0, *range(len(x), 0, -1))
    above, below = _axes(y), tuple(reversed(_axes(x)))
    if not above and _is_line(x):  # a row
        below = (1, x.numel())
    if not below and _is_line(y):  # a column
        above = (y.numel(), 1)
    return reverse.reshape((*above, *below))


def _axes(size: torch.Size) -> tuple[int, ...]:
    """The axes of a tensor in matrix calculus: none of a scalar, one of a vector."""
    if size == (1, 1):
        return ()
    return (size.numel(),) if _is_line(size) else tuple(size)


def _is_line(size: torch.Size) -> bool:
    """Whether it is a vector written as a matrix of one column or one row."""
    return len(size) == 2 and 1 in size and size.numel() != 1


@torch.no_grad()
def directional_derivative(f: Differentiable, *x: Any, along: Any, wrt: Which = 0, kinks: bool = False) -> Tensor:
    """How fast f changes along a direction V from x:  D_V f = lim (f(x + h V) − f(x)) / h, in the shape of f(x).

    Of one number by a matrix it is tr((∂f/∂X) V) = Σ_ij (∇f)_ij V_ij; of each y_i it is tr((∂y_i/∂X) V). The length of
    V counts.

    along: V, in the shape of what is moved.   Exact: sweeps for each element of f(x).
    f, x, wrt, kinks and errors as in `gradient`; ShapeError for a direction of another shape.
    """
    recording = _recorded(f, x, (wrt,), kinks)
    name, of = recording.name_of(wrt), recording.tensor(wrt)
    way = direction(along, of)
    slopes = [found[name].flatten(1) @ way.flatten() for found in unit_rows(recording, (name,))]
    return torch.cat(slopes or [way.new_zeros(0)]).reshape(recording.value.shape)


def direction(along: Any, of: Tensor) -> Tensor:
    """A direction in which a tensor is moved. ShapeError if it has another shape."""
    way = as_real(along, of.dtype)
    if way.shape != of.shape:
        raise ShapeError(f"expected a direction of shape {shape(of)}, as what is moved, came {shape(way)}")
    return way.to(of.dtype)


class Linearization:
    """The linear function that a function is nearest to at a point:  l(x) = f(x₀) + df,  df = Σ tr((∂f/∂X) ΔX).

    Call it with x for l(x); `change` gives df for steps from x₀. value: f(x₀).   points: x₀.
    """

    def __init__(self, recording: Recording):
        self.value = recording.value
        self.points = recording.points
        sweeps = list(unit_rows(recording, recording.inputs))
        self._rows = [
            torch.cat([d[name] for d in sweeps] or [point.new_zeros(0, *point.shape)])
            for name, point in zip(recording.inputs, self.points, strict=True)
        ]

    def __call__(self, *x: Any) -> Tensor:
        """l(x), in the shape of f(x₀)."""
        near = [as_real(one, point.dtype) for one, point in zip(self._each(x), self.points, strict=True)]
        return self.value + self.change(*(one - point for one, point in zip(near, self.points, strict=True)))

    def change(self, *steps: Any) -> Tensor:
        """The differential df for steps ΔX, one for each input, each of its shape."""
        total = torch.zeros_like(self.value, memory_format=torch.contiguous_format)
        for step, point, rows in zip(self._each(steps), self.points, self._rows, strict=True):
            total += (rows.reshape(len(rows), -1) @ direction(step, point).flatten()).reshape(total.shape)
        return total

    def _each(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(given) != len(self.points):
            raise ShapeError(f"the function has {len(self.points)} inputs, {len(given)} came")
        return given


@torch.no_grad()
def linearize(f: Differentiable, *x: Any, kinks: bool = False) -> Linearization:
    """The tangent of f at x, as a function of all its inputs; `change` is the differential df.

    Of one number, df = tr((∂f/∂X) ΔX), the trace rule; of several inputs the sum over them.
    f, x, kinks and errors as in `gradient`. Sweeps for each element of f(x), kept for all calls.
    """
    return Linearization(_recorded(f, x, tuple(range(len(x))), kinks))


def _recorded(f: Differentiable, x: tuple[Any, ...], wrt: tuple[Which, ...], kinks: bool) -> Recording:
    """The function at x, after a look at whether it has derivatives there."""
    recording = record(f, *x)
    for one in wrt if not kinks else ():
        name = recording.name_of(one)
        if name in recording.inputs:
            place = recording.inputs.index(name)
            require_differentiable(f, *recording.points, wrt=place)
            require_written_down(recording, f, place)
    return recording
