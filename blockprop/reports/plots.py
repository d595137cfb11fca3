"""Pictures of what a network has learned, as matplotlib Figures; `figures.svg` and `figures.png` embed them.

Only matplotlib's object interface is used, no pyplot: nothing global is changed, and threads may draw at once.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from blockprop.errors import SettingError, ShapeError
from blockprop.reports.drawing import GRAY, INK
from blockprop.reports.figures import FAINT, LEGEND, color_of, styled, titled

MOST_NUMBERS, MOST_PICTURES = 25, 256
MOST_POINTS, MOST_OUTPUTS = 3000, 6


def confusion_matrix(truth: Any, predicted: Any, classes: Sequence[str]) -> Figure:
    """How often each class was taken for each: rows are the truth, columns the prediction.

    truth, predicted: (n,) class numbers, 0…len(classes)-1. Shading is by share of the row, on a square-root scale, so
    that rare mistakes show; counts stand in the cells up to 25 classes. Names the accuracy and the commonest mistakes.
    Raises ShapeError if the two differ in length, SettingError if they are empty or name a class that there is not.
    """
    truth, predicted, k = _labels(truth, len(classes)), _labels(predicted, len(classes)), len(classes)
    if len(truth) != len(predicted) or not len(truth):
        raise ShapeError(f"expected as many predictions as labels, at least one; got {len(predicted)} and {len(truth)}")
    counts = np.bincount(truth * k + predicted, minlength=k * k).reshape(k, k)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(12.0, max(3.6, 1.8 + 0.36 * k if k <= MOST_NUMBERS else 2 + 0.1 * k))
    figure, (axes,) = styled(side, side + 1)
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    if k <= MOST_NUMBERS:
        for row, column in np.argwhere(counts > (0 if k > 12 else -1)):
            count = counts[row, column]
            color = "white" if shares[row, column] > 0.35 else INK if count else FAINT
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=9 if k <= 12 else 7, color=color)
    size = 9 if k <= 12 else 7 if k <= MOST_NUMBERS else max(3.0, 40 * side / k)
    names = [textwrap.shorten(str(name), 22, placeholder="…") for name in classes]
    axes.set_xticks(range(k), names, fontsize=size, rotation=90 if max(map(len, names)) > 3 or k > 30 else 0)
    axes.set_yticks(range(k), names, fontsize=size)
    axes.set_ylabel("truth", color=GRAY, fontsize=10)
    right = int(np.trace(counts))
    titled(axes, f"accuracy {100 * right / len(truth):.2f} %: {right:,} of {len(truth):,}", _mistakes(counts, names))
    axes.tick_params(length=0)
    axes.grid(False)
    return figure


def _labels(labels: Any, count: int) -> np.ndarray:
    labels = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if labels.ndim != 1:
        raise ShapeError(f"expected a list of class numbers, not an array of {labels.ndim} axes")
    if len(labels) and not (labels.min() >= 0 and labels.max() < count):
        raise SettingError(
            f"class numbers run from 0 to {count - 1} for {count} classes; got {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)


def _mistakes(counts: np.ndarray, names: list[str], most: int = 3) -> str:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(wrong.flat[i], *np.unravel_index(i, wrong.shape)) for i in order if wrong.flat[i]]
    listed = [f"{names[row]} taken for {names[column]} ({count}×)" for count, row, column in pairs]
    return "\n".join(["prediction", "", "most often" if listed else "no mistakes", *listed])


def predicted_against_true(truth: Any, predicted: Any) -> Figure:
    """Each example's prediction over the truth, both in the data's units; on the diagonal it is right.

    truth, predicted: (n,) or (n, outputs), a panel for each of the first 6 outputs; at most 3,000 examples are drawn.
    Raises ShapeError if the two differ in size or are empty.
    """
    truth, predicted = (np.asarray(v.cpu() if isinstance(v, Tensor) else v, float) for v in (truth, predicted))
    if truth.size != predicted.size or not truth.size:
        raise ShapeError(f"expected as many predictions as targets, at least one; got {predicted.shape}, {truth.shape}")
    truth = truth.reshape(len(truth), -1)
    predicted = predicted.reshape(truth.shape)
    rows = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), MOST_POINTS)).astype(int))
    count = min(truth.shape[1], MOST_OUTPUTS)
    columns = min(count, 3)
    figure, panels = styled(4.6 * columns, 4.4 * -(-count // columns), rows=-(-count // columns), columns=columns)
    for i, axes in enumerate(panels):
        if i >= count:
            axes.axis("off")
            continue
        x, y = truth[rows, i], predicted[rows, i]
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes.plot(ends, ends, color=GRAY, linewidth=1, linestyle="--")
        size = min(30.0, max(3.0, 6000 / len(rows)))
        axes.scatter(x, y, s=size, color=color_of(0, 1), alpha=0.5, linewidths=0)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_ylabel("predicted", color=GRAY, fontsize=9)
        few = f"{len(rows):,} of {len(truth):,} examples" if len(rows) < len(truth) else f"{len(truth):,} examples"
        titled(axes, f"output {i + 1}: {few}" if truth.shape[1] > 1 else few, "true")
    return figure


def representations(values: Tensor, labels: Any, classes: Sequence[str]) -> Figure:
    """A hidden layer's activations along their two principal axes, one point per example, colored by class.

    values: (n, units), n at least 2; more axes are flattened. labels: (n,) class numbers. Raises ShapeError otherwise.
    """
    labels = _labels(labels, len(classes))
    if values.ndim < 2 or len(values) != len(labels) or len(values) < 2:
        raise ShapeError(f"expected (n, units) with n = {len(labels)} labels, at least 2; got {tuple(values.shape)}")
    points, shares = principal_axes(values.flatten(1))
    figure, (axes,) = styled(7.2 if len(classes) <= 20 else 8.4, 5.4)
    size = min(30.0, max(3.0, 12000 / len(labels)))
    for number in np.unique(labels):
        color, members = color_of(int(number), len(classes)), points[labels == number]
        name = str(classes[number])
        axes.scatter(members[:, 0], members[:, 1], s=size, color=color, alpha=0.65, linewidths=0, label=name)
        x, y = np.median(members, 0)
        halo = [withStroke(linewidth=3, foreground="white")]
        name_style = {"fontsize": 11 if len(classes) <= 12 else 7, "weight": "bold", "path_effects": halo, "zorder": 9}
        axes.text(x, y, name, color=INK, ha="center", va="center", fontdict=name_style)
    columns, scale = math.ceil(len(classes) / 25), math.sqrt(30 / size)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns, markerscale=scale, **LEGEND)
    axes.set_ylabel(f"second axis: {100 * shares[1]:.1f} % of the variance", color=GRAY, fontsize=9)
    both = f"two axes hold {100 * (shares[0] + shares[1]):.1f} % of the variance"
    titled(axes, f"{len(labels):,} examples, {values[0].numel():,} units; {both}", "")
    axes.set_xlabel(f"first axis: {100 * shares[0]:.1f} % of the variance", color=GRAY, fontsize=9)
    return figure


def principal_axes(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the two directions of largest variance, (n, 2), and their shares of the whole, (2,).

    values: (n, units). An axis points to where its largest component is positive, so that pictures can be compared.
    """
    values = values.detach().to(torch.float64).cpu()
    centered = values - values.mean(0)
    _, lengths, directions = torch.linalg.svd(centered, full_matrices=False)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    points = (centered @ (directions * largest.sign()).T)[:, :2].numpy()
    shares = (lengths**2 / (lengths**2).sum().clamp_min(torch.finfo(torch.float64).tiny))[:2].numpy()
    missing = 2 - points.shape[1]
    return np.pad(points, ((0, 0), (0, missing))), np.pad(shares, (0, missing))


