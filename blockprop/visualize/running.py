"""What every run has that makes a picture step by step: records, previews, its state in a file, and Ctrl-C.

    run = dream(network, photo)
    for step in run:
        print(step.step, step.value)
    run.picture()

A run draws, prints and saves nothing but the state that it is asked for.
"""

import hashlib
import math
import os
import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from blockprop.errors import FormatError, SettingError
from blockprop.saving.checkpoints import read_checkpoint, write_checkpoint
from blockprop.saving.files import StrPath, require_writable
from blockprop.saving.interruption import Interruption


class Step(NamedTuple):
    """One step of a run.

    step: from 1 on; steps: how many there will be.
    value: the objective: where it is maximized, before this step's update, on the picture as the transforms changed it
        this time; where it is minimized (style), after the update.
    parts: what each term adds to the value, by name.   seconds: since the first step began, earlier runs included.
    picture: (n, c, h, w), after the update; at every `preview_every`th step and the last one, else None.
    best, best_step: the highest value so far, and the step that had it.
    """

    step: int
    steps: int
    value: float
    parts: dict[str, float]
    seconds: float
    picture: Tensor | None
    best: float
    best_step: int


class Run(Iterator[Step]):
    """An iterator of Step records. At any time, also after Ctrl-C, `picture()` is what it has come to.

    A subclass says what a step does (`advance`), what makes it another run than others (`identity`), and what its next
    step depends on (`document`, `restore`), apart from what all runs count.
    step: how many steps were made, of `steps`.
    """

    minimizes = False
    """Whether the best value is the lowest."""
    preview_every: int | None = None
    state: StrPath | None = None
    state_seconds = 60.0

    def __init__(self, steps: int):
        self.steps, self.step = steps, 0
        self.best_value, self.best_step = math.inf if self.minimizes else -math.inf, 0
        self._seconds_before = 0.0
        self._records = self._made()

    def picture(self) -> Tensor:
        """(n, c, h, w) in 0…1."""
        raise NotImplementedError

    def advance(self) -> tuple[float, dict[str, float]]:
        """Make one step; return its value, and the parts of that by name."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """What must be equal for a state to fit, as plain data by name."""
        raise NotImplementedError

    def document(self) -> dict[str, Any]:
        """What the next step depends on, as a tree of plain data and tensors."""
        raise NotImplementedError

    def restore(self, document: dict[str, Any]) -> None:
        """Take over what `document` gave."""
        raise NotImplementedError

    def shows(self, step: int) -> bool:
        """Whether the record of this step has the picture."""
        return step == self.steps or bool(self.preview_every and step % self.preview_every == 0)

    def keeping(self, preview_every: int | None, state: StrPath | None, resume: bool) -> Self:
        """Take these settings; go on from the state if asked to and it exists.

        Raises SettingError for settings that make no sense, FormatError for a state of another run.
        """
        if preview_every is not None and preview_every < 1:
            raise SettingError(f"preview_every must be at least 1, came {preview_every}")
        if resume and state is None:
            raise SettingError("resume needs the path of a state")
        self.preview_every, self.state = preview_every, state
        if state is not None:
            require_writable(state)
            if resume and os.path.exists(state):
                self._resume(read_checkpoint(state))
        return self

    def close(self) -> None:
        """Stop here; writes the state if there is one."""
        self._records.close()

    def __next__(self) -> Step:
        return next(self._records)

    def __iter__(self) -> Self:
        return self

    def _made(self) -> Generator[Step, None, None]:
        started = saved = time.perf_counter()
        with Interruption() as interruption:
            try:
                while self.step < self.steps:
                    interruption.busy = True
                    value, parts = self.advance()
                    self.step += 1
                    if value < self.best_value if self.minimizes else value > self.best_value:
                        self.best_value, self.best_step = value, self.step
                    now = time.perf_counter()
                    seconds = self._seconds_before + now - started
                    picture = self.picture() if self.shows(self.step) else None
                    if self.state and (self.step == self.steps or now - saved >= self.state_seconds):
                        self._save(seconds)
                        saved = now
                    interruption.release()
                    yield Step(self.step, self.steps, value, parts, seconds, picture, self.best_value, self.best_step)
            except (KeyboardInterrupt, GeneratorExit):
                if self.state and self.step:
                    self._save(self._seconds_before + time.perf_counter() - started)
                raise

    def _save(self, seconds: float) -> None:
        assert self.state is not None
        progress = [self.step, seconds, self.best_value, self.best_step]
        write_checkpoint(self.state, {"identity": self.identity(), "progress": progress, "document": self.document()})

    def _resume(self, found: dict[str, Any]) -> None:
        made = found.get("progress", [0])[0]
        if made > self.steps:
            raise FormatError(
                f"{self.state}: cannot resume, it is of a run of {made} steps; here are only {self.steps}"
            )
        for name, mine in self.identity().items():
            theirs = found.get("identity", {}).get(name)
            if mine != theirs:
                raise FormatError(f"{self.state}: cannot resume, the {name} in the file is {theirs}, here it is {mine}")
        self.step, self._seconds_before, self.best_value, self.best_step = found["progress"]
        self.restore(found["document"])


def digest(numbers: Tensor) -> str:
    """What tells these numbers from others: their shape, and 16 hexadecimal digits."""
    content = numbers.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return f"{list(numbers.shape)} {hashlib.sha256(content.numpy().data).hexdigest()[:16]}"
