"""The common checks of every objective, and what is special about some."""

import math

import pytest
import torch
from torch import Tensor

from blockprop.engine.check import check_objective
from blockprop.engine.objectives import (
    LOSSES,
    binary_cross_entropy,
    cross_entropy,
    huber,
    mean_squared_error,
    negative_log_likelihood,
)
from blockprop.errors import GraphError, SettingError, ShapeError
from tests.cases import OBJECTIVES, ObjectiveCase

each_case = pytest.mark.parametrize("case", OBJECTIVES, ids=str)


def made(case: ObjectiveCase, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    y, target = case.made(torch.Generator().manual_seed(0))
    return y.to(dtype), target.to(dtype) if target.is_floating_point() else target


@each_case
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
def test_value_and_seed_equal_autograd(case: ObjectiveCase, dtype: torch.dtype, tolerance: float) -> None:
    y, target = made(case, dtype)
    value, seeds = case.objective.evaluate({"output": y}, target)
    theirs_y = y.clone().double().requires_grad_()
    theirs = case.reference(theirs_y, target.double() if target.is_floating_point() else target)
    theirs.backward()
    assert value.shape == ()
    assert value.dtype == seeds["output"].dtype == dtype
    torch.testing.assert_close(value.double(), theirs.detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(seeds["output"].double(), theirs_y.grad, rtol=tolerance, atol=tolerance)


@each_case
def test_seeds_equal_finite_differences(case: ObjectiveCase) -> None:
    check_objective(case.objective, *made(case)).verify()


@each_case
def test_nothing_is_changed_in_place_and_layout_does_not_matter(case: ObjectiveCase) -> None:
    y, target = made(case)
    before = y.clone(), target.clone()
    value, seeds = case.objective.evaluate({"output": y}, target)
    assert torch.equal(y, before[0])
    assert torch.equal(target, before[1])
    strange = y.transpose(0, -1).contiguous().transpose(0, -1)
    value2, seeds2 = case.objective.evaluate({"output": strange}, target)
    torch.testing.assert_close(value2, value)
    torch.testing.assert_close(seeds2["output"], seeds["output"])


@each_case
def test_a_batch_of_one(case: ObjectiveCase) -> None:
    y, target = made(case)
    check_objective(case.objective, y[:1], target[:1]).verify()


@each_case
def test_a_wrong_target_is_refused(case: ObjectiveCase) -> None:
    y, target = made(case)
    with pytest.raises(ShapeError, match=r"target"):
        case.objective.evaluate({"output": y}, target[:-1])
    with pytest.raises(ShapeError, match="needs a target"):
        case.objective.evaluate({"output": y})


def test_every_loss_has_a_row_and_documents_its_seed() -> None:
    missing = LOSSES.keys() - {type(term).__name__ for case in OBJECTIVES for _, term in case.objective.terms}
    assert not missing, f"give {', '.join(missing)} a row in tests/cases/objectives.py"
    silent = [name for name, loss in LOSSES.items() if "seed = " not in (loss.__doc__ or "")]
    assert not silent, f"say 'seed = …' in the docstrings of {', '.join(silent)}"


def test_a_loss_says_whether_it_wants_classes_or_numbers() -> None:
    silent = [name for name, loss in LOSSES.items() if vars(loss).get("task") not in ("classify", "regress")]
    assert not silent, f"say task = 'classify' or 'regress' in {', '.join(silent)}"
    classify = {name for name, loss in LOSSES.items() if loss().task == "classify"}
    assert classify >= {"cross_entropy", "negative_log_likelihood"}


def test_cross_entropy_by_hand() -> None:
    value, seeds = cross_entropy().evaluate({"y": torch.tensor([[0.0, math.log(3.0)]])}, torch.tensor([0]))
    assert value.item() == pytest.approx(math.log(4))
    assert seeds["y"].tolist()[0] == pytest.approx([-0.75, 0.75])


def test_likelihood_by_hand_and_at_zero() -> None:
    value, seeds = negative_log_likelihood().evaluate({"y": torch.tensor([[0.25, 0.75, 0.0]])}, torch.tensor([0]))
    assert value.item() == pytest.approx(math.log(4))
    assert seeds["y"].tolist() == [[-4.0, 0.0, 0.0]]


def test_extreme_scores_stay_finite() -> None:
    y = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    value, seeds = cross_entropy().evaluate({"y": y}, torch.tensor([1, 1]))
    assert value.item() == pytest.approx(1e4)
    assert seeds["y"].tolist() == [[0.5, -0.5], [0.0, 0.0]]
    value, seeds = binary_cross_entropy().evaluate({"y": y}, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert value.item() == pytest.approx(5e3)
    assert torch.isfinite(seeds["y"]).all()


def test_targets_outside_the_classes_are_refused() -> None:
    for objective in (cross_entropy(), cross_entropy(label_smoothing=0.1), negative_log_likelihood()):
        for target in (torch.tensor([0, 3]), torch.tensor([0, -1])):
            with pytest.raises(ShapeError, match="class number 0…2 for each of 2 examples"):
                objective.evaluate({"y": torch.ones(2, 3) / 3}, target)


def test_a_column_of_outputs_takes_a_row_of_targets_but_never_broadcasts() -> None:
    value, _ = mean_squared_error().evaluate({"y": torch.tensor([[1.0], [2.0]])}, torch.tensor([1.0, 0.0]))
    assert value.item() == 2.0
    with pytest.raises(ShapeError, match="same shape"):
        mean_squared_error().evaluate({"y": torch.zeros(3, 2)}, torch.zeros(3))


def test_objectives_add_and_print_as_what_they_are() -> None:
    objective = cross_entropy(node="a") - 0.1 * huber(2.0, node="b")
    assert repr(objective) == "cross_entropy() + -0.1 * huber(delta=2.0)"
    assert objective.nodes == ("a", "b")
    assert repr(-mean_squared_error()) == "-1 * mean_squared_error()"
    y = torch.tensor([[1.0]])
    value, seeds = (3 * mean_squared_error() + mean_squared_error()).evaluate({"y": y}, torch.zeros(1, 1))
    assert value.item() == 4.0
    assert seeds["y"].item() == 8.0


def test_parts_are_told_by_title_and_their_seeds_add_up() -> None:
    y, target = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
    objective = 3 * mean_squared_error() + huber() - 0.5 * huber() + huber()
    parts, seeds = objective.parts({"y": y}, target)
    assert parts == {"3 * mean_squared_error()": 15.0, "huber()": 3.0, "-0.5 * huber()": -0.75}
    value, same = objective.evaluate({"y": y}, target)
    assert value.item() == math.fsum(parts.values())
    assert torch.equal(seeds["y"], same["y"])
    assert huber().parts({"y": y}, target)[0] == {"huber()": 1.5}


def test_settings_are_read_and_never_set() -> None:
    loss = cross_entropy(label_smoothing=0.1)
    assert (loss.label_smoothing, loss.class_weights, loss.node) == (0.1, None, None)
    with pytest.raises(AttributeError):
        loss.label_smoothing = 0.2


def test_which_output_must_be_clear() -> None:
    outputs = {"a": torch.zeros(2, 3), "b": torch.zeros(2, 3)}
    with pytest.raises(GraphError, match="which of a, b"):
        mean_squared_error().evaluate(outputs, torch.zeros(2, 3))
    assert list(mean_squared_error(node="b").evaluate(outputs, torch.ones(2, 3))[1]) == ["b"]


@pytest.mark.parametrize(
    "make", [lambda: huber(0.0), lambda: cross_entropy(label_smoothing=1.0), lambda: binary_cross_entropy(1.0, -0.1)]
)
def test_settings_outside_their_range_are_refused(make) -> None:
    with pytest.raises(SettingError):
        make()


def test_terms_that_name_their_node_do_not_mix_with_terms_that_do_not() -> None:
    with pytest.raises(GraphError, match="give each its node"):
        cross_entropy() + 0.1 * cross_entropy(node="h")
    assert sum([huber(), huber()]).nodes == ()


def test_half_precision_does_not_overflow_in_the_count() -> None:
    y, target = torch.zeros(2, 4, 300, 300, dtype=torch.float16), torch.zeros(2, 300, 300, dtype=torch.long)
    value, seeds = cross_entropy().evaluate({"y": y}, target)
    assert value.item() == pytest.approx(math.log(4), rel=1e-2)
    assert seeds["y"].abs().max() > 0


@pytest.mark.parametrize("loss", [cross_entropy, negative_log_likelihood])
def test_where_no_example_counts_what_smoothing_adds_stands_undivided(loss: type) -> None:
    """Not over a weight of 0, which would be without bound; `BatchMean` divides it by the weight of all examples."""
    weights, p = torch.tensor([1.0, 1.0, 0.0]), torch.rand(2, 3).softmax(1)
    value, seeds = loss(class_weights=weights, label_smoothing=0.1).evaluate({"output": p}, torch.tensor([2, 2]))
    log = p.log_softmax(1) if loss is cross_entropy else p.log()
    assert value == pytest.approx(float(-(0.1 / 3 * weights * log).sum()), rel=1e-6)
    assert seeds["output"].abs().max() < 1
