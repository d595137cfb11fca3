"""Commands in processes of their own that cost little: one process loads all there is to load, and forks for each.

It has one thread, since a fork after work in several hangs. POSIX alone.
"""

import atexit
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import blockprop
from tests.processes import PIPE, started

ROOT = Path(__file__).parents[2]
CRASHED = 70
"""Exit code of a command that ended by an exception."""
LATE = ("sklearn.datasets", "sklearn.metrics", "torch._dynamo", "matplotlib.figure")
"""What commands load only when they need it, besides what is the package's own."""
LONGEST = 120.0
"""Seconds after which a command is taken to hang."""


class Blow(NamedTuple):
    """A signal that is sent to a running command."""

    number: int
    after: float
    """Seconds after its begin, or after the blow before."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Its exit code; minus the signal that ended it."""
    said: str
    """All that it printed."""
    seconds: float


class Commands:
    """Runs commands, each in a fork of one process that has everything loaded."""

    def __init__(self, process: Any):
        self._process = process

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        blows: Sequence[Blow] = (),
        save_seconds: float | None = None,
        largest: int | None = None,
    ) -> Ended:
        """Run `blockprop` with these arguments in a folder.

        save_seconds: how often states are saved, instead of every minute.   largest: bytes that a file may have.
        """
        order = {"arguments": [*arguments], "folder": str(folder), "blows": blows}
        order |= {"changes": {"save_seconds": save_seconds, "largest": largest}}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return Ended(*json.loads(self._process.stdout.readline()))


@contextmanager
def commands() -> Iterator[Commands]:
    """Commands that can be run until the end of the context."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    code = "from tests.trust.forking import serve; serve()"
    with started([sys.executable, "-c", code], stdin=PIPE, stderr=None, env=environment) as process:
        yield Commands(process)


def serve() -> None:
    """What the process does that forks."""
    ours = [module.name for module in pkgutil.walk_packages(blockprop.__path__, "blockprop.")]
    for module in (*LATE, *ours):
        importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(_ended(**json.loads(line))), flush=True)


def _ended(arguments: list[str], folder: str, blows: list[list[float]], changes: dict[str, Any]) -> Ended:
    said, ready = os.memfd_create("said"), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready[0])
        _be_command(arguments, folder, said, ready[1], **changes)
    os.close(ready[1])
    os.read(ready[0], 1)
    os.close(ready[0])
    start = time.perf_counter()
    status = _waited(child, 0.0)
    for number, after in blows:
        if status is None:
            status = _waited(child, after)
        if status is None:
            os.kill(child, int(number))
    if status is None:
        status = _waited(child, LONGEST)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.write(said, b"\nTraceback: it hung\n")
        _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - start
    with os.fdopen(said, "rb") as file:
        file.seek(0)
        text = file.read().decode(errors="replace")
    return Ended(os.waitstatus_to_exitcode(status), text, seconds)


def _waited(child: int, seconds: float) -> int | None:
    """The status of a child that has ended within so many seconds."""
    end = time.perf_counter() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        rest = end - time.perf_counter()
        if rest <= 0:
            return None
        time.sleep(min(rest, 0.002))


def _be_command(
    arguments: list[str], folder: str, said: int, ready: int, save_seconds: float | None, largest: int | None
) -> None:
    """In the child: as if it had just been started with this command; never returns."""
    code = CRASHED
    try:
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if save_seconds is not None:
            _save_every(save_seconds)
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        from blockprop.cli import alone

        os.close(ready)
        code = alone(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()  # as a process does that was not forked
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _save_every(seconds: float) -> None:
    from blockprop.saving.resumable import Keeping

    def save_soon(keep: Keeping) -> None:
        checked(keep)
        object.__setattr__(keep, "seconds", seconds)

    checked = Keeping.__post_init__
    Keeping.__post_init__ = save_soon  # type: ignore[method-assign]
