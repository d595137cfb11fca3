"""The page about a training run, and what lies beside it."""

from pathlib import Path
from typing import Any

from blockprop.commands.measuring import measure_section, write_figure, write_report
from blockprop.commands.sources import name_of
from blockprop.data.dataset import Dataset
from blockprop.engine.network import Network
from blockprop.engine.objectives import Loss
from blockprop.reports.sections import sections
from blockprop.training.measures import Measures, measures
from blockprop.training.run import Record


def write_training_page(
    folder: Path,
    net: Network,
    done: list[Record],
    test: Dataset | None,
    training: Dataset,
    objective: Loss,
    tested: Measures,
    result: dict[str, Any],
) -> dict[str, Any]:
    """Write a page about the result, and what belongs beside it; return their paths."""
    shown, seen = test or training, test is None
    quality = tested if shown is test else measures(net, shown, objective)
    of_quality = measure_section(quality, len(shown), seen)
    told_of_it = sections(net, done, shown, objective, seen=seen, quality=of_quality)
    written = write_figure(folder, net, shown, quality)
    title = f"{net.meta.get('spec', 'network')} on {name_of(training.name)}"
    return written | {"report": str(write_report(folder, title, told_of_it, result))}
