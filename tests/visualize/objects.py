"""Pictures and maps whose object is known."""

import torch
from torch import Tensor

HEIGHT, WIDTH = 60, 80


def distance(y: float, x: float) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return ((rows - y).square() + (columns - x).square()).sqrt()


DISC = distance(30, 35) <= 15


def hill(y: float = 33, x: float = 37, size: float = 8) -> Tensor:
    """A map that is high somewhere on the disc only, and rough as a gradient is."""
    rough = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    return (-(distance(y, x) / size).square() / 2).exp() * rough


def rectangle(x1: int, y1: int, x2: int, y2: int) -> Tensor:
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    mask[y1:y2, x1:x2] = True
    return mask
