"""What the columns of a table became in training, as a table for people and as facts for programs."""

import shutil
from typing import Any

from blockprop.commands.console import show_table
from blockprop.data.tables.encoder import TableEncoder
from blockprop.data.tables.target import TargetColumn

MOST_SHOWN = 40
"""Columns that are shown at most, unless all are wanted."""
LEAST_WIDTH, PIPE_WIDTH = 80, 100


def column_facts(encoder: TableEncoder) -> list[dict[str, Any]]:
    """A fact sheet of each column, and at last of the one to predict."""
    facts: list[dict[str, Any]] = [
        {
            "column": column.name,
            "kind": column.kind,
            "becomes": column.becomes,
            "missing": column.missing,
            "notes": list(column.notes),
        }
        for column in encoder.columns
    ]
    if encoder.target is not None:
        target = TargetColumn(encoder.target, encoder.classes, encoder.target_format)
        facts.append({"column": target.name, "kind": "target", "becomes": target.becomes, "missing": 0, "notes": []})
    return facts


def show_columns(encoder: TableEncoder, most: int | None = MOST_SHOWN) -> None:
    """Each column, what it became, and how many of its cells were missing in the training rows."""
    facts = column_facts(encoder)
    shown = facts if most is None or len(facts) <= most else [*facts[: most - 1], facts[-1]]
    names = [_cut(fact["column"], 30) for fact in shown]
    room = max(shutil.get_terminal_size((PIPE_WIDTH, 24)).columns, LEAST_WIDTH) - max(map(len, names)) - 11
    rows = [
        [name, _cut(fact["becomes"], room), str(fact["missing"] or "")] for name, fact in zip(names, shown, strict=True)
    ]
    if len(shown) < len(facts):
        rows.insert(-1, ["…", f"{len(facts) - len(shown)} more columns, which `blockprop info` shows", ""])
    show_table(["column", "becomes", "missing"], rows)


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())  # in one line
    return text if len(text) <= width else text[: width - 1] + "…"
