"""Weights as the kernels take them: panels of columns, and how far the taps of a window lie apart."""

from collections.abc import Iterable

import torch
from torch import Tensor

from blockprop.native.memory import floats

Distances = list[tuple[int, int, int]]
"""For each tap of a window: down, right, and which of the weights' taps it is."""


def in_panels(weight: Tensor, width: int) -> Tensor:
    """(columns, channels, taps) -> (panels, taps, channels, width), with zeros for columns that there are not."""
    columns, channels, taps = weight.shape
    panels = -(-columns // width)
    padded = weight.new_zeros(panels * width, channels, taps)
    padded[:columns] = weight
    return padded.view(panels, width, channels, taps).permute(0, 3, 2, 1).contiguous()


def forth(weight: Tensor, width: int) -> Tensor:
    """Those of a convolution.   weight: (out, in, kh, kw)"""
    return in_panels(weight.flatten(2), width)


def back(weight: Tensor, width: int) -> Tensor:
    """Those of its error propagation: channels exchanged, turned by 180°."""
    return in_panels(weight.flatten(2).flip(2).transpose(0, 1), width)


def at_once(weight: Tensor, width: int) -> Tensor:
    """Those of its error propagation to few channels: a column for each tap and channel."""
    return in_panels(weight.permute(2, 3, 1, 0).flatten(0, 2).unsqueeze(2), width)


def by_channel(weight: Tensor, width: int, turned: bool = False) -> Tensor:
    """Those of a convolution in depth.   weight: (channels, 1, kh, kw)"""
    taps = weight.flatten(1)
    return in_panels((taps.flip(1) if turned else taps).unsqueeze(1), width)


def padded(bias: Tensor | None, columns: int, width: int) -> Tensor:
    """The bias, or zeros, as long as all panels."""
    numbers = floats(-(-columns // width) * width).zero_()
    if bias is not None:
        numbers[:columns] = bias
    return numbers


def as_tensor(distances: Iterable[tuple[int, int, int]]) -> Tensor:
    """As C takes them; one that nobody reads, if there are none."""
    return torch.tensor(list(distances) or [(0, 0, 0)], dtype=torch.int32, device="cpu")
