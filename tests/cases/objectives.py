"""Rows of objectives."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.objectives import (
    Objective,
    binary_cross_entropy,
    cross_entropy,
    huber,
    mean_squared_error,
    negative_log_likelihood,
)
from tests.cases.case import spread


@dataclass(frozen=True)
class ObjectiveCase:
    """An objective; made(generator) -> its output and target; reference(y, target) by torch."""

    objective: Objective
    made: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    reference: Callable[[Tensor, Tensor], Tensor]

    def __str__(self) -> str:
        return repr(self.objective)


def classes(*shape: int, count: int = 4) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Scores (n, count, …) and class numbers (n, …)."""

    def made(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        y = spread((shape[0], count, *shape[1:]), generator)
        return y, torch.randint(count, shape, generator=generator)

    return made


def probabilities(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Probabilities of 4 classes, and the true classes."""
    y, target = classes(6)(generator)
    return y.softmax(1), target


def distributions(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Probabilities of 4 classes, and true distributions over them."""
    y, other = classes(6)(generator)[0], classes(6)(generator)[0]
    return y.softmax(1), other.flip(0).softmax(1)


def numbers(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Outputs and targets whose differences are never 0 or 1 in size."""
    return lambda generator: (spread(shape, generator), spread(shape, generator, -0.55, 0.45))


def answers(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Logits and answers 0 or 1."""
    return lambda generator: (spread(shape, generator), torch.randint(2, shape, generator=generator).double())


WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)

OBJECTIVES = [
    ObjectiveCase(cross_entropy(), classes(6), F.cross_entropy),
    ObjectiveCase(cross_entropy(), classes(3, 5), F.cross_entropy),
    ObjectiveCase(cross_entropy(), distributions, F.cross_entropy),
    ObjectiveCase(cross_entropy(WEIGHTS), classes(6), lambda y, t: F.cross_entropy(y, t, WEIGHTS)),
    ObjectiveCase(
        cross_entropy(label_smoothing=0.1), classes(6), lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1)
    ),
    ObjectiveCase(
        cross_entropy(WEIGHTS, 0.2), classes(6), lambda y, t: F.cross_entropy(y, t, WEIGHTS, label_smoothing=0.2)
    ),
    ObjectiveCase(negative_log_likelihood(), probabilities, lambda p, t: F.nll_loss(p.log(), t)),
    ObjectiveCase(negative_log_likelihood(WEIGHTS), probabilities, lambda p, t: F.nll_loss(p.log(), t, WEIGHTS)),
    ObjectiveCase(negative_log_likelihood(), distributions, lambda p, r: -(r * p.log()).sum(1).mean()),
    ObjectiveCase(mean_squared_error(), numbers(5, 3), F.mse_loss),
    ObjectiveCase(huber(), numbers(5, 3), F.huber_loss),
    ObjectiveCase(huber(0.3), numbers(5, 3), lambda y, t: F.huber_loss(y, t, delta=0.3)),
    ObjectiveCase(binary_cross_entropy(), answers(5, 3), F.binary_cross_entropy_with_logits),
    ObjectiveCase(
        binary_cross_entropy(positive_weight=3.0),
        answers(5, 3),
        lambda y, t: F.binary_cross_entropy_with_logits(y, t, pos_weight=torch.tensor(3.0)),
    ),
    ObjectiveCase(
        binary_cross_entropy(label_smoothing=0.1),
        answers(5, 3),
        lambda y, t: F.binary_cross_entropy_with_logits(y, t * 0.9 + 0.05),
    ),
    ObjectiveCase(
        2 * mean_squared_error() - 0.5 * huber(),
        numbers(5, 3),
        lambda y, t: 2 * F.mse_loss(y, t) - 0.5 * F.huber_loss(y, t),
    ),
]
