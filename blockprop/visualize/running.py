"""What every run has that makes a picture step by step: records, previews, its state in a file, and Ctrl-C.

    run = dream(network, photo)
    for record in run:
        print(record.step, record.value)
    run.picture()

A run draws, prints and saves nothing but the state that it is asked for.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.errors import SettingError
from blockprop.preparing.resident import Expected
from blockprop.saving.resumable import Keeping, Resumable
from blockprop.saving.states import require_count, require_like


class PictureRecord(NamedTuple):
    """One step of a run that makes a picture.

    step: from 1 on; steps: how many there will be.
    value: the objective: where it is maximized, before this step's update, on the picture as the transforms changed it
        this time; where it is minimized (style), after the update.
    parts: what each term adds to the value, by name.   seconds: since the first step began, earlier runs included.
    picture: (n, c, h, w), after the update; at every `preview_every`th step and the last one, else None.
    best, best_step: the highest value so far, and the step that had it.
    share: of the whole run's work that is done, where a step counts by the pixels of its size.
    """

    step: int
    steps: int
    value: float
    parts: dict[str, float]
    seconds: float
    picture: Tensor | None
    best: float
    best_step: int
    share: float

    def __repr__(self) -> str:
        return brief_repr(self)


def weighed(step: int, counts: Sequence[int], pixels: Sequence[int]) -> float:
    """The share of all work that so many steps are: at each size `counts` of them, each as much work as its pixels."""
    done = 0
    for count, area in zip(counts, pixels, strict=True):
        done += max(0, min(step, count)) * area
        step -= count
    return done / sum(count * area for count, area in zip(counts, pixels, strict=True))


class PictureRun(Resumable[PictureRecord]):
    """An iterator of records. At any time, also after Ctrl-C, `picture()` is what it has come to.

    A subclass says how a step changes the picture (`change`), what makes it another run than others (`identity`), and
    what its next step depends on (`document`, `restore_document`), apart from what all runs count.
    step: how many steps were made, of `steps`.
    """

    minimizes = False
    """Whether the best value is the lowest."""
    expected: Expected | None = None
    """What a step will take of memory, where one was given."""

    def __init__(self, steps: int, preview_every: int | None = None, keep: Keeping | None = None):
        """To be called last in a subclass's: it goes on from the file if there is one.

        Raises SettingError for settings that make no sense, FormatError for the file of another run.
        """
        if preview_every is not None and preview_every < 1:
            raise SettingError(f"preview_every must be at least 1, came {preview_every}")
        self.steps, self.preview_every = steps, preview_every
        self.best_value, self.best_step = math.inf if self.minimizes else -math.inf, 0
        super().__init__(keep)

    def picture(self) -> Tensor:
        """(n, c, h, w) in 0…1."""
        raise NotImplementedError

    def change(self) -> tuple[float, dict[str, float]]:
        """Change the picture by one step; return the step's value, and the parts of that by name."""
        raise NotImplementedError

    def document(self) -> dict[str, Any]:
        """What the next step depends on, as a tree of plain data and tensors."""
        raise NotImplementedError

    def restore_document(self, document: dict[str, Any]) -> None:
        """Take over what `document` gave."""
        raise NotImplementedError

    def shows(self, step: int) -> bool:
        """Whether the record of this step has the picture."""
        return step == self.steps or bool(self.preview_every and step % self.preview_every == 0)

    def share(self, step: int) -> float:
        """How much of all work is done after this step, 0…1."""
        return step / self.steps

    @property
    def is_over(self) -> bool:
        return self.step >= self.steps

    def advance(self) -> PictureRecord:
        value, parts = self.change()
        self.step += 1
        if value < self.best_value if self.minimizes else value > self.best_value:
            self.best_value, self.best_step = value, self.step
        seconds = self.seconds
        picture = self.picture() if self.shows(self.step) else None
        best = self.best_value, self.best_step
        return PictureRecord(self.step, self.steps, value, parts, seconds, picture, *best, self.share(self.step))

    def progress(self, state: dict[str, Any]) -> dict[str, tuple[int, int]]:
        require_count(state["progress"][0], "steps that were made", 1)
        return {"steps": (state["progress"][0], self.steps)}

    def state(self) -> dict[str, Any]:
        progress = [self.step, self.seconds, self.best_value, self.best_step]
        return {"progress": progress, "document": self.document()}

    def restore(self, state: dict[str, Any]) -> None:
        require_like(state["progress"], [0, 0.0, 0.0, 0], "progress")
        self.step, self.seconds, self.best_value, self.best_step = state["progress"]
        require_count(self.step, "steps that were made", 1, self.steps)
        require_count(self.best_step, "step that was the best", 0, self.step)
        self.restore_document(state["document"])
