"""Attribution from many gradients: SmoothGrad and integrated gradients.

The samples come one after the other and are added up in place, so that their number costs time but no memory.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.plan import RuleMap
from blockprop.errors import SettingError, ShapeError, shape
from blockprop.visualize.attribution.question import Answer, Question, largest

BASELINES = {"black": 0.0, "gray": 0.5}
BLUR = 1 / 20
"""Standard deviation of the blurred baseline, in sides of the picture."""


def smooth_grad(
    question: Question,
    x: Tensor,
    rules: RuleMap | None = None,
    samples: int = 50,
    sigma: float = 0.15,
    seed: int = 0,
) -> Answer:
    """The mean of the gradient over pictures with noise:  1/samples Σ ∂S/∂x (x + σ noise); the map as for gradient.

    sigma: of the normal noise, as a share of each picture's range, max − min.
    All pictures of a batch get the same noise, so that a picture's result does not depend on the others.
    Source: Smilkov et al. 2017, section 3.2.
    """
    total = torch.zeros_like(x)
    for d_x in _noisy_gradients(question, x, rules, samples, sigma, seed):
        total.add_(d_x)
        del d_x  # before the next pass needs its place
    question.require_influence(total)
    mean = total.div_(samples)
    return Answer(mean, largest(mean))


def smooth_grad_squared(
    question: Question,
    x: Tensor,
    rules: RuleMap | None = None,
    samples: int = 50,
    sigma: float = 0.15,
    seed: int = 0,
) -> Answer:
    """The mean of the gradient's square over pictures with noise, otherwise as `smooth_grad` (Hooker et al. 2019)."""
    total = torch.zeros_like(x)
    for d_x in _noisy_gradients(question, x, rules, samples, sigma, seed):
        total.addcmul_(d_x, d_x)
        del d_x
    question.require_influence(total)
    mean = total.div_(samples)
    return Answer(mean, mean.amax(1))


def _noisy_gradients(
    question: Question, x: Tensor, rules: RuleMap | None, samples: int, sigma: float, seed: int
) -> Iterator[Tensor]:
    if samples < 1 or not sigma > 0:
        raise SettingError(f"samples must be at least 1 and sigma above 0, came {samples} and {sigma}")
    question.decide(x)
    generator = torch.Generator().manual_seed(seed)
    deviation = sigma * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    for _ in range(samples):
        yield question.gradient(_noisy(x, deviation, generator), rules)


def _noisy(x: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(1, *x.shape[1:], generator=generator, dtype=torch.float32).to(x)
    return torch.addcmul(x, deviation, noise)


def integrated_gradients(
    question: Question,
    x: Tensor,
    rules: RuleMap | None = None,
    steps: int = 50,
    baseline: str | Tensor = "black",
) -> Answer:
    """The mean gradient on the way from a baseline x₀, times the way:  (x − x₀) ∘ ∫₀¹ ∂S/∂x (x₀ + t (x − x₀)) dt.

    The map is its sum over the channels, and the residual that of completeness for each picture:
    Σ attribution − (S(x) − S(x₀)), 0 for an exact integral.
    steps: points of the Gauss–Legendre rule in place of the integral (the paper has equal steps, which need more).
    baseline: "black", "gray", "blur", or a picture.
    Source: Sundararajan, Taly and Yan 2017, eq. 1 and proposition 1.
    """
    if steps < 1:
        raise SettingError(f"steps must be at least 1, came {steps}")
    start = _baseline(baseline, x)
    question.decide(x)
    places, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(x)
    for place, weight in zip(places, weights, strict=True):
        total.add_(question.gradient(start.lerp(x, (1 + place) / 2), rules), alpha=weight / 2)
    question.require_influence(total)
    attribution = total.mul_(x - start)
    gain = question.values(x) - question.values(start)
    return Answer(attribution, attribution.sum(1), attribution.flatten(1).sum(1) - gain)


def _baseline(baseline: str | Tensor, x: Tensor) -> Tensor:
    if isinstance(baseline, Tensor):
        try:
            return baseline.to(x).expand_as(x)
        except RuntimeError:
            raise ShapeError(f"a baseline of {shape(baseline)} does not fit pictures of {shape(x)}") from None
    if baseline == "blur":
        return blurred(x, BLUR * max(x.shape[2:]))
    if baseline not in BASELINES:
        raise SettingError(f"baseline must be {', '.join(BASELINES)}, blur or a picture, came {baseline!r}")
    return x.new_tensor(BASELINES[baseline]).expand_as(x)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """The picture under a Gaussian window of standard deviation sigma, in pixels; its edge repeated outside."""
    radius = max(1, math.ceil(3 * sigma))
    window = torch.exp(-torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device).square() / (2 * sigma**2))
    window = (window / window.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.pad(x, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(x, window, groups=x.shape[1]), window.transpose(2, 3), groups=x.shape[1])
