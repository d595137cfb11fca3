"""How many threads a training step is worth."""

from collections.abc import Iterable

import torch
from torch import Tensor

SMALL_STEP = 2_000_000
"""Multiplications in a step of a dense network below which a second thread costs more than it brings."""


def is_small(parameters: Iterable[Tensor], batch_size: int) -> bool:
    """Whether a step of a network with these parameters is done sooner by one thread."""
    sizes = [parameter.numel() if parameter.dim() <= 2 else SMALL_STEP for parameter in parameters]
    return batch_size * sum(sizes) < SMALL_STEP


class OneThread:
    """`with OneThread(…):` one thread, and afterwards as many as before; does nothing unless it is `wanted`.

    Made once and entered at every step: contextlib's generators would cost a hundredth of a small step.
    """

    def __init__(self, wanted: bool):
        self.wanted, self._before = wanted, 1

    def __enter__(self) -> None:
        if self.wanted:
            self._before = torch.get_num_threads()
            if self._before > 1:
                torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        if self._before > 1:
            torch.set_num_threads(self._before)
