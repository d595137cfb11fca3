"""A running average of a network's weights while it is trained, which is often better than the weights themselves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from blockprop.errors import SettingError


class Averages:
    """A ← d A + (1 − d) W after each step, for all weights W and running statistics of a network.

    d is `decay` (0…1), and at first less, min(decay, (1 + step) / (10 + step)), so that the random start is forgotten.
    Source: Polyak and Juditsky 1992; the beginning as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, state: dict[str, Tensor], decay: float):
        if not 0 < decay < 1:
            raise SettingError(f"average must be between 0 and 1, came {decay}")
        self.state, self.decay, self.steps = state, decay, 0
        self.values = {name: tensor.clone() for name, tensor in state.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in self.state.items():
            if tensor.is_floating_point():
                self.values[name].lerp_(tensor, share)
            else:
                self.values[name].copy_(tensor)

    def apply(self) -> None:
        """Make them the network's weights."""
        copy_into(self.state, self.values)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Make them the network's weights for a while."""
        weights = {name: tensor.clone() for name, tensor in self.state.items()}
        self.apply()
        try:
            yield
        finally:
            copy_into(self.state, weights)


@torch.no_grad()
def copy_into(state: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Give the tensors of these names other values, in place."""
    for name, value in values.items():
        state[name].copy_(value)
