"""Objectives: what is minimized or maximized. Each gives its value and its seeds, the derivatives by what it reads.

    value, seeds = objective.evaluate({"output": logits}, target)      seeds = {"output": ∂L/∂logits}

Objectives add, subtract and scale. They know nothing of optimizers and never see a network. With n examples in the
batch, every loss below is the mean over the examples (with class weights: the weighted mean, as in torch).
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.errors import GraphError, SettingError, ShapeError

Seeds = dict[str, Tensor]
Task = Literal["classify", "regress"]
"""What a loss wants as target: classes, or numbers."""


class Objective:
    """A number computed from outputs of a network, and its derivative by each of them."""

    nodes: tuple[str, ...] = ()
    """The outputs it reads; empty: the network's only output, whatever its name."""

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        """Return the value, one number, and {name: ∂value/∂outputs[name]}."""
        raise NotImplementedError(f"{type(self).__name__} has no evaluate")

    def __add__(self, other: "Objective") -> "Objective":
        return WeightedSum([(1.0, self), (1.0, other)])

    def __sub__(self, other: "Objective") -> "Objective":
        return WeightedSum([(1.0, self), (-1.0, other)])

    def __mul__(self, factor: float) -> "Objective":
        return WeightedSum([(float(factor), self)])

    __rmul__ = __mul__

    def __radd__(self, other: Any) -> "Objective":
        return self if other == 0 else NotImplemented  # so that sum() adds objectives up

    def __neg__(self) -> "Objective":
        return self * -1.0


class WeightedSum(Objective):
    """Σ factor · objective; its seeds are the same sum of theirs."""

    def __init__(self, terms: list[tuple[float, Objective]]):
        self.terms: list[tuple[float, Objective]] = [
            (factor * inner, objective)
            for factor, term in terms
            for inner, objective in (term.terms if isinstance(term, WeightedSum) else [(1.0, term)])
        ]
        self.nodes = tuple(dict.fromkeys(name for _, objective in self.terms for name in objective.nodes))
        if self.nodes and not all(objective.nodes for _, objective in self.terms):
            raise GraphError(
                f"in {self!r} some terms name the node that they read and some do not: give each its node=…"
            )

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        total: Any = 0.0
        seeds: Seeds = {}
        for factor, objective in self.terms:
            value, found = objective.evaluate(outputs, target)
            total = total + factor * value
            for name, seed in found.items():
                seeds[name] = seeds[name] + factor * seed if name in seeds else factor * seed
        return total, seeds

    def __repr__(self) -> str:
        return " + ".join(repr(term) if factor == 1 else f"{factor:g} * {term!r}" for factor, term in self.terms)


class Loss(Objective):
    """An objective that compares one output with a target.

    loss: function (y, target) -> (L, ∂L/∂y)     title: how it prints
    node: the output it reads; None for the network's only one.   task: whether it wants classes or numbers
    """

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        title: str,
        node: str | None = None,
        task: Task = "regress",
    ):
        self.loss, self.title, self.node, self.task = loss, title, node, task
        self.nodes = () if node is None else (node,)

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        if self.node is None and len(outputs) != 1:
            raise GraphError(f"{self!r} must be told which of {', '.join(outputs)} it reads: node=…")
        name = self.node or next(iter(outputs))
        if target is None:
            raise ShapeError(f"{self!r} needs a target for each example")
        value, seed = self.loss(outputs[name], target)
        return value, {name: seed}

    def __repr__(self) -> str:
        return self.title


