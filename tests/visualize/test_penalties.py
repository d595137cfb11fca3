"""The common checks of every penalty, and what is special about some."""

import pytest
import torch
from torch import Tensor

from blockprop.engine.check import check_objective
from blockprop.errors import SettingError, ShapeError
from blockprop.visualize.objectives import penalties
from blockprop.visualize.objectives.penalties import diversity, doubt, l2, total_variation
from tests.cases.objectives import PENALTIES, PenaltyCase

each_case = pytest.mark.parametrize("case", PENALTIES, ids=str)


def made(case: PenaltyCase, dtype: torch.dtype = torch.float64) -> Tensor:
    return case.made(torch.Generator().manual_seed(0)).to(dtype)


@each_case
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
def test_value_and_seed_equal_autograd(case: PenaltyCase, dtype: torch.dtype, tolerance: float) -> None:
    y = made(case, dtype)
    value, seeds = case.penalty.evaluate({"y": y})
    theirs_y = y.clone().double().requires_grad_()
    theirs = case.reference(theirs_y)
    theirs.backward()
    assert value.shape == ()
    assert value.dtype == seeds["y"].dtype == dtype
    torch.testing.assert_close(value.double(), theirs.detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(seeds["y"].double(), theirs_y.grad, rtol=tolerance, atol=tolerance)


@each_case
def test_seeds_equal_finite_differences(case: PenaltyCase) -> None:
    check_objective(case.penalty, {"y": made(case)}).verify()


@each_case
def test_nothing_is_changed_in_place_and_layout_does_not_matter(case: PenaltyCase) -> None:
    y = made(case)
    before = y.clone()
    value, seeds = case.penalty.evaluate({"y": y})
    assert torch.equal(y, before)
    strange = y.transpose(1, -1).contiguous().transpose(1, -1)
    value2, seeds2 = case.penalty.evaluate({"y": strange})
    torch.testing.assert_close(value2, value)
    torch.testing.assert_close(seeds2["y"], seeds["y"])


@each_case
def test_an_empty_batch_costs_nothing(case: PenaltyCase) -> None:
    value, seeds = case.penalty.evaluate({"y": made(case)[:0]})
    assert value == 0
    assert seeds["y"].shape == made(case)[:0].shape


@pytest.mark.parametrize("penalty", [l2("y"), total_variation("y")], ids=str)
def test_a_picture_has_the_gradient_that_it_would_have_alone(penalty) -> None:
    y = torch.rand(3, 2, 4, 4)
    value, seeds = penalty.evaluate({"y": y})
    alone = [penalty.evaluate({"y": each}) for each in y.split(1)]
    torch.testing.assert_close(value, torch.stack([each for each, _ in alone]).sum())
    torch.testing.assert_close(seeds["y"], torch.cat([each["y"] for _, each in alone]))


def test_every_penalty_has_a_row_and_documents_its_seed() -> None:
    names = {name for name, kind in vars(penalties).items() if getattr(kind, "__module__", "") == penalties.__name__}
    assert {"l2", "total_variation"} <= names
    assert names == {type(case.penalty).__name__ for case in PENALTIES}
    assert all("seed" in (getattr(penalties, name).__doc__ or "") for name in names)


def test_by_hand() -> None:
    picture = torch.tensor([[[[0.5, 1.0], [0.5, 0.5]]]])
    assert l2("y").evaluate({"y": picture})[0].item() == pytest.approx(0.25 / 4)
    value, seeds = total_variation("y").evaluate({"y": picture})
    assert value.item() == pytest.approx(0.5 / 4)  # 0.25 to the right, 0.25 down
    assert seeds["y"].flatten().tolist() == pytest.approx([-0.25, 0.5, 0.0, -0.25])
    assert repr(l2()) == "l2()"
    assert repr(total_variation(power=1.5)) == "total_variation(power=1.5)"


def test_a_picture_of_one_color_has_no_variation_and_a_finite_gradient() -> None:
    for power in (1.0, 1.5, 2.0):
        value, seeds = total_variation("y", power).evaluate({"y": torch.full((1, 3, 4, 4), 0.7)})
        assert value == 0
        assert not seeds["y"].any()


def test_equal_pictures_are_alike_and_different_ones_less() -> None:
    y = torch.rand(1, 3, 4, 4).repeat(3, 1, 1, 1)
    assert diversity("y").evaluate({"y": y})[0].item() == pytest.approx(1)
    other = torch.zeros(2, 2, 3)
    other[0, 0] = other[1, 1] = 1.0
    assert diversity("y").evaluate({"y": other})[0].item() == 0
    assert diversity("y").evaluate({"y": y[:1]})[0] == 0


def test_features_that_are_all_zero_are_like_nothing() -> None:
    y = torch.rand(3, 2, 4)
    y[1] = 0
    value, seeds = diversity("y").evaluate({"y": y})
    assert value.isfinite()
    assert seeds["y"].isfinite().all()
    assert not seeds["y"][1].any()


def test_bad_settings_and_shapes_are_refused() -> None:
    with pytest.raises(SettingError, match="power must be at least 1"):
        total_variation(power=0.5)
    with pytest.raises(SettingError, match="groups must be at least 1"):
        diversity("y", groups=0)
    with pytest.raises(ShapeError, match="pictures"):
        total_variation("y").evaluate({"y": torch.zeros(2, 3)})
    with pytest.raises(ShapeError, match="multiple of 2"):
        diversity("y", groups=2).evaluate({"y": torch.zeros(3, 2, 4)})
    with pytest.raises(ShapeError, match="2 classes, which do not fit 3 examples"):
        doubt("y", [0, 1]).evaluate({"y": torch.zeros(3, 4)})
    with pytest.raises(SettingError, match="no class 4"):
        doubt("y", [4]).evaluate({"y": torch.zeros(3, 4)})
    with pytest.raises(ShapeError, match="scores of classes"):
        doubt("y", [0]).evaluate({"y": torch.zeros(3)})
