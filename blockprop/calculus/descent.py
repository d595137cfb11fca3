"""Gradient descent on any function: x ← x − α ∇f(x), a record of each step."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.calculus.recording import Differentiable, record
from blockprop.calculus.slopes import require_differentiable, require_written_down
from blockprop.calculus.traced import as_real
from blockprop.engine.asked import real, whole
from blockprop.errors import NotFiniteError, ShapeError, shape
from blockprop.saving.resumable import Resumable


class DescentStep(NamedTuple):
    """Where a descent stands after so many steps; the record of step 0 is the start.

    step, steps: how many were made, and will be at most.   x: a copy.   value, gradient_norm: of f at x.
    seconds: since the run began.
    """

    step: int
    steps: int
    x: Tensor
    value: float
    gradient_norm: float
    seconds: float


class Descent(Resumable[DescentStep]):
    """What `descend` returns: an iterator of records. x: where it stands."""

    def __init__(self, f: Differentiable, x: Tensor, rate: float, momentum: float, steps: int, tolerance: float):
        self.f, self.x, self.rate, self.momentum, self.steps = f, x.clone(), rate, momentum, steps
        self.tolerance, self.velocity = tolerance, torch.zeros_like(x)
        self._gradient: Tensor | None = None
        self._is_settled = False
        super().__init__()

    @property
    def is_over(self) -> bool:
        return self._gradient is not None and (self._is_settled or self.step >= self.steps)

    @torch.no_grad()
    def advance(self) -> DescentStep:
        if self._gradient is not None:
            self.velocity = self.momentum * self.velocity + self._gradient
            self.x = self.x - self.rate * self.velocity
            self.step += 1
        try:
            recording = record(self.f, self.x)
            if recording.value.numel() != 1:
                raise ShapeError(f"expected a function that gives one number, this one gives {shape(recording.value)}")
            name = recording.name_of(0)
            self._gradient = recording.back(torch.ones_like(recording.value), (name,))[name]
        except NotFiniteError as error:
            raise NotFiniteError(f"step {self.step}: {error}") from None
        norm = float(torch.linalg.vector_norm(self._gradient))
        self._is_settled = norm <= self.tolerance and float(self.velocity.abs().max()) * self.rate <= self.tolerance
        return DescentStep(self.step, self.steps, self.x.clone(), float(recording.value), norm, self.seconds)


def rate_and_momentum(rate: Any, momentum: Any) -> tuple[float, float]:
    """The two as numbers. SettingError if they are none in their ranges."""
    momentum = real(momentum, "a momentum in 0…1", least=0, below=1)
    return real(rate, "a rate above 0", above=0), momentum


def descend(
    f: Differentiable,
    x0: Any,
    rate: float = 0.1,
    momentum: float = 0.0,
    steps: int = 100,
    tolerance: float = 0.0,
    kinks: bool = False,
) -> Descent:
    """Minimize a function of one tensor by gradient descent:  V ← m V + ∇f(x),   x ← x − α V,   V = 0 at first.

    Without momentum it is x ← x − α ∇f(x). On a parabola of largest curvature λ it converges for 0 < α < 2 (1 + m) / λ
    (Polyak 1964). Yields the start as step 0, then a record of each step; `finish()` gives the last.

    f: a network, a block or a function written with blocks, that gives one number.   x0: a tensor, or numbers.
    rate α: above 0   momentum m: 0…1   steps: at most
    tolerance: ends the run where neither the gradient's norm nor the last step is larger.
    kinks: start even where f has no derivative; on the way the blocks decide at kinks.
    Raises SettingError for settings out of range and a start at a kink, NotFiniteError, with its step, where f or its
    derivative is not finite.
    """
    rate, momentum = rate_and_momentum(rate, momentum)
    steps = whole("steps", steps, 0)
    tolerance = real(tolerance, "a tolerance of at least 0", least=0)
    if not torch.isfinite(as_real(x0)).all():
        raise NotFiniteError(f"the start is not finite: {as_real(x0).tolist()}")
    recording = record(f, x0)  # what is wrong with the function there is said first
    (start,) = recording.points
    if not kinks:
        require_differentiable(f, start)
        require_written_down(recording, f)
    return Descent(f, start, rate, momentum, steps, tolerance)