def cross_entropy(class_weights: Tensor | None = None, label_smoothing: float = 0.0, node: str | None = None) -> Loss:
    """Cross-entropy of class scores before softmax:  L = −Σ_c t_c log softmax(y)_c, the mean over the examples.

    seed = (softmax(y) Σ_c t_c − t) / n     with t the target as a distribution over the classes

    y: (n, classes, …)   target: (n, …) class numbers, int64; … may be positions (pixels, tokens).
    label_smoothing ε in 0…1: t = (1 − ε) onehot + ε / classes (Szegedy et al. 2016, section 7).
    class_weights w: (classes,); t_c counts w_c fold, and n becomes the sum of the weights of the examples' classes
        (it stays n if the targets are distributions), as in torch.
    Raises ShapeError for targets of another shape or outside 0…classes − 1.
    """
    plain = class_weights is None and not label_smoothing
    shares = _class_shares(class_weights, label_smoothing)

    def loss(y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if plain and target.dtype is torch.int64 and y.dim() == 2 and target.dim() == 1:
            return _plain_cross_entropy(y, target)
        t = shares(y, target)
        log_p = y.log_softmax(1)
        return -(t * log_p).sum(), log_p.exp() * t.sum(1, keepdim=True) - t

    title = _title("cross_entropy", class_weights=class_weights, label_smoothing=label_smoothing)
    return Loss(loss, title, node, "classify")


def negative_log_likelihood(
    class_weights: Tensor | None = None, label_smoothing: float = 0.0, node: str | None = None
) -> Loss:
    """Negative log-likelihood of probabilities, as in textbooks:  L = −Σ_c r_c log r̂_c, mean over the examples.

    seed = −r / (r̂ n)     and 0 where r is 0

    r̂: (n, classes, …) probabilities, after softmax   r: class numbers (n, …), or distributions of r̂'s shape.
    class_weights, label_smoothing: as in `cross_entropy`, which is the same on scores and numerically safer.
    """
    shares = _class_shares(class_weights, label_smoothing)

    def loss(y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        t = shares(y, target)
        return -torch.xlogy(t, y).sum(), torch.where(t == 0, 0.0, -t / y)

    title = _title("negative_log_likelihood", class_weights=class_weights, label_smoothing=label_smoothing)
    return Loss(loss, title, node, "classify")


def mean_squared_error(node: str | None = None) -> Loss:
    """L = mean of (y − target)² over all elements;  seed = 2 (y − target) / elements.

    y and target: the same shape, or target (n,) for y (n, 1).
    """

    def loss(y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        difference = y - _matching(y, target)
        return difference.square().mean(), difference * (2 / max(y.numel(), 1))

    return Loss(loss, "mean_squared_error()", node)


def huber(delta: float = 1.0, node: str | None = None) -> Loss:
    """Huber's loss, the mean over all elements of  e²/2 where |e| ≤ δ, else δ (|e| − δ/2),  with e = y − target.

    seed = e clamped to −δ…δ, / elements     (Huber 1964, eq. 1.3, up to the mean)
    """
    if delta <= 0:
        raise SettingError(f"delta must be above 0, not {delta}")

    def loss(y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        error = y - _matching(y, target)
        bounded = error.clamp(-delta, delta)
        return (bounded * (error - bounded / 2)).mean(), bounded / max(y.numel(), 1)

    return Loss(loss, _title("huber", delta=delta), node)


def binary_cross_entropy(positive_weight: float = 1.0, label_smoothing: float = 0.0, node: str | None = None) -> Loss:
    """Cross-entropy of yes/no answers from logits:  L = −[p t log σ(y) + (1 − t) log(1 − σ(y))], mean over elements.

    seed = [σ(y) (1 + (p − 1) t) − p t] / elements     with p = positive_weight, the weight of a "yes"

    y: logits   target t: the same shape (or (n,) for y (n, 1)), 0…1.
    label_smoothing ε in 0…1 moves t to (1 − ε) t + ε / 2.
    """
    _check_smoothing(label_smoothing)

    def loss(y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        t = _matching(y, target).to(y.dtype) * (1 - label_smoothing) + label_smoothing / 2
        weight = 1 + (positive_weight - 1) * t
        value = (1 - t) * y + weight * F.softplus(-y)
        return value.mean(), (weight * y.sigmoid() - positive_weight * t) / max(y.numel(), 1)

    title = _title("binary_cross_entropy", positive_weight=positive_weight, label_smoothing=label_smoothing)
    return Loss(loss, title, node)


LOSSES = {
    loss.__name__: loss
    for loss in (cross_entropy, negative_log_likelihood, mean_squared_error, huber, binary_cross_entropy)
}
"""All losses by name."""


def _plain_cross_entropy(y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    n = y.shape[0]
    log_p = y.log_softmax(1)
    try:
        value = F.nll_loss(log_p, target)
        one_nth, minus = _shares_of_mean(n, y.dtype, y.device)
        return value, log_p.exp_().mul_(one_nth).scatter_add_(1, target.unsqueeze(1), minus)
    except (IndexError, RuntimeError, ValueError) as error:
        raise _target_error(y, target) from error


@functools.lru_cache(maxsize=64)
def _shares_of_mean(n: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """1 / n, and −1 / n in each of n rows; made once, because that takes as long as a small matrix product."""
    with torch.inference_mode(False):
        one_nth = torch.tensor(1 / max(n, 1), dtype=dtype, device=device)
        return one_nth, (-one_nth).expand(n, 1).contiguous()


def _class_shares(class_weights: Tensor | None, label_smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function (y, target) -> t / n, the share of each class in the loss; t as in `cross_entropy`."""
    _check_smoothing(label_smoothing)

    def shares(y: Tensor, target: Tensor) -> Tensor:
        classes = y.shape[1]
        if target.shape == y.shape and target.is_floating_point():
            t = target.to(y.dtype)
        else:
            if target.shape != y.shape[:1] + y.shape[2:] or target.is_floating_point():
                raise _target_error(y, target)
            if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < classes:
                raise _target_error(y, target)
            t = torch.zeros_like(y).scatter_(1, target.long().unsqueeze(1), 1.0)
        # float16 would overflow at 65,504 examples or positions
        total = torch.tensor(float(y.numel() // classes), device=y.device)
        t = (1 - label_smoothing) * t + label_smoothing / classes if label_smoothing else t
        if class_weights is not None:
            weights = class_weights.to(y)
            t = t * weights.view(-1, *[1] * (y.dim() - 2))
            if not target.is_floating_point():
                total = weights.double()[target.long()].sum()
        return (t / total.clamp_min(torch.finfo(torch.float32).tiny)).to(y.dtype)

    return shares


def _matching(y: Tensor, target: Tensor) -> Tensor:
    if target.shape == y.shape:
        return target.to(y.dtype)
    if y.shape == (*target.shape, 1):
        return target.unsqueeze(-1).to(y.dtype)
    raise ShapeError(f"the target is {tuple(target.shape)}, the output {tuple(y.shape)}; they must have the same shape")


def _check_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing < 1:
        raise SettingError(f"label_smoothing must lie in 0…1, not {label_smoothing}")


def _target_error(y: Tensor, target: Tensor) -> ShapeError:
    wanted = f"one class number 0…{y.shape[1] - 1} for each of {y.shape[0]} examples"
    came = f"{target.dtype} of shape {tuple(target.shape)}"
    if target.numel() and not target.is_floating_point():
        came += f" with numbers {int(target.min())}…{int(target.max())}"
    return ShapeError(f"expected as target {wanted}; came {came}")


def _title(name: str, **settings: Any) -> str:
    arguments = inspect.signature(globals()[name]).parameters
    shown = [
        f"{key}={value.tolist() if isinstance(value, Tensor) else value}"
        for key, value in settings.items()
        if isinstance(value, Tensor) or value != arguments[key].default
    ]
    return f"{name}({', '.join(shown)})"
