"""A run: many steps, a record of each, that can be stopped between any two and goes on from a file.

    class Counting(Resumable[int]):
        def advance(self):            # one step; its record
            self.step += 1
            return self.step

        …                             # is_over, identity, state, restore

    for record in run: …              # or next(run), or run.finish() for the last record alone

A run prints and draws nothing, and saves nothing but the state that it is asked to keep.
"""

import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from blockprop.errors import FormatError, SettingError
from blockprop.saving.checkpoints import read_checkpoint, write_checkpoint
from blockprop.saving.files import StrPath, require_writable, short
from blockprop.saving.interruption import Interruption

R = TypeVar("R")


@dataclass(frozen=True)
class Keeping:
    """Where a run keeps its state, and whether it goes on from there.

    path: a file, written atomically at milestones (the end, an epoch's end), every `seconds`, and at Ctrl-C.
    resume: go on from the file if it exists.   kind: what the file is called in messages.
    Raises SettingError for resume without a path, FormatError if nothing could be written there.
    """

    path: StrPath | None = None
    resume: bool = False
    seconds: float = 60.0
    kind: str = "state"

    def __post_init__(self) -> None:
        if self.path is not None:
            require_writable(self.path)
        elif self.resume:
            raise SettingError(f"resume needs the path of a {self.kind}")


class Resumable(Iterator[R]):
    """An iterator that makes one step at a time. Ctrl-C takes effect between two steps; then the file holds its state.

    A subclass says what a step does (`advance`), when the last one was made (`is_over`), what makes it another run than
    others (`identity`), and what its next step depends on (`state`, `restore`); if need be what comes before the first
    step and after the last one (`begin`, `end`, `leave`).
    step: how many steps were made.   path, save_seconds: of the file, see Keeping.
    A run that is dropped before its first step warns: nobody makes one for nothing.
    """

    _waits = _is_open = False
    """Waiting for its first step; between its first step and its end. Neither before the constructor is through."""

    def __init__(self, keep: Keeping | None = None):
        """To be called last in a subclass's: it goes on from the file if there is one.

        Raises FormatError for the file of another run.
        """
        keep = keep or Keeping()
        self.path, self.save_seconds = keep.path, keep.seconds
        self.step = 0
        self._seconds_before = 0.0
        if keep.resume and keep.path is not None and os.path.exists(keep.path):
            state = read_checkpoint(keep.path)
            self._require_identity(state.get("identity", {}))
            self.restore(state)
        self._waits = True

    def advance(self) -> R:
        """Make one step, and count it; return its record."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether no step is left."""
        raise NotImplementedError

    @property
    def is_milestone(self) -> bool:
        """Whether the file is to be written now, however long ago the last time was."""
        return self.is_over

    def identity(self) -> dict[str, Any]:
        """What must be equal for a file to fit, as plain data by name."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What the next step depends on, as a tree of plain data and tensors."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave. Raises FormatError if it does not fit."""
        raise NotImplementedError

    def begin(self) -> None:
        """What comes before the first step."""

    def end(self) -> None:
        """What comes after the last step."""

    def leave(self) -> None:
        """What comes after a step that is not the last one, if none follows."""

    @property
    def seconds(self) -> float:
        """Since the first step began, together with those of the runs that this one goes on from."""
        return self._seconds_before + (time.perf_counter() - self._started if self._is_open else 0.0)

    @seconds.setter
    def seconds(self, before: float) -> None:
        self._seconds_before = before

    def __next__(self) -> R:
        if not (self._waits or self._is_open):
            raise StopIteration
        try:
            if self._waits:
                self._open()
            if self.is_over:
                self._shut()
                self.end()
                raise StopIteration
            self._interruption.busy = True
            record = self.advance()
            if self.path and (self.is_milestone or time.perf_counter() - self._saved >= self.save_seconds):
                self._save()
            self._interruption.release()
            return record
        except KeyboardInterrupt:
            self.close()
            raise
        except BaseException:
            self._shut()
            raise

    def __iter__(self) -> Self:
        return self

    def finish(self) -> R | None:
        """Make all steps that are left; return the last one's record, None if the file held a run that was over."""
        record = None
        for record in self:  # noqa: B007
            pass
        return record

    def close(self) -> None:
        """Stop here, for good; the file then holds the state."""
        self._waits = False
        if not self._is_open:
            return
        try:
            if self.step:
                if self.path:
                    self._save()
                self.leave()
        finally:
            self._shut()

    def __del__(self) -> None:
        if self._is_open:
            self.close()
        elif self._waits and not self.is_over:
            said = f"a run ({type(self).__name__}) was dropped before its first step: loop over it, or call finish()"
            warnings.warn(said, stacklevel=2)

    def _open(self) -> None:
        self._started = self._saved = time.perf_counter()
        self._interruption = Interruption()
        self._waits, self._is_open = False, True
        self.begin()

    def _shut(self) -> None:
        if self._is_open:
            self._seconds_before, self._is_open = self.seconds, False
            self._interruption.close()

    def _save(self) -> None:
        assert self.path is not None
        self._saved = time.perf_counter()
        write_checkpoint(self.path, {"identity": self.identity(), **self.state()})

    def _require_identity(self, theirs: dict[str, Any]) -> None:
        for name, ours in self.identity().items():
            if theirs.get(name) != ours:
                raise FormatError(f"{self.path}: cannot resume, {self.difference(name, theirs.get(name), ours)}")

    def difference(self, name: str, theirs: Any, ours: Any) -> str:
        """In words, that this part of the identity is another one in the file."""
        return f"the {name} in the file is {short(theirs)}, here it is {short(ours)}"
