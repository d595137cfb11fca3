"""What stands hidden beside a file while it is written: temporary files, whose process is in their names, and the lock
of a run that writes it again and again. What a killed process has left behind makes way.
"""

import atexit
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
from weakref import WeakSet

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
"""Those that this process is writing to: noted before they are made, struck out after they are gone."""
_claims: dict[tuple[int, Path], "WeakSet[Claim]"] = {}
"""The runs that write each target; a forked process (the number) has its parent's, too."""
_locks: dict[tuple[int, Path], FileLock] = {}
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
    _OURS.add(folder)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _OURS.discard(folder)


@atexit.register
def remove_ours() -> None:
    """Remove, at the end of the process, what a Ctrl-C in the middle of a removal has left."""
    ending = f".{_HERE}-{os.getpid()}-"
    for path in [path for path in _OURS if ending in path.name]:
        if path.suffix == SCRATCH:
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    for (process, _), lock in _locks.items():
        if process == os.getpid() and lock.is_locked:
            with suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)


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
    if path in _OURS:
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
        target = Path(os.path.realpath(path))
        self._key = os.getpid(), target
        with _guard:
            try:
                if self._key not in _locks:
                    _locks[self._key] = FileLock(target.with_name(f"{hidden_stem(target)}.lock"), thread_local=False)
                self._acquire(path)
                _claims.setdefault(self._key, WeakSet()).add(self)
            finally:  # also by a Ctrl-C between two of these lines
                self._let_go()

    def _acquire(self, path: str | os.PathLike[str]) -> None:
        lock = _locks[self._key]
        try:
            if not lock.is_locked:
                lock.acquire(timeout=0)
        except Timeout:
            raise FormatError(
                f"{path} is being written by another run; wait for its end, or choose another name"
            ) from None
        except (OSError, NotImplementedError):  # a file system that has no locks
            return

    def release(self) -> None:
        """Let others write it."""
        with _guard:
            _claims.get(self._key, WeakSet()).discard(self)
            self._let_go()

    def _let_go(self) -> None:
        """Unlock what no run claims."""
        if not _claims.get(self._key) and (lock := _locks.get(self._key)):
            if lock.is_locked:
                with suppress(OSError):
                    # Unlinked while it is held: whoever opened it meanwhile holds a lock of no name, for a moment only.
                    Path(lock.lock_file).unlink(missing_ok=True)
                lock.release()
            _locks.pop(self._key)
            _claims.pop(self._key, None)
