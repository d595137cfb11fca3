"""L-BFGS for pictures: few evaluations, little memory, and a state that can be saved between any two steps.

point = evaluate(picture)
point = LBFGS().step(point, evaluate)
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.precision import wide
from blockprop.saving.states import require_count, require_like
from blockprop.visualize.updates import OPTIMIZERS, Optimizer, torch_update

HISTORY = 20
"""More pairs save steps, but each costs time and memory: light networks gain nothing above 20, VGG-19's loss after 300
steps is 2 % lower with 40."""
SMOOTHNESS = 0.6
"""The power of 1 / frequency by which the first guess of the inverse Hessian falls. 0.5 to 0.75 do about equally well
for style transfer; 0, the identity matrix, takes half as many steps again to the same loss."""
FIRST_CHANGE = 0.05
"""How much the first step, when nothing is known of the curvature, changes a pixel at most."""
ENOUGH = 1e-4
"""Armijo's condition: a step must save so much of what the slope promises (Nocedal and Wright 2006, eq. 3.4)."""
TRIALS = 12
FLAT = 1e-6
"""Pairs whose curvature s·y is below this part of |s| |y| say nothing: it is rounding."""


class Point(NamedTuple):
    """A picture, the loss there, its parts by name, and its gradient."""

    x: Tensor
    value: float
    parts: Mapping[str, float]
    d: Tensor

    def __repr__(self) -> str:
        return brief_repr(self)


Evaluate = Callable[[Tensor], Point]


class Changes(NamedTuple):
    """A change of the picture s and of the gradient y, each brought to at most 1, and how much larger s was than y.

    H is the same for a s and a y whatever a is, so that their ratio is all that is left of their sizes. Numbers of
    single precision are kept in half: they only guess at the curvature, the gradients stay exact. As many steps lead to
    the same loss within 2 %, for half of the memory and of the state's file.
    """

    s: Tensor
    y: Tensor
    curvature: float
    """s·y of the two as they are here."""
    ratio: float
    """The largest |s| of the picture's change, divided by the largest |y| of the gradient's."""

    def __repr__(self) -> str:
        return brief_repr(self)


