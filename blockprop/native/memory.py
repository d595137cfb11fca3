"""Memory that kernels may read and write, whatever types and devices torch has been told to make tensors of."""

import torch
from torch import Tensor, layout, strided
from torch.nn import Parameter


def is_in_memory(x: Tensor) -> bool:
    """Whether its numbers lie where `data_ptr` says: on the CPU, in strides, as they are, of no class that computes
    them when they are asked for."""
    kind: layout = x.layout
    return type(x) in (Tensor, Parameter) and x.is_cpu and kind == strided and not x.is_neg()


def floats(count: int) -> Tensor:
    """New memory for so many numbers."""
    return torch.empty(count, dtype=torch.float32, device="cpu")


def bytes_(count: int) -> Tensor:
    """New memory, in bytes."""
    return torch.empty(count, dtype=torch.uint8, device="cpu")
