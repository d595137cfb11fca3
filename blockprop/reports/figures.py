"""Figures of matplotlib in one style, as SVG or PNG."""

import html
import io
import re
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from blockprop.reports.drawing import GRAY, INK

FAINT = "#d9dee3"
PALETTE = (
    *("#4a78b5", "#cf8a3a", "#5b9a52", "#c0566a", "#8a64a8"),
    *("#3c9492", "#8c6d4f", "#d17fb0", "#6b7785", "#b3a12c"),
)
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": INK}


def svg(figure: Figure) -> str:
    """The figure as SVG text without a date: the same figure gives the same text.

    Letters are drawn as outlines, so that it looks the same everywhere; its title says what the axes' titles say.
    """
    file = io.StringIO()
    _settle(figure)
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    titles = [axes.get_title(loc=place) for axes in figure.axes for place in ("left", "center")]
    title = html.escape("; ".join(filter(None, titles)))
    text = re.sub(r"<svg [^>]*>", lambda tag: f"{tag[0]}\n <title>{title}</title>", file.getvalue(), count=1)
    # Matplotlib's ids are random unless a global setting says otherwise, which other threads would see: here they are
    # numbers.
    numbers = {name: f"p{i}" for i, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', text)))}
    return re.sub(r'(\bid="|href="#|url\(#)([^")]+)', lambda use: use[1] + numbers.get(use[2], use[2]), text)


def _settle(figure: Figure) -> None:
    """Lay the figure out for good: the engine starts from its last result, and so would move things at each drawing."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a PNG file's content; dpi: dots per inch. The same figure gives the same bytes."""
    file = io.BytesIO()
    _settle(figure)
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


def styled(
    width: float, height: float, rows: int = 1, columns: int = 1, share: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure in the common style, sizes in inches, and its axes row by row."""
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    panels = list(figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share).flat)
    for axes in panels:
        axes.set_facecolor("white")
        axes.spines[:].set_color(FAINT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=GRAY, labelsize=8.5, color=FAINT)
        axes.grid(color=FAINT, linewidth=0.5, alpha=0.7)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure, panels


def titled(axes: Axes, title: str, label: str, size: float = 10) -> None:
    """Name the axes, and what runs along them."""
    axes.set_title(title, loc="left" if size == 10 else "center", color=INK, fontsize=size)
    axes.set_xlabel(label, color=GRAY, fontsize=9)


def color_of(number: int, count: int) -> Any:
    """The color of one of so many things."""
    return (
        PALETTE[number] if count <= len(PALETTE) else matplotlib.colormaps["turbo"](0.05 + 0.9 * number / (count - 1))
    )
