"""Ctrl-C and SIGTERM take effect between two steps, whoever handles them and however they come."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from blockprop import cli
from blockprop.pictures.picture_files import read_settings
from blockprop.saving.interruption import STOPPING, TERMINATING, Interruption, Termination, no_interrupt_lost
from tests.processes import started

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_in_a_step_waits_for_its_end(number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in STOPPING}
    with Termination.watched() as termination:
        inside, interruption = {each: signal.getsignal(each) for each in STOPPING}, Interruption()
        interruption.busy = True
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            interruption.release()
        with pytest.raises(KeyboardInterrupt):
            _raised_twice(number, termination)
        interruption.close()
        assert {each: signal.getsignal(each) for each in STOPPING} == inside
    assert termination.by == (None if number == signal.SIGINT else number)
    assert {each: signal.getsignal(each) for each in STOPPING} == before


def _raised_twice(number: signal.Signals, termination: Termination) -> None:
    termination.by = None
    signal.raise_signal(number)


class Dying:
    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


def _outlive(_dying: Dying) -> None:
    del _dying
    time.sleep(60)


@pytest.mark.parametrize("number", STOPPING)
def test_what_comes_in_a_destructor_is_not_lost(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    with Termination.watched() as termination:
        with pytest.raises(KeyboardInterrupt), no_interrupt_lost():
            _outlive(Dying(number))
        assert termination.by == (None if number == signal.SIGINT else number)
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("first", TERMINATING)
def test_a_second_one_does_not_disturb_the_saving_that_the_first_set_off(first: signal.Signals) -> None:
    with Termination.watched():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(first)
        for number in TERMINATING:
            signal.raise_signal(number)


@pytest.mark.parametrize("number", TERMINATING)
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_who_handles_or_ignores_them_keeps_them(handler: Any, number: signal.Signals) -> None:
    """nohup, for instance, ignores SIGHUP."""
    before = signal.signal(number, handler)
    try:
        with Termination.watched() as termination:
            signal.raise_signal(number)
        assert termination.by is None
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


def test_a_closed_terminal_keeps_the_picture_and_what_goes_on(tmp_path: Path) -> None:
    """All that is said then fails, as the terminal is gone."""
    terminal, theirs = os.openpty()
    command = [sys.executable, "-m", "blockprop", "maximize", "3", "--steps", "9999", "--preview-every", "1"]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with started([*command, "--out", "a.png"], cwd=tmp_path, **streams) as process:
        os.close(theirs)
        while not (tmp_path / "a.preview.png").exists():
            assert process.poll() is None
            os.read(terminal, 10_000)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 128 + signal.SIGHUP
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.png.state"]
    assert read_settings(tmp_path / "a.png")["arguments"]["stop"] >= 1


def test_no_child_of_a_test_outlives_it() -> None:
    code = "import subprocess, sys, time\np = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
    with started([sys.executable, "-c", code + "print(p.pid, flush=True)\ntime.sleep(99)"]) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
    assert process.returncode == -signal.SIGKILL
    end = time.monotonic() + 20
    while _is_running(grandchild) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _is_running(grandchild)


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text() if sys.platform == "linux" else ""
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return ") Z " not in status  # one that nobody has asked after is over, too


LEAVING = """
import atexit, sys, time
from blockprop.cli import run
atexit.register(lambda: (print("leaving", flush=True), time.sleep(1)))
sys.argv = ["blockprop", "--version"]
run()
"""


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_while_a_command_that_is_through_leaves_changes_nothing(number: signal.Signals) -> None:
    with started([sys.executable, "-c", LEAVING]) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "leaving\n":
            assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_what_becomes_of_ctrl_c_in_a_library_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """numpy, interrupted while it is loaded, raises an ImportError."""

    def load(*_: Any, **__: Any) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr(cli, "app", load)
    assert cli.main(["info"]) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "blockprop: interrupted\n"


def test_ctrl_c_in_the_last_lines_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(_: list[str]) -> int:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in STOPPING}
    monkeypatch.setattr(cli, "main", main)
    try:
        assert cli.alone(["info"]) == 128 + signal.SIGINT
        assert {signal.getsignal(number) for number in STOPPING} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
