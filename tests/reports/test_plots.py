"""Figures are asked for their data and labels; SVG is parsed."""

import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from blockprop.errors import SettingError, ShapeError
from blockprop.reports import figures, plots


def labels_in(figure: Figure) -> str:
    """All words in the picture: matplotlib repeats them as comments beside the outlines."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", figures.svg(figure), re.DOTALL))


def test_confusion_matrix_counts_and_names_the_mistakes() -> None:
    truth, predicted = torch.tensor([0, 0, 0, 1, 1, 2, 2]), [0, 1, 1, 1, 1, 2, 0]
    (axes,) = plots.confusion_matrix(truth, predicted, ["cat", "dog", "owl"]).axes
    cells = [[int(t.get_text()) for t in axes.texts if t.get_position()[1] == row] for row in range(3)]
    assert cells == [[1, 2, 0], [0, 2, 0], [1, 0, 1]]
    assert axes.get_title(loc="left") == "accuracy 57.14 %: 4 of 7"
    assert axes.get_xlabel().splitlines()[-2:] == ["cat taken for dog (2×)", "owl taken for cat (1×)"]
    shares = axes.images[0].get_array()
    assert shares[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])


@pytest.mark.parametrize(("classes", "numbers"), [(2, True), (25, True), (26, False), (100, False)])
def test_confusion_matrix_writes_numbers_only_where_there_is_room(classes: int, numbers: bool) -> None:
    (axes,) = plots.confusion_matrix(range(classes), range(classes), [f"class {i}" for i in range(classes)]).axes
    assert bool(axes.texts) == numbers
    assert len(axes.get_yticklabels()) == classes
    assert "no mistakes" in axes.get_xlabel()


def test_confusion_matrix_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="as many predictions"):
        plots.confusion_matrix([0, 1], [0], ["a", "b"])
    with pytest.raises(ShapeError, match="at least one"):
        plots.confusion_matrix([], [], ["a", "b"])
    with pytest.raises(SettingError, match="0 to 1 for 2 classes; got 0 to 2"):
        plots.confusion_matrix([0, 2], [0, 1], ["a", "b"])


@pytest.mark.parametrize("sign", [1, -1])
def test_principal_axes_agree_with_scikit_learn(sign: int) -> None:
    values = torch.randn(50, 7) * torch.tensor([9.0, 4, 1, 1, 1, 1, 1]) * sign
    points, shares = plots.principal_axes(values)
    reference = PCA(2).fit(values.double().numpy())
    axes = reference.components_
    expected = reference.transform(values.double().numpy()) * np.sign(axes[[0, 1], abs(axes).argmax(1)])
    assert shares == pytest.approx(reference.explained_variance_ratio_, rel=1e-9)
    assert points == pytest.approx(expected, abs=1e-9)
    assert points.shape == (50, 2)


def test_principal_axes_of_one_unit_and_of_equal_values() -> None:
    points, shares = plots.principal_axes(torch.tensor([[1.0], [3.0]]))
    assert points.tolist() == [[-1, 0], [1, 0]]
    assert shares.tolist() == [1, 0]
    points, shares = plots.principal_axes(torch.ones(4, 3))
    assert not points.any()
    assert shares.tolist() == [0, 0]


def test_representations_color_and_name_the_classes() -> None:
    values = torch.cat([torch.randn(20, 5), torch.randn(20, 5) + 10])
    figure = plots.representations(values, [0] * 20 + [1] * 20, ["low", "high"])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["low", "high"]
    assert [len(points.get_offsets()) for points in axes.collections] == [20, 20]
    center = np.median(np.asarray(axes.collections[1].get_offsets()), 0)
    assert axes.texts[1].get_position() == pytest.approx(tuple(center))
    assert re.fullmatch(r"first axis: 9\d\.\d % of the variance", axes.get_xlabel())
    with pytest.raises(ShapeError, match="41 labels"):
        plots.representations(values, [0] * 41, ["low"])


def test_representations_of_many_classes_have_as_many_colors() -> None:
    figure = plots.representations(torch.randn(60, 3), list(range(30)) * 2, [str(i) for i in range(30)])
    assert len({tuple(points.get_facecolor()[0]) for points in figure.axes[0].collections}) == 30


def test_gray_weights_share_one_scale_around_zero() -> None:
    weight = torch.arange(-6.0, 6.0).reshape(3, 4)
    axes = plots.weight_pictures(weight, (1, 2, 2)).axes[0]
    low, high = axes.images[0].get_clim()
    assert low == -high
    sheet = axes.images[0].get_array()
    assert sheet[:2, :2].tolist() == [[-6, -5], [-4, -3]]
    assert axes.get_title(loc="left") == "weights of 3 units"


def test_color_weights_are_scaled_each_by_itself() -> None:
    weight = torch.stack([torch.ones(3, 2, 2), -torch.full((3, 2, 2), 1e-3)])
    figure = plots.weight_pictures(weight)
    sheet = figure.axes[0].images[0].get_array()
    assert len(figure.axes) == 1
    assert sheet[0, 0].tolist() == [1, 1, 1]
    assert sheet[0, -1].tolist() == [0, 0, 0]


def test_kernels_of_many_channels_fill_a_row_per_unit() -> None:
    sheet = plots.weight_pictures(torch.randn(4, 6, 5, 5)).axes[0].images[0].get_array()
    assert sheet.shape == (4 * 5 + 3, 6 * 5 + 5)
    axes = plots.weight_pictures(torch.randn(300, 200, 3, 3)).axes[0]
    assert axes.get_title(loc="left") == "weights of the first 16 of 300 units; a row per unit, its first 16 channels"
    assert "256 of 300" in plots.weight_pictures(torch.randn(300, 64), (1, 8, 8)).axes[0].get_title(loc="left")


def test_weights_of_another_shape_are_refused() -> None:
    for weight, shape in [(torch.ones(3, 5), (1, 2, 2)), (torch.ones(3, 5), None), (torch.ones(0, 4), (1, 2, 2))]:
        with pytest.raises(ShapeError, match="are not pictures"):
            plots.weight_pictures(weight, shape)
    assert plots.weight_pictures(torch.zeros(2, 4), (1, 2, 2)).axes[0].images[0].get_clim() == (-1, 1)


def test_saliency_is_the_largest_derivative_over_the_channels() -> None:
    images, maps = torch.rand(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    maps[0, :, 1, 2] = torch.tensor([0.1, -0.5, 0.2])
    figure = plots.saliency_sheet(images, maps, ["one", "two"])
    shown = [axes.images[0].get_array() for axes in figure.axes[:4]]
    assert shown[0].shape == (4, 4, 3)
    assert shown[2][1, 2] == 1
    assert shown[2].sum() == 1
    assert not shown[3].any()
    assert {"one", "two", "largest 0.5"} <= set(labels_in(figure).splitlines())
    with pytest.raises(ShapeError, match="1 titles"):
        plots.saliency_sheet(images, maps, ["one"])
