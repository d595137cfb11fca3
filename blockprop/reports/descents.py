"""The path of a gradient descent over the contour lines of its function, as a matplotlib Figure."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from blockprop.calculus.descent import DescentStep
from blockprop.calculus.recording import value_at
from blockprop.calculus.text import TextFunction
from blockprop.errors import SettingError
from blockprop.reports.drawing import GRAY, INK
from blockprop.reports.figures import FAINT, PALETTE, styled, titled

GROUND = LinearSegmentedColormap.from_list("ground", ["#f4f8fc", "#dbe7f3", "#b9cfe4", "#8fb0d0"])
"""From the bottom of a valley up."""
PATH, END = PALETTE[1], PALETTE[3]
GRID, LEVELS = 240, 18
MOST_DOTS = 120
"""Of so many steps each has its dot."""
LARGEST = 1e100
"""Numbers beyond it are drawn at it."""
FARTHEST = 8.0
"""Of a path that runs away, so many times its first step's way from the start is shown."""


def descent_path(f: TextFunction, records: Sequence[DescentStep], sentences: Sequence[str] = ()) -> Figure:
    """The path over the contour lines of a function of two variables, or on the curve of one; beside it the loss.

    sentences: what is said of it, above.   Raises SettingError without records.
    """
    if not records:
        raise SettingError("there are no records to draw; a descent gives at least its start")
    points = np.array([record.x.flatten().tolist() for record in records], float).clip(-LARGEST, LARGEST)
    figure, (left, right) = styled(10.4, 5.0, columns=2)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(6))
    if len(f.variables) == 2:
        _over_contours(left, f, points)
    else:
        _on_curve(left, f, points, np.array([record.value for record in records]).clip(-LARGEST, LARGEST))
    titled(left, f"f({', '.join(f.variables)}) = {textwrap.shorten(f.text, 60, placeholder=' …')}", f.variables[0])
    _loss(right, records)
    if sentences:
        said = "\n".join(textwrap.fill(one[0].upper() + one[1:], 138) for one in sentences)
        figure.suptitle(said, x=0.012, ha="left", color=INK, fontsize=10)
    return figure


def _over_contours(axes: Axes, f: TextFunction, points: np.ndarray) -> None:
    (left, right), (low, high) = _box(points)
    x, y = np.linspace(left, right, GRID), np.linspace(low, high, GRID)
    ground = _ground(f, np.stack(np.meshgrid(x, y)))
    if ground.count() and ground.max() > ground.min():
        levels = ground.min() + (ground.max() - ground.min()) * np.linspace(0, 1, LEVELS + 1) ** _bend(ground)
        axes.contourf(x, y, ground, levels=levels, cmap=GROUND)
        axes.contour(x, y, ground, levels=levels[1:-1], colors="white", linewidths=0.7, linestyles="solid")
    axes.grid(False)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.set_ylabel(f.variables[1], color=GRAY, fontsize=9)
    _draw(axes, points[:, 0], points[:, 1])


def _on_curve(axes: Axes, f: TextFunction, points: np.ndarray, values: np.ndarray) -> None:
    ((left, right),) = _box(points)
    x = np.linspace(left, right, 4 * GRID)
    curve = _ground(f, x[None])
    axes.plot(x, curve, color=PALETTE[0], linewidth=1.6, zorder=1)
    axes.set_xlim(left, right)
    _draw(axes, points[:, 0], values)
    if curve.count():
        low, high = float(curve.min()), float(curve.max())
        axes.set_ylim(low - 0.08 * (high - low or 1), high + 0.08 * (high - low or 1))


def _ground(f: TextFunction, places: np.ndarray) -> np.ma.MaskedArray:
    """The function at many places; those where it is no number that can be drawn are left out."""
    return np.ma.masked_outside(np.ma.masked_invalid(value_at(f, torch.from_numpy(places)).numpy()), -LARGEST, LARGEST)


def _draw(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """The path: its steps as dots if there are few, and by name its start and its end."""
    axes.plot(x, y, color=PATH, linewidth=1.4, zorder=3)
    if len(x) <= MOST_DOTS:
        axes.plot(x, y, "o", color=PATH, markersize=4.2, markeredgecolor="white", markeredgewidth=0.5, zorder=4)
    edge: dict[str, Any] = {"zorder": 6, "markersize": 8, "markeredgewidth": 1.4, "clip_on": True}
    axes.plot(x[:1], y[:1], "o", color="white", markeredgecolor=INK, **edge)
    axes.plot(x[-1:], y[-1:], "o", color=END, markeredgecolor="white", **edge)
    halo = [withStroke(linewidth=3, foreground="white", alpha=0.85)]
    for place, name, color in ((0, "start", INK), (-1, f"step {len(x) - 1}", END)):
        above = y[place] >= y[place - 1 if place else 1] if len(x) > 1 else not place
        style: dict[str, Any] = {"fontsize": 9, "path_effects": halo, "zorder": 7, "annotation_clip": True}
        at, shift = (x[place], y[place]), (0, 9 if above else -16)
        axes.annotate(name, at, shift, textcoords="offset points", ha="center", color=color, **style)


def _loss(axes: Axes, records: Sequence[DescentStep]) -> None:
    steps, values = (
        [record.step for record in records],
        np.array([record.value for record in records]).clip(-LARGEST, LARGEST),
    )
    axes.plot(steps, values, color=PATH, linewidth=1.3, marker="o", markersize=3.2 if len(steps) <= MOST_DOTS else 0)
    axes.tick_params(which="minor", color=FAINT)
    positive = values[values > 0]
    if len(positive) == len(values) and positive.max() > 100 * positive.min():
        axes.set_yscale("log")
    elif len(values) > 2 and abs(values).max() > 1e6 * max(1e-300, float(np.median(abs(values)))):
        axes.set_yscale("symlog")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    titled(axes, "loss", "step")


def _box(points: np.ndarray) -> list[tuple[float, float]]:
    """What to show of each axis: the path with room around it; of one that runs away, where it begins to."""
    ways = abs(points - points[0]).max(1)
    reach = max(abs(points[0]).max(), ways[1] if len(ways) > 1 else 0.0, 1e-3 * max(1.0, abs(points[0]).max()))
    near = points[ways <= FARTHEST * reach]
    low, high = near.min(0), near.max(0)
    widest = float((high - low).max()) or max(1.0, float(abs(points[0]).max()))
    sides = []
    for a, b in zip(low, high, strict=True):
        width = max(float(b - a), 0.5 * widest)
        middle = float(a + b) / 2
        sides.append((middle - 0.68 * width, middle + 0.68 * width))
    return sides


def _bend(ground: np.ma.MaskedArray) -> float:
    """How much closer contour lines stand at the bottom: so that half of the ground lies above half of them."""
    share = float((np.ma.median(ground) - ground.min()) / (ground.max() - ground.min()))
    return min(6.0, max(1.0, math.log(max(share, 1e-9)) / math.log(0.5)))
