"""What goes into an operator: the name of a value in the file, and what is known about it."""

import torch
from torch import Tensor

from blockprop.errors import UnsupportedError


class Operand:
    """A value of the network: its name in the file, and itself in two trials, with different sizes of the free axes."""

    def __init__(self, name: str, trials: tuple[Tensor, ...]):
        self.name, self.trials = name, trials

    def __str__(self) -> str:
        return self.name

    @property
    def dtype(self) -> torch.dtype:
        """The type of its elements, alike in both trials."""
        return self.trials[0].dtype

    @property
    def axes(self) -> int:
        """The number of axes, alike in both trials."""
        return self.trials[0].dim()

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The size of each axis; None where it is free."""
        return tuple([a if a == b else None for a, b in zip(*(t.shape for t in self.trials), strict=True)])

    def known_size(self, axis: int, what: str) -> int:
        """The size of an axis that must not be free. UnsupportedError saying what hangs on it."""
        size = self.sizes[axis]
        if size is None:
            raise UnsupportedError(f"{what} hangs on the free size of axis {axis % self.axes}")
        return size


OperatorInput = Operand | str
"""What an operator takes: one of the network's values, or the name of what another operator gives."""
