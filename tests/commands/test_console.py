"""Progress bars."""

import io
import re
from typing import NamedTuple

import pytest
from rich.console import Console

from blockprop.commands import console


class Weighed(NamedTuple):
    step: int
    steps: int
    seconds: float
    share: float


class Equal(NamedTuple):
    step: int
    steps: int
    seconds: float


def drawn(monkeypatch: pytest.MonkeyPatch, records: list) -> str:
    """What the bar showed last, where every record comes at its second."""
    now = [0.0]
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, width=100, get_time=lambda: now[0])
    monkeypatch.setattr(console, "_loudness", console.Loudness.NORMAL)
    monkeypatch.setattr(console, "progress_console", terminal)
    for record in console.watched("Painting", now=lambda _: "")(records):
        now[0] = record.seconds
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue()).split("Painting")[-1]


def test_the_remaining_time_weighs_steps_by_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4 steps the last two are four times as much work as the first two, 1 s each: 8 s remain, and not 2."""
    shares = [0.1, 0.2, 0.6, 1.0]
    line = drawn(monkeypatch, [Weighed(i + 1, 4, float(i + 1), shares[i]) for i in range(2)])
    assert "2/4" in line
    assert "00:08" in line


def test_equal_steps_need_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    line = drawn(monkeypatch, [Equal(i + 1, 10, float(i + 1)) for i in range(4)])
    assert "4/10" in line
    assert "00:06" in line


@pytest.mark.parametrize(("seconds", "shown"), [(0.3, False), (3.0, True)])
def test_a_bar_that_is_drawn_only_where_it_takes_a_while(
    seconds: float, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.StringIO()
    now = [0.0]
    monkeypatch.setattr(console, "_loudness", console.Loudness.NORMAL)
    monkeypatch.setattr(console, "progress_console", Console(file=file, force_terminal=True, width=100))
    monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
    with console.counted("Testing", 4, after=console.LONG) as advance:
        for i in range(4):
            now[0] = (i + 1) * seconds / 4
            advance("")
    assert ("4/4" in file.getvalue()) is shown
