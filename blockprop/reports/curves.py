"""Curves over the steps of a run, as matplotlib Figures; `figures.svg` and `figures.png` embed them."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from torch import Tensor

from blockprop.errors import SettingError, ShapeError
from blockprop.reports.drawing import GRAY
from blockprop.reports.figures import LEGEND, PALETTE, color_of, styled, titled
from blockprop.training.rate_finder import RateCurve
from blockprop.visualize.attribution.sanity import SanityRecord
from blockprop.visualize.running import PictureRecord

LEAST_EPOCHS = 5
"""As many epochs make a curve of their own."""
MOST_NAMES = 24
"""As many layers stand by name below a curve; of more, every second, third … one does."""


class StepRecord(Protocol):
    """What the curves need of a training step's record, such as `training.Record`."""

    @property
    def step(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def value(self) -> float: ...
    @property
    def validation_value(self) -> float | None: ...
    @property
    def validation_accuracy(self) -> float | None: ...


def learning_curves(records: Iterable[StepRecord]) -> Figure:
    """Training loss (steps faint, epochs strong), validation loss, and validation accuracy if there is any.

    Of fewer than 5 epochs the strong line is a running mean over the steps.
    The loss is on a logarithmic scale if it spans more than a factor of 10. Raises SettingError without records.
    """
    records = list(records)
    if not records:
        raise SettingError("there are no records to draw; training has to yield at least one")
    steps = np.array([record.step for record in records])
    losses = np.array([record.value for record in records], float)
    tested = [(r.step, r.validation_value) for r in records if r.validation_value is not None]
    rated = [(r.step, r.validation_accuracy) for r in records if r.validation_accuracy is not None]
    figure, panels = styled(9 if rated else 5.5, 3.4, columns=2 if rated else 1)
    axes = panels[0]
    axes.plot(steps, losses, color=PALETTE[0], alpha=0.25, linewidth=0.8, marker="o" if len(steps) == 1 else "")
    of_epochs = [(record.step, getattr(record, "training_value", None)) for record in records]
    epoch_losses = [(step, value) for step, value in of_epochs if value is not None]
    smooth = [*zip(steps, _running_mean(losses, max(1, len(losses) // 25)), strict=True)]
    strong = epoch_losses if len(epoch_losses) >= LEAST_EPOCHS else smooth
    axes.plot(*zip(*strong, strict=True), color=PALETTE[0], label="training")
    if tested:
        axes.plot(*zip(*tested, strict=True), color=PALETTE[1], marker="o", markersize=3.5, label="validation")
        axes.legend(**LEGEND)
    _log_if_wide(axes, [*losses, *(value for _, value in tested)])
    epochs = max(record.epoch for record in records)
    label = f"step ({epochs:,} epoch{'s' * (epochs != 1)})"
    titled(axes, "loss", label)
    if rated:
        _accuracy_curve(panels[1], rated, label)
    return figure


def rate_curve(curve: RateCurve) -> Figure:
    """The loss over the learning rates that were tried, and the one that is suggested."""
    figure, (axes,) = styled(5.5, 3.4)
    losses = np.array(curve.losses)
    axes.plot(curve.rates, losses, color=PALETTE[0])
    axes.axvline(curve.suggestion, color=PALETTE[3], linewidth=1)
    axes.set_xscale("log")
    top = max(losses[0], losses.min())
    axes.set_ylim(top=top + 0.5 * (top - losses.min()) + 0.1)
    titled(axes, f"loss: half the way down at a learning rate of {curve.suggestion:.2g}", "learning rate")
    return figure


def _accuracy_curve(axes: Axes, rated: list[tuple[int, float]], label: str) -> None:
    step, best = max(rated, key=lambda pair: pair[1])
    axes.plot([s for s, _ in rated], [100 * a for _, a in rated], color=PALETTE[1], marker="o", markersize=3.5)
    axes.plot([step], [100 * best], "o", color="none", markeredgecolor=PALETTE[3], markersize=9)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g} %"))
    axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
    titled(axes, f"validation accuracy, best {100 * best:.2f} % at step {step:,}", label)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Centered mean over what the window covers; NaN and infinity are left out."""
    finite = np.isfinite(values)
    kernel = np.ones(2 * (window // 2) + 1)
    middle = slice(window // 2, window // 2 + len(values))
    sums = np.convolve(np.where(finite, values, 0), kernel)[middle]
    counts = np.convolve(finite, kernel)[middle]
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0.5)


def _log_if_wide(axes: Axes, values: Sequence[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) / min(finite) > 10:
        axes.set_yscale("log")


def code_over_time(codes: Any, steps: Sequence[int] | None = None) -> Figure:
    """How a hidden code forms: one panel per pattern, one line per hidden unit, over training.

    codes: (steps, patterns, units), as for the 8-3-8 encoder; steps: their numbers, by default 0, 1, ….
    If all activations lie in 0…1, each panel's title is the code at the end, rounded. Raises ShapeError otherwise.
    """
    codes = np.asarray(codes.cpu() if isinstance(codes, Tensor) else codes, float)
    if codes.ndim != 3 or not codes.size or (steps is not None and len(steps) != len(codes)):
        raise ShapeError(f"expected codes (steps, patterns, units) and as many steps; got {codes.shape}")
    patterns, units = codes.shape[1:]
    rows = math.ceil(patterns / 4)
    figure, panels = styled(9, 1.7 * rows + 0.7, rows=rows, columns=min(4, patterns), share=True)
    is_code = codes.min() >= 0 and codes.max() <= 1
    for i, axes in enumerate(panels):
        if i >= patterns:
            axes.axis("off")
            continue
        for unit in range(units):
            line = codes[:, i, unit]
            axes.plot(range(len(line)) if steps is None else steps, line, color=color_of(unit, units), linewidth=1.6)
        final = " ".join(f"{x:.0f}" for x in codes[-1, i]) if is_code else ""
        titled(axes, f"pattern {i + 1}" + (f"  →  {final}" if final else ""), "step" if i + 4 >= patterns else "", 9)
    handles = panels[0].lines
    names = [f"hidden unit {unit + 1}" for unit in range(units)]
    figure.legend(handles, names, loc="outside lower center", ncols=units, **LEGEND)
    return figure


def ascent_curves(steps: Sequence[PictureRecord]) -> Figure:
    """The value of an ascent and its parts over the steps. Raises SettingError without records."""
    if not steps:
        raise SettingError("there are no records to draw; the run has to make at least one step")
    figure, (axes,) = styled(8, 3.4)
    x = [step.step for step in steps]
    parts = list(steps[-1].parts)
    if len(parts) > 1:
        for i, title in enumerate(parts):
            y = [step.parts.get(title, float("nan")) for step in steps]
            axes.plot(x, y, color=PALETTE[(i + 1) % len(PALETTE)], linewidth=1.1, label=part_name(title))
    axes.plot(x, [step.value for step in steps], color=PALETTE[0], linewidth=1.8, label="value")
    if len(parts) > 1:
        axes.legend(**LEGEND)
    titled(axes, "value and its parts", "step")
    return figure


def part_name(title: str) -> str:
    """ "- 3.0 * doubt(99)" as "doubt": what a part of an objective is called where there is little room."""
    core = re.sub(r"^\(?-?\s*(\d[\d.e+-]*\s*\*)?\s*", "", title)
    name, _, rest = core.partition("(")
    if name in ("score", "activity", "resemblance"):
        return rest.strip("()'\" ") or name
    if name == "each":
        return "scores"
    return name.replace("_", " ").strip() or title


def sanity_curves(by_method: Mapping[str, Sequence[SanityRecord]]) -> Figure:
    """How alike the maps stay to the original ones while layer after layer is randomized, a curve for each method.

    by_method: the records of `sanity`. Raises SettingError without records.
    """
    records = next(iter(by_method.values()), ())
    if not records:
        raise SettingError("there are no records to draw; sanity has to randomize at least one layer")
    figure, (axes,) = styled(max(7.0, min(13.0, 2.5 + 0.3 * len(records))), 4.6)
    for i, (method, rows) in enumerate(by_method.items()):
        y = [1.0, *(row.absolute for row in rows)]
        color: Any = PALETTE[i % len(PALETTE)]
        axes.plot(range(len(y)), y, color=color, marker="o", markersize=3, label=method.replace("_", " "))
    axes.axhline(0, color=GRAY, linewidth=0.8)
    every = -(-(len(records) + 1) // MOST_NAMES)
    names = ["original", *(row.layer for row in records)]
    axes.set_xticks(range(0, len(names), every), names[::every], rotation=90, fontsize=7.5)
    axes.set_ylim(min(-0.1, *axes.get_ylim()), 1.05)
    axes.set_ylabel("rank correlation with the original map", color=GRAY, fontsize=9)
    axes.legend(**LEGEND)
    titled(axes, "Does the map change when the network forgets?", "layers with randomized weights, from the top down")
    return figure
