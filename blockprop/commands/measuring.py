"""How good a network is, as commands print it and put it on a page: measures, by class and by output, with pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blockprop.commands.console import LONG, counted, readable, say, show, show_table
from blockprop.data.dataset import Dataset
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.reports.page import Section, page
from blockprop.reports.sections import predicted_figure
from blockprop.saving.files import write_file
from blockprop.training.evaluation import BATCH, evaluate
from blockprop.training.measures import Measures, measures

FIGURE = "predicted_against_true.svg"
"""Beside a report's page, for numbers."""


def measured(
    network: Network, data: Dataset | None, objective: Objective, quiet: bool = False
) -> tuple[float | None, Measures]:
    """(the objective's value, how good a network is on data); nothing without any. A bar shows how far that is."""
    if data is None:
        return None, Measures()
    batches = -(-len(data) // BATCH)
    with counted("Testing", 2 * batches, quiet, after=LONG) as advance:
        value = evaluate(network, data, objective, progress=lambda: advance("")).value
        return value, measures(network, data, objective, progress=lambda: advance(""))


def facts_of(found: Measures, with_parts: bool = False) -> dict[str, Any]:
    """The measures by name, for `show`. with_parts: each class's or output's, too, and what is said of them."""
    facts: dict[str, Any] = {}
    for name, value in found.values.items():
        facts[name] = value
        if name == "majority_share":
            facts["majority"] = found.majority
    if with_parts and found.parts:
        facts[f"by_{found.kind}"] = found.parts
    if with_parts and found.notes:
        facts["about_measures"] = list(found.notes)
    return facts


def show_measures(result: Mapping[str, Any], found: Measures, as_json: bool) -> None:
    """The result; for people with a table of the classes or outputs below, and what has to be said of it."""
    show(result, as_json)
    if as_json:
        return
    if found.parts:
        print()
        show_table(*table_of(found))
    for note in found.notes:
        say(note)


def table_of(found: Measures) -> tuple[list[str], list[list[str]]]:
    """(headings, rows) of the classes or outputs."""
    names = list(dict.fromkeys(name for part in found.parts.values() for name in part))
    rows = [[part, *(readable(name, values.get(name)) for name in names)] for part, values in found.parts.items()]
    return [found.kind, *(name.replace("_", " ") for name in names)], rows


def measure_section(found: Measures, count: int, seen: bool = False) -> list[Section]:
    """What a page says of them. seen: whether the network was trained on these data."""
    if not found.values:
        return []
    which = "was trained on" if seen else "has never seen"
    text = " ".join([f"On {count:,} examples that the network {which}.", *(f"{_sentence(n)}" for n in found.notes)])
    rows = [[name.replace("_", " "), readable(name, value)] for name, value in facts_of(found).items()]
    sections = [Section("How good it is", text, table=[["measure", "value"], *rows])]
    if found.parts:
        heads, parts = table_of(found)
        sections.append(Section(f"By {found.kind}", table=[heads, *parts]))
    return sections


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


def write_report(folder: Path, title: str, sections: list[Section], facts: Mapping[str, Any]) -> Path:
    """Write folder/index.html; return its path. facts: shown large, those that are numbers."""
    shown = {
        name.replace("_", " "): readable(name, value) for name, value in facts.items() if isinstance(value, int | float)
    }
    path = folder / "index.html"
    write_file(path, page(title, sections, shown))
    return path


def write_figure(folder: Path, network: Network, data: Dataset, found: Measures) -> dict[str, str]:
    """For numbers: predicted against true, as a file beside the page; its path, for the result."""
    if "mae" not in found.values:
        return {}
    write_file(folder / FIGURE, predicted_figure(network, data))
    return {"figure": str(folder / FIGURE)}
