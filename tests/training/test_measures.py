"""Recall, precision, F1, AUC and the rest, beside scikit-learn and numbers by hand; what is not defined is said."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor

from blockprop.blocks import Affine, Log, Softmax
from blockprop.data.dataset import Dataset
from blockprop.engine.objectives import binary_cross_entropy, cross_entropy, mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.errors import NotFiniteError, SettingError, ShapeError
from blockprop.training.balancing import balanced_weights
from blockprop.training.evaluation import evaluate
from blockprop.training.measures import Measures, measures


def judged(outputs: Any, y: Any, objective: Any = None, names: tuple[str, ...] | None = None) -> Measures:
    """Of a network that says what it is given."""
    x, targets = torch.as_tensor(outputs), torch.as_tensor(y)
    data: Any = (x, targets) if names is None else Dataset(x, targets, names)
    return measures(Sequential(Affine(1.0)), data, objective)


def scores(count: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (count,), generator=generator)
    y = torch.where(torch.rand(count, generator=generator) < 0.5, 0, y)  # the classes are not of one size
    given = torch.randn(count, classes, generator=generator)
    return given.scatter_add_(1, y[:, None], torch.full((count, 1), 0.9)), y


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_classes_beside_scikit_learn(classes: int) -> None:
    given, y = scores(300, classes)
    found, p, said = judged(given, y), given.double().softmax(1).numpy(), given.argmax(1)
    assert found.values == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(y, said),
            "majority_share": float((y == 0).float().mean()),
            "balanced_accuracy": metrics.balanced_accuracy_score(y, said),
            "precision": metrics.precision_score(y, said, average="macro"),
            "recall": metrics.recall_score(y, said, average="macro"),
            "f1": metrics.f1_score(y, said, average="macro"),
            "auc": metrics.roc_auc_score(y, p[:, 1] if classes == 2 else p, multi_class="ovr"),
        }
    )
    assert found.majority == "0"
    report = metrics.classification_report(y, said, output_dict=True)
    for name, part in found.parts.items():
        assert part["examples"] == report[name]["support"]
        assert [part["precision"], part["recall"], part["f1"]] == pytest.approx(
            [report[name][key] for key in ("precision", "recall", "f1-score")]
        )
        assert part["auc"] == pytest.approx(metrics.roc_auc_score(y == int(name), p[:, int(name)]))


def test_by_hand() -> None:
    """4 ill of 100, 2 of them found, 3 false alarms: less than always saying healthy."""
    y = torch.tensor([1] * 4 + [0] * 96)
    said = torch.tensor([1, 1, 0, 0] + [1] * 3 + [0] * 93)
    found = judged(torch.nn.functional.one_hot(said, 2).float(), y, names=("healthy", "ill"))
    ill = {"examples": 4, "precision": 2 / 5, "recall": 0.5, "f1": 4 / 9, "auc": (0.5 + 93 / 96) / 2}
    assert found.parts["ill"] == pytest.approx(ill)
    assert found.values["accuracy"] == 0.95
    assert found.values["majority_share"] == 0.96
    assert found.values["balanced_accuracy"] == pytest.approx((0.5 + 93 / 96) / 2)
    assert found.notes == ("accuracy is no better than always saying 'healthy', which is right in 96.00%",)


def test_probabilities_and_scores_give_the_same() -> None:
    given, y = scores(100, 3)
    assert judged(given, y) == judged(given.softmax(1), y) == judged(given.log_softmax(1), y)


def test_a_class_that_is_absent_is_said_and_left_out() -> None:
    given, y = scores(200, 4)
    y[y == 2] = 1
    found = judged(given, y, names=("a", "b", "c", "d"))
    assert "there is no example of c: balanced_accuracy and auc are means over the others" in found.notes
    assert found.parts["c"]["recall"] is None
    p = given.double().softmax(1).numpy()
    areas = [metrics.roc_auc_score(y == number, p[:, number]) for number in (0, 1, 3)]
    assert found.values["auc"] == pytest.approx(np.mean(areas))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found.values["balanced_accuracy"] == metrics.balanced_accuracy_score(y, given.argmax(1))


def test_one_class_only_has_no_auc() -> None:
    given, _ = scores(50, 2)
    found = judged(given, torch.ones(50).long(), names=("well", "ill"))
    assert found.values["auc"] is None
    assert found.values["majority_share"] == 1
    assert found.notes == ("auc is not defined: all examples are of one class, ill",)


def test_a_class_that_is_never_said_has_no_precision() -> None:
    found = judged(torch.tensor([[2.0, 0, 0], [2.0, 1, 0], [0, 1.0, 0]]), torch.tensor([0, 2, 1]))
    assert found.parts["2"]["precision"] is None
    assert found.parts["2"]["recall"] == 0


def test_each_place_of_dense_targets_counts() -> None:
    given = torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    y = torch.randint(3, (5, 4, 6), generator=torch.Generator().manual_seed(1))
    flat = judged(given.permute(0, 2, 3, 1).reshape(-1, 3), y.flatten())
    assert judged(given, y) == flat
    assert evaluate(Sequential(Affine(1.0)), (given, y), cross_entropy()).accuracy == flat.values["accuracy"]


def test_yes_no_answers_of_one_and_of_several_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(80, 3, generator=generator) < torch.tensor([0.1, 0.5, 0.8])).float()
    logits = torch.randn(80, 3, generator=generator) + y
    of_one = [judged(logits[:, i : i + 1], y[:, i], binary_cross_entropy()) for i in range(3)]
    for i, found in enumerate(of_one):
        said = logits[:, i] > 0
        assert found.values == pytest.approx(
            {
                "accuracy": metrics.accuracy_score(y[:, i], said),
                "majority_share": max(float(y[:, i].mean()), 1 - float(y[:, i].mean())),
                "balanced_accuracy": metrics.balanced_accuracy_score(y[:, i], said),
                "precision": metrics.precision_score(y[:, i], said),
                "recall": metrics.recall_score(y[:, i], said),
                "f1": metrics.f1_score(y[:, i], said),
                "auc": metrics.roc_auc_score(y[:, i], logits[:, i]),
            }
        )
    assert [found.majority for found in of_one] == ["no", "no" if y[:, 1].mean() <= 0.5 else "yes", "yes"]
    together = judged(logits, y, binary_cross_entropy())
    assert together.parts == {str(i + 1): found.values for i, found in enumerate(of_one)}
    assert together.values["f1"] == pytest.approx(metrics.f1_score(y, logits > 0, average="macro"))
    assert judged(logits, y * 0, binary_cross_entropy()).values["auc"] is None
    assert judged(logits, y * 0.3, binary_cross_entropy()).values == {}


def test_numbers_in_their_own_units() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(60, 2, generator=generator, dtype=torch.float64) * torch.tensor([1000.0, 0.1]) + 5e6
    given = y + torch.randn(60, 2, generator=generator, dtype=torch.float64) * torch.tensor([300.0, 0.02])
    one = judged(given[:, :1], y[:, 0], mean_squared_error())
    assert one.values == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(y[:, 0], given[:, 0]),
            "rmse": metrics.root_mean_squared_error(y[:, 0], given[:, 0]),
            "r_squared": metrics.r2_score(y[:, 0], given[:, 0]),
        }
    )
    assert one.parts == {}
    two = judged(given, y)
    assert two.values["r_squared"] == pytest.approx(metrics.r2_score(y, given))
    assert two.values["mae"] == pytest.approx(metrics.mean_absolute_error(y, given))
    assert two.parts["2"]["rmse"] == pytest.approx(metrics.root_mean_squared_error(y[:, 1], given[:, 1]))


def test_r_squared_is_not_defined_for_equal_targets() -> None:
    for count in (1, 4):
        found = judged(torch.rand(count, 1), torch.ones(count))
        assert found.values["r_squared"] is None
        assert found.notes == ("r_squared is not defined: all targets are equal",)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_with_its_row(bad: float) -> None:
    given, y = scores(10, 3)
    given[7, 1] = bad
    with pytest.raises(NotFiniteError, match=r"row 7 of the data \(counted from 0\): the example itself is not finite"):
        judged(given, y)
    numbers = torch.ones(10)
    numbers[3] = bad
    with pytest.raises(NotFiniteError, match=r"row 3 .*: its target is not finite"):
        judged(torch.rand(10, 1), numbers)
    with pytest.raises(NotFiniteError, match=r"row 1 .*: the network gives numbers that are not finite"):
        measures(Sequential(Log()), (torch.tensor([[1.0], [-1.0]]), torch.ones(2)))


def test_targets_that_do_not_fit_are_refused_and_distributions_have_no_measures() -> None:
    with pytest.raises(ShapeError, match="do not fit"):
        judged(torch.rand(4, 3), torch.rand(4))
    assert judged(torch.rand(4, 3), torch.rand(4, 3), cross_entropy()).values == {}


def test_order_and_batch_size_play_no_part() -> None:
    given, y = scores(90, 3)
    network, order = Sequential(Softmax()), torch.randperm(90)
    right = measures(network, (given, y))
    assert measures(network, (given[order], y[order]), batch_size=7).values == pytest.approx(right.values)


def test_balanced_weights_make_all_classes_count_alike() -> None:
    y = torch.tensor([0] * 90 + [1] * 9 + [2])
    assert balanced_weights((torch.zeros(100, 1), y)).tolist() == pytest.approx([100 / 270, 100 / 27, 100 / 3])
    data = Dataset(torch.zeros(100, 1), y, ("a", "b", "c", "never"))
    weights = balanced_weights(data)
    assert weights[3] == 1
    assert [float(weights[y[y == c]].sum()) for c in range(3)] == pytest.approx([100 / 3] * 3)
    with pytest.raises(SettingError, match="class weights are for classes"):
        balanced_weights((torch.zeros(3, 1), torch.rand(3)))