def weight_pictures(weight: Tensor, shape: Sequence[int] | None = None) -> Figure:
    """Each unit's weights as a little picture: blue below 0, red above; in color for pictures of 3 channels.

    weight: (units, c*h*w) with shape = (c, h, w) of the input, or a convolution's (channels_out, c, k, k).
    With c other than 1 and 3 each channel is a picture of its own: a row per unit, a column per channel. RGB pictures
    are scaled each by its own largest weight, gray ones all alike. At most 256 pictures. Raises ShapeError for others.
    """
    shape = tuple(shape) if shape is not None else tuple(weight.shape[1:])
    if len(shape) != 3 or not weight.numel() or weight[0].numel() != math.prod(shape):
        raise ShapeError(f"weights of shape {tuple(weight.shape)} are not pictures of (c, h, w) = {shape}")
    pictures = weight.detach().to(torch.float64).cpu().numpy().reshape(-1, *shape)
    units, c = len(pictures), shape[0]
    cells, columns = _cells(pictures)
    sheet = _mosaic(cells, columns)
    width = min(10.0, max(3.0, 0.5 * columns + 0.5))
    figure, (axes,) = styled(width + (c != 3), width * sheet.shape[0] / sheet.shape[1] + 0.6)
    limit = float(np.quantile(abs(pictures), 0.998)) or 1.0
    drawn = axes.imshow(sheet, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    if c != 3:
        _color_scale(figure, drawn, axes, "weight", shrink=0.85 if sheet.shape[0] < sheet.shape[1] else 0.4)
    shown = len(cells) if c in (1, 3) else len(cells) // columns
    few = f"the first {shown:,} of {units:,}" if shown < units else f"{units:,}"
    rows = (
        "" if c in (1, 3) else f"; a row per unit, its first {columns} channels" if c > columns else "; a row per unit"
    )
    titled(axes, f"weights of {few} units{rows}", "")
    axes.axis("off")
    return figure


def _cells(pictures: np.ndarray) -> tuple[np.ndarray, int]:
    """The pictures to be shown of (units, c, h, w), and how many stand in a row."""
    c = pictures.shape[1]
    if c not in (1, 3):
        columns = min(c, 16)
        return pictures[: min(32, MOST_PICTURES // columns), :columns].reshape(-1, *pictures.shape[2:]), columns
    pictures = pictures[:MOST_PICTURES]
    columns = math.ceil(math.sqrt(1.5 * len(pictures)))
    if c == 1:
        return pictures[:, 0], columns
    largest = np.maximum(abs(pictures).max((1, 2, 3), keepdims=True), 1e-300)
    return (0.5 + 0.5 * pictures / largest).transpose(0, 2, 3, 1), columns


def _mosaic(cells: np.ndarray, columns: int) -> np.ndarray:
    """(n, h, w) or (n, h, w, 3) pictures side by side, white (or NaN) lines between them."""
    n, h, w = cells.shape[:3]
    rows, line = math.ceil(n / columns), max(1, round(max(h, w) / 14))
    blank = np.nan if cells.ndim == 3 else 1.0
    sheet = np.full((rows * (h + line) - line, columns * (w + line) - line, *cells.shape[3:]), blank)
    for i, cell in enumerate(cells):
        top, left = i // columns * (h + line), i % columns * (w + line)
        sheet[top : top + h, left : left + w] = cell
    return sheet


def saliency_sheet(images: Tensor, maps: Tensor, titles: Sequence[str]) -> Figure:
    """Pictures, and under each where a small change would move the score most.

    images: (n, 1 or 3, h, w) in 0…1. maps: ∂S_c/∂x, shape (n, c, h, w), of which the largest |derivative| over the
    channels is shown, or finished maps (n, h, w). Each map is relative to its own largest element, given beneath it.
    Raises ShapeError if the numbers of images, maps and titles differ.
    """
    if not (len(images) == len(maps) == len(titles) and len(images)) or images.ndim != 4 or maps.ndim not in (3, 4):
        raise ShapeError(
            f"expected n images (n, c, h, w), maps and titles; "
            f"got {tuple(images.shape)}, {tuple(maps.shape)} and {len(titles)} titles"
        )
    maps = maps.detach().cpu().abs()
    maps = maps.amax(1) if maps.ndim == 4 else maps
    n = len(images)
    figure, panels = styled(1.5 * n + 1.1, 3.7, rows=2, columns=n)
    for i, (image, values, title) in enumerate(zip(images.detach().cpu(), maps, titles, strict=True)):
        above, below = panels[i], panels[n + i]
        picture = image.clamp(0, 1).permute(1, 2, 0).squeeze(-1).numpy()
        above.imshow(picture, cmap="gray", vmin=0, vmax=1)
        titled(above, textwrap.fill(str(title), 18), "", size=9)
        largest = float(values.max())
        drawn = below.imshow((values / (largest or 1.0)).numpy(), cmap="magma", vmin=0, vmax=1)
        below.set_title(f"largest {largest:.2g}", color=GRAY, fontsize=8)
        for axes in (above, below):
            axes.axis("off")
    _color_scale(figure, drawn, panels, "|∂S/∂x| / largest", shrink=0.42, anchor=(0.0, 0.05))
    return figure


def _color_scale(figure: Figure, drawn: Any, axes: Any, label: str, **place: Any) -> None:
    scale = figure.colorbar(drawn, ax=axes, pad=0.02, aspect=18, **place)
    scale.set_label(label, color=GRAY, fontsize=9)
    scale.ax.tick_params(colors=GRAY, labelsize=8)
    scale.outline.set_visible(False)
