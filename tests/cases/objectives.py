"""Rows of objectives."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.objectives import (
    Objective,
    OfNode,
    binary_cross_entropy,
    cross_entropy,
    huber,
    mean_squared_error,
    negative_log_likelihood,
)
from blockprop.visualize.objectives.penalties import diversity, doubt, l2, total_variation
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


@dataclass(frozen=True)
class PenaltyCase:
    """A penalty of node "y"; made(generator) -> that node's output; reference(y) by torch."""

    penalty: OfNode
    made: Callable[[torch.Generator], Tensor]
    reference: Callable[[Tensor], Tensor]
    title: str = ""

    def __str__(self) -> str:
        return self.title or repr(self.penalty)


def variation(power: float) -> Callable[[Tensor], Tensor]:
    """Pixel by pixel, from the paper."""

    def reference(y: Tensor) -> Tensor:
        total = y.new_zeros(())
        height, width = y.shape[2:]
        for i in range(height):
            for j in range(width):
                down = (y[:, :, i + 1, j] - y[:, :, i, j]).square() if i + 1 < height else 0
                right = (y[:, :, i, j + 1] - y[:, :, i, j]).square() if j + 1 < width else 0
                if i + 1 < height or j + 1 < width:
                    total = total + (down + right).pow(power / 2).sum()
        return total / y[0].numel()

    return reference


def alikeness(groups: int) -> Callable[[Tensor], Tensor]:
    """Pair by pair."""

    def reference(y: Tensor) -> Tensor:
        total = y.new_zeros(())
        for run in y.chunk(groups):
            grams = [(f.flatten(1) @ f.flatten(1).t()).flatten() for f in run]
            pairs = [(a, b) for a in range(len(grams)) for b in range(a)]
            cosines = [grams[a] @ grams[b] / (grams[a].norm() * grams[b].norm()) for a, b in pairs]
            total = total + sum(cosines) / max(len(pairs), 1)
        return total

    return reference


def pictures(*shape: int) -> Callable[[torch.Generator], Tensor]:
    return lambda generator: spread(shape, generator)


PENALTIES = [
    PenaltyCase(l2("y"), pictures(2, 3, 4, 5), lambda y: (y - 0.5).square().mean((1, 2, 3)).sum()),
    PenaltyCase(l2("y", 0.0), pictures(2, 3, 4, 5), lambda y: y.square().mean((1, 2, 3)).sum()),
    PenaltyCase(total_variation("y"), pictures(2, 3, 4, 5), variation(2)),
    PenaltyCase(total_variation("y", 1.0), pictures(2, 3, 4, 5), variation(1)),
    PenaltyCase(total_variation("y", 1.5), pictures(2, 1, 4, 3), variation(1.5)),
    PenaltyCase(total_variation("y"), pictures(2, 1, 1, 3), variation(2), "total_variation of a row"),
    PenaltyCase(diversity("y"), pictures(3, 4, 2, 3), alikeness(1)),
    PenaltyCase(diversity("y", groups=2), pictures(4, 3, 2, 2), alikeness(2), "diversity in two runs"),
    PenaltyCase(diversity("y"), pictures(3, 2, 5), alikeness(1), "diversity along one axis"),
    PenaltyCase(doubt("y", [2]), pictures(3, 4), lambda y: -y.log_softmax(1)[:, 2].sum()),
    PenaltyCase(
        doubt("y", [2, None, 0]),
        pictures(6, 4, 2, 3),
        lambda y: -(y[:2].mean((2, 3)).log_softmax(1)[:, 2].sum() + y[4:].mean((2, 3)).log_softmax(1)[:, 0].sum()),
    ),
    PenaltyCase(doubt("y", [1]), pictures(2, 1, 1, 4), lambda y: -y[:, 0, 0].log_softmax(1)[:, 1].sum(), "on axis 3"),
]
"""They need no target; checked by test_penalties.py."""
