"""Which tensors kernels may read: those whose numbers lie in the memory that they name."""

from torch import Tensor, layout, strided
from torch.nn import Parameter


def is_in_memory(x: Tensor) -> bool:
    """Whether its numbers lie where `data_ptr` says: on the CPU, in strides, as they are, of no class that computes
    them when they are asked for."""
    kind: layout = x.layout
    return type(x) in (Tensor, Parameter) and x.is_cpu and kind == strided and not x.is_neg()
