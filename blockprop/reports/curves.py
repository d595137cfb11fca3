"""Curves over the steps of a run, as matplotlib Figures; `plots.svg` and `plots.png` embed them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from blockprop.errors import SettingError
from blockprop.reports.figures import COLORS, GRAY, LEGEND, styled, titled
from blockprop.visualize.attribution.sanity import SanityRecord
from blockprop.visualize.running import Step

NAMES = 24
"""As many layers stand by name below a curve; of more, every second, third … one does."""


def ascent_curves(steps: Sequence[Step]) -> Figure:
    """The value of an ascent and its parts over the steps. Raises SettingError without records."""
    if not steps:
        raise SettingError("there are no records to draw; the run has to make at least one step")
    figure, (axes,) = styled(8, 3.4)
    x = [step.step for step in steps]
    parts = list(steps[-1].parts)
    if len(parts) > 1:
        for i, title in enumerate(parts):
            y = [step.parts.get(title, float("nan")) for step in steps]
            axes.plot(x, y, color=COLORS[(i + 1) % len(COLORS)], linewidth=1.1, label=part_name(title))
    axes.plot(x, [step.value for step in steps], color=COLORS[0], linewidth=1.8, label="value")
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


def sanity_curves(found: Mapping[str, Sequence[SanityRecord]]) -> Figure:
    """How alike the maps stay to the original ones while layer after layer is randomized, a curve for each method.

    found: the records of `sanity` by method. Raises SettingError without records.
    """
    records = next(iter(found.values()), ())
    if not records:
        raise SettingError("there are no records to draw; sanity has to randomize at least one layer")
    figure, (axes,) = styled(max(7.0, min(13.0, 2.5 + 0.3 * len(records))), 4.6)
    for i, (method, rows) in enumerate(found.items()):
        y = [1.0, *(row.absolute for row in rows)]
        color: Any = COLORS[i % len(COLORS)]
        axes.plot(range(len(y)), y, color=color, marker="o", markersize=3, label=method.replace("_", " "))
    axes.axhline(0, color=GRAY, linewidth=0.8)
    every = -(-(len(records) + 1) // NAMES)
    names = ["original", *(row.layer for row in records)]
    axes.set_xticks(range(0, len(names), every), names[::every], rotation=90, fontsize=7.5)
    axes.set_ylim(min(-0.1, *axes.get_ylim()), 1.05)
    axes.set_ylabel("rank correlation with the original map", color=GRAY, fontsize=9)
    axes.legend(**LEGEND)
    titled(axes, "Does the map change when the network forgets?", "layers with randomized weights, from the top down")
    return figure
