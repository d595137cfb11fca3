"""Ctrl-C and SIGTERM take effect between two steps, whoever handles them and however they come."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from blockprop.saving.interruption import STOPPING, Interruption, Termination
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
    assert termination.has_come is (number == signal.SIGTERM)
    assert {each: signal.getsignal(each) for each in STOPPING} == before


def _raised_twice(number: signal.Signals, termination: Termination) -> None:
    termination.has_come = False
    signal.raise_signal(number)


def test_a_second_sigterm_does_not_disturb_the_saving_that_the_first_set_off() -> None:
    with Termination.watched():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_who_handles_or_ignores_sigterm_keeps_it(handler: Any) -> None:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with Termination.watched() as termination:
            signal.raise_signal(signal.SIGTERM)
        assert not termination.has_come
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


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
