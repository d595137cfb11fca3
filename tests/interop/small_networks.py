"""Blocks and networks that the tests of this room share."""

from typing import Any

import torch
from torch import Tensor, nn

from blockprop import blocks
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.interop.modules import to_torch


class Watched(blocks.Linear):
    """Counts its backward passes."""

    def __init__(self, features_in: int, features_out: int):
        super().__init__(features_in, features_out)
        self.calls: list[str] = []

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        self.calls.append("propagate")
        return super().propagate(saved, d_y)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        self.calls.append("gradients")
        return super().gradients(saved, d_y)


def watched() -> tuple[nn.Module, list[str], Tensor]:
    """(module of one block, its calls, input)"""
    module = to_torch(Watched(3, 2))
    return module, module._block.calls, torch.randn(4, 3, requires_grad=True)


def small_network() -> Network:
    torch.manual_seed(0)
    convolution = {"conv": blocks.Conv2d(1, 3, 3), "norm": blocks.BatchNorm2d(3), "relu": blocks.ReLU()}
    head = {"flatten": blocks.Flatten(), "fc": blocks.Linear(48, 5)}
    return Sequential(convolution | head).to(dtype=torch.float64)


def small_module(network: Network) -> nn.Module:
    """The same in torch's own modules, with the same weights."""
    modules = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)]
    module = nn.Sequential(*modules).double()
    own = ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]
    module.load_state_dict(dict(zip(own, network.parameters.values(), strict=True)), strict=False)
    return module


def pictures(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 1, 6, 6, dtype=torch.float64, generator=generator)
    return x, torch.randint(5, (count,), generator=generator)
