"""How good a network is on data, in the numbers that people ask for: for classes, for yes/no answers, for numbers.

    measures(network, test).values["f1"]

scikit-learn computes them; its documentation has the formulas. What is not defined is None, and a note says why.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.engine.objectives import Loss, Objective, binary_cross_entropy
from blockprop.errors import NotFiniteError, ShapeError
from blockprop.training.evaluation import BATCH, LabeledExamples, are_classes, first_bad_row, in_batches, pair

Values = dict[str, float | None]
ONE = 1e-3
"""How far sums of probabilities may be from 1."""


@dataclass(frozen=True)
class Measures:
    """What `measures` gives.

    values, for classes and answers, all in 0…1:
        accuracy            share of right answers
        majority_share      what always naming the commonest class would be right in: accuracy below it is worth nothing
        balanced_accuracy   the mean over the classes of the share of each that is recognized
        precision, recall, f1   of "yes"; for classes the mean over them ("macro")
        auc                 area under the ROC curve, each class against all others, the mean
    values, for numbers, in their own units: mae (mean absolute error), rmse (root of the mean squared error),
        r_squared (1 − Σ(ŷ − y)² / Σ(y − ȳ)²); the mean over several outputs.
    parts: the same for each class, or each of several outputs, by name.   kind: what these are, "class" or "output".
    majority: the commonest class.   notes: sentences about what is not defined, or worth nothing.
    """

    values: Values = field(default_factory=dict)
    parts: dict[str, Values] = field(default_factory=dict)
    kind: str = "class"
    majority: str | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return brief_repr(self)


def measures(
    network: Network,
    data: LabeledExamples,
    objective: Objective | None = None,
    batch_size: int = BATCH,
    *,
    progress: Callable[[], None] = lambda: None,
) -> Measures:
    """How good a network is on data: see Measures. The examples' order and batch_size play no part.

    data: class numbers, or numbers (n,) or (n, outputs), as targets; a Dataset's classes name the classes.
    progress: is called after each batch.
    objective: what it was trained for; binary_cross_entropy makes 0 and 1 yes/no answers, from logits.
    Raises NotFiniteError with the row for outputs or targets that are no numbers, ShapeError for ones that do not fit.
    """
    x, y = pair(data)
    head = objective.nodes[0] if objective is not None and len(objective.nodes) == 1 else network.outputs[0]
    outputs = _outputs(network, x, head, batch_size, progress)
    _require_finite(outputs, x, "the network gives numbers that are not finite")
    _require_finite(y, y, "its target is not finite")
    if are_classes(outputs, y):
        names = tuple(getattr(data, "classes", None) or ())
        numbers = map(str, range(len(names), outputs.shape[1]))
        return _of_classes(outputs.movedim(1, -1).flatten(0, -2), y.flatten(), (*names, *numbers))
    if isinstance(objective, Loss) and objective.task == "classify":
        return Measures(notes=("targets that are distributions have no accuracy",))
    if outputs.numel() != y.numel():
        raise ShapeError(f"the targets are {tuple(y.shape)}, the outputs {tuple(outputs.shape)}; they do not fit")
    columns = outputs.shape[1] if outputs.dim() == 2 else 1
    predicted, truth = outputs.double().reshape(-1, columns), y.cpu().double().reshape(-1, columns)
    of_column = _of_answers if isinstance(objective, binary_cross_entropy) else _of_numbers
    return _together([of_column(p.numpy(), t.numpy()) for p, t in zip(predicted.T, truth.T, strict=True)])


@torch.no_grad()
def _outputs(network: Network, x: Tensor, head: str, batch_size: int, progress: Callable[[], None]) -> Tensor:
    parts, lean = [], network.prepare([head])
    for rows in in_batches(x, batch_size):
        part = lean(fitting(rows, network))
        parts.append(part.float().cpu() if part.dtype.itemsize < 4 else part.cpu())
        progress()
    return torch.cat(parts)


def _require_finite(numbers: Tensor, examples: Tensor, said: str) -> None:
    row = first_bad_row(numbers) if numbers.is_floating_point() else None
    if row is None:
        return
    if examples.is_floating_point() and first_bad_row(examples[row : row + 1]) is not None and numbers is not examples:
        said = "the example itself is not finite"
    raise NotFiniteError(f"row {row} of the data (counted from 0): {said}")


def _of_classes(scores: Tensor, y: Tensor, names: Sequence[str]) -> Measures:
    """scores: (n, classes).   y: (n,) class numbers."""
    truth, predicted = y.cpu().numpy(), scores.argmax(1).numpy()
    counts = np.bincount(truth, minlength=len(names))
    share = _probabilities(scores.double())
    auc = {number: _auc(truth == number, share[:, number].numpy()) for number in range(len(names)) if counts[number]}
    defined = [area for area in auc.values() if area is not None]
    values = _rates(truth, predicted, average="macro") | {"auc": sum(defined) / len(defined) if defined else None}
    parts = _by_class(truth, predicted, names)
    for number, area in auc.items():
        parts[names[number]]["auc"] = area
    majority = names[int(counts.argmax())]
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    return Measures(values, parts, "class", majority, _notes(values, majority, missing))


def _by_class(truth: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> dict[str, Values]:
    from sklearn.metrics import precision_recall_fscore_support  # late, because it takes a second

    columns = precision_recall_fscore_support(
        truth, predicted, labels=range(len(names)), average=None, zero_division=np.nan
    )
    parts: dict[str, Values] = {}
    for name, precision, recall, f1, count in zip(names, *columns, strict=True):
        if count or precision == precision:  # it is there, or was said to be
            numbers = {"precision": precision, "recall": recall, "f1": f1}
            parts[name] = {"examples": int(count)} | {key: _defined(number) for key, number in numbers.items()}
    return parts


def _of_answers(logits: np.ndarray, truth: np.ndarray) -> Measures:
    """Yes, which is 1, or no: (n,) both."""
    if not np.isin(truth, (0, 1)).all():
        return Measures(kind="output", notes=("answers between yes and no have no accuracy",))
    majority = "yes" if truth.mean() > 0.5 else "no"
    values = _rates(truth, (logits > 0).astype(float), average="binary") | {"auc": _auc(truth == 1, logits)}
    missing = [name for name, number in (("no", 0), ("yes", 1)) if not (truth == number).any()]
    return Measures(values, {}, "output", majority, _notes(values, majority, missing))


def _rates(truth: np.ndarray, predicted: np.ndarray, average: str) -> Values:
    from sklearn import metrics

    counts = np.unique(truth, return_counts=True)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what was predicted and is not there counts in precision alone
        balanced = metrics.balanced_accuracy_score(truth, predicted)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, predicted, average=average, zero_division=0
    )
    return {
        "accuracy": float(metrics.accuracy_score(truth, predicted)),
        "majority_share": float(counts.max() / len(truth)),
        "balanced_accuracy": float(balanced),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def _auc(truth: np.ndarray, scores: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores)) if truth.any() and not truth.all() else None


def _of_numbers(predicted: np.ndarray, truth: np.ndarray) -> Measures:
    """(n,) both."""
    from sklearn import metrics

    defined = len(truth) > 1 and truth.min() < truth.max()
    values: Values = {
        "mae": float(metrics.mean_absolute_error(truth, predicted)),
        "rmse": float(metrics.root_mean_squared_error(truth, predicted)),
        "r_squared": float(metrics.r2_score(truth, predicted)) if defined else None,
    }
    return Measures(values, {}, "output", None, () if defined else ("r_squared is not defined: all targets are equal",))


def _together(columns: Sequence[Measures]) -> Measures:
    """One output's as they are; of several the means, and each by itself."""
    if len(columns) == 1:
        return columns[0]
    names = dict.fromkeys(name for column in columns for name in column.values)
    known = {name: [v for column in columns if (v := column.values.get(name)) is not None] for name in names}
    values: Values = {name: float(np.mean(numbers)) if numbers else None for name, numbers in known.items()}
    notes = [f"output {i + 1}: {note}" for i, column in enumerate(columns) for note in column.notes]
    parts = {f"{i + 1}": column.values for i, column in enumerate(columns)}
    return Measures(values, parts, "output", None, tuple(notes))


def _probabilities(scores: Tensor) -> Tensor:
    """What can be compared between examples: softmax, unless the network itself ends with it, or its logarithm."""
    if bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < ONE).all()):
        return scores
    return scores.softmax(1)


def _notes(values: Mapping[str, Any], majority: str, missing: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if missing and values["auc"] is None:
        notes.append(f"auc is not defined: all examples are of one class, {majority}")
    elif missing:
        few = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        notes.append(f"there is no example of {few}: balanced_accuracy and auc are means over the others")
    if values["accuracy"] <= values["majority_share"] < 1:
        notes.append(
            f"accuracy is no better than always saying {majority!r}, which is right in {values['majority_share']:.2%}"
        )
    return tuple(notes)


def _defined(number: float) -> float | None:
    return None if number != number else float(number)