class LBFGS:
    """Limited-memory BFGS, with a first guess of the inverse Hessian that suits pictures, and backtracking.

    direction p = −H d     H: the BFGS matrix of the last `history` pairs s = x₊ − x and y = d₊ − d, from
    H₀ = (s·y / y·M y) M     M multiplies frequency f of a picture by f^−smoothness
    x₊ = x + t p           t = 1, or less until the value has fallen enough

    Coarse structures hang on the gradients of many pixels, which point the same way; M lets them move farther at once.
    Source: Nocedal and Wright 2006, algorithms 7.4 (two loops) and 3.1, eq. 7.20 with M in place of the identity.
    """

    def __init__(self, history: int = HISTORY, smoothness: float = SMOOTHNESS):
        self.history, self.smoothness = history, smoothness
        self.pairs: list[Changes] = []
        """The oldest first."""
        self._filter: Tensor | None = None

    def step(self, point: Point, evaluate: Evaluate) -> Point:
        """The next point: at least a little lower, or the same one where none is found."""
        for forgets in (False, True):
            if forgets:
                if not self.pairs:
                    break
                self.pairs.clear()
            p = self._direction(point.d)
            slope = _dot(point.d, p)
            lower = self._searched(point, p, slope, evaluate) if slope < 0 else None
            if lower is not None:
                self._remember(lower.x - point.x, lower.d - point.d)
                return lower
        return point

    def kept_bytes(self, number: int) -> int:
        """What the pairs take for each number of a picture, of so many bytes."""
        return 2 * self.history * (2 if number == 4 else number)

    def learn(self, coarse: "LBFGS", resize: Callable[[Tensor], Tensor]) -> None:
        """Take over what was found out about the curvature in another size.

        A loss that is a mean over pixels has gradients that are smaller where there are more of them: y shrinks.
        """
        self.pairs = []
        for s, y, _, ratio in coarse.pairs:
            larger = resize(wide(s))
            self._remember(larger, resize(wide(y)).mul_(s.numel() / larger.numel() / ratio))

    def _direction(self, d: Tensor) -> Tensor:
        q = -d
        factors = []
        for s, y, curvature, _ in reversed(self.pairs):
            factors.append(_dot(q, s) / curvature)
            q.add_(y, alpha=-factors[-1])
        p = self._smoothed(q)
        if not self.pairs:
            return p.mul_(FIRST_CHANGE / max(float(p.abs().max()), torch.finfo(p.dtype).tiny))
        _, y, curvature, ratio = self.pairs[-1]
        y = wide(y)
        p.mul_(ratio * curvature / _dot(y, self._smoothed(y)))
        for (s, y, curvature, ratio), factor in zip(self.pairs, reversed(factors), strict=True):
            p.add_(s, alpha=ratio * factor - _dot(p, y) / curvature)
        return p

    def _searched(self, point: Point, p: Tensor, slope: float, evaluate: Evaluate) -> Point | None:
        """The first point along p that is low enough; each trial is the minimum of a parabola through the last one."""
        t = 1.0
        for _ in range(TRIALS):
            trial = evaluate(point.x.add(p, alpha=t))
            if trial.value <= point.value + ENOUGH * t * slope:
                return trial
            lowest = -slope * t * t / (2 * (trial.value - point.value - slope * t))
            t = min(max(lowest, t / 10), t / 2) if math.isfinite(lowest) else t / 10
        return None

    def _remember(self, s: Tensor, y: Tensor) -> None:
        largest_s, largest_y = float(s.abs().max()), float(y.abs().max())
        if not largest_s or not largest_y:
            return
        s, y = (x.to(kept_type(x.dtype)) for x in (s / largest_s, y / largest_y))
        curvature = _dot(wide(s), y)
        if curvature > FLAT * math.sqrt(_dot(wide(s), s) * _dot(wide(y), y)):
            del self.pairs[: max(0, len(self.pairs) + 1 - self.history)]
            self.pairs.append(Changes(s, y, curvature, largest_s / largest_y))

    def _smoothed(self, x: Tensor) -> Tensor:
        """M x: (n, c, h, w), real."""
        if not self.smoothness:
            return x.clone()
        height, width = x.shape[2:]
        if self._filter is None or self._filter.shape != (height, width // 2 + 1):
            rows = torch.fft.fftfreq(height, device=x.device)[:, None]
            columns = torch.fft.rfftfreq(width, device=x.device)
            squares = (rows.square() + columns.square()).clamp_min_(1 / max(height, width) ** 2)
            self._filter = squares.pow_(-self.smoothness / 2).to(x.dtype)
        return torch.fft.irfft2(torch.fft.rfft2(x).mul_(self._filter), s=(height, width))

    def state(self) -> dict[str, Any]:
        """What the next step depends on, as a tree of plain data and tensors."""
        return {"pairs": [list(pair) for pair in self.pairs]}

    def restore(self, state: Mapping[str, Any], x: Tensor) -> None:
        """Take over what `state` gave. x: a picture of the size, in shape. Raises FormatError if it does not fit."""
        pair = x.to(kept_type(x.dtype))
        require_like(state, {"pairs": []}, "optimizer")
        require_count(len(state["pairs"]), "pairs of the optimizer", 0, self.history)
        require_like(state["pairs"], [[pair, pair, 0.0, 0.0]] * len(state["pairs"]), "pairs of the optimizer")
        # Copied, because what lies elsewhere in memory than torch would put it is added up in another order.
        self.pairs = [Changes(s.clone(), y.clone(), curvature, ratio) for s, y, curvature, ratio in state["pairs"]]


class FirstOrder:
    """One of updates.OPTIMIZERS, or a function that makes one of torch.optim: one evaluation a step, up or down."""

    def __init__(self, kind: Optimizer, rate: float):
        self.make = OPTIMIZERS[kind] if isinstance(kind, str) else torch_update(kind)
        self.rate = rate
        self.inner: Any = None
        self._state: Mapping[str, Any] | None = None

    def step(self, point: Point, evaluate: Evaluate) -> Point:
        if self.inner is None:
            self.parameters = point.x.clone()
            self.inner = self.make(self.parameters, self.rate)
            if self._state is not None:
                self.inner.restore(self._state)
        self.inner.ascend(-point.d)
        return evaluate(self.parameters.clone())

    def state(self) -> dict[str, Any]:
        return {"inner": None if self.inner is None else self.inner.state()}

    def restore(self, state: Mapping[str, Any], x: Tensor) -> None:
        """Take over what `state` gave, when the next step is made."""
        require_like(state, {"inner": None}, "optimizer")
        self.inner, self._state = None, state["inner"]


def kept_type(dtype: torch.dtype) -> torch.dtype:
    """In what the pairs of pictures of this type are kept."""
    return torch.float16 if dtype == torch.float32 else dtype


def _dot(a: Tensor, b: Tensor) -> float:
    """a·b, in the precision of a."""
    return float(torch.dot(a.flatten(), b.flatten().to(a.dtype)))
