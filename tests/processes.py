"""Processes that tests start: they take Ctrl-C as at a terminal wherever the tests run, and none outlives its test."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

PIPE = subprocess.PIPE
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG."""


@contextmanager
def started(command: Sequence[str], **settings: Any) -> Iterator["subprocess.Popen[str]"]:
    """A running command, in a group of its own that is killed at the end; its output is text in pipes.

    settings: of Popen
    """
    settings = {"stdout": PIPE, "stderr": PIPE, "text": True, "start_new_session": True} | settings
    if os.name == "posix":
        settings["preexec_fn"] = _begin
    with subprocess.Popen(command, **settings) as process:
        try:
            yield process
        finally:
            _kill(process)


def _begin() -> None:
    """In the child: signals do what they do by default, and it ends with the tests even if these are killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if _LIBC is not None:
        _LIBC.prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _kill(process: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError):  # all of the group have ended
        os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
