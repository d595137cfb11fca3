"""How time and memory grow, drawn: docs/pictures/growth.svg, from the numbers of speed.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
from reporting import PAGE

PICTURE = PAGE.parent / "pictures" / "growth.svg"
QUANTITIES = {"seconds": ("time, ms", 1e3), "tensors": ("memory of tensors, MB", 1e-6)}
STEADY = {"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9}
"""The same numbers give the same file."""


def drawn(rows: Mapping[str, Mapping[str, Any]], path: Path = PICTURE) -> bool:
    """A row of plots for each group whose rows have sizes, both axes logarithmic; False if there is none."""
    groups = list(dict.fromkeys(row["group"] for row in rows.values() if row["size"] and "ways" in row))
    if not groups:
        return False
    with plt.rc_context(STEADY):
        figure, axes = plt.subplots(len(groups), len(QUANTITIES), figsize=(8, 2.6 * len(groups)), squeeze=False)
        for line, group in zip(axes, groups, strict=True):
            grown = [row for row in rows.values() if row["group"] == group and "ways" in row]
            for axis, (quantity, (label, factor)) in zip(line, QUANTITIES.items(), strict=True):
                for way in grown[0]["ways"]:
                    points = [(row["size"], row["ways"][way][quantity] * factor) for row in grown]
                    axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=way)
                (first, _), (last, value) = points[0], points[-1]
                axis.plot([first, last], [value * first / last, value], "k:", linewidth=1, label="linear")
                axis.set(xscale="log", yscale="log", xlabel=group.removeprefix("growth with "), ylabel=label)
                axis.grid(alpha=0.3)
        axes[0, 0].legend(frameon=False)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
    return True
