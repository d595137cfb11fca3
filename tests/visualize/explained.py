"""Imported networks, and the targets that are explained in them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from blockprop import Network, from_torch
from tests.architectures import ARCHITECTURES


def imported(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Network, Tensor]:
    case = ARCHITECTURES[name]
    module = case.make().to(dtype)
    (x,) = (each.to(dtype) for each in case.inputs(torch.Generator().manual_seed(0)))
    return module, from_torch(module, x, free=False), x


def class_score(number: int) -> Callable[[Tensor], Tensor]:
    return lambda y: y[:, number].sum()


def living(network: Network, x: Tensor) -> int:
    """A class for which every example has a score (a ReLU at the end may leave others without a gradient)."""
    return int(network(x).amin(0).argmax())


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=tolerance * float(expected.abs().max()))
