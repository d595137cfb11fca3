"""Small networks and data to train on, and how they are trained."""

import torch
from torch import Tensor

from blockprop.blocks import BatchNorm1d, Dropout, Linear, ReLU
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.sequential import Sequential
from blockprop.training.fit import fit


def data(count: int = 50, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points in 6 dimensions whose class is the largest of three sums."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator)
    return x, x.view(count, 3, 2).sum(2).argmax(1)


def net(seed: int = 1) -> Network:
    torch.manual_seed(seed)
    return Sequential(Linear(6, 16), ReLU(), Linear(16, 3))


def noisy_net() -> Network:
    torch.manual_seed(1)
    return Sequential(Linear(6, 16), BatchNorm1d(16), ReLU(), Dropout(0.3), Linear(16, 3))


def train(network: Network, **settings: object) -> list:
    return list(fit(network, data(), cross_entropy(), **{"epochs": 3, "batch_size": 8, "rate": 0.1} | settings))


def same(a: Network, b: Network) -> bool:
    return all(torch.equal(tensor, b.state[name]) for name, tensor in a.state.items())


SETTINGS = {"momentum": 0.9, "validation": data(20, 3), "patience": 50}
SCHEDULER = {"scheduler": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 3], gamma=0.5)}
