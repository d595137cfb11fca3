"""Styles, masks and colors, and what is refused."""

import math
from typing import Any

import pytest
import torch

from blockprop.errors import GraphError, NotFiniteError, SettingError, ShapeError
from blockprop.pictures.colors import luminance, matched_colors, with_luminance
from blockprop.visualize.style.run import Style
from blockprop.visualize.style.stylize import stylize
from tests.visualize.closing import closed
from tests.visualize.styles import pictures, small, start


def test_styles_have_weights_and_sizes_and_masks() -> None:
    content, one, two = pictures((48, 64), (40, 50), (64, 32))
    left = torch.zeros(48, 64)
    left[:, :32] = 1
    given = [Style(one, 3.0, mask=left, name="left"), Style(two, 1.0, mask=1 - left[None, None], name="right")]
    layers: dict[str, Any] = {"content_layers": "relu2", "style_layers": ("relu1", "relu4")}
    run = stylize(small(), content, given, steps=3, **layers)
    *_, last = run
    assert list(last.parts) == ["content", "left", "right", "total variation", "range"]
    assert [style.weight for style in run.styles] == [0.75, 0.25]
    assert run.losses is not None
    larger = stylize(small(), content, Style(one, scale=2.0), steps=1, **layers)
    smaller = stylize(small(), content, Style(one), steps=1, **layers)
    next(larger), next(smaller)
    assert larger.losses.terms[1][0].table.shape == smaller.losses.terms[1][0].table.shape  # type: ignore[union-attr]
    assert not torch.allclose(larger.losses.terms[1][0].table, smaller.losses.terms[1][0].table)  # type: ignore


def test_a_masked_style_acts_where_its_mask_is() -> None:
    content, one = pictures((48, 64), (40, 50))
    left = torch.zeros(48, 64)
    left[:, :32] = 1
    weights = {"content_weight": 0.0, "total_variation": 0.0, "range_weight": 0.0}
    given = {"style_layers": "relu1", "optimizer": "normalized", "rate": 1.0}
    run = stylize(small(), content, Style(one, mask=left), steps=5, scales=1, **weights, **given)
    changed = (list(run)[-1].picture - content).abs().mean((0, 1, 2))  # type: ignore[operator]
    assert float(changed[:32].mean()) > 0.005
    assert float(changed[34:].max()) < 1e-6


def test_a_style_that_is_the_content_leaves_it() -> None:
    content = pictures((48, 64))[0]
    steps = list(
        stylize(
            small(),
            content,
            content,
            steps=2,
            scales=1,
            content_layers="relu2",
            style_layers="relu4",
            total_variation=0,
        )
    )
    assert steps[-1].value == 0
    assert torch.equal(steps[-1].picture, content)


def test_matched_colors_have_the_mean_and_covariance() -> None:
    one, other = (0.4 + 0.2 * picture for picture in pictures((20, 30), (40, 24), dtype=torch.float64))
    found = matched_colors(one, other)
    torch.testing.assert_close(found.mean((2, 3)), other.mean((2, 3)))
    moments = [torch.cov(p[0].flatten(1), correction=0) for p in (found, other)]
    torch.testing.assert_close(*moments, rtol=1e-2, atol=1e-5)


def test_a_gray_picture_can_be_matched() -> None:
    gray, other = torch.full((1, 3, 8, 8), 0.5), pictures((20, 30))[0]
    assert matched_colors(gray, other).isfinite().all()
    assert matched_colors(other, gray).isfinite().all()


def test_luminance_by_hand() -> None:
    picture = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(luminance(picture), torch.tensor([[[[0.299 + 0.5 * 0.587]]]]))
    shifted = with_luminance(picture, luminance(picture) + 0.1)
    torch.testing.assert_close(shifted, picture + 0.1)


def test_painting_brightness_alone_has_the_gradient_of_all_colors_together() -> None:
    network, given = small().to(dtype=torch.float64), pictures((48, 64), (40, 50))
    layers = {"content_layers": "relu2", "style_layers": "relu4"}
    run = closed(stylize(network, *given, scales=1, colors="luminance", **layers))
    run.enter(0)
    assert run.point is not None
    direction = torch.randn(1, 1, 48, 64, dtype=torch.float64)
    up, down = (run._evaluate(run.point.x + sign * 1e-6 * direction).value for sign in (1, -1))
    assert float((run.point.d * direction).sum()) == pytest.approx((up - down) / 2e-6, rel=1e-4)


def test_styles_can_be_given_the_colors_of_the_content() -> None:
    run = start(colors="matched", scales=1)
    (aim, _) = run.aims(48, 64)
    torch.testing.assert_close(aim.picture.mean((2, 3)), run.content.mean((2, 3)), rtol=0, atol=0.01)
    assert list(run)[-1].value > 0


