"""What a network says about data, and how good that is."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from blockprop.engine.fitting import fitting
from blockprop.engine.means import BatchMean
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.errors import ShapeError
from blockprop.training.ranks import Ranks

BATCH = 256
"""Examples that are computed at once."""


class Examples(Protocol):
    """What can be learned from: inputs `x` and targets `y`, one example a row in both (a Dataset, say)."""

    @property
    def x(self) -> Tensor: ...

    @property
    def y(self) -> Tensor | None: ...


LabeledExamples = Examples | tuple[Tensor, Tensor]
"""What training and evaluation take."""


class Evaluation(NamedTuple):
    """value: the objective on all examples; accuracy: share of right classes, None unless the targets are classes."""

    value: float
    accuracy: float | None


def pair(data: LabeledExamples) -> tuple[Tensor, Tensor]:
    """(x, y) of a data set or a pair; ShapeError if they do not belong together."""
    if not isinstance(data, tuple) and not hasattr(data, "x"):
        hint = ": take its .train or .test part" if hasattr(data, "train") else ""
        raise ShapeError(f"expected a Dataset or a pair (x, y), came a {type(data).__name__}{hint}")
    x, y = data if isinstance(data, tuple) else (data.x, data.y)
    if not isinstance(x, Tensor) or not isinstance(y, Tensor | None):
        raise ShapeError(f"expected torch tensors x and y, came {type(x).__name__} and {type(y).__name__}")
    if y is None:
        raise ShapeError("the data have no targets; training and evaluation need one for each example")
    if len(x) != len(y) or not len(x):
        raise ShapeError(f"expected as many targets as examples and at least one, came {len(x)} and {len(y)}")
    return x, y


def in_batches(x: Tensor, batch_size: int) -> Iterator[Tensor]:
    """The rows of x, so many at a time, each batch taken when it is its turn: at least one, if an empty one."""
    return (x[first : first + batch_size] for first in range(0, max(len(x), 1), batch_size))


@torch.no_grad()
def predict(
    network: Network, x: Tensor, batch_size: int = BATCH, *, progress: Callable[[], None] = lambda: None
) -> Tensor:
    """The network's output for each row of x, computed batch by batch. The result lies on the CPU.

    progress: is called after each batch.
    """
    outputs, lean = [], network.prepare()
    for rows in in_batches(x, batch_size):
        outputs.append(lean(fitting(rows, network)).cpu())
        progress()
    return torch.cat(outputs)


@torch.no_grad()
def evaluate(
    network: Network,
    data: LabeledExamples,
    objective: Objective,
    batch_size: int = BATCH,
    *,
    progress: Callable[[], None] = lambda: None,
    ranks: Ranks | None = None,
) -> Evaluation:
    """The objective on all the data, and the share of right classes if the targets are class numbers.

    batch_size: examples that are computed at once; the value is that of one batch of them all, whatever it is.
    progress: is called after each batch.
    ranks: processes that share the batches; all get the same result, that of one process.
    """
    x, y = pair(data)
    keep = objective.nodes or network.outputs
    head = objective.nodes[0] if len(objective.nodes) == 1 else network.outputs[0]
    lean = network.prepare(dict.fromkeys((*keep, *network.outputs)))
    found: list[list[float]] = []
    for number, targets in enumerate(y.split(batch_size)):
        if ranks is not None and number % ranks.count != ranks.rank:
            found.append([0.0] * (len(objective.terms) + 2))
            continue
        rows = x[number * batch_size : (number + 1) * batch_size]
        outputs = lean.values(fitting(rows, network), keep=lean.outputs)
        targets = targets.to(outputs[keep[0]].device)
        values, _ = objective.by_term({name: outputs[name] for name in keep}, targets)
        found.append([*map(float, values), *_right(outputs[head], targets)])
        progress()
    if ranks is not None:
        found = ranks.sum_rows(found, next(iter(network.parameters.values())).device)
    mean = BatchMean(objective)
    for targets, (*by_term, _, _) in zip(y.split(batch_size), found, strict=True):
        mean.add(by_term, targets)
    right, count = (sum(row[place] for row in found) for place in (-2, -1))
    return Evaluation(mean.value, right / count if count else None)


def _right(scores: Tensor, targets: Tensor) -> tuple[int, int]:
    """How many classes are right, and of how many."""
    if not are_classes(scores, targets):
        return 0, 0
    return int((scores.argmax(1) == targets).sum()), targets.numel()


def are_classes(scores: Tensor, targets: Tensor) -> bool:
    """Whether these are scores (n, classes, …) and class numbers (n, …)."""
    return not targets.is_floating_point() and scores.dim() == targets.dim() + 1 and scores.shape[1] > 1


def first_bad_row(x: Tensor) -> int | None:
    """The first row that holds a NaN or an infinity."""
    for number, rows in enumerate(in_batches(x, BATCH)):
        bad = (~torch.isfinite(rows.reshape(len(rows), -1))).any(1).nonzero()
        if len(bad):
            return number * BATCH + int(bad[0])
    return None
