"""What stands hidden beside a file while it is written: temporary files, whose process is in their names, and the lock
of a run that writes it again and again. What a killed process has left behind makes way.
"""

import hashlib
import os
import platform
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from blockprop.errors import FormatError

LONGEST_NAME = 120
"""Bytes of a target's name that are kept; file systems take 255 in all."""
TEMPORARY, SCRATCH = ".tmp", ".folder"
"""What the names of temporary files and folders end with."""
OLD = 24 * 3600
"""Seconds after which a temporary file that nobody wrote to is nobody's, wherever its process was."""
_HERE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
"""This machine: processes of others, which share the folder, cannot be asked after."""
_OURS: set[Path] = set()
"""Those that this process is writing to."""
_claims: dict[Path, int] = {}
"""How many runs of this process write each target."""
_locks: dict[Path, FileLock] = {}
_guard = threading.Lock()


@contextmanager
def temporary_for(target: Path) -> Iterator[Path]:
    """A new path beside the target to write to, which is gone at the end; those of killed processes go first."""
    stem = hidden_stem(target)
    remove_leftovers(target.parent, stem)
    temporary = target.with_name(f"{stem}.{_HERE}-{os.getpid()}-{secrets.token_hex(6)}{TEMPORARY}")
    _OURS.add(temporary)
    try:
        temporary.touch(exist_ok=False)
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()
        _OURS.discard(temporary)


@contextmanager
def scratch_for(temporary: Path) -> Iterator[Path]:
    """A new folder beside a path of `temporary_for`, for a writer with temporary files of its own. It goes as that
    does: at the end, or once its process has ended.
    """
    folder = temporary.with_suffix(SCRATCH)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hidden_stem(target: Path) -> str:
    """What the names of hidden files beside it begin with: a dot, and as much of its name as there is room for."""
    return "." + os.fsdecode(os.fsencode(target.name)[:LONGEST_NAME])


def remove_leftovers(folder: Path, stem: str) -> None:
    """Remove temporary files and folders for this name whose process has ended."""
    pattern = re.compile(re.escape(stem) + rf"\.([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{12}}(?:\{TEMPORARY}|\{SCRATCH})")
    with suppress(OSError):  # what cannot be removed is in nobody's way
        for name in os.listdir(folder):
            if (found := pattern.fullmatch(name)) and _is_left_over(folder / name, found[1], int(found[2])):
                if name.endswith(SCRATCH):
                    shutil.rmtree(folder / name, ignore_errors=True)
                else:
                    (folder / name).unlink(missing_ok=True)


def _is_left_over(path: Path, machine: str, process: int) -> bool:
    if path.with_suffix(TEMPORARY) in _OURS:
        return False
    if machine == _HERE and not _is_alive(process):
        return True
    return time.time() - path.stat().st_mtime > OLD


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # there os.kill ends a process instead of asking after it
        return True
    if process == os.getpid():  # of an earlier process with the same number, or one of ours would be noted
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


class Claim:
    """That this process writes a file again and again, until `release`: another process that wants to is told.

    Raises FormatError if another process has claimed it. Runs of one process may share a file, one after the other.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._target = Path(os.path.realpath(path))
        lock = self._target.with_name(f"{hidden_stem(self._target)}.lock")
        with _guard:
            if not _claims.get(self._target):
                _locks[self._target] = FileLock(lock, thread_local=False)
                self._acquire(path)
            _claims[self._target] = _claims.get(self._target, 0) + 1

    def _acquire(self, path: str | os.PathLike[str]) -> None:
        try:
            _locks[self._target].acquire(timeout=0)
        except Timeout:
            raise FormatError(
                f"{path} is being written by another run; wait for its end, or choose another name"
            ) from None
        except (OSError, NotImplementedError):  # a file system that has no locks
            return

    def release(self) -> None:
        """Let others write it."""
        with _guard:
            _claims[self._target] -= 1
            if not _claims[self._target]:
                del _claims[self._target]
                lock = _locks.pop(self._target)
                with suppress(OSError):
                    # Unlinked while it is held: whoever opened it meanwhile holds a lock of no name, for a moment only.
                    Path(lock.lock_file).unlink(missing_ok=True)
                lock.release()