def test_original_colors_stay() -> None:
    run = start(colors="luminance", steps=6)
    (content,) = pictures((48, 64))
    run.content = content.mul_(0.5).add_(0.25)
    picture = list(run)[-1].picture
    assert picture is not None
    inside = ((picture > 0) & (picture < 1)).all(1, keepdim=True)
    shift = (picture - run.content).masked_select(inside.expand_as(picture)).view(3, -1)
    torch.testing.assert_close(shift[0], shift[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(shift[0], shift[2], rtol=0, atol=1e-5)
    assert float(shift.abs().mean()) > 0.005


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"style_layers": "relu_1"}, GraphError, "no layer 'relu_1'; .*did you mean 'relu1'"),
        ({"content_layers": {"relu2": 0.0}}, SettingError, "content_layers must be above 0, came 0 for 'relu2'"),
        ({"style_layers": {"relu2": -1.0}}, SettingError, "style_layers must be above 0"),
        ({"style_layers": ()}, SettingError, "style_layers names no layer; there are"),
        ({"style_weight": -1.0}, SettingError, "style_weight must be at least 0"),
        ({"total_variation": math.nan}, SettingError, "total_variation must be at least 0"),
        ({"style_weight": 0, "content_weight": 0}, SettingError, "nothing would be painted"),
        ({"steps": 0}, SettingError, "expected steps of at least 1"),
        ({"steps": (3, 4, 5)}, SettingError, "or 2 such numbers"),
        ({"scales": 0}, SettingError, "scales as a whole number from 1"),
        ({"size": 0}, SettingError, "size as a whole number from 1"),
        ({"size": 200_000}, SettingError, "makes more than 80,000,000 in all"),
        ({"scales": 3000}, SettingError, "scales as a whole number from 1 to 64"),
        ({"history": 2.5}, SettingError, "a history of a whole number"),
        ({"content_layers": 5}, SettingError, "content_layers: expected a node"),
        ({"optimizer": "adam", "rate": 1e38}, SettingError, "rate above 0, up to 1000000"),
        ({"start": "photo"}, SettingError, "start must be content, noise or a picture"),
        ({"colors": "own"}, SettingError, "colors must be one of style, matched, luminance"),
        ({"optimizer": "lbgfs"}, SettingError, "no optimizer 'lbgfs'; did you mean 'lbfgs'"),
        ({"rate": 0.0}, SettingError, "a rate above 0"),
        ({"history": 0}, SettingError, "a history of a whole number from 1 up"),
        ({"details": math.nan}, SettingError, "a finite number for details"),
        ({"preview_every": 0}, SettingError, "preview_every"),
        ({"resume": True}, SettingError, "resume needs the path of a state"),
        ({"size": 1}, SettingError, "the content of .* pixels is too small for the network; use a larger size"),
        ({"style_layers": "relu5", "size": 8}, SettingError, "too small for the network"),
        ({"tile": 8}, SettingError, "tile must be at least"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(settings: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        next(start(**settings))


def test_pictures_that_make_no_sense() -> None:
    content, one = pictures((48, 64), (40, 50))
    layers: dict[str, Any] = {"content_layers": "relu2", "style_layers": "relu5"}
    for style, kind, message in [
        ([], SettingError, "at least one style"),
        (Style(one, weight=0.0), SettingError, "the weight of a style must be above 0"),
        (Style(one, scale=-1.0), SettingError, "the scale of a style must be above 0"),
        (Style(one, scale=0.02), SettingError, "style 1 of 1 x 1 pixels is too small"),
        (Style(one, mask=torch.ones(40, 50)), ShapeError, "a mask of the content's size, 48 x 64, came 40 x 50"),
        (Style(one, mask=torch.zeros(48, 64)), SettingError, "above 0 somewhere"),
        ([Style(one, name="a"), Style(one, name="a")], SettingError, "a name of its own for each style"),
        (Style(one, name="content"), SettingError, "a name of its own"),
        (one[:, :1], ShapeError, r"one picture \(1, 3, h, w\) as a style"),
        (one * math.nan, ShapeError, "not finite"),
    ]:
        with pytest.raises(kind, match=message):
            stylize(small(), content, style, **layers)
    with pytest.raises(ShapeError, match="as the content"):
        stylize(small(), content[:, :1], one, **layers)
    with pytest.raises(ShapeError, match="as the start"):
        stylize(small(), content, one, start=content.expand(2, -1, -1, -1), **layers)


def test_numbers_that_are_not_finite_name_the_block() -> None:
    network = small()
    network.parameters["conv2.weight"][0] = math.inf
    content, one = pictures((48, 64), (40, 50))
    run = stylize(network, content, one, content_layers="relu2", style_layers="relu4")
    with pytest.raises(NotFiniteError, match="conv2"):
        next(run)


def test_a_rate_that_is_too_large_is_told() -> None:
    run = start(optimizer=lambda p: torch.optim.SGD(p, lr=1e30), scales=1, steps=30)
    with pytest.raises(NotFiniteError, match="smaller rate"):
        list(run)
