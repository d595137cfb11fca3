"""The order of numbers in memory that suits the kernels, and products in it. Faster kernels come in here."""

import torch
import torch.nn.functional as F
from torch import Tensor


def laid_out(x: Tensor) -> Tensor:
    """(n, c, h, w) with the channels of a place beside each other, which suits convolutions on CPUs."""
    return x.contiguous(memory_format=torch.channels_last) if x.is_cpu else x


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """New memory, (n, c, h, w), laid out."""
    order = torch.channels_last if like.is_cpu else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=order)


def zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Zeros, (n, c, h, w), laid out."""
    return empty(shape, like).zero_()


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """weight · x + bias at each place.   x: (n, c, h, w)   weight: (c', c)   bias: (c',)"""
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
