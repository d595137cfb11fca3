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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from blockprop.errors import BlockpropError, BlockpropWarning, FormatError, SettingError
from blockprop.saving.beside import Claim
from blockprop.saving.checkpoints import read_checkpoint, write_checkpoint
from blockprop.saving.files import Dispensable, StrPath, require_writable, short
from blockprop.saving.interruption import Interruption
from blockprop.saving.states import differences, require_like

R = TypeVar("R")
VERSION = 3
"""Of what a file notes. 1, without a number, compared little of what changes the result; 2 named it otherwise."""


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
    others (`identity`), how much of it is made (`progress`), and what its next step depends on (`state`, `restore`);
    if need be what comes before the first step and after the last one (`begin`, `end`, `leave`).
    step: how many steps were made.   path, save_seconds: of the file, see Keeping.
    Whatever changes the result belongs to the identity, and is refused if it is another one in the file; how far a run
    goes does not, so that more epochs or steps go on. One that is over already says so, and whatever else a person
    should know is said, too (BlockpropWarning). A run that is dropped before its first step warns, as well: nobody
    makes one for nothing.
    """

    _waits = _is_open = False
    """Waiting for its first step; between its first step and its end. Neither before the constructor is through."""

    def __init__(self, keep: Keeping | None = None):
        """To be called last in a subclass's: it goes on from the file if there is one.

        Raises FormatError for the file of another run, and for a damaged one.
        """
        keep = keep or Keeping()
        self.path, self.save_seconds = keep.path, keep.seconds
        self.step = 0
        self._seconds_before = 0.0
        self._is_fresh = True
        self._claim: Claim | None = None
        self._observers: list[Callable[[R], object]] = []
        self._state_file = Dispensable(f"the run goes on, and tries to write its {keep.kind} again")
        if keep.resume and keep.path is not None and os.path.exists(keep.path):
            self._go_on(read_checkpoint(keep.path))
        self._waits = True

    def _go_on(self, state: dict[str, Any]) -> None:
        """Take over a file's state, if it is this run's."""
        if state.get("version") != VERSION:
            raise FormatError(
                f"{self.path}: cannot resume, it was written by another version of blockprop, which did not note the "
                "same of what changes the result; start anew"
            )
        with self._fitting():
            self._require_identity(dict(state["identity"]))
            require_like(state["device"], self.device, "device")
            progress = self.progress(state)
            for name, (made, limit) in progress.items():
                if made > limit:
                    raise FormatError(
                        f"{self.path}: cannot resume, it has made {made} {name} already; here are only {limit}"
                    )
            self.restore(state)
            is_over = self.is_over
        self._is_fresh = False
        if state["device"] != self.device:
            self.warn(f"it was made on {short(state['device'])} and goes on on {self.device}: not bit for bit the same")
        if is_over:
            made_of = ", ".join(f"{made} of {limit} {name}" for name, (made, limit) in progress.items())
            self.warn(f"the run is over ({made_of}), so nothing is left to do; with more it would go on")

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """FormatError for all that a damaged state sets off, when it is taken over and in the first step from there."""
        try:
            yield
        except FormatError as error:
            said = f"{self.path}: cannot resume, "
            raise FormatError(said + str(error).removeprefix(said)) from None
        except (BlockpropError, MemoryError):
            raise
        except (
            ArithmeticError,
            AssertionError,
            AttributeError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            said = f"{type(error).__name__}: {error}"
            raise FormatError(f"{self.path}: cannot resume, the state in it does not fit ({short(said)})") from error

    def warn(self, said: str) -> None:
        """Say something about the file that it goes on from, which a person should know."""
        warnings.warn(f"{self.path}: {said}", BlockpropWarning, stacklevel=2)

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
        """What must be equal for a file to fit, as plain data by name (`fingerprints.described`); dicts by key."""
        raise NotImplementedError

    @property
    def device(self) -> str:
        """On what kind of device it computes: other ones round otherwise."""
        return "cpu"

    def progress(self, state: dict[str, Any]) -> dict[str, tuple[int, int]]:
        """(how many are made in a file's state, how many there will be here) of all that ends the run, by name."""
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
            record = self._advance()
            for observer in self._observers:
                observer(record)
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

    def _advance(self) -> R:
        if self._is_fresh:
            return self.advance()
        with self._fitting():
            record = self.advance()
        self._is_fresh = True
        return record

    def observe(self, observer: Callable[[R], object]) -> None:
        """Have something done with each record as a part of its step: before the file holds the step, and before Ctrl-C
        takes effect. So what is written of each step, a log for instance, is complete wherever a run goes on.
        """
        self._observers.append(observer)

    def __iter__(self) -> Self:
        return self

    def finish(self) -> R | None:
        """Make all steps that are left; return the last one's record, None if the file held a run that was over."""
        record = None
        for record in self:  # noqa: B007
            pass
        return record

    def close(self) -> None:
        """Stop here, for good; the file then holds the state. If it cannot be written, that is warned of."""
        self._waits = False
        if not self._is_open:
            return
        try:
            if self.step:
                if self.path:
                    self._state_file = Dispensable("what was made since cannot be gone on from")  # said again
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
        self._waits = False
        self._started = self._saved = time.perf_counter()
        self._interruption = Interruption()
        self._is_open = self._interruption.busy = True
        if self.path is not None:
            self._claim = Claim(self.path)
        self._interruption.release()
        with nullcontext() if self._is_fresh else self._fitting():
            self.begin()

    def _shut(self) -> None:
        if self._is_open:
            self._seconds_before, self._is_open = self.seconds, False
            self._interruption.close()
            if self._claim is not None:
                self._claim.release()

    def _save(self) -> None:
        assert self.path is not None
        self._saved = time.perf_counter()
        with self._state_file.written():
            write_checkpoint(self.path, {**self._about(), **self.state()})

    def _about(self) -> dict[str, Any]:
        return {"version": VERSION, "identity": self.identity(), "device": self.device}

    def _require_identity(self, theirs: dict[str, Any]) -> None:
        ours = self.identity()
        for name in {**ours, **theirs}:
            for place, their_part, our_part in differences(name, theirs.get(name), ours.get(name)):
                raise FormatError(f"{self.path}: cannot resume, {self.difference(place, their_part, our_part)}")

    def difference(self, name: str, theirs: Any, ours: Any) -> str:
        """In words, that this part of the identity is another one in the file."""
        if short(theirs) == short(ours):
            return f"the {name} in the file is another one"
        return f"the {name} in the file is {short(theirs)}, here it is {short(ours)}"
