"""Curves are asked for their data and labels."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from blockprop.errors import SettingError, ShapeError
from blockprop.reports import figures
from blockprop.reports.curves import code_over_time, learning_curves
from blockprop.training.run import Record


@dataclass
class Step:
    step: int
    value: float
    epoch: int = 1
    rate: float = 0.1
    validation_value: float | None = None
    validation_accuracy: float | None = None


def test_learning_curves_show_raw_and_smoothed_loss() -> None:
    figure = learning_curves([Step(i, 2.0 + (-1) ** i) for i in range(100)])
    (axes,) = figure.axes
    raw, smooth = axes.lines
    assert raw.get_ydata()[:2].tolist() == [3.0, 1.0]
    assert abs(smooth.get_ydata()[10:90] - 2).max() < 0.3
    assert axes.get_yscale() == "linear"
    assert "1 epoch)" in axes.get_xlabel()


def test_the_strong_line_is_that_of_whole_epochs_in_which_a_small_batch_counts_less() -> None:
    """Batches of 64 and of 2: the epoch's value is near that of the large one."""
    records = []
    for epoch in range(1, 7):
        records += [Record(2 * epoch - 1, 12, epoch, 1.0, 0.1, 0.0)]
        records += [Record(2 * epoch, 12, epoch, 5.0, 0.1, 0.0, ends_epoch=True, training_value=(64 + 10) / 66)]
    for count, expected in ((12, [74 / 66] * 6), (8, None)):
        _, strong = learning_curves(records[:count]).axes[0].lines
        assert expected is None or strong.get_ydata() == pytest.approx(expected)
        assert len(strong.get_xdata()) == (6 if expected else 8)


def test_learning_curves_are_logarithmic_beyond_a_decade_and_skip_what_is_not_finite() -> None:
    steps = [Step(i, 10 ** (-i / 20)) for i in range(60)]
    steps[30].value = math.nan
    figure = learning_curves(steps)
    assert figure.axes[0].get_yscale() == "log"
    assert np.isfinite(figure.axes[0].lines[1].get_ydata()).all()


def test_learning_curves_name_the_best_validation_accuracy() -> None:
    steps = [Step(i, 1.0, validation_value=0.5, validation_accuracy=a) for i, a in enumerate([0.5, 0.975, 0.9])]
    loss, accuracy = learning_curves(steps).axes
    assert accuracy.get_title(loc="left") == "validation accuracy, best 97.50 % at step 1"
    assert accuracy.lines[0].get_ydata() == pytest.approx([50, 97.5, 90])
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]


def test_learning_curves_of_one_record_and_of_none() -> None:
    assert figures.png(learning_curves([Step(0, 1.0)])).startswith(b"\x89PNG")
    with pytest.raises(SettingError, match="no records"):
        learning_curves([])


def test_code_over_time_ends_in_a_code() -> None:
    bits = torch.tensor([[i >> b & 1 for b in range(3)] for i in range(8)], dtype=torch.float32)
    codes = torch.stack([0.5 + (bits - 0.5) * t / 9 for t in range(10)])
    figure = code_over_time(codes)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["pattern 1  →  0 0 0", "pattern 2  →  1 0 0", "pattern 3  →  0 1 0"]
    assert [len(axes.lines) for axes in figure.axes] == [3] * 8
    assert figure.axes[5].lines[2].get_ydata()[-1] == 1
    assert code_over_time(codes[:, :3] - 1, range(0, 100, 10)).axes[0].lines[0].get_xdata()[-1] == 90
    with pytest.raises(ShapeError, match="steps, patterns, units"):
        code_over_time(codes[0])


def test_the_accuracy_axis_holds_the_curve_and_ends_at_a_hundred_percent() -> None:
    rated = ((1, 0.9), (2, 1.0), (3, 0.95))
    records = [Record(step, 3, 1, 1.0 / step, 0.1, 0.0, 0.5, accuracy) for step, accuracy in rated]
    low, high = learning_curves(records).axes[1].get_ylim()
    assert low < 90
    assert 100 <= high < 101
