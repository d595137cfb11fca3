"""How the commands talk: results on standard output, progress on standard error, errors in one sentence."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from blockprop.training import Record

progress_console = Console(stderr=True, highlight=False)


def watched(title: str, quiet: bool = False) -> Callable[[Iterable[Record]], Iterator[Record]]:
    """A wrapper that draws a progress bar for the records passing through: rate, remaining time, current loss."""

    def watch(records: Iterable[Record]) -> Iterator[Record]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[now]}"),
        )
        with Progress(*columns, console=progress_console, disable=quiet) as bar:
            task = bar.add_task(title, total=None, speed="", now="")
            shown = -1.0
            for record in records:
                if record.seconds - shown > 0.1 or record.step == record.steps:
                    shown = record.seconds
                    speed = f"{record.step / max(record.seconds, 1e-9):.0f}/s"
                    bar.update(task, completed=record.step, total=record.steps, speed=speed, now=_now(record))
                yield record

    return watch


def _now(record: Record) -> str:
    text = f"epoch {record.epoch} loss {record.value:.4f}"
    if record.validation_accuracy is not None:
        text += f" right {record.validation_accuracy:.1%}"
    return text


def say(text: str, quiet: bool = False) -> None:
    """A line about what happens now, on standard error."""
    if not quiet:
        progress_console.print(text, style="dim")


def show(result: Mapping[str, Any], as_json: bool, title: str = "") -> None:
    """The result: one JSON object, or two columns for people."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False, default=str))
        return
    rows = [[name.replace("_", " "), _readable(name, value)] for name, value in result.items()]
    show_table(["", ""], rows, title)


def show_table(heads: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A table for people, on standard output."""
    table = Table(title=title or None, title_justify="left", show_header=any(heads), box=None, padding=(0, 2, 0, 0))
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 else "default", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def _readable(name: str, value: Any) -> str:
    if name == "accuracy" and isinstance(value, float):
        return f"{value:.2%}"
    if name == "seconds":
        return f"{value:.1f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
