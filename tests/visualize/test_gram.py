"""Content and style distances: numbers worked by hand, autograd, finite differences."""

from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.engine.check import check_objective
from blockprop.errors import SettingError, ShapeError
from blockprop.visualize.objectives.gram import content_distance, gram, style_distance


def test_gram_and_style_distance_by_hand() -> None:
    y = torch.tensor([[1.0, 2.0], [0.0, 1.0]]).view(1, 2, 1, 2)  # channel 1: 1 2, channel 2: 0 1
    torch.testing.assert_close(gram(y), torch.tensor([[2.5, 1.0], [1.0, 0.5]]))
    style = torch.tensor([[2.5, 0.0], [0.0, 0.5]])  # |A|² = 6.5, |G − A|² = 2
    value, seeds = style_distance("y", [style]).evaluate({"y": y})
    assert value == pytest.approx(2 / 6.5)
    # 4 / (6.5 · 2 places) · (G − A) F, which exchanges the channels
    expected = torch.tensor([[0.0, 1.0], [1.0, 2.0]]).view(1, 2, 1, 2) * (2 / 6.5)
    torch.testing.assert_close(seeds["y"], expected)


def test_a_mask_chooses_places_by_hand() -> None:
    y = torch.tensor([[1.0, 2.0], [0.0, 1.0]]).view(1, 2, 1, 2)
    style = torch.tensor([[4.0, 0.0], [0.0, 1.0]])  # the second place alone has [[4, 2], [2, 1]]
    value, seeds = style_distance("y", [style], mask=torch.tensor([[0.0, 0.5]])).evaluate({"y": y})
    assert value == pytest.approx(8 / 17)
    # 4 / 17 · (G − A) F at the second place: [[0, 2], [2, 0]] (2, 1)
    torch.testing.assert_close(seeds["y"], torch.tensor([[0.0, 2.0], [0.0, 4.0]]).view(1, 2, 1, 2) * (4 / 17))


def test_content_distance_by_hand() -> None:
    target = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    value, seeds = content_distance("y", target).evaluate({"y": torch.tensor([4.0, 2.0]).view(1, 1, 1, 2)})
    assert value == pytest.approx(5 / 25)
    torch.testing.assert_close(seeds["y"], torch.tensor([2 / 25, -4 / 25]).view(1, 1, 1, 2))


def objectives(dtype: torch.dtype) -> dict[str, tuple[Any, Tensor, Any]]:
    """(objective, y, the same by torch) of each."""
    generator = torch.Generator().manual_seed(3)
    y, other, third = (torch.randn(1, 3, 4, 5, generator=generator, dtype=dtype) for _ in range(3))
    mask = torch.rand(4, 5, generator=generator, dtype=dtype)
    grams, weights = [gram(other), gram(third)], [0.7, 0.2]

    def style(y: Tensor, m: Tensor) -> Tensor:
        g = torch.einsum("nchw,ndhw,hw->cd", y, y, m) / m.sum()
        return sum(w * (g - a).square().sum() / a.square().sum() for w, a in zip(weights, grams, strict=True))

    return {
        "content": (
            content_distance("y", other),
            y,
            lambda y: (y - other).square().sum() / other.square().sum(),
        ),
        "style": (style_distance("y", grams, weights), y, lambda y: style(y, torch.ones_like(mask))),
        "masked style": (style_distance("y", grams, weights, mask), y, lambda y: style(y, mask)),
        "nothing to compare with": (
            style_distance("y", [torch.zeros(3, 3, dtype=dtype)]),
            y,
            lambda y: gram(y).square().sum(),
        ),
    }


each_objective = pytest.mark.parametrize("name", objectives(torch.float32))


@each_objective
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_objectives_equal_autograd(name: str, dtype: torch.dtype, tolerance: float, layout: Any) -> None:
    objective, y, reference = objectives(dtype)[name]
    y = y.contiguous(memory_format=layout)
    before = y.clone()
    value, seeds = objective.evaluate({"y": y})
    theirs_y = y.clone().requires_grad_()
    theirs = reference(theirs_y)
    theirs.backward()
    assert value.shape == ()
    assert value.dtype == seeds["y"].dtype == dtype
    torch.testing.assert_close(value, theirs.detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(seeds["y"], theirs_y.grad, rtol=tolerance, atol=tolerance)
    assert seeds["y"].is_contiguous(memory_format=layout)
    assert torch.equal(y, before)


@each_objective
def test_objectives_equal_finite_differences(name: str) -> None:
    objective, y, _ = objectives(torch.float64)[name]
    check_objective(objective, {"y": y}).verify()


def test_weights_mean_the_same_at_all_sizes() -> None:
    y, other = torch.rand(1, 4, 6, 8), torch.rand(1, 4, 6, 8)
    for make in (lambda y: style_distance("y", [gram(y)]), lambda y: content_distance("y", y)):
        once, _ = make(other).evaluate({"y": y})
        four, _ = make(other.repeat(1, 1, 2, 2)).evaluate({"y": y.repeat(1, 1, 2, 2)})
        assert float(once) == pytest.approx(float(four), rel=1e-5)


def test_what_does_not_fit_an_objective() -> None:
    y = torch.rand(1, 3, 4, 5)
    with pytest.raises(ShapeError, match=r"expected \(1, 2, h, w\), came 1 x 3 x 4 x 5"):
        style_distance("y", [torch.rand(2, 2)]).evaluate({"y": y})
    with pytest.raises(ShapeError, match="expected 4 x 4 places, as the mask has"):
        style_distance("y", [gram(y)], mask=torch.ones(4, 4)).evaluate({"y": y})
    with pytest.raises(ShapeError, match="expected 1 x 3 x 4 x 5, the picture's own features"):
        content_distance("y", y).evaluate({"y": y[..., 1:]})
    with pytest.raises(SettingError, match="above 0 somewhere"):
        style_distance("y", [gram(y)], mask=torch.zeros(4, 5))
    with pytest.raises(SettingError, match="no negative numbers"):
        style_distance("y", [gram(y)], mask=torch.full((4, 5), -1.0))
    with pytest.raises(ShapeError, match="features of one picture"):
        gram(torch.rand(2, 3, 4, 5))
