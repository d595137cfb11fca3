"""Early stopping: when it is time to."""

import math
from dataclasses import dataclass


@dataclass
class Stopping:
    """Early stopping: the best validation value so far, and for how many epochs it has not got better."""

    patience: int | None
    best: float = math.inf
    since: int = 0

    def update(self, value: float) -> bool:
        """Take in one epoch's value; True if it is the best so far."""
        better = value < self.best
        self.best, self.since = (value, 0) if better else (self.best, self.since + 1)
        return better

    @property
    def over(self) -> bool:
        """True if it is time to stop."""
        return self.patience is not None and self.since >= self.patience
