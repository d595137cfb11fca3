"""Figures are asked for their data and labels; SVG is parsed."""

import math
import re
from dataclasses import dataclass
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from blockprop.errors import SettingError, ShapeError
from blockprop.reports import figures, plots
from blockprop.training.run import Record


@dataclass
class Step:
    step: int
    value: float
    epoch: int = 1
    rate: float = 0.1
    validation_value: float | None = None
    validation_accuracy: float | None = None


def labels_in(figure: Figure) -> str:
    """All words in the picture: matplotlib repeats them as comments beside the outlines."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", figures.svg(figure), re.DOTALL))


def test_learning_curves_show_raw_and_smoothed_loss() -> None:
    figure = plots.learning_curves([Step(i, 2.0 + (-1) ** i) for i in range(100)])
    (axes,) = figure.axes
    raw, smooth = axes.lines
    assert raw.get_ydata()[:2].tolist() == [3.0, 1.0]
    assert abs(smooth.get_ydata()[10:90] - 2).max() < 0.3
    assert axes.get_yscale() == "linear"
    assert "1 epoch)" in axes.get_xlabel()


def test_learning_curves_are_logarithmic_beyond_a_decade_and_skip_what_is_not_finite() -> None:
    steps = [Step(i, 10 ** (-i / 20)) for i in range(60)]
    steps[30].value = math.nan
    figure = plots.learning_curves(steps)
    assert figure.axes[0].get_yscale() == "log"
    assert np.isfinite(figure.axes[0].lines[1].get_ydata()).all()


def test_learning_curves_name_the_best_validation_accuracy() -> None:
    steps = [Step(i, 1.0, validation_value=0.5, validation_accuracy=a) for i, a in enumerate([0.5, 0.975, 0.9])]
    loss, accuracy = plots.learning_curves(steps).axes
    assert accuracy.get_title(loc="left") == "validation accuracy, best 97.50 % at step 1"
    assert accuracy.lines[0].get_ydata() == pytest.approx([50, 97.5, 90])
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]


def test_learning_curves_of_one_record_and_of_none() -> None:
    assert figures.png(plots.learning_curves([Step(0, 1.0)])).startswith(b"\x89PNG")
    with pytest.raises(SettingError, match="no records"):
        plots.learning_curves([])


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


def test_code_over_time_ends_in_a_code() -> None:
    bits = torch.tensor([[i >> b & 1 for b in range(3)] for i in range(8)], dtype=torch.float32)
    codes = torch.stack([0.5 + (bits - 0.5) * t / 9 for t in range(10)])
    figure = plots.code_over_time(codes)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["pattern 1  →  0 0 0", "pattern 2  →  1 0 0", "pattern 3  →  0 1 0"]
    assert [len(axes.lines) for axes in figure.axes] == [3] * 8
    assert figure.axes[5].lines[2].get_ydata()[-1] == 1
    assert plots.code_over_time(codes[:, :3] - 1, range(0, 100, 10)).axes[0].lines[0].get_xdata()[-1] == 90
    with pytest.raises(ShapeError, match="steps, patterns, units"):
        plots.code_over_time(codes[0])


def test_svg_is_reproducible_and_refers_to_itself_alone() -> None:
    def draw(shift: float) -> Figure:
        return plots.learning_curves([Step(i, 1 / (i + 1) + shift, validation_accuracy=0.5) for i in range(20)])

    first, again, other = figures.svg(draw(0)), figures.svg(draw(0)), figures.svg(draw(1))
    assert first == again
    assert first != other
    ids = [element.attrib["id"] for element in ElementTree.fromstring(first).iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids)) > 20
    uses = re.findall(r'(?:href="#|url\(#)([^")]+)', first)
    assert uses
    assert set(uses) <= set(ids)
    root = ElementTree.fromstring(first)
    assert "viewBox" in root.attrib
    assert not [element for element in root.iter() if element.tag.endswith(("metadata", "date"))]


def test_a_figure_written_twice_is_the_same() -> None:
    figure = plots.confusion_matrix([0, 1, 2, 1], [0, 1, 2, 2], ["zero", "one", "two"])
    assert figures.svg(figure) == figures.svg(figure)
    assert figures.png(figure, dpi=50) == figures.png(figure, dpi=50)


def test_nothing_global_is_changed() -> None:
    before = dict(matplotlib.rcParams)
    figures.svg(plots.learning_curves([Step(0, 1.0), Step(1, 0.5)]))
    assert dict(matplotlib.rcParams) == before


def test_the_accuracy_axis_holds_the_curve_and_ends_at_a_hundred_percent() -> None:
    rated = ((1, 0.9), (2, 1.0), (3, 0.95))
    records = [Record(step, 3, 1, 1.0 / step, 0.1, 0.0, 0.5, accuracy) for step, accuracy in rated]
    low, high = plots.learning_curves(records).axes[1].get_ylim()
    assert low < 90
    assert 100 <= high < 101
