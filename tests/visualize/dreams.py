"""A small network, a photograph, and a dream to test with."""

from typing import Any

import torch
from torch import Tensor

from blockprop.blocks import Conv2d, GlobalAvgPool, Linear, MaxPool2d, ReLU
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.visualize.dream import dream
from blockprop.visualize.dream_run import Dream
from blockprop.visualize.objectives.activity import Activity


def small(dtype: torch.dtype = torch.float32) -> Network:
    """Two convolutions for BGR pictures, the same each time."""
    blocks = {"conv1": Conv2d(3, 6, 3, 2, 1), "relu1": ReLU(), "pool1": MaxPool2d(3, 2, ceil_mode=True)}
    blocks |= {"conv2": Conv2d(6, 4, 3, padding=1), "relu2": ReLU(), "pool2": GlobalAvgPool(), "fc": Linear(4, 2)}
    network = with_preprocessing(Sequential(blocks), Preprocessing(None, 2.0, 1.0, channels="BGR"))
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters.values():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return network.to(dtype=dtype)


def photo(height: int = 40, width: int = 52, n: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(5)).to(dtype)


def start(**settings: Any) -> Dream:
    """A short dream, 2 octaves of 3 steps."""
    given = {"image": photo(), "layers": "relu2", "steps": 3, "octaves": 2, "jitter": 4, **settings}
    return dream(small(), **given)


def by_autograd(objective: Any, y: Tensor) -> tuple[float, Tensor]:
    """The formula's value and derivative: ½ mean of y², or the mean of the best products with the guide's features."""
    y = y.clone().requires_grad_()
    own = y if objective.channel is None else y[:, objective.channel : objective.channel + 1]
    if isinstance(objective, Activity):
        value = sum(0.5 * each.square().mean() for each in own)
    else:
        products = torch.einsum("cj,nchw->njhw", objective.features.to(y), own)
        value = sum(each.max(0).values.sum() / own[0].numel() for each in products)
    (d_y,) = torch.autograd.grad(value, y)
    return float(torch.as_tensor(value).detach()), d_y
