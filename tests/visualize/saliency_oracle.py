"""A second opinion on every saliency method: a small network in torch's functions, and each method written slowly.

An oracle takes (network, one picture, the number of a class) and gives (attribution, map), as `saliency` does with the
settings beside it.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import Network, Sequential
from blockprop.blocks import Conv2d, Flatten, GlobalAvgPool, Linear, MaxPool2d, ReLU
from tests.rules.rule_oracle import Deconvnet, Guided

Relu = Callable[[Tensor], Tensor]
Explained = tuple[Tensor, Tensor]


def small(dtype: torch.dtype = torch.float64) -> tuple[Network, Tensor]:
    """The network, and three pictures."""
    blocks = [Conv2d(3, 4, 3), ReLU(), MaxPool2d(2), Conv2d(4, 8, 3), ReLU(), GlobalAvgPool(), Flatten(), Linear(8, 5)]
    return Sequential(*blocks).to(dtype=dtype), torch.rand(3, 3, 20, 16, dtype=dtype)


def passed(network: Network, x: Tensor, relu: Relu = F.relu) -> tuple[Tensor, Tensor]:
    """The same network: the scores of all classes, and the second ReLU's output before them."""
    conv1, conv2, fc = (network.blocks[name] for name in ("conv2d1", "conv2d2", "linear1"))
    h = relu(F.conv2d(F.max_pool2d(relu(F.conv2d(x, conv1.weight, conv1.bias)), 2), conv2.weight, conv2.bias))
    return F.linear(h.mean((2, 3)), fc.weight, fc.bias), h


def autograd_of(network: Network, x: Tensor, number: int, relu: Relu = F.relu) -> Tensor:
    """∂S/∂x."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(passed(network, x, relu)[0][:, number].sum(), x)[0]


def _gradient(network: Network, x: Tensor, number: int) -> Explained:
    d_x = autograd_of(network, x, number)
    return d_x, d_x.abs().amax(1)


def _gradient_times_input(network: Network, x: Tensor, number: int) -> Explained:
    d_x = autograd_of(network, x, number) * x
    return d_x, d_x.sum(1)


def _with(rule: type[torch.autograd.Function]) -> Callable[..., Explained]:
    def explained(network: Network, x: Tensor, number: int) -> Explained:
        d_x = autograd_of(network, x, number, lambda h: rule.apply(h, float("inf")))
        return d_x, d_x.abs().amax(1)

    return explained


def _noisy(network: Network, x: Tensor, number: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    gradients = []
    for _ in range(6):
        noise = torch.randn(1, 3, 20, 16, generator=generator).double()
        deviations = [0.2 * (picture.max() - picture.min()) for picture in x]
        noisy = torch.stack([picture + s * noise[0] for picture, s in zip(x, deviations, strict=True)])
        gradients.append(autograd_of(network, noisy, number))
    return gradients


def _smooth_grad(network: Network, x: Tensor, number: int) -> Explained:
    mean = torch.stack(_noisy(network, x, number)).mean(0)
    return mean, mean.abs().amax(1)


def _smooth_grad_squared(network: Network, x: Tensor, number: int) -> Explained:
    mean = torch.stack([d_x**2 for d_x in _noisy(network, x, number)]).mean(0)
    return mean, mean.amax(1)


def _integrated_gradients(network: Network, x: Tensor, number: int) -> Explained:
    """With equal steps from gray, as in the paper, and many of them."""
    total = torch.zeros_like(x)
    for k in range(1000):
        total += autograd_of(network, 0.5 + (k + 0.5) / 1000 * (x - 0.5), number)
    attribution = (x - 0.5) * total / 1000
    return attribution, attribution.sum(1)


def _grad_cam(network: Network, x: Tensor, number: int) -> Explained:
    weight, cams = network.blocks["linear1"].weight[number], []
    for picture in passed(network, x)[1]:
        channels, height, width = picture.shape
        cam = torch.zeros(height, width, dtype=x.dtype)
        for k in range(channels):
            alpha = weight[k] / (height * width)  # ∂S/∂A_k is the same at all places behind a global mean
            cam += alpha * picture[k]
        cams.append(cam[None])
    signed = torch.stack(cams)
    attribution, map_ = (F.interpolate(each, size=x.shape[2:], mode="bilinear") for each in (signed, signed.relu()))
    return attribution, map_.squeeze(1)


def _guided_grad_cam(network: Network, x: Tensor, number: int) -> Explained:
    attribution = _with(Guided)(network, x, number)[0] * _grad_cam(network, x, number)[1].unsqueeze(1)
    return attribution, attribution.abs().amax(1)


NOISE = {"samples": 6, "sigma": 0.2, "seed": 7}
ORACLES: dict[str, tuple[Callable[..., Explained], dict[str, Any]]] = {
    "gradient": (_gradient, {}),
    "gradient_times_input": (_gradient_times_input, {}),
    "smooth_grad": (_smooth_grad, NOISE),
    "smooth_grad_squared": (_smooth_grad_squared, NOISE),
    "integrated_gradients": (_integrated_gradients, {"steps": 400, "baseline": "gray"}),
    "guided": (_with(Guided), {}),
    "deconvnet": (_with(Deconvnet), {}),
    "grad_cam": (_grad_cam, {"node": "relu2"}),
    "guided_grad_cam": (_guided_grad_cam, {"node": "relu2"}),
}
"""For every method its slow version, and the settings with which it is compared."""
