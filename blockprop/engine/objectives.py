"""Objectives: what is minimized or maximized. Each gives its value and its seeds, the derivatives by what it reads.

    value, seeds = objective.evaluate({"output": logits}, target)      seeds = {"output": ∂L/∂logits}

Objectives add, subtract and scale. They know nothing of optimizers and never see a network. With n examples in the
batch, every loss below is the mean over the examples (with class weights: the weighted mean, as in torch). `means.py`
puts the values of several batches together, as if they had been one.

An objective that people call by name is a class with the name of a function, so that it prints as it is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.briefly import MOST_ITEMS, brief
from blockprop.engine.plain_cross_entropy import plain_cross_entropy
from blockprop.engine.precision import wide
from blockprop.engine.targets import class_shares, class_weight, matching, require_classes, share_times
from blockprop.errors import GraphError, SettingError, ShapeError

Seeds = dict[str, Tensor]
Task = Literal["classify", "regress"]
"""What a loss wants as target: classes, or numbers."""


class Objective:
    """A number computed from outputs of a network, and its derivative by each of them."""

    nodes: tuple[str, ...] = ()
    """The outputs it reads; empty: the network's only output, whatever its name."""
    adds_up: ClassVar[bool] = False
    """Whether its value is a sum over the examples of a batch, and not a mean."""

    def weight(self, target: Any) -> float:
        """What a batch with this target counts in a mean over several: the number that its own mean was divided by."""
        return float(len(target))

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        """Return the value, one number, and {name: ∂value/∂outputs[name]}."""
        raise NotImplementedError(f"{type(self).__name__} has no evaluate")

    @property
    def terms(self) -> list[tuple[float, "Objective"]]:
        """What it is the weighted sum of: (factor, objective) of each."""
        return [(1.0, self)]

    def parts(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[dict[str, float], Seeds]:
        """Return factor · value of each term by its title, and the seeds of their sum."""
        parts: dict[str, float] = {}
        values, seeds = self.by_term(outputs, target)
        for (factor, term), value in zip(self.terms, values, strict=True):
            title = _title(factor, term)
            parts[title] = parts.get(title, 0.0) + factor * float(value)
        return parts, seeds

    def by_term(
        self, outputs: Mapping[str, Tensor], target: Any, factors: Sequence[float] | None = None
    ) -> tuple[list[Tensor], Seeds]:
        """Return each term's value, and the seeds of Σ factor · term. factors: other ones than those of `terms`."""
        values: list[Tensor] = []
        seeds: Seeds = {}
        for i, (factor, term) in enumerate(self.terms):
            value, term_seeds = term.evaluate({name: outputs[name] for name in term.nodes or outputs}, target)
            values.append(value)
            _add(seeds, factor if factors is None else factors[i], term_seeds)
        return values, seeds

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
        self._terms = [(factor * inner, objective) for factor, term in terms for inner, objective in term.terms]
        self.nodes = tuple(dict.fromkeys(name for _, objective in self.terms for name in objective.nodes))
        if self.nodes and not all(objective.nodes for _, objective in self.terms):
            raise GraphError(
                f"in {self!r} some terms name the node that they read and some do not: give each its node=…"
            )

    @property
    def terms(self) -> list[tuple[float, Objective]]:
        return self._terms

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        values, seeds = self.by_term(outputs, target)
        total: Any = 0.0
        for (factor, _), value in zip(self.terms, values, strict=True):
            total = total + factor * value
        return total, seeds

    def __repr__(self) -> str:
        return " + ".join(_title(factor, term) for factor, term in self.terms)


def _title(factor: float, term: Objective) -> str:
    return repr(term) if factor == 1 else f"{factor:g} * {term!r}"


def _add(total: Seeds, factor: float, seeds: Seeds) -> None:
    """Add factor · seeds to the total. The seeds themselves stay as they are: an objective may have kept them."""
    for name, seed in seeds.items():
        scaled = seed if factor == 1 else factor * seed
        total[name] = total[name] + scaled if name in total else scaled


class OfNode(Objective):
    """An objective of one node's output. What it is made with are the fields of a frozen dataclass, `node` the last."""

    node: str | None
    """The output it reads; None for the network's only one."""

    def of(self, y: Tensor, target: Any) -> tuple[Tensor, Tensor]:
        """(L, ∂L/∂y)."""
        raise NotImplementedError(f"{type(self).__name__} has no formula")

    @property
    def nodes(self) -> tuple[str, ...]:  # type: ignore[override]  # an attribute that nobody sets
        return () if self.node is None else (self.node,)

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        if self.node is None and len(outputs) != 1:
            raise GraphError(f"{self!r} must be told which of {', '.join(outputs)} it reads: node=…")
        name = self.node or next(iter(outputs))
        value, seed = self.of(outputs[name], target)
        return value, {name: seed}

    def __repr__(self) -> str:
        """Its name, and the settings that are not as usual."""
        settings = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}  # type: ignore[arg-type]
        shown = [
            f"{name}={value.tolist() if isinstance(value, Tensor) and value.numel() <= MOST_ITEMS else brief(value)}"
            for name, (value, usual) in settings.items()
            if name != "node" and (isinstance(value, Tensor) or value != usual)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


class Loss(OfNode):
    """An objective that compares one output with a target."""

    task: ClassVar[Task]

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        if target is None:
            raise ShapeError(f"{self!r} needs a target for each example")
        if not isinstance(target, Tensor):
            such = "such as torch.tensor([1])"
            raise ShapeError(f"{self!r} needs a tensor with a target for each example, {such}; came {brief(target)}")
        return super().evaluate(outputs, target)


@dataclass(frozen=True, eq=False, repr=False)
class cross_entropy(Loss):
    """Cross-entropy of class scores before softmax:  L = −Σ_c t_c log softmax(y)_c, the mean over the examples.

    seed = (softmax(y) Σ_c t_c − t) / n     with t the target as a distribution over the classes

    y: (n, classes, …)   target: (n, …) class numbers, int64; … may be positions (pixels, tokens).
    label_smoothing ε in 0…1: t = (1 − ε) onehot + ε / classes (Szegedy et al. 2016, section 7).
    class_weights w: (classes,); t_c counts w_c fold, and n becomes the sum of the weights of the examples' classes
        (it stays n if the targets are distributions), as in torch.
    Raises ShapeError for targets of another shape or outside 0…classes − 1.
    """

    task = "classify"
    class_weights: Tensor | None = None
    label_smoothing: float = 0.0
    node: str | None = None

    def __post_init__(self) -> None:
        require_classes(self.class_weights, self.label_smoothing)

    def weight(self, target: Tensor) -> float:
        return class_weight(target, self.class_weights)

    def of(self, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if self.is_plain and target.dtype is torch.int64 and y.dim() == 2 and target.dim() == 1:
            return plain_cross_entropy(y, target)
        t = class_shares(wide(y), target, self.class_weights, self.label_smoothing)
        log_p = wide(y).log_softmax(1)
        seed = log_p.exp() * t.sum(1, keepdim=True) - t
        return -share_times(t, log_p).sum().to(y.dtype), seed.to(y.dtype)

    @property
    def is_plain(self) -> bool:
        """Whether all is as usual."""
        return self.class_weights is None and not self.label_smoothing


@dataclass(frozen=True, eq=False, repr=False)
class negative_log_likelihood(Loss):
    """Negative log-likelihood of probabilities, as in textbooks:  L = −Σ_c r_c log r̂_c, mean over the examples.

    seed = −r / (r̂ n)     and 0 where r is 0

    r̂: (n, classes, …) probabilities, after softmax   r: class numbers (n, …), or distributions of r̂'s shape.
    class_weights, label_smoothing: as in `cross_entropy`, which is the same on scores and numerically safer.
    """

    task = "classify"
    class_weights: Tensor | None = None
    label_smoothing: float = 0.0
    node: str | None = None

    def __post_init__(self) -> None:
        require_classes(self.class_weights, self.label_smoothing)

    def weight(self, target: Tensor) -> float:
        return class_weight(target, self.class_weights)

    def of(self, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        p = wide(y)
        t = class_shares(p, target, self.class_weights, self.label_smoothing)
        return -torch.xlogy(t, p).sum().to(y.dtype), torch.where(t == 0, 0.0, -t / p).to(y.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class mean_squared_error(Loss):
    """L = mean of (y − target)² over all elements;  seed = 2 (y − target) / elements.

    y and target: the same shape, or target (n,) for y (n, 1).
    """

    task = "regress"
    node: str | None = None

    def of(self, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        difference = wide(y) - matching(wide(y), target)
        return difference.square().mean().to(y.dtype), (difference * (2 / max(y.numel(), 1))).to(y.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class huber(Loss):
    """Huber's loss, the mean over all elements of  e²/2 where |e| ≤ δ, else δ (|e| − δ/2),  with e = y − target.

    seed = e clamped to −δ…δ, / elements     (Huber 1964, eq. 1.3, up to the mean)
    """

    task = "regress"
    delta: float = 1.0
    node: str | None = None

    def __post_init__(self) -> None:
        if self.delta <= 0:
            raise SettingError(f"delta must be above 0, not {self.delta}")

    def of(self, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        error = wide(y) - matching(wide(y), target)
        bounded = error.clamp(-self.delta, self.delta)
        return (bounded * (error - bounded / 2)).mean().to(y.dtype), (bounded / max(y.numel(), 1)).to(y.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class binary_cross_entropy(Loss):
    """Cross-entropy of yes/no answers from logits:  L = −[p t log σ(y) + (1 − t) log(1 − σ(y))], mean over elements.

    seed = [σ(y) (1 + (p − 1) t) − p t] / elements     with p = positive_weight, the weight of a "yes"

    y: logits   target t: the same shape (or (n,) for y (n, 1)), 0…1.
    label_smoothing ε in 0…1 moves t to (1 − ε) t + ε / 2.
    """

    task = "regress"
    positive_weight: float = 1.0
    label_smoothing: float = 0.0
    node: str | None = None

    def __post_init__(self) -> None:
        require_classes(None, self.label_smoothing)

    def of(self, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        z = wide(y)
        t = matching(z, target) * (1 - self.label_smoothing) + self.label_smoothing / 2
        yes = self.positive_weight * t
        value = share_times(yes, F.logsigmoid(z)) + share_times(1 - t, F.logsigmoid(-z))
        seed = ((yes + 1 - t) * z.sigmoid() - yes) / max(y.numel(), 1)
        return -value.mean().to(y.dtype), seed.to(y.dtype)


LOSSES: dict[str, type[Loss]] = {loss.__name__: loss for loss in Loss.__subclasses__()}
"""All losses of this file by name."""
