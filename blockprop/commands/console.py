"""How the commands talk: results on standard output, progress on standard error, errors in one sentence."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from blockprop.commands.naming import in_options
from blockprop.commands.streams import holds_unicode
from blockprop.errors import BlockpropWarning

if TYPE_CHECKING:
    from blockprop.training.run import Record


progress_console = Console(stderr=True, highlight=False)
LONG = 1.0
"""Seconds after which a bar is worth while for what is over at once with few data."""
OTHER_COLUMNS = 42
"""Characters of a bar, its count, speed and remaining time."""
SHARES = ("accuracy", "majority_share", "balanced_accuracy", "precision", "recall", "confidence")
"""Facts that are read in percent."""
SCORES = ("f1", "auc")
"""Facts between 0 and 1 that are not."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it; typer returns it where it has caught the interruption itself."""
WRONG_GRADIENT = 3
"""Exit code if a backward pass is wrong."""


class Loudness(IntEnum):
    """How much a command says besides its result and errors: nothing, what people want to know, or all it decided."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


_loudness = Loudness.NORMAL
_options: tuple[Any, ...] = ()


def set_loudness(loudness: Loudness) -> None:
    """For all that is said from now on."""
    global _loudness
    _loudness = loudness


def set_options(params: Iterable[Any]) -> None:
    """The options of the running command: what is said names them where the library names arguments."""
    global _options
    _options = tuple(params)


def is_quiet() -> bool:
    """Whether only results and errors are wanted."""
    return _loudness is Loudness.QUIET


def is_verbose() -> bool:
    """Whether everything that was decided is wanted, too."""
    return _loudness is Loudness.VERBOSE


class Timed(Protocol):
    """What a progress bar needs of a step's record; one whose steps are unequal work has a `share`, 0…1, too."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def seconds(self) -> float: ...


Step = TypeVar("Step", bound=Timed)


def watched(
    title: str, quiet: bool = False, now: Callable[[Any], str] | None = None
) -> Callable[[Iterable[Step]], Generator[Step, None, None]]:
    """A wrapper that draws a progress bar for the records passing through: rate, remaining time, current loss.

    Who may leave the loop before its end closes it: what interrupts a generator that is merely dropped goes nowhere.

    now: what stands behind the bar, made from a record; by default epoch, loss and accuracy of a training step.
    """
    told: Callable[[Any], str] = _now if now is None else now

    def watch(records: Iterable[Step]) -> Generator[Step, None, None]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[now]}", markup=False),
        )
        with Progress(*columns, console=progress_console, disable=quiet or is_quiet()) as bar:
            task = bar.add_task(title, total=None, count="", speed="", now="")
            shown = -1.0
            for record in records:
                if record.seconds - shown > 0.1 or record.step == record.steps:
                    shown = record.seconds
                    speed = f"{record.step / max(record.seconds, 1e-9):.{0 if record.step > 10 * shown else 1}f}/s"
                    count = f"{record.step:>{len(str(record.steps))}}/{record.steps}"
                    done = getattr(record, "share", record.step / record.steps)
                    bar.update(task, completed=done, total=1.0, count=count, speed=speed, now=_cut(told(record), title))
                yield record

    return watch


@contextmanager
def counted(title: str, total: int, quiet: bool = False, after: float = 0.0) -> Iterator[Callable[[str], None]]:
    """A progress bar for so many passes, and the function that moves it by one: told what is being worked on.

    after: it is drawn once so many seconds are over.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[now]}", markup=False),
    )
    bar = Progress(*columns, console=progress_console, disable=quiet or is_quiet())
    task, began = bar.add_task(title, total=total, now=""), time.perf_counter()

    def advance(now: str) -> None:
        bar.update(task, advance=1, now=_cut(now, title))
        if not bar.live.is_started and time.perf_counter() - began >= after:
            bar.start()

    try:
        if not after:
            bar.start()
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


@contextmanager
def watched_bytes(title: str, quiet: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """A bar for a download, and the function that moves it: told (bytes so far, bytes in all or None)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=progress_console, disable=quiet or is_quiet()) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _cut(text: str, title: str) -> str:
    """As much of a text as there is room for behind a bar; else the other columns would shrink."""
    room = max(12, progress_console.width - len(title) - OTHER_COLUMNS)
    return text if len(text) <= room else text[: room - 1] + "…"


def _now(record: Record) -> str:
    text = f"epoch {record.epoch} loss {record.value:.4f}"
    if record.validation_accuracy is not None:
        text += f" right {record.validation_accuracy:.1%}"
    return text


def say(text: str, quiet: bool = False) -> None:
    """A line about what happens now, on standard error; not with --quiet."""
    if not (quiet or is_quiet()):
        progress_console.print(printable(text), style="dim", markup=False, soft_wrap=True)


def explain(text: str, quiet: bool = False) -> None:
    """A line about what was decided, which is said with --verbose alone."""
    if is_verbose():
        say(text, quiet)


def say_all(notes: Iterable[str], quiet: bool = False) -> None:
    """What was guessed, left out or odd in the data, a line each, on standard error."""
    for note in spoken(notes):
        say(note, quiet)


def spoken(notes: Iterable[str]) -> list[str]:
    """Notes with the command's options where the library names arguments."""
    return [in_options(note, _options) for note in notes]


@contextmanager
def saying_warnings() -> Iterator[None]:
    """What is found odd about data on the way is said in a line, once."""
    said: set[str] = set()

    def say_once(message: Warning | str, *_: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            say(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", BlockpropWarning)
        earlier = warnings.showwarning
        warnings.showwarning = lambda message, kind, *rest: (
            say_once(message) if issubclass(kind, BlockpropWarning) else earlier(message, kind, *rest)
        )
        yield


def show(result: Mapping[str, Any], as_json: bool) -> None:
    """The result on standard output: one JSON object, or a line for each fact."""
    if as_json:
        print_json(result)
        return
    show_table([], [[name.replace("_", " "), readable(name, value)] for name, value in result.items()])


def print_json(result: Mapping[str, Any]) -> None:
    """One JSON object on standard output, in characters that it can hold."""
    print(json.dumps(result, ensure_ascii=not holds_unicode(sys.stdout), allow_nan=False, default=str))


def printable(text: str) -> str:
    """The text with control characters spelled out, which in a stranger's file could move the cursor or worse."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def show_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns for people, never wrapped: what stands there can be copied."""
    lines = [[printable(cell) for cell in line] for line in ([heads] if heads else []) + list(rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))] if lines else []
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def readable(name: str, value: Any) -> str:
    """A fact as people read it: shares in percent, numbers with three or four digits, counts with thousands."""
    if name in SHARES and isinstance(value, float):
        return f"{value:.2%}"
    if value is None:
        return "not defined"
    if name == "seconds":
        return f"{value:.1f}"
    if name in SCORES and isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
